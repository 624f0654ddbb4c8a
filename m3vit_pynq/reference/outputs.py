# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""UPSAMPLE2X, OUTPUT_CLASSES and OUTPUT_DEPTH: maps become larger, then results."""

from __future__ import annotations

import numpy as np

from m3vit_pynq.reference.primitives import POW_TABLE, rshift


def _enlarge_axis(x: np.ndarray, factor: int, axis: int) -> np.ndarray:
    x = np.moveaxis(x, axis, 0)
    size = len(x)
    out = np.empty((size, factor, *x.shape[1:]), dtype=np.int64)
    for a in range(factor):
        offset = 2 * a + 1 - factor
        neighbour = np.clip(np.arange(size) + np.sign(offset), 0, size - 1)
        out[:, a] = (2 * factor - abs(offset)) * x + abs(offset) * x[neighbour]
    return np.moveaxis(out.reshape((size * factor, *x.shape[1:])), 0, axis)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear enlargement, sample points at pixel centres, not rounded.

    Parameters
    ----------
    image : int [height, width, channels]
    factor : int
        1, 2 or 4.

    Returns
    -------
    int64 [factor * height, factor * width, channels]
        The interpolated values times ``(2 * factor)**2``.
    """
    return _enlarge_axis(_enlarge_axis(image.astype(np.int64), factor, 0), factor, 1)


def upsample2x(image: np.ndarray) -> np.ndarray:
    """Twice the size, int8 [h, w, c] to int8 [2h, 2w, c]."""
    return rshift(enlarge(image, 2), 4).astype(np.int8)


def output_classes(image: np.ndarray, factor: int) -> np.ndarray:
    """Class of every pixel of the enlarged map, ties to the lower index.

    Parameters
    ----------
    image : int8 or int16 [height, width, classes]

    Returns
    -------
    uint8 [factor * height, factor * width]
    """
    return enlarge(image, factor).argmax(axis=2).astype(np.uint8)


def millimetres(v: np.ndarray) -> np.ndarray:
    """``2**(v / 2048)``: log2 of millimetres with 11 fractional bits to uint16."""
    v = np.clip(v, 0, 32767)
    f, r = (v >> 3) & 255, v & 7
    power = POW_TABLE[f] + (((POW_TABLE[f + 1] - POW_TABLE[f]) * r + 4) >> 3)
    return np.minimum(65535, rshift(power, 15 - (v >> 11))).astype(np.uint16)


def output_depth(image: np.ndarray, factor: int) -> np.ndarray:
    """Depth of every pixel of the enlarged map.

    Parameters
    ----------
    image : int16 [height, width]
        log2 of millimetres, 11 fractional bits.

    Returns
    -------
    uint16 [factor * height, factor * width], millimetres
    """
    log2_area = {1: 2, 2: 4, 4: 6}[factor]
    return millimetres(rshift(enlarge(image[:, :, None], factor)[:, :, 0], log2_area))
