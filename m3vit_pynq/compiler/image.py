# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Building the weight image: layers and tables as the weight ports read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE
from m3vit_pynq.abi.isa import lines, row_beats
from m3vit_pynq.abi.registers import WEIGHT_PORTS
from m3vit_pynq.analysis.requirements import rows_per_port
from m3vit_pynq.compiler.layers import Linear, Norm


def line_columns(weights: np.ndarray, segments: int) -> np.ndarray:
    """Widen each of ``segments`` equal runs of columns to whole lines, with zeros.

    Parameters
    ----------
    weights : int8 [outputs, segments * width]

    Returns
    -------
    int8 [outputs, segments * 64 * lines(width)]
    """
    outputs, columns = weights.shape
    width = columns // segments
    padded = np.zeros((outputs, segments, LINE * lines(width)), np.int8)
    padded[:, :, :width] = weights.reshape(outputs, segments, width)
    return padded.reshape(outputs, -1)


def layer_parts(layer: Linear, weights: np.ndarray) -> np.ndarray:
    """One layer as the four parts hold it.

    Parameters
    ----------
    weights : int8 [outputs, K]
        The layer's weights with columns where the engine expects them.

    Returns
    -------
    uint8 [4, bytes]
    """
    outputs, columns = weights.shape
    per_part = -(-outputs // WEIGHT_PORTS)
    rows = np.zeros((WEIGHT_PORTS * per_part, BEAT * row_beats(columns)), np.uint8)
    rows[:outputs, 0:4] = layer.bias.astype("<i4")[:, None].view(np.uint8)
    rows[:outputs, 4:6] = layer.mult.astype("<u2")[:, None].view(np.uint8)
    rows[:outputs, 6] = layer.shift
    rows[:outputs, BEAT : BEAT + columns] = weights.view(np.uint8)
    by_part = rows.reshape(per_part, WEIGHT_PORTS, -1).swapaxes(0, 1)
    return by_part.reshape(WEIGHT_PORTS, -1)


def norm_table(norm: Norm) -> np.ndarray:
    """Table of a LAYERNORM as bytes."""
    entries = np.zeros(len(norm.gamma), [("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
    entries["beta"], entries["gamma"] = norm.beta, norm.gamma
    return entries.view(np.uint8)


class ImageBuilder:
    """Gives layers and tables their addresses; each is stored once, whoever asks for it.

    All addresses are beats within every part. The image itself is only made by
    `finish`.
    """

    def __init__(self) -> None:
        self._makers: list[Callable[[], np.ndarray]] = []
        self._known: dict[str, int] = {}
        self.beats = 0

    def _append(self, name: str, beats: int, maker: Callable[[], np.ndarray]) -> int:
        if name not in self._known:
            self._known[name] = self.beats
            self._makers.append(maker)
            self.beats += beats
        return self._known[name]

    def table(self, name: str, data: np.ndarray) -> int:
        """Address of a table; stored in part 0 when ``name`` is new."""
        beats = -(-data.nbytes // BEAT)

        def make() -> np.ndarray:
            parts = np.zeros((WEIGHT_PORTS, BEAT * beats), np.uint8)
            parts[0, : data.nbytes] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            return parts

        return self._append(name, beats, make)

    def norm(self, norm: Norm) -> int:
        """Address of a LAYERNORM table."""
        return self.table(norm.name, norm_table(norm))

    def layer(self, layer: Linear, segments: int = 1) -> int:
        """Address of a layer's first row.

        Parameters
        ----------
        segments : int
            Runs of columns that start on a line of their own.
        """
        columns = segments * LINE * lines(layer.columns // segments)
        beats = rows_per_port(layer.outputs) * row_beats(columns)
        return self._append(
            layer.name, beats, lambda: layer_parts(layer, line_columns(layer.weights, segments))
        )

    def finish(self) -> np.ndarray:
        """The image: uint8 [4, n]."""
        image = np.zeros((WEIGHT_PORTS, BEAT * self.beats), np.uint8)
        start = 0
        for make in self._makers:
            parts = make()
            image[:, start : start + parts.shape[1]] = parts
            start += parts.shape[1]
        return image
