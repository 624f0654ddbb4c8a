# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""LAYERNORM: int16 residual rows to int8, without a division per element."""

from __future__ import annotations

import math

import numpy as np

from m3vit_pynq.reference.primitives import rshift, saturate


def reciprocal_root(variance: int) -> tuple[int, int]:
    """``2**48 / sqrt(variance << 2k)`` to 17 bits, and the k that normalises `variance`.

    Parameters
    ----------
    variance : int
        V of ``docs/numerics.md``, 1 to 2**64 - 1.

    Returns
    -------
    inv : int
        2**16 to 2**17 - 1.
    k : int
        Half the leading zeros of V, 0 to 31.
    """
    k = (64 - variance.bit_length()) // 2
    root = math.isqrt((variance << 2 * k) >> 28)
    return min((1 << 17) - 1, (1 << 34) // root), k


def combine(x: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Add slots to rows of the residual stream, one after the other, with saturation.

    Parameters
    ----------
    x : int16 [rows, n]
    slots : int16 [slots, rows, n]

    Returns
    -------
    int16 [rows, n]
    """
    total = x.astype(np.int64)
    for slot in slots:
        total = saturate(total + slot, 16)
    return total.astype(np.int16)


def layernorm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: int, shift: int
) -> np.ndarray:
    """Normalise every row.

    Parameters
    ----------
    x : int16 [rows, n]
        Residual stream.
    gamma : int16 [n]
    beta : int32 [n]
    eps : int
        Epsilon in units of ``n**2 *`` residual unit squared, 1 to 2**63 - 1.
    shift : int
        Right shift of the scaled result.

    Returns
    -------
    int8 [rows, n]
    """
    x = x.astype(np.int64)
    n = x.shape[1]
    total = x.sum(axis=1)
    squares = (x * x).sum(axis=1)
    spread = n * squares - total * total
    pairs = [reciprocal_root(int(v) + eps) for v in spread]
    inv = np.array([p[0] for p in pairs], dtype=np.int64)[:, None]
    k = np.array([p[1] for p in pairs], dtype=np.int64)[:, None]
    z = rshift((n * x - total[:, None]) * inv, 34 - k)
    scaled = z * gamma.astype(np.int64) + beta.astype(np.int64)
    return saturate(rshift(scaled, shift), 8).astype(np.int8)
