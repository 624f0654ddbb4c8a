# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Building the weight image: layers and tables as the memory ports read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE
from m3vit_pynq.abi.isa import WEIGHT_PARTS, layer_lines, lines, row_beats
from m3vit_pynq.compiler.layers import Linear, Norm
from m3vit_pynq.compiler.listing import Stored


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


def _line_outputs(values: np.ndarray, segments: int) -> np.ndarray:
    """Widen each of ``segments`` equal runs of rows to a multiple of 64, with zeros."""
    width = len(values) // segments
    padded = np.zeros((segments, LINE * lines(width), *values.shape[1:]), values.dtype)
    padded[:, :width] = values.reshape(segments, width, *values.shape[1:])
    return padded.reshape(-1, *values.shape[1:])


def whole_lines(layer: Linear, segments: int) -> Linear:
    """A layer of which each of ``segments`` runs of outputs fills whole lines.

    The outputs that are added are always zero.
    """
    if layer.outputs % (segments * LINE) == 0:
        return layer
    arrays = {name: getattr(layer, name) for name in ("weights", "bias", "mult", "shift")}
    return replace(layer, **{name: _line_outputs(a, segments) for name, a in arrays.items()})


def layer_parts(layer: Linear, weights: np.ndarray) -> np.ndarray:
    """One layer as the four parts hold it.

    Parameters
    ----------
    weights : int8 [outputs, K]
        The layer's weights with columns where the engine expects them.

    Returns
    -------
    uint8 [4, bytes]
        Whole lines.
    """
    outputs, columns = weights.shape
    per_part = -(-outputs // WEIGHT_PARTS)
    size = BEAT * row_beats(columns)
    rows = np.zeros((WEIGHT_PARTS * per_part, size), np.uint8)
    rows[:outputs, 0:4] = layer.bias.astype("<i4")[:, None].view(np.uint8)
    rows[:outputs, 4:6] = layer.mult.astype("<u2")[:, None].view(np.uint8)
    rows[:outputs, 6] = layer.shift
    rows[:outputs, BEAT : BEAT + columns] = weights.view(np.uint8)
    parts = np.zeros((WEIGHT_PARTS, LINE * layer_lines(outputs, columns)), np.uint8)
    by_part = rows.reshape(per_part, WEIGHT_PARTS, size).swapaxes(0, 1)
    parts[:, : per_part * size] = by_part.reshape(WEIGHT_PARTS, -1)
    return parts


def norm_table(norm: Norm) -> np.ndarray:
    """Table of a LAYERNORM as bytes."""
    entries = np.zeros(len(norm.gamma), [("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
    entries["beta"], entries["gamma"] = norm.beta, norm.gamma
    return entries.view(np.uint8)


def residual_table(embedding: np.ndarray) -> np.ndarray:
    """Table of a LOAD_RESIDUAL: int16 [rows, D] as uint8 [rows, whole lines]."""
    table = np.zeros((len(embedding), LINE * lines(2 * embedding.shape[1])), np.uint8)
    table[:, : 2 * embedding.shape[1]] = np.ascontiguousarray(embedding, "<i2").view(np.uint8)
    return table


class ImageBuilder:
    """Gives layers and tables their addresses; each is stored once, whoever asks for it.

    Everything starts on a line, the same in each part. The image itself is only
    made by `finish`.
    """

    def __init__(self) -> None:
        self._makers: list[tuple[int, Callable[[], np.ndarray]]] = []
        self._known: dict[str, Stored] = {}
        self.lines = 0

    def _append(self, name: str, count: int, maker: Callable[[], np.ndarray]) -> Stored:
        if name not in self._known:
            self._known[name] = Stored(self.lines)
            self._makers.append((self.lines, maker))
            self.lines += count
        return self._known[name]

    def table(self, name: str, data: np.ndarray) -> Stored:
        """Address of a table; stored in part 0 when ``name`` is new."""
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        return self._append(name, lines(flat.size), lambda: flat[None])

    def norm(self, norm: Norm) -> Stored:
        """Address of a LAYERNORM table."""
        return self.table(norm.name, norm_table(norm))

    def layer(self, layer: Linear, segments: int = 1) -> Stored:
        """Address of a layer's first row.

        Parameters
        ----------
        segments : int
            Runs of columns that start on a line of their own.
        """
        columns = segments * LINE * lines(layer.columns // segments)
        return self._append(
            layer.name,
            layer_lines(layer.outputs, columns),
            lambda: layer_parts(layer, line_columns(layer.weights, segments)),
        )

    def finish(self) -> np.ndarray:
        """The image: uint8 [4, 64 * lines]."""
        image = np.zeros((WEIGHT_PARTS, LINE * self.lines), np.uint8)
        for line, make in self._makers:
            parts = make()
            image[: len(parts), LINE * line : LINE * line + parts.shape[1]] = parts
        return image
