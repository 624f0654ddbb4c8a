# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reading the weight image: rows with their parameters, and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE
from m3vit_pynq.abi.footprint import NORM_ENTRY, TABLE_LINES
from m3vit_pynq.abi.isa import WEIGHT_PARTS, lines, row_beats


@dataclass(frozen=True)
class WeightRows:
    """One layer as the image stores it.

    Attributes
    ----------
    weights : int8 [outputs, K]
        K is padded to whole lines.
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
        One row for each part; n is cut down to whole lines.
    weights_line : int
        Line of the bank at which part 0 starts: what instructions count from.

    Raises
    ------
    ValueError
        If the array has another shape or dtype.
    """

    def __init__(self, parts: np.ndarray, weights_line: int = 0) -> None:
        parts = np.asarray(parts)
        if parts.dtype != np.uint8 or parts.ndim != 2 or len(parts) != WEIGHT_PARTS:
            raise ValueError(
                f"weights are uint8 [{WEIGHT_PARTS}, n], not {parts.dtype} {list(parts.shape)}"
            )
        self.lines = parts.shape[1] // LINE
        self.weights_line = weights_line
        self.parts = np.ascontiguousarray(parts[:, : self.lines * LINE])

    def rows(self, line: int, outputs: int, cols: int) -> WeightRows:
        """The rows of a layer; channel ``o`` is row ``o // 4`` of part ``o % 4``."""
        per_part = -(-outputs // WEIGHT_PARTS)
        size = BEAT * row_beats(cols)
        start = LINE * (line - self.weights_line)
        stored = self.parts[:, start : start + per_part * size].reshape(
            WEIGHT_PARTS, per_part, size
        )
        rows = stored.swapaxes(0, 1).reshape(WEIGHT_PARTS * per_part, size)[:outputs]
        head = np.ascontiguousarray(rows[:, :BEAT])
        return WeightRows(
            weights=rows[:, BEAT : BEAT + LINE * lines(cols)].view(np.int8),
            bias=head[:, 0:4].copy().view("<i4")[:, 0].astype(np.int64),
            mult=head[:, 4:6].copy().view("<u2")[:, 0].astype(np.int64),
            shift=head[:, 6].astype(np.int64) % 64,
        )

    def table(self, line: int, count: int, dtype: str) -> np.ndarray:
        """`count` elements of a table in part 0, little endian."""
        kind = np.dtype(dtype)
        start = LINE * (line - self.weights_line)
        return self.parts[0, start : start + count * kind.itemsize].view(kind)

    def gelu(self, line: int) -> np.ndarray:
        """A GELU table: int8 [256]."""
        return self.table(line, LINE * TABLE_LINES, "<i1")

    def layernorm(self, line: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Gamma int16 [channels] and beta int32 [channels]."""
        entries = self.table(line, channels, f"V{NORM_ENTRY}").view(
            [("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")]
        )
        return entries["gamma"], entries["beta"]
