# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rounding, saturation, exact matrix products and the architecture's tables.

Integers are int64 throughout unless a function says otherwise: every
intermediate of ``docs/numerics.md`` fits, and numpy's ``>>`` on int64 is the
arithmetic shift the document means.
"""

from __future__ import annotations

import numpy as np

#: ``round(4080 * 2**(-f/256))``: attention probabilities; 4080 = 16 * 255.
EXP_TABLE = np.round(4080.0 * 2.0 ** (-np.arange(256) / 256.0)).astype(np.int64)
#: ``round(65536 * 2**(-f/256))``: gate weights.
GATE_TABLE = np.round(65536.0 * 2.0 ** (-np.arange(256) / 256.0)).astype(np.int64)
#: ``round(32768 * 2**(f/256))``, 257 entries: depth.
POW_TABLE = np.round(32768.0 * 2.0 ** (np.arange(257) / 256.0)).astype(np.int64)


def rshift(x: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """``x / 2**n`` rounded to nearest, halves towards +infinity.

    Parameters
    ----------
    x : array of int64
        ``x + 2**(n-1)`` must fit 64 bits.
    n : int or array of int
        0 to 63; broadcasts against `x`.
    """
    n = np.asarray(n, dtype=np.int64)
    half = (np.uint64(1) << n.astype(np.uint64)) >> np.uint64(1)
    return (np.asarray(x, dtype=np.int64) + half.astype(np.int64)) >> n


def saturate(x: np.ndarray, bits: int) -> np.ndarray:
    """Clamp to the two's complement range of `bits` bits; int64."""
    limit = 1 << (bits - 1)
    return np.clip(x, -limit, limit - 1)


def requant(acc: np.ndarray, mult: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """``acc * mult / 2**shift``, rounded, not yet saturated; int64."""
    return rshift(np.asarray(acc, dtype=np.int64) * np.asarray(mult, dtype=np.int64), shift)


def wrap27(x: np.ndarray) -> np.ndarray:
    """The 27 low bits as a signed number, as an accumulator of the engine holds them."""
    low = np.asarray(x, dtype=np.int64) & ((1 << 27) - 1)
    return low - ((low >> 26) << 27)


def exact_matmul(a: np.ndarray, b: np.ndarray, bound: int) -> np.ndarray:
    """Integer matrix product through floating-point BLAS, exact.

    Parameters
    ----------
    a, b : arrays of integers
        Operands of ``a @ b``.
    bound : int
        No product of an element of `a` and one of `b` exceeds it in magnitude.

    Returns
    -------
    array of int64

    Notes
    -----
    Every partial sum, in whatever order BLAS forms it, is an integer of at
    most ``K * bound``; while that is no more than 2**24 (float32) or 2**53
    (float64) each is represented exactly and nothing is ever rounded.
    """
    largest = a.shape[-1] * bound
    if largest > 1 << 53:
        raise ValueError(f"sums of up to {largest} are not exact in float64")
    dtype = np.float32 if largest <= 1 << 24 else np.float64
    return (a.astype(dtype) @ b.astype(dtype)).astype(np.int64)
