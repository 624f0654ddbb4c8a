# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""LAYERNORM against unbounded integers and against float."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.reference.layernorm import layernorm, reciprocal_root


@given(st.integers(1, 2**64 - 1))
def test_reciprocal_root_is_the_inverse_root_to_30_bits(variance):
    inv, k = reciprocal_root(variance)
    u = variance << 2 * k
    assert 1 << 62 <= u < 1 << 64 and 1 << 31 <= inv <= 1 << 32
    # inv = 2**63 / sqrt(u), truncated twice: never above by more than 2**-31 relatively.
    assert (inv * inv * u) >> 126 <= 1
    assert ((inv + 3) ** 2 * u) >> 126 >= 1


@pytest.mark.parametrize("variance", [1, 2, 3, 4, 2**62 - 1, 2**62, 2**64 - 1])
def test_reciprocal_root_at_the_edges(variance):
    inv, k = reciprocal_root(variance)
    assert 0 <= k <= 31
    assert inv == pytest.approx(2.0 ** (63 - k) / variance**0.5, rel=2**-29)


def rows_of(draw_kind, rng, rows, n):
    if draw_kind == "extreme":
        return rng.choice([-32768, 32767], (rows, n)).astype(np.int16)
    if draw_kind == "constant":
        return np.full((rows, n), rng.integers(-32768, 32768), np.int16)
    return rng.integers(-3000, 3000, (rows, n)).astype(np.int16)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["normal", "extreme", "constant"]),
    st.integers(1, 200),
    st.sampled_from([1, 4096, 2**40, 2**63 - 1]),
    st.integers(1, 31),
    st.integers(0, 2**32 - 1),
)
def test_layernorm_is_the_documented_one(kind, n, eps, shift, seed):
    rng = np.random.default_rng(seed)
    x = rows_of(kind, rng, 2, n)
    wide = seed % 2
    gamma = rng.integers(-32768 if wide else 0, 32768 if wide else 900, n).astype(np.int16)
    beta = rng.integers(-(2**31), 2**31, n).astype(np.int32) >> (0 if wide else 12)
    got = layernorm(x, gamma, beta, eps, shift)
    for row, result in zip(x, got, strict=True):
        expected = spec.layernorm(row.tolist(), gamma.tolist(), beta.tolist(), eps, shift)
        assert result.tolist() == expected


def test_layernorm_of_one_spike_in_1024_channels():
    x = np.full((1, 1024), -32768, np.int16)
    x[0, 5] = 32767
    gamma, beta = np.full(1024, 32767, np.int16), np.full(1024, -(2**31), np.int32)
    for shift in (1, 27, 31):
        got = layernorm(x, gamma, beta, 1, shift)[0].tolist()
        expected = spec.layernorm(x[0].tolist(), gamma.tolist(), beta.tolist(), 1, shift)
        assert got == expected


@pytest.mark.parametrize("eps", [1, 2, 3, 7])
@pytest.mark.parametrize("row", [[0, 1], [5, 5, 6], [-32768, -32767]])
def test_every_unit_of_epsilon_counts_where_the_variance_is_small(row, eps):
    gamma, beta = [100 * len(row)] * len(row), [3] * len(row)
    x = np.array([row], np.int16)
    got = layernorm(x, np.array(gamma, np.int16), np.array(beta, np.int32), eps, 17)
    assert got[0].tolist() == spec.layernorm(row, gamma, beta, eps, 17)


def test_a_constant_row_gives_beta():
    x = np.full((1, 64), 123, np.int16)
    beta = np.arange(-32, 32, dtype=np.int32) << 10
    got = layernorm(x, np.full(64, 1000, np.int16), beta, 1, 10)
    assert got[0].tolist() == list(range(-32, 32))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 1024), st.integers(4, 14), st.integers(0, 2**32 - 1))
def test_layernorm_is_close_to_float(n, log2_spread, seed):
    """Error: rounding of z (0.501 of 2**-14, times gamma) and of the result (0.5)."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(0, 2**log2_spread, (3, n)), -32768, 32767).astype(np.int16)
    gamma = rng.integers(-2000, 2000, n).astype(np.int16)
    beta = rng.integers(-(2**20), 2**20, n).astype(np.int32)
    shift, eps = 20, 1000 * n * n
    x64 = x.astype(np.float64)
    variance = x64.var(axis=1, keepdims=True) + 1000
    exact = (x64 - x64.mean(axis=1, keepdims=True)) / np.sqrt(variance)
    exact = (exact * 2**14 * gamma + beta) / 2**shift
    error = np.abs(layernorm(x, gamma, beta, eps, shift) - np.clip(exact, -128, 127))
    assert (error <= 0.5 + 0.501 * np.abs(gamma) / 2**shift + 1e-3).all()


@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_layernorm_instruction_addresses_its_rows(channels):
    rng = np.random.default_rng(channels)
    image = spec_image.Image()
    image.table(bytes(48))
    gamma = rng.integers(-900, 900, channels).tolist()
    beta = rng.integers(-(2**20), 2**20, channels).tolist()
    table = image.norm(gamma, beta)
    made = spec_image.machine(image)
    rows, stride = 5, channels + 7
    x = made.residual[11 : 11 + rows * stride].copy()
    lines = -(-channels // 64)
    made.execute(
        Instruction(
            Opcode.LAYERNORM, rows=rows, cols_in=channels, src=11, src_stride=stride, dst=3,
            dst_stride=lines + 1, table=table, shift_a=17, eps_low=5, eps_high=7,
        )
    )  # fmt: skip
    got = spec_image.get_act(made, 3, lines + 1, rows, channels)
    for r in range(rows):
        row = x[r * stride : r * stride + channels].tolist()
        assert got[r] == spec.layernorm(row, gamma, beta, 5 + (7 << 32), 17)
