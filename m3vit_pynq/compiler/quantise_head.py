# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantising a task head: tap norms, projection, convolutions, output layer.

Maps between convolutions are sampled in a zero-padded neighbourhood, so zero
is the same integer in every channel: 0 for the projection, -128 after a ReLU,
which saturation then computes.
"""

from __future__ import annotations

import numpy as np

from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear, fit_norm
from m3vit_pynq.compiler.grids import INT8_HIGH, INT8_LOW, Grid, joined
from m3vit_pynq.compiler.layers import Conv, Head, Linear, Norm
from m3vit_pynq.compiler.quantise_attention import short_name
from m3vit_pynq.compiler.search import search_norm
from m3vit_pynq.compiler.simulate import linear8, norm8
from m3vit_pynq.compiler.streams import Context, Stream, folds, rows
from m3vit_pynq.config import TaskConfig
from m3vit_pynq.reference.float_model import bilinear, convolve3x3
from m3vit_pynq.reference.linear import neighbourhoods
from m3vit_pynq.reference.outputs import upsample2x

#: Units of OUTPUT_DEPTH: log2 of millimetres with 11 fractional bits.
DEPTH_UNITS = 2048
_CONV_FRAMES = 6
#: Room above the ranges seen in calibration.
_MARGIN = 1.15
_HEADROOM = 1.25


class HeadQuantiser:
    """Quantises the head of one task."""

    def __init__(self, context: Context, task: TaskConfig, stream: Stream) -> None:
        self.context, self.task, self.stream = context, task, stream
        self.config = context.config
        self.prefix = f"decoders.{task.name}"

    def run(self) -> Head:
        """All layers of the head."""
        norms, inputs, grid = self._taps()
        proj, features, exact, grid = self._proj(inputs, grid)
        convs, zero = [], 0
        for index in range(len(self.config.head.channels) - 1):
            conv, features, exact, grid = self._conv(index, features, exact, grid, zero)
            convs.append(conv)
            zero = INT8_LOW
        out, wide = self._out(features, exact, grid)
        return Head(norms, proj, tuple(convs), out, wide)

    def _affine(self, name: str) -> Affine:
        array = self.context.array
        full = f"{self.prefix}.{name}"
        return Affine(short_name(full), array(f"{full}.weight"), array(f"{full}.bias"))

    def _taps(self) -> tuple[tuple[Norm, ...], np.ndarray, Grid]:
        """Norms of the taps, their integers side by side and what these mean."""
        context, dim = self.context, self.config.embed_dim
        weight = self._affine("proj").weight
        norms, integers, grids = [], [], []
        for tap, (_, integer) in enumerate(self.stream.taps):
            name = f"{self.prefix}.norm.{tap}"
            real = context.norm_of_integers(name, integer)
            columns = weight[:, tap * dim : (tap + 1) * dim]
            grid = search_norm(rows(real), columns, folds([real]))
            norm = fit_norm(
                short_name(name), context.array(f"{name}.weight"),
                context.array(f"{name}.bias"), grid, context.eps,
            )  # fmt: skip
            context.grids[norm.name] = grid
            norms.append(norm)
            grids.append(grid)
            integers.append(norm8(norm, integer))
        return tuple(norms), np.concatenate(integers, axis=-1), joined(*grids)

    def _proj(
        self, inputs: np.ndarray, source: Grid
    ) -> tuple[Linear, np.ndarray, np.ndarray, Grid]:
        layer = self._affine("proj")
        exact = np.concatenate(
            [
                self.context.norm(f"{self.prefix}.norm.{tap}", real)
                for tap, (real, _) in enumerate(self.stream.taps)
            ],
            axis=-1,
        )
        exact = layer(exact)
        reach = np.maximum(np.abs(rows(exact)).max(axis=0) * _MARGIN, 1e-6).astype(np.float64)
        target = Grid(reach / INT8_HIGH, np.zeros_like(reach))
        quantised = fit_linear(
            layer, source, Moments.of(rows(inputs)), target,
            target_mean=rows(exact).mean(axis=0, dtype=np.float64),
        )  # fmt: skip
        self.context.grids[quantised.name] = target
        shape = (len(inputs), *self.config.grid, len(reach))
        features = linear8(quantised, inputs).reshape(shape)
        count = min(_CONV_FRAMES, len(inputs))
        return quantised, features[:count], exact.reshape(shape)[:count], target

    def _conv(
        self, index: int, features: np.ndarray, exact: np.ndarray, source: Grid, zero: int
    ) -> tuple[Conv, np.ndarray, np.ndarray, Grid]:
        float_layer = self._affine(f"conv.{index}")
        exact = np.stack(
            [
                np.maximum(convolve3x3(bilinear(image, 2), float_layer.weight, float_layer.bias), 0)
                for image in exact
            ]
        )
        reach = np.maximum(rows(exact).max(axis=0) * _MARGIN, 1e-3 * exact.max() + 1e-6)
        scale = reach.astype(np.float64) / (INT8_HIGH - INT8_LOW)
        target = Grid(scale, -INT8_LOW * scale)
        columns = np.stack(
            [neighbourhoods(upsample2x(image.astype(np.int8)), zero) for image in features]
        ).astype(np.float32)
        outputs = len(float_layer.weight)
        matrix = float_layer.weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
        quantised = fit_linear(
            Affine(float_layer.name, matrix, float_layer.bias),
            Grid(np.tile(source.scale, 9), np.tile(source.offset, 9)),
            Moments.of(rows(columns)),
            target,
        )
        self.context.grids[quantised.name] = target
        self.context.grids[f"{quantised.name}.upsample"] = source
        result = linear8(quantised, rows(columns)).reshape(exact.shape)
        return Conv(quantised, zero), result, exact, target

    def _out(
        self, features: np.ndarray, exact: np.ndarray, source: Grid
    ) -> tuple[Linear | None, Linear]:
        layer = self._affine("out")
        moments = Moments.of(rows(features))
        if self.task.kind == "depth":
            # Natural logarithm of metres to log2 of millimetres.
            per_unit = np.float32(1 / np.log(2))
            bias = layer.bias * per_unit + np.float32(np.log2(1000))
            log2_millimetres = Affine(layer.name, layer.weight * per_unit, bias)
            target = Grid.uniform(1, 1 / DEPTH_UNITS)
            self.context.grids[layer.name] = target
            return None, self._output(log2_millimetres, source, moments, target, exact)
        reach = float(np.abs(layer(rows(exact))).max()) * _HEADROOM
        narrow = Grid.uniform(len(layer.bias), max(reach, 1e-6) / INT8_HIGH)
        wide = Grid.uniform(len(layer.bias), max(reach, 1e-6) / 32767)
        self.context.grids.update({layer.name: wide, f"{layer.name}.narrow": narrow})
        out = self._output(layer, source, moments, narrow, exact)
        out_wide = self._output(layer, source, moments, wide, exact)
        return Linear(**{**vars(out), "store": Store.ACT8}), out_wide

    def _output(
        self, layer: Affine, source: Grid, moments: Moments, target: Grid, exact: np.ndarray
    ) -> Linear:
        mean = layer(rows(exact)).mean(axis=0, dtype=np.float64)
        return fit_linear(layer, source, moments, target, store=Store.ACT16, target_mean=mean)
