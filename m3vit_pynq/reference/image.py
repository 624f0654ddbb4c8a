# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reading the weight image: rows with their parameters, and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.boards import BEAT
from m3vit_pynq.abi.isa import row_beats
from m3vit_pynq.abi.registers import WEIGHT_PORTS


@dataclass(frozen=True)
class WeightRows:
    """One layer as the image stores it.

    Attributes
    ----------
    weights : int8 [outputs, K]
    bias, mult, shift : int64 [outputs]
        Shifts modulo 64.
    """

    weights: np.ndarray
    bias: np.ndarray
    mult: np.ndarray
    shift: np.ndarray


class WeightImage:
    """The four parts of a weight image, decoded on use.

    Parameters
    ----------
    parts : uint8 [4, n]
        One row per weight port; n is cut down to whole beats.

    Raises
    ------
    ValueError
        If the array has another shape or dtype.
    """

    def __init__(self, parts: np.ndarray) -> None:
        parts = np.asarray(parts)
        if parts.dtype != np.uint8 or parts.ndim != 2 or len(parts) != WEIGHT_PORTS:
            raise ValueError(
                f"weights are uint8 [{WEIGHT_PORTS}, n], not {parts.dtype} {list(parts.shape)}"
            )
        self.beats = parts.shape[1] // BEAT
        self.parts = np.ascontiguousarray(parts[:, : self.beats * BEAT])

    def rows(self, first_beat: int, outputs: int, cols: int) -> WeightRows:
        """The rows of a layer; channel ``o`` is row ``o // 4`` of part ``o % 4``."""
        per_part = -(-outputs // WEIGHT_PORTS)
        size = BEAT * row_beats(cols)
        start = BEAT * first_beat
        stored = self.parts[:, start : start + per_part * size].reshape(
            WEIGHT_PORTS, per_part, size
        )
        rows = stored.swapaxes(0, 1).reshape(WEIGHT_PORTS * per_part, size)[:outputs]
        head = np.ascontiguousarray(rows[:, :BEAT])
        return WeightRows(
            weights=rows[:, BEAT : BEAT + cols].view(np.int8),
            bias=head[:, 0:4].copy().view("<i4")[:, 0].astype(np.int64),
            mult=head[:, 4:6].copy().view("<u2")[:, 0].astype(np.int64),
            shift=head[:, 6].astype(np.int64) % 64,
        )

    def table(self, first_beat: int, count: int, dtype: str) -> np.ndarray:
        """`count` elements of a table in part 0, little endian."""
        kind = np.dtype(dtype)
        start = BEAT * first_beat
        return self.parts[0, start : start + count * kind.itemsize].view(kind)

    def gelu(self, first_beat: int) -> np.ndarray:
        """A GELU table: int8 [256]."""
        return self.table(first_beat, 256, "<i1")

    def layernorm(self, first_beat: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Gamma int16 [channels] and beta int32 [channels]."""
        entries = self.table(first_beat, channels, "V8").view(
            [("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")]
        )
        return entries["gamma"], entries["beta"]
