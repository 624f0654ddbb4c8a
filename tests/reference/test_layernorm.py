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
from m3vit_pynq.reference.refusals import Pending


@given(st.integers(1, 2**64 - 1))
def test_reciprocal_root_is_the_inverse_root_to_16_bits(variance):
    inv, k = reciprocal_root(variance)
    assert 1 << 16 <= inv < 1 << 17 and 0 <= k <= 31
    # Root and inverse are cut off after 18 and 17 digits, and 2**17 itself is not reached.
    assert inv == pytest.approx(2.0 ** (48 - k) / variance**0.5, rel=2**-15)


@pytest.mark.parametrize("variance", [1, 2, 3, 4, 2**62 - 1, 2**62, 2**64 - 1])
def test_reciprocal_root_at_the_edges(variance):
    inv, k = reciprocal_root(variance)
    assert 0 <= k <= 31 and 1 << 16 <= inv < 1 << 17
    assert inv == pytest.approx(2.0 ** (48 - k) / variance**0.5, rel=2**-15)


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
    """Error: 2**-15 of the root, rounding of z (0.501 of 2**-14, times gamma) and of the result."""
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
    scaled = np.abs((x64 - x64.mean(axis=1, keepdims=True)) / np.sqrt(variance) * 2**14 * gamma)
    loose = 0.5 + 0.501 * np.abs(gamma) / 2**shift + 2**-15 * scaled / 2**shift + 1e-3
    assert (error <= loose).all()


@pytest.mark.parametrize("slots", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64, 130])
def test_layernorm_instruction(channels, slots):
    rng = np.random.default_rng(channels)
    image = spec_image.Image()
    image.table(bytes(48))
    gamma = rng.integers(-900, 900, channels).tolist()
    beta = rng.integers(-(2**20), 2**20, channels).tolist()
    table = image.norm(gamma, beta)
    made = spec_image.machine(image)
    rows, wide, lines = 5, -(-channels // 32), -(-channels // 64)
    x = rng.integers(-32768, 32768, (rows, channels)).tolist()
    added = rng.integers(-32768, 32768, (slots, rows, channels)).tolist()
    spec_image.put(made, 11, wide + 2, x, "<i2")
    for k in range(slots):
        spec_image.put(made, 600 + k * rows * wide, wide, added[k], "<i2")
    made.pending = Pending(slots, spec_image.at(600), rows, channels) if slots else None
    before = spec_image.workspace_of(made).copy()
    made.execute(
        Instruction(
            Opcode.LAYERNORM, rows=rows, cols_in=channels, src=spec_image.at(11),
            src_stride=wide + 2, dst=spec_image.at(300), dst_stride=lines + 1, table=table,
            shift_a=17, eps_low=5, eps_high=7, slots=slots, slot_base=spec_image.at(600),
        )
    )  # fmt: skip
    assert made.pending is None
    got = spec_image.get(made, 300, lines + 1, rows, channels)
    stream = spec_image.get(made, 11, wide + 2, rows, channels, "<i2")
    for r in range(rows):
        row = spec.combined(x[r], [added[k][r] for k in range(slots)])
        assert stream[r] == row
        assert got[r] == spec.layernorm(row, gamma, beta, 5 + (7 << 32), 17)
    changed = [(300, 300 + rows * (lines + 1)), (11, 11 + rows * (wide + 2))]
    assert spec_image.untouched(made, before, *changed[: 2 if slots else 1])
