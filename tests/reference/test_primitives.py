# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rounding, saturation, tables and exact products against unbounded integers."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import bigint_spec as spec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.reference import primitives

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(st.integers(-(2**61), 2**61), st.integers(0, 62))
def test_rshift_rounds_halves_up(x, n):
    assert int(primitives.rshift(np.int64(x), n)) == spec.rshift(x, n)


@pytest.mark.parametrize(
    ("x", "n", "expected"),
    [(1, 1, 1), (-1, 1, 0), (-3, 1, -1), (5, 0, 5), (-2, 2, 0), (-3, 2, -1), (2**47, 63, 0)],
)
def test_rshift_of_small_and_large_shifts(x, n, expected):
    assert int(primitives.rshift(np.array(x), n)) == expected


def test_rshift_takes_a_shift_for_every_element():
    x, n = np.array([[7, -7], [1 << 40, -5]]), np.array([[0, 1], [40, 63]])
    expected = [[spec.rshift(int(a), int(b)) for a, b in zip(*r, strict=True)] for r in zip(x, n)]  # noqa: B905
    assert primitives.rshift(x, n).tolist() == expected


@given(st.integers(-(2**60), 2**60), st.sampled_from([8, 16, 32]))
def test_saturate(x, bits):
    assert int(primitives.saturate(np.int64(x), bits)) == spec.sat(x, bits)


@given(INT32, st.integers(0, 65535), st.integers(1, 47))
def test_requant(acc, mult, shift):
    assert int(primitives.requant(np.int32(acc), mult, shift)) == spec.requant(acc, mult, shift)


@pytest.mark.parametrize("acc", [-(2**31), 2**31 - 1])
@pytest.mark.parametrize("shift", [1, 47])
def test_requant_of_extremes_does_not_overflow(acc, shift):
    assert int(primitives.requant(acc, 65535, shift)) == spec.requant(acc, 65535, shift)


@given(st.integers(-(2**40), 2**40))
def test_wrap27(x):
    assert int(primitives.wrap27(x)) == spec.wrap27(x)


@pytest.mark.parametrize(
    ("table", "scale", "sign"),
    [
        (primitives.EXP_TABLE, 4080, -1),
        (primitives.GATE_TABLE, 65536, -1),
        (primitives.POW_TABLE, 32768, 1),
    ],
)
def test_tables_are_rounded_powers_of_two(table, scale, sign):
    with localcontext() as context:
        context.prec = 40
        for f, entry in enumerate(table):
            exact = Decimal(scale) * Decimal(2) ** (Decimal(sign * f) / 256)
            assert entry == int(exact.to_integral_value(ROUND_HALF_UP))
            if f % 256:
                assert abs(exact - int(exact) - Decimal("0.5")) > Decimal("1e-6"), "a near tie"


def test_table_sizes():
    assert len(primitives.EXP_TABLE) == len(primitives.GATE_TABLE) == 256
    assert len(primitives.POW_TABLE) == 257


@settings(max_examples=20)
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_matrix_products_are_exact(depth, seed):
    rng = np.random.default_rng(seed)
    a = rng.choice(np.array([-128, -127, 127, 3], np.int8), (2, depth))
    b = rng.choice(np.array([-128, 127, 1], np.int8), (depth, 3))
    exact = a.astype(object) @ b.astype(object)
    assert primitives.exact_matmul(a, b, 1 << 14).tolist() == exact.tolist()


@pytest.mark.parametrize("depth", [1024, 1025, 9216])
def test_matrix_products_of_extremes_are_exact(depth):
    a = np.full((1, depth), -128, np.int8)
    b = np.full((depth, 1), -128, np.int8)
    b[-1] = 127
    expected = 16384 * (depth - 1) - 128 * 127
    assert primitives.exact_matmul(a, b, 1 << 14).item() == expected


@pytest.mark.parametrize("depth", [1041, 2047, 9215])
def test_odd_sums_beyond_24_bits_are_exact(depth):
    a, b = np.full((2, depth), 127, np.int8), np.full((depth, 1), 127, np.int8)
    total = 127 * 127 * depth
    assert primitives.exact_matmul(a, b, 1 << 14).tolist() == [[total], [total]]


def test_matrix_products_refuse_what_they_cannot_prove():
    with pytest.raises(ValueError, match="float64"):
        primitives.exact_matmul(np.ones((1, 4)), np.ones((4, 1)), 1 << 52)
