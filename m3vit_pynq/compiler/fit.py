# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""One float layer to one integer layer, given what flows through it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.grids import INT8_HIGH, INT8_LOW, Grid, multiplier
from m3vit_pynq.compiler.layers import Linear, Norm
from m3vit_pynq.compiler.rounding import Feedback, round_compensated, row_scales
from m3vit_pynq.errors import CapacityError

#: Bound that no accumulator may reach, proven from weights and bias.
ACCUMULATOR_LIMIT = 1 << 26
#: Part of it that a bias may take; how much coarser a row gets that exceeds the bound, how often.
_BIAS_LIMIT, _COARSER, _TRIES = 1 << 24, 1.25, 8

#: Rows that are enough for a covariance.
_SAMPLE = 6000
#: Samples below which a mean is not trusted to correct a bias.
_ENOUGH = 64


@dataclass(frozen=True)
class Affine:
    """A float layer: ``weight @ x + bias``; weight [outputs, K], bias [outputs]."""

    name: str
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return inputs @ self.weight.T + self.bias


@dataclass(frozen=True)
class Moments:
    """Mean [K] and covariance [K, K] of a layer's integer inputs."""

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    @cached_property
    def feedback(self) -> Feedback:
        """Error feedback for weights that read these inputs."""
        return Feedback.of(self.covariance)

    @classmethod
    def of(cls, inputs: np.ndarray) -> Moments:
        """Moments of rows [n, K]; zero for no rows.

        The covariance of very many rows is that of an even sample.
        """
        rows = inputs.astype(np.float32, copy=False)
        mean = rows.sum(axis=0, dtype=np.float64) / max(len(rows), 1)
        sample = rows[:: max(1, len(rows) // _SAMPLE)]
        centred = sample - mean.astype(np.float32)
        covariance = (centred.T @ centred).astype(np.float64) / max(len(sample), 1)
        return cls(len(inputs), mean, covariance)

    def blended(self, prior: Moments, weight: float) -> Moments:
        """Covariance with ``weight`` pseudo samples of another one; the own mean."""
        total = self.count + weight
        covariance = (self.count * self.covariance + weight * prior.covariance) / total
        return Moments(self.count, self.mean if self.count else prior.mean, covariance)


def fit_linear(
    layer: Affine,
    source: Grid,
    moments: Moments,
    target: Grid,
    *,
    store: Store = Store.ACT8,
    target_mean: np.ndarray | None = None,
    table: np.ndarray | None = None,
    least_shift: int = 1,
) -> Linear:
    """Quantise a layer.

    Parameters
    ----------
    source : Grid
        Meaning of the integer inputs.
    moments : Moments
        Of the integer inputs.
    target : Grid
        Meaning of the integer results, whatever their width.
    target_mean : float [outputs], optional
        Mean result of the float model; the bias is set so that the mean
        result of the integers is the same.

    Raises
    ------
    CapacityError
        If an accumulator could reach 2**26 however coarse its row is.
    """
    weight = layer.weight.astype(np.float64) * source.scale
    bias = layer.bias + layer.weight.astype(np.float64) @ source.offset
    scale = row_scales(weight, np.diag(moments.covariance) + 1e-6)
    # A row of zeros has no scale of its own; its bias needs one.
    scale = np.maximum(scale, (np.abs(bias) + np.abs(target.offset)) / _BIAS_LIMIT)
    wanted = weight @ moments.mean + bias
    if target_mean is not None and moments.count >= _ENOUGH:
        wanted = target_mean
    for _ in range(_TRIES):
        rounded = round_compensated(weight, scale, moments.feedback)
        integer_bias = np.rint(
            (wanted - (rounded @ moments.mean) * scale - target.offset) / scale
        ).astype(np.int64)
        over = largest_accumulators(rounded, integer_bias) >= ACCUMULATOR_LIMIT
        if not over.any():
            break
        scale = np.where(over, _COARSER * scale, scale)
    mult, shift = multiplier(scale / target.scale, least_shift)
    integers = rounded.astype(np.int8)
    return prove_accumulators(Linear(layer.name, integers, integer_bias, mult, shift, store, table))


def largest_accumulators(weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What the accumulator of each output can reach with any int8 input, int64 [outputs]."""
    return np.abs(bias.astype(np.int64)) + 128 * np.abs(weights).sum(axis=1).astype(np.int64)


def prove_accumulators(layer: Linear) -> Linear:
    """The layer with an int32 bias, if no input can bring an accumulator to 2**26.

    Raises
    ------
    CapacityError
        Naming the layer and the bound.
    """
    largest = int(largest_accumulators(layer.weights.astype(np.int16), layer.bias).max())
    if largest >= ACCUMULATOR_LIMIT:
        raise CapacityError("accumulator", largest, ACCUMULATOR_LIMIT - 1, f"layer {layer.name}")
    return replace(layer, bias=layer.bias.astype(np.int32))


def fit_norm(name: str, gamma: np.ndarray, beta: np.ndarray, target: Grid, eps: int) -> Norm:
    """A LAYERNORM whose integers mean ``target``.

    Parameters
    ----------
    eps : int
        In integer units, see ``docs/numerics.md``.
    """
    factor = gamma.astype(np.float64) / target.scale  # integers per unit of z
    offset = (beta - target.offset) / target.scale
    # z has 14 fractional bits; gamma as large as int16, beta within int32.
    largest = max(np.abs(factor).max(), 1e-12)
    shift = int(np.floor(np.log2(32767 / largest))) + 14
    room = int(np.floor(np.log2((2**31 - 1) / max(np.abs(offset).max(), 1.0))))
    shift = int(np.clip(min(shift, room), 1, 31))
    return Norm(
        name,
        np.clip(np.rint(np.ldexp(factor, shift - 14)), -32768, 32767).astype(np.int16),
        np.rint(np.ldexp(offset, shift)).astype(np.int32),
        shift,
        eps,
    )


def gelu_table(source: Grid, target: Grid, gelu) -> np.ndarray:
    """The 256 results of ``gelu`` between two uniform grids, int8."""
    integers = np.arange(INT8_LOW, INT8_HIGH + 1)
    real = gelu(integers * source.scale[0] + source.offset[0])
    scaled = np.rint((real - target.offset[0]) / target.scale[0])
    return np.clip(scaled, INT8_LOW, INT8_HIGH).astype(np.int8)
