# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Matrix layers: LINEAR, CONV3X3 as one of them, and the patches of a frame."""

from __future__ import annotations

import numpy as np

from m3vit_pynq.abi.isa import Activation
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.primitives import exact_matmul, requant, saturate, wrap27

_INT8_PRODUCT = 1 << 14


def accumulate(a: np.ndarray, layer: WeightRows) -> np.ndarray:
    """``bias + a @ weights.T`` in 27-bit accumulators.

    Parameters
    ----------
    a : int8 [rows, K]
    layer : WeightRows
        With weights int8 [outputs, K].

    Returns
    -------
    int64 [rows, outputs] of 27 bits
    """
    return wrap27(exact_matmul(a, layer.weights.T, _INT8_PRODUCT) + layer.bias)


def scale(acc: np.ndarray, layer: WeightRows, bits: int) -> np.ndarray:
    """Requantise per output channel and saturate to `bits` bits; int64."""
    return saturate(requant(acc, layer.mult, layer.shift), bits)


def activate(q: np.ndarray, activation: int, gelu: np.ndarray | None) -> np.ndarray:
    """Apply an `Activation` to int8-range values.

    Parameters
    ----------
    q : int64 [...]
        -128 to 127.
    gelu : int8 [256] or None
        Result for -128, -127, ..., 127; needed for `Activation.GELU`.
    """
    if activation == Activation.RELU:
        return np.maximum(q, 0)
    if activation == Activation.GELU:
        return gelu[q + 128]
    return q


def neighbourhoods(image: np.ndarray, pad: int) -> np.ndarray:
    """Rows of the matrix that turns a 3x3 convolution into a LINEAR.

    Parameters
    ----------
    image : int8 [height, width, Cp]
        Whole lines: Cp is a multiple of 64.
    pad : int
        Value outside the map.

    Returns
    -------
    int8 [height * width, 9 * Cp]
        Order (ky, kx, c).
    """
    height, width, channels = image.shape
    framed = np.full((height + 2, width + 2, channels), pad, dtype=np.int8)
    framed[1:-1, 1:-1] = image
    columns = np.empty((height, width, 9, channels), dtype=np.int8)
    for ky in range(3):
        for kx in range(3):
            columns[:, :, 3 * ky + kx] = framed[ky : ky + height, kx : kx + width]
    return columns.reshape(height * width, 9 * channels)


def patches(frame: np.ndarray, patch: int) -> np.ndarray:
    """Cut a frame into patches of signed pixels.

    Parameters
    ----------
    frame : uint8 [height, width, 3]
    patch : int
        Side; divides height and width.

    Returns
    -------
    int8 [patches, 3 * patch**2]
        ``pixel - 128`` in the order (ky, kx, channel).
    """
    height, width, _ = frame.shape
    cut = frame.reshape(height // patch, patch, width // patch, patch, 3)
    rows = cut.transpose(0, 2, 1, 3, 4).reshape(-1, 3 * patch * patch)
    return (rows ^ np.uint8(0x80)).view(np.int8)
