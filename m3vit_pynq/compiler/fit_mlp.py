# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantising two layers around a GELU: a dense feed-forward layer or one expert.

The GELU is a table from int8 to int8, so hidden channels that share it share
the scales of its input and output. A dense layer's channels are sorted by
reach into groups, each with a table of its own; the second layer reads them in
that order. An expert may be cut into two parts, a pair of EXPERTS instructions each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear
from m3vit_pynq.compiler.grids import Grid, joined
from m3vit_pynq.compiler.layers import Expert, Linear, Mlp
from m3vit_pynq.compiler.search import grouped_channels, search_gelu
from m3vit_pynq.compiler.simulate import linear8, linear_residual
from m3vit_pynq.compiler.streams import Context
from m3vit_pynq.reference.float_model import gelu

#: Most groups of hidden channels of a dense layer.
_GROUPS = 4
#: Pseudo samples of the whole layer's inputs in the statistics of an expert.
_PRIOR_SAMPLES = 64.0
#: Variance of a hidden integer about which nothing is known, and its weight.
_HIDDEN_VARIANCE, _HIDDEN_SAMPLES = 100.0, 16.0
#: EXPERTS_DOWN keeps eight more fractional bits of the layer's result.
_EXPERT_SHIFT = 9
#: Reach of a group's table beyond what calibration saw.
_ROOM, _OUTLIER_ROOM = 1.3, 1.5
_ROWS = 1024


@dataclass(frozen=True)
class FloatMlp:
    """The float model's side: layers and what they compute.

    Attributes
    ----------
    before, hidden : float32 [n, hidden]
        Input and output of the GELU.
    out : float32 [n, D]
    """

    first: Affine
    second: Affine
    before: np.ndarray
    hidden: np.ndarray
    out: np.ndarray

    @classmethod
    def of(cls, first: Affine, second: Affine, inputs: np.ndarray) -> FloatMlp:
        """Run the layers on real rows [n, D]."""
        before = first(inputs)
        hidden = np.empty_like(before)
        for start in range(0, len(inputs), _ROWS):
            part = slice(start, start + _ROWS)
            hidden[part] = gelu(before[part])
        return cls(first, second, before, hidden, second(hidden))

    def rows(self, mine: np.ndarray) -> FloatMlp:
        """Only some of the rows."""
        return replace(self, before=self.before[mine], hidden=self.hidden[mine], out=self.out[mine])

    def part(self, channels: np.ndarray, index: int) -> FloatMlp:
        """Only some hidden channels; the second layer's bias stays with part 0."""
        first = Affine(
            f"{self.first.name}.{index}", self.first.weight[channels], self.first.bias[channels]
        )
        bias = self.second.bias if index == 0 else np.zeros_like(self.second.bias)
        second = Affine(f"{self.second.name}.{index}", self.second.weight[:, channels], bias)
        hidden = self.hidden[:, channels]
        return FloatMlp(first, second, self.before[:, channels], hidden, second(hidden))


@dataclass(frozen=True)
class FittedMlp:
    """The quantised layers.

    Attributes
    ----------
    channels : list of int [channels]
        The float model's channels of each group.
    grids : list of Grid
        Meaning of each group's results.
    hidden : float32 [n, hidden]
        The integers between the layers for the rows they were fitted on.
    """

    layers: Mlp
    channels: list[np.ndarray]
    grids: list[Grid]
    hidden: np.ndarray

    def record(self, context: Context) -> FittedMlp:
        """Note what the integers mean, for reports."""
        groups = zip(self.layers.first, self.grids, self.channels, strict=True)
        for layer, grid, channels in groups:
            context.grids[layer.name] = grid
            context.channels[layer.name] = channels
        return self

    def update(self) -> np.ndarray:
        """What the layers add to the residual stream, float32 integers [n, D]."""
        return linear_residual(self.layers.second, self.hidden)


def expert_parts(hidden: int, split: bool) -> tuple[int, ...]:
    """Hidden channels of the parts of an expert.

    When it is split, the last part is a line of those that reach furthest.
    """
    return (hidden - LINE, LINE) if split and hidden > LINE else (hidden,)


def _reach(before: np.ndarray, channels: int) -> np.ndarray:
    """Largest input of each channel's GELU."""
    return before.max(axis=0) if len(before) else np.zeros(channels)


def _room(index: int, groups: int) -> float:
    """Room above the range of a group; the last of several has the outliers."""
    return _OUTLIER_ROOM if index == groups - 1 > 0 else _ROOM


def _mean(rows: np.ndarray) -> np.ndarray | None:
    return rows.mean(axis=0, dtype=np.float64) if len(rows) else None


def _first_layer(
    exact: FloatMlp, mine: np.ndarray, name: str, source: Grid, moments: Moments,
    fold: np.ndarray, room: float,
) -> tuple[Linear, Grid]:  # fmt: skip
    """The first layer for some hidden channels, with their table."""
    before, mean = exact.before[:, mine], _mean(exact.before[:, mine])
    if not len(before):
        before, fold = np.repeat([[-4.0], [4.0]], len(mine), axis=1), np.ones(2, bool)
    importance = np.mean(np.square(exact.second.weight[:, mine]), axis=0)
    fit = search_gelu(before, importance, fold, room)
    layer = fit_linear(
        Affine(name, exact.first.weight[mine], exact.first.bias[mine]), source, moments,
        fit.before, table=fit.table, target_mean=mean,
    )  # fmt: skip
    return layer, fit.after


def fit_mlp(
    context: Context, exact: FloatMlp, source: Grid, inputs: np.ndarray, fold: np.ndarray
) -> FittedMlp:
    """Quantise ``second(gelu(first(x)))``.

    Parameters
    ----------
    exact : FloatMlp
        On the same rows as `inputs`.
    source : Grid
        Meaning of the inputs.
    inputs : float32 [n, D]
        Integers that the first layer reads.
    fold : bool [n]
        Rows that ranges are taken from while searching.
    """
    moments = Moments.of(inputs)
    importance = np.mean(np.square(exact.second.weight), axis=0)
    channels = grouped_channels(_reach(exact.before, len(importance)), importance, _GROUPS)
    layers, grids = [], []
    for index, mine in enumerate(channels):
        name = exact.first.name if len(channels) == 1 else f"{exact.first.name}.{index}"
        room = _room(index, len(channels))
        layer, grid = _first_layer(exact, mine, name, source, moments, fold, room)
        layers.append(layer)
        grids.append(grid)
    hidden = np.concatenate([linear8(layer, inputs) for layer in layers], axis=1)
    order, second = np.concatenate(channels), exact.second
    result = fit_linear(
        Affine(second.name, second.weight[:, order], second.bias), joined(*grids),
        Moments.of(hidden), Grid.uniform(len(second.bias), context.residual_scale),
        store=Store.RESIDUAL, target_mean=_mean(exact.out),
    )  # fmt: skip
    return FittedMlp(Mlp(tuple(layers), result), channels, grids, hidden)


@dataclass(frozen=True)
class FittedExpert:
    """A quantised expert and its hidden integers, float32 [n, channels] for each part."""

    expert: Expert
    hidden: tuple[np.ndarray, ...]


def fit_expert(
    context: Context,
    exact: FloatMlp,
    source: Grid,
    inputs: np.ndarray,
    fold: np.ndarray,
    prior: Moments,
) -> FittedExpert:
    """Quantise one expert; parameters as `fit_mlp`.

    Parameters
    ----------
    prior : Moments
        Of the inputs of all experts, to lean on where the expert's own are few.
    """
    moments = Moments.of(inputs).blended(prior, _PRIOR_SAMPLES)
    widths = expert_parts(len(exact.first.bias), context.split_experts)
    order = np.argsort(_reach(exact.before, len(exact.first.bias)), kind="stable")
    layers, hidden = [], []
    for index, mine in enumerate(np.split(order, np.cumsum(widths)[:-1])):
        part = exact.part(np.sort(mine), index) if len(widths) > 1 else exact
        every = np.arange(len(part.first.bias))
        room = _room(index, len(widths))
        first, grid = _first_layer(part, every, part.first.name, source, moments, fold, room)
        integers = linear8(first, inputs)
        unknown = Moments(1, np.zeros(len(every)), np.eye(len(every)) * _HIDDEN_VARIANCE)
        second = fit_linear(
            part.second, grid, Moments.of(integers).blended(unknown, _HIDDEN_SAMPLES),
            Grid.uniform(len(part.second.bias), context.residual_scale), store=Store.RESIDUAL,
            target_mean=_mean(part.out), least_shift=_EXPERT_SHIFT,
        )  # fmt: skip
        layers.append((first, second))
        hidden.append(integers)
    firsts, seconds = zip(*layers, strict=True)
    return FittedExpert(Expert(firsts, seconds), tuple(hidden))
