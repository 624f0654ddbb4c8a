# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""ATTENTION: whole rows of scores, the exact maximum, one multiplier per query."""

from __future__ import annotations

import numpy as np

from m3vit_pynq.reference.primitives import (
    EXP_TABLE,
    exact_matmul,
    requant,
    rshift,
    saturate,
)

_INT8_PRODUCT = 1 << 14
_PROBABILITY_PRODUCT = 4080 * 128


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of positive numbers below 2**53."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def probabilities(scores: np.ndarray, passes: int) -> np.ndarray:
    """Weights of the keys relative to the largest score of each row.

    Parameters
    ----------
    scores : int64 [..., keys]
        log2 units with 8 fractional bits.
    passes : int
        1 for 0 to 255, 2 for 0 to 4080.
    """
    below = scores.max(axis=-1, keepdims=True) - scores
    extra = 4 if passes == 1 else 0
    return rshift(EXP_TABLE[below & 255], np.minimum(below >> 8, 31) + extra)


def query_scale(total: np.ndarray, mult: int, shift: int, passes: int) -> tuple[np.ndarray, ...]:
    """Multiplier and shift that divide by `total` and bring the mean to its scale.

    Parameters
    ----------
    total : int64 [...]
        Sum of a query's probabilities, 255 to 2**23 - 1.
    mult, shift : int
        Mean value to destination: ``mult / 2**shift``.

    Returns
    -------
    mult, shift : int64 [...]
        0 to 65535, and at most 47.
    """
    bits = _bit_length(total)
    inverse = np.minimum((1 << 18) - 1, (np.int64(1) << (bits + 17)) // total)
    product = inverse * mult
    cut = np.maximum(0, _bit_length(np.maximum(product, 1)) - 16)
    combined = np.minimum(65535, rshift(product, cut))
    return combined, np.minimum(47, shift + bits + 17 - cut - (0 if passes == 1 else 4))


def attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    score_scale: tuple[int, int],
    output_scale: tuple[int, int],
    passes: int = 1,
) -> np.ndarray:
    """Softmax attention of all heads.

    Parameters
    ----------
    query, key, value : int8 [heads, tokens, head_dim]
    score_scale : (mult, shift)
        Product of query and key to log2 units with 8 fractional bits.
    output_scale : (mult, shift)
        Mean value to the destination's int8.
    passes : int
        1 for probabilities of 8 bits, 2 for 12 bits.

    Returns
    -------
    int8 [heads, tokens, head_dim]
    """
    products = exact_matmul(query, key.transpose(0, 2, 1), _INT8_PRODUCT)
    scores = saturate(requant(products, *score_scale), 16)
    weights = probabilities(scores, passes)
    mixed = exact_matmul(weights, value, _PROBABILITY_PRODUCT)
    if passes == 2:
        mixed = rshift(mixed, 4)
    mult, shift = query_scale(weights.sum(axis=2), *output_scale, passes)
    out = requant(mixed, mult[:, :, None], shift[:, :, None])
    return saturate(out, 8).astype(np.int8)
