# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantised layers on whole batches, for calibration.

The same integers as `m3vit_pynq.reference` for everything but attention,
computed in floating point that is exact (products below 2**53), because many
frames have to pass through every layer while its successors are being
quantised. Attention has the integers' scores and probabilities, with powers of
two in float32 instead of a table.
"""

from __future__ import annotations

import numpy as np

from m3vit_pynq.compiler.layers import Attention, Linear, Norm

_FLOAT32_COLUMNS = 1024  # 2**24 / (128 * 128): sums up to here are exact in float32
_ROWS = 2048  # taken at a time, so that intermediates stay in the cache
#: Largest probability with one pass and with two.
_PROBABILITY = {1: np.float32(255), 2: np.float32(4080)}


def accumulate(layer: Linear, inputs: np.ndarray) -> np.ndarray:
    """Accumulators of int8-range inputs, float64 [rows, outputs]."""
    inputs = inputs.astype(np.float32, copy=False)
    acc = np.broadcast_to(layer.bias.astype(np.float64), (*inputs.shape[:-1], layer.outputs))
    for start in range(0, layer.columns, _FLOAT32_COLUMNS):
        part = slice(start, start + _FLOAT32_COLUMNS)
        acc = acc + inputs[..., part] @ layer.weights[:, part].T.astype(np.float32)
    return acc


def requantise(acc: np.ndarray, layer: Linear, bits: int) -> np.ndarray:
    """Scale, round half up and saturate in place."""
    acc *= np.ldexp(layer.mult.astype(np.float64), -layer.shift.astype(np.int64))
    acc += 0.5
    np.floor(acc, out=acc)
    limit = 1 << (bits - 1)
    return np.clip(acc, -limit, limit - 1, out=acc)


def _linear(layer: Linear, inputs: np.ndarray, bits: int) -> np.ndarray:
    flat = inputs.reshape(-1, inputs.shape[-1])
    result = np.empty((len(flat), layer.outputs), np.float32)
    for start in range(0, len(flat), _ROWS):
        part = slice(start, start + _ROWS)
        result[part] = requantise(accumulate(layer, flat[part]), layer, bits)
    return result.reshape(*inputs.shape[:-1], layer.outputs)


def linear8(layer: Linear, inputs: np.ndarray) -> np.ndarray:
    """An ACT8 layer with its table: float32 integers [..., outputs]."""
    result = _linear(layer, inputs, 8)
    if layer.table is not None:
        return layer.table.astype(np.float32)[result.astype(np.int16) + 128]
    return result


def linear_residual(layer: Linear, inputs: np.ndarray) -> np.ndarray:
    """What a RESIDUAL layer adds: float32 integers [..., outputs]."""
    return _linear(layer, inputs, 16)


def add_residual(residual: np.ndarray, update: np.ndarray) -> np.ndarray:
    """Saturating sum, float32 integers."""
    return np.clip(residual + update, -32768, 32767)


def normalise(residual: np.ndarray, eps: float) -> np.ndarray:
    """Residual rows to mean 0 and variance 1, float32.

    Parameters
    ----------
    eps : float
        In units of the residual squared.
    """
    mean = residual.mean(axis=-1, keepdims=True, dtype=np.float64)
    centred = residual - mean.astype(np.float32)
    variance = np.mean(np.square(centred, dtype=np.float64), axis=-1, keepdims=True)
    return centred * (1 / np.sqrt(variance + eps)).astype(np.float32)


def reciprocal_roots(variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``inv`` and ``k`` of LAYERNORM for each V, float64 integers below 2**53.

    Larger ones lose their lowest bits, which the root does not see.
    """
    bits = np.frexp(variance)[1]
    k = np.floor((64 - bits) / 2)
    root = np.floor(np.sqrt(np.floor(np.ldexp(variance, (2 * k - 28).astype(np.int64)))))
    return np.minimum(np.floor(2.0**34 / root), 2.0**17 - 1), k


def norm8(norm: Norm, residual: np.ndarray) -> np.ndarray:
    """LAYERNORM of integer residual rows: float32 integers."""
    n = residual.shape[-1]
    x = residual.astype(np.float64)
    total = x.sum(axis=-1, keepdims=True)
    squares = np.square(x).sum(axis=-1, keepdims=True)
    inv, k = reciprocal_roots(n * squares - total * total + norm.eps)
    x *= n
    x -= total
    x *= inv * np.exp2(k - 34)
    x += 0.5
    z = np.floor(x, out=x)
    z *= norm.gamma
    z += norm.beta
    z *= 2.0**-norm.shift
    z += 0.5
    return np.clip(np.floor(z, out=z), -128, 127).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, overwriting its argument."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def split_heads(qkv: np.ndarray, heads: int) -> np.ndarray:
    """[frames, tokens, 3 D] to [3, frames, heads, tokens, head_dim]."""
    frames, tokens, width = qkv.shape
    split = qkv.reshape(frames, tokens, 3, heads, width // (3 * heads))
    return split.transpose(2, 0, 3, 1, 4)


def merge_heads(mixed: np.ndarray) -> np.ndarray:
    """[frames, heads, tokens, head_dim] to [frames, tokens, D]."""
    frames, heads, tokens, width = mixed.shape
    return mixed.transpose(0, 2, 1, 3).reshape(frames, tokens, heads * width)


def _probabilities(scores: np.ndarray, largest: np.float32) -> np.ndarray:
    """0 to ``largest`` relative to each row's greatest score, overwriting its argument."""
    scores -= scores.max(axis=-1, keepdims=True)
    scores *= np.float32(1 / 256)
    np.exp2(scores, out=scores)
    scores *= largest
    scores += np.float32(0.5)
    return np.floor(scores, out=scores)


def attention8(layer: Attention, qkv: np.ndarray, heads: int, stride: int = 1) -> np.ndarray:
    """ATTENTION of int8-range rows [frames, tokens, 3 D]: float32 integers [.., D].

    With a ``stride`` only every so many queries are computed.
    """
    score_factor = np.float32(np.ldexp(float(layer.score_scale[0]), -layer.score_scale[1]))
    output_factor = np.float32(np.ldexp(float(layer.output_scale[0]), -layer.output_scale[1]))
    mixed = []
    for query, key, value in zip(*split_heads(qkv, heads), strict=True):
        scores = (query[:, ::stride] @ key.swapaxes(-1, -2)) * score_factor
        scores += np.float32(0.5)
        np.clip(np.floor(scores, out=scores), -32768, 32767, out=scores)
        weights = _probabilities(scores, _PROBABILITY[layer.passes])
        mean = (weights @ value) * (output_factor / weights.sum(axis=-1, keepdims=True))
        mixed.append(np.clip(np.floor(mean + np.float32(0.5)), -128, 127))
    return merge_heads(np.stack(mixed))
