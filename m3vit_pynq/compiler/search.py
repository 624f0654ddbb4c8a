# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Searching the scales of a tensor for the least error of what is computed from it.

A range seen in few frames is soon exceeded in others, and clipping costs more
than a coarser step. So a candidate takes its range from one half of the
calibration frames (the rows of ``fold``), is judged on the other half, and the
winner's rule is then applied to the range of all of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from itertools import product

import numpy as np

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.compiler.fit import gelu_table
from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.compiler.rounding import round_to_nearest
from m3vit_pynq.reference.float_model import gelu

_MIGRATION = (1.0, 0.8, 0.6)
_KEEP = (1.3, 1.15, 1.0, 0.87, 0.75, 0.62)
#: Lower ends of a GELU's input that are tried.
GELU_LOW = (-5.0, -4.0, -3.4, -2.9, -2.4)
#: Where GELU is least.
GELU_VALLEY = -0.7518


def thinned(rows: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` rows, evenly spaced."""
    step = max(1, -(-len(rows) // count))
    return rows[::step]


@dataclass(frozen=True)
class Range:
    """Least, mean and greatest value of every channel."""

    low: np.ndarray
    mean: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Range:
        """Of rows [n, channels], n >= 1."""
        return cls(
            rows.min(axis=0).astype(np.float64), rows.mean(axis=0, dtype=np.float64),
            rows.max(axis=0).astype(np.float64),
        )  # fmt: skip

    def kept(self, keep: float) -> tuple[np.ndarray, np.ndarray]:
        """Middle and half width after scaling the range about the mean by ``keep``."""
        low = self.mean + (self.low - self.mean) * keep
        high = self.mean + (self.high - self.mean) * keep
        return (low + high) / 2, np.maximum((high - low) / 2, 1e-6)


def judged(fold: np.ndarray) -> np.ndarray:
    """Rows that candidates are judged on: those not in the fold, or all."""
    return fold if fold.all() else ~fold


def migrated(middle: np.ndarray, half: np.ndarray, columns: np.ndarray, exponent: float) -> Grid:
    """Grid between per-channel (exponent 1) and weight-aware scales.

    Every channel's range is covered; channels whose weights are small get a
    coarser grid as the exponent falls, which evens out the weights.
    """
    shape = half**exponent * np.maximum(columns, columns.max() * 1e-3) ** (exponent - 1)
    half = shape * np.max(half / shape)
    return Grid.covering(middle - half, middle + half)


def search_norm(rows: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> Grid:
    """Grid of a normalised token that serves the layers reading it best.

    Parameters
    ----------
    rows : float32 [n, D]
        Real values of the tensor.
    weight : float [outputs, D]
        Rows of all layers that read it.
    fold : bool [n]
    """
    weight = thinned(weight, 512).astype(np.float32)
    sample = thinned(rows[judged(fold)], 1024)
    exact = sample @ weight.T
    columns = np.sqrt(np.mean(np.square(weight, dtype=np.float64), axis=0))
    seen, best, least = Range.of(rows[fold]), (1.0, 1.0), np.inf
    for exponent, keep in product(_MIGRATION, _KEEP):
        grid = migrated(*seen.kept(keep), columns, exponent)
        scaled = weight * grid.scale.astype(np.float32)
        scale = np.maximum(np.abs(scaled).max(axis=1), 1e-12) / 127
        rounded = (round_to_nearest(scaled, scale) * scale[:, None]).astype(np.float32)
        result = grid.quantise(sample) @ rounded.T + (weight @ grid.offset.astype(np.float32))
        error = float(np.mean(np.square(result - exact)))
        if error < least:
            best, least = (exponent, keep), error
    exponent, keep = best
    return migrated(*Range.of(rows).kept(keep), columns, exponent)


@dataclass(frozen=True)
class GeluFit:
    """Grids before and after a GELU, and the table between them."""

    before: Grid
    after: Grid
    table: np.ndarray

    @classmethod
    def covering(cls, low: float, high: float) -> GeluFit:
        """For inputs from ``low`` to ``high``, one channel."""
        high = max(high, low + 0.5)
        before = Grid.covering(np.array([low]), np.array([high]))
        ends = gelu(np.array([min(max(low, GELU_VALLEY), high), high]))
        after = Grid.covering(np.array([ends.min()]), np.array([max(ends.max(), 0.02)]))
        return cls(before, after, gelu_table(before, after, gelu))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """GELU through the table: real values [n] to real values."""
        index = self.before.quantise(values[:, None])[:, 0].astype(np.int16) + 128
        return self.after.dequantise(self.table[index].astype(np.float32)[:, None])[:, 0]

    def widened(self, channels: int) -> GeluFit:
        """The same for several channels."""
        return GeluFit(
            *(
                Grid(np.repeat(grid.scale, channels), np.repeat(grid.offset, channels))
                for grid in (self.before, self.after)
            ),
            self.table,
        )


def search_gelu(
    values: np.ndarray, importance: np.ndarray, fold: np.ndarray, room: float = 1.0
) -> GeluFit:
    """Grids of a GELU's input and output that keep its output closest.

    Parameters
    ----------
    values : float [n, channels]
        Real values of the input, n >= 1.
    importance : float [channels]
        Cost of an error in each channel.
    fold : bool [n]
    room : float
        Reach beyond the largest input seen: among the furthest channels are
        outliers, and clipping one costs more than a coarser step.
    """
    channels = values.shape[1]
    if fold.all() or not fold.any():
        fold = np.ones(len(values), bool)
    sample = thinned(values[judged(fold)], max(64, (1 << 16) // channels))
    weights = np.broadcast_to(importance, sample.shape).reshape(-1)
    sample = sample.reshape(-1)
    exact = gelu(sample)
    seen, every = values[fold], values
    best, least = (GELU_LOW[0], 1.0), np.inf
    for low, keep in product(GELU_LOW, _KEEP):
        fit = GeluFit.covering(max(low, float(seen.min()) - 0.2), float(seen.max()) * keep)
        error = float(np.square(fit(sample) - exact) @ weights)
        if error < least:
            best, least = (low, keep), error
    low, keep = best
    high = float(every.max()) * max(keep, 1.0) * room
    fit = GeluFit.covering(max(low, float(every.min()) - 0.2), high)
    return fit.widened(channels)


def grouped_channels(reach: np.ndarray, importance: np.ndarray, most: int) -> list[np.ndarray]:
    """Hidden channels in groups of similar reach, smallest first.

    The borders are those with the least expected noise: the step of a group
    follows its furthest channel. Groups are whole lines of the workspace.

    Parameters
    ----------
    reach : float [channels]
        Largest input of each channel's GELU.
    importance : float [channels]
        Cost of an error in each channel.
    most : int
        Groups at most.
    """
    order = np.argsort(reach, kind="stable")
    edges = [*range(0, len(order), LINE), len(order)]
    weights = np.concatenate([[0.0], np.cumsum(importance[order])])

    def noise(start: int, stop: int) -> float:
        step = max(float(reach[order[stop - 1]]), 0.0) - GELU_LOW[2]
        return float(weights[stop] - weights[start]) * step**2

    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for _ in range(most):
        best = {
            stop: min(
                (cost + (noise(start, stop) if stop > start else 0.0), [*borders, stop])
                for start, (cost, borders) in best.items()
                if start <= stop
            )
            for stop in edges
        }
    borders = sorted({0, *best[len(order)][1]})
    return [np.sort(order[a:b]) for a, b in itertools.pairwise(borders)]
