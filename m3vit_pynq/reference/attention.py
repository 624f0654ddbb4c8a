# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""ATTENTION: one pass over the keys, a running maximum and sum per query."""

from __future__ import annotations

import numpy as np

from m3vit_pynq.abi.isa import KEY_BLOCK
from m3vit_pynq.reference.primitives import (
    EXP_TABLE,
    exact_matmul,
    requant,
    rshift,
    saturate,
)

_NO_MAXIMUM = -128
_INT8_PRODUCT = 1 << 14
_PROBABILITY_PRODUCT = 4096 * 128


def _rescale(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """``x / 2**d`` as the state of the stream is rescaled: 0 beyond 31."""
    return np.where(d <= 31, rshift(x, np.minimum(d, 31)), 0)


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    score_scale: tuple[int, int],
    output_scale: tuple[int, int],
) -> np.ndarray:
    """Streaming softmax attention of all heads.

    Parameters
    ----------
    query, key, value : int8 [heads, tokens, head_dim]
    score_scale : (mult, shift)
        Product of query and key to log2 units with 8 fractional bits.
    output_scale : (mult, shift)
        Mean value with 16 fractional bits to the destination's int8.

    Returns
    -------
    int8 [heads, tokens, head_dim]
    """
    heads, tokens, head_dim = query.shape
    maximum = np.full((heads, tokens), _NO_MAXIMUM, dtype=np.int64)
    total = np.zeros((heads, tokens), dtype=np.int64)
    mixed = np.zeros((heads, tokens, head_dim), dtype=np.int64)
    for first in range(0, tokens, KEY_BLOCK):
        keys = key[:, first : first + KEY_BLOCK]
        values = value[:, first : first + KEY_BLOCK]
        products = exact_matmul(query, keys.transpose(0, 2, 1), _INT8_PRODUCT)
        scores = saturate(requant(products, *score_scale), 16)
        raised = np.maximum(maximum, (scores.max(axis=2) + 255) >> 8)
        steps = raised - maximum
        total = _rescale(total, steps)
        mixed = _rescale(mixed, steps[:, :, None])
        maximum = raised
        below = 256 * maximum[:, :, None] - scores
        weights = rshift(EXP_TABLE[below & 255], np.minimum(below >> 8, 31))
        total += weights.sum(axis=2)
        mixed += exact_matmul(weights, values, _PROBABILITY_PRODUCT)
    mean = rshift(mixed * ((1 << 42) // total)[:, :, None], 26)
    return saturate(requant(mean, *output_scale), 8).astype(np.int8)
