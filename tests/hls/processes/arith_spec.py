# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The order in which the streams of the matrix pass carry their data, in numpy.

Written from the contract of the streams, not from the processes: plain loops over
(group, piece, part) and the like.
"""

from __future__ import annotations

import numpy as np
from arith_bench import LINE, Shape, ceil_div


def layer_words(shape: Shape, weights: np.ndarray, half: int) -> np.ndarray:
    """Words of one half engine for weights int8 [outputs, K], in the order of arrival."""
    outputs, columns = weights.shape
    groups = ceil_div(outputs, 4)
    padded = np.zeros((groups * 4, columns), dtype=np.int8)
    padded[:outputs] = weights
    pieces = padded.reshape(groups, 4, columns // shape.in_par, shape.in_par)
    mine = pieces[:, 2 * half : 2 * half + 2]  # group, part, piece, column
    return mine.transpose(0, 2, 1, 3).reshape(-1, shape.word)


def key_words(shape: Shape, keys: np.ndarray) -> np.ndarray:
    """Words of engine A for a plane of keys, int8 [N, 64]."""
    steps = ceil_div(len(keys), shape.oh)
    padded = np.zeros((steps * shape.oh, LINE), dtype=np.int8)
    padded[: len(keys)] = keys
    pieces = padded.reshape(steps, shape.oh, shape.pieces, shape.in_par)
    return pieces.transpose(0, 2, 1, 3).reshape(-1, shape.word)


def value_words(shape: Shape, values: np.ndarray, channels: int) -> np.ndarray:
    """Words of engine B for a plane of values, int8 [N, 64]: block, channel step, piece."""
    blocks = ceil_div(len(values), 64)
    padded = np.zeros((blocks * 64, LINE), dtype=np.int8)
    padded[: len(values)] = values
    turned = padded[:, :channels].reshape(blocks, shape.pieces, shape.in_par,
                                          channels // shape.oh, shape.oh)  # fmt: skip
    return turned.transpose(0, 3, 1, 4, 2).reshape(-1, shape.word)


def token_pieces(shape: Shape, rows: np.ndarray) -> np.ndarray:
    """Pieces of rows [n, K], zero rows up to a whole tile: tile, token, piece."""
    tiles = ceil_div(len(rows), shape.t)
    padded = np.zeros((tiles * shape.t, rows.shape[1]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    return padded.reshape(-1, shape.in_par)


def query_pieces(shape: Shape, queries: np.ndarray, head_dim: int, heads: int) -> np.ndarray:
    """Pieces of a plane of queries, int8 [N, 64]: tile, head, token, piece."""
    tiles = ceil_div(len(queries), shape.t)
    padded = np.zeros((tiles * shape.t, LINE), dtype=np.int8)
    padded[: len(queries)] = queries
    found = np.zeros((tiles, heads, shape.t, LINE), dtype=np.int8)
    for head in range(heads):
        own = slice(head * head_dim, (head + 1) * head_dim)
        found[:, head, :, own] = padded.reshape(tiles, shape.t, LINE)[:, :, own]
    return found.reshape(-1, shape.in_par)


def probability_pieces(shape: Shape, probabilities: np.ndarray, passes: int) -> np.ndarray:
    """Pieces of probabilities [units, T, N]: unit, piece, pass, token."""
    units, t, keys = probabilities.shape
    padded = np.zeros((units, t, ceil_div(keys, 64) * 64), dtype=np.int64)
    padded[:, :, :keys] = probabilities
    digits = [padded] if passes == 1 else [padded >> 4, padded & 15]
    stacked = np.stack(digits, axis=1).reshape(units, passes, t, -1, shape.in_par)
    return stacked.transpose(0, 3, 1, 2, 4).reshape(-1, shape.in_par).astype(np.uint8)


def results(shape: Shape, accumulators: np.ndarray) -> np.ndarray:
    """Results of accumulators [units, T, steps, OH]: unit, step."""
    units, t, steps, oh = accumulators.shape
    words = np.zeros((units, steps, shape.result), dtype=np.int32)
    words[:, :, : t * oh] = accumulators.transpose(0, 2, 1, 3).reshape(units, steps, t * oh)
    return words.reshape(-1, shape.result)


def half_results(shape: Shape, accumulators: np.ndarray, half: int) -> np.ndarray:
    """A half engine's Results of accumulators [tiles * T, 4 * groups] of all outputs."""
    tiles = len(accumulators) // shape.t
    grouped = accumulators.reshape(tiles, shape.t, -1, 4)[..., 2 * half : 2 * half + 2]
    return results(shape, grouped.reshape(tiles, shape.t, -1, shape.oh))


def lines_of(rows: np.ndarray) -> np.ndarray:
    """Rows of bytes [n, bytes] as lines [n, lines, 64], zero behind their end."""
    lines = ceil_div(rows.shape[1], LINE)
    padded = np.zeros((len(rows), lines * LINE), dtype=np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.reshape(len(rows), lines, LINE)


def finished_lines(shape: Shape, rows: np.ndarray) -> np.ndarray:
    """Lines of whole tiles [tiles * T, lines, 64]: tile, line, token."""
    return rows.reshape(-1, shape.t, rows.shape[1], LINE).transpose(0, 2, 1, 3).reshape(-1, LINE)


def ordered_lines(shape: Shape, rows: np.ndarray, planar: bool) -> np.ndarray:
    """Lines of valid rows [n, lines, 64] as they leave `reorder`."""
    found = []
    for first in range(0, len(rows), shape.t):
        tile = rows[first : first + shape.t]
        step = 1 if planar else 16
        found += [
            tile[:, line : line + step].reshape(-1, LINE) for line in range(0, tile.shape[1], step)
        ]
    return np.concatenate(found) if found else np.zeros((0, LINE), dtype=np.uint8)
