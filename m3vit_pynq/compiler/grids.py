# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Integers that stand for real numbers: grids of tensors, multipliers of layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

INT8_LOW, INT8_HIGH = -128, 127


@dataclass(frozen=True)
class Grid:
    """What an int8 tensor means: ``real = scale * integer + offset``, per channel.

    Offsets cost nothing: they are folded into the table that writes the
    tensor and the bias of the layer that reads it.

    Attributes
    ----------
    scale, offset : float64 [channels]
    """

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def uniform(cls, channels: int, scale: float, zero: int = 0) -> Grid:
        """The same scale for all channels; the integer ``zero`` stands for 0."""
        return cls(np.full(channels, scale), np.full(channels, -zero * scale))

    @classmethod
    def covering(cls, low: np.ndarray, high: np.ndarray) -> Grid:
        """The finest grid of each channel that reaches from ``low`` to ``high``."""
        span = np.maximum(high - low, 1e-9)
        scale = span / (INT8_HIGH - INT8_LOW)
        return cls(scale, (low + high) / 2 + scale / 2)

    def quantise(self, real: np.ndarray) -> np.ndarray:
        """Nearest integers, saturated, as float32 [..., channels]."""
        scaled = (real - self.offset.astype(real.dtype)) / self.scale.astype(real.dtype)
        return np.clip(np.rint(scaled), INT8_LOW, INT8_HIGH).astype(np.float32)

    def dequantise(self, integer: np.ndarray) -> np.ndarray:
        """Real values, float32 [..., channels]."""
        return integer * self.scale.astype(np.float32) + self.offset.astype(np.float32)


def joined(*grids: Grid) -> Grid:
    """Grid of tensors whose channels lie side by side."""
    return Grid(np.concatenate([g.scale for g in grids]), np.concatenate([g.offset for g in grids]))


def multiplier(factor: np.ndarray, least_shift: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """``M / 2**s`` nearest to each factor, M as large as 16 bits allow.

    Returns
    -------
    mult : uint16 [n]
    shift : uint8 [n]
        From `least_shift` to 47.

    Raises
    ------
    ValueError
        If a factor is negative, not finite, or too large for the format.
    """
    factor = np.asarray(factor, np.float64)
    if not np.all(np.isfinite(factor)) or np.any(factor < 0):
        raise ValueError("a scale is negative or not finite")
    exponent = np.frexp(np.maximum(factor, 2.0**-60))[1]  # factor = m * 2**exponent, m < 1
    shift = np.clip(16 - exponent, least_shift, 47)
    mult = np.rint(np.ldexp(factor, shift))
    carried = (mult == 65536) & (shift > least_shift)
    shift = np.where(carried, shift - 1, shift)
    mult = np.where(carried, 32768, mult)
    if np.any(mult > 65535):
        raise ValueError(f"a scale of {factor.max():g} does not fit 16 bits and the least shift")
    return mult.astype(np.uint16), shift.astype(np.uint8)


def multiplier_pair(factor: float) -> tuple[int, int]:
    """`multiplier` of one number, as two Python integers."""
    mult, shift = multiplier(np.array([factor]))
    return int(mult[0]), int(shift[0])
