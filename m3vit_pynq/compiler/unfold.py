# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Integer layers back to float ones: every folding of the compiler undone.

Grids of tensors come out of weights and biases, multipliers go into weights,
GELU tables become scales, logarithms to base 2 natural ones; the normalisation
of pixels leaves the patch embedding. What is lost is what rounding lost.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from m3vit_pynq.compiler.gauge import betas, gammas, gauge, row_factors, score_unit, value_gain
from m3vit_pynq.compiler.gelu_grids import TableGrids, table_grids
from m3vit_pynq.compiler.grids import INT8_LOW, Grid, joined
from m3vit_pynq.compiler.layers import (
    Block,
    DenseFfn,
    Expert,
    Linear,
    Mlp,
    MoeFfn,
    Norm,
    QuantisedModel,
)
from m3vit_pynq.compiler.quantise_ffn import LOGIT_UNITS
from m3vit_pynq.compiler.quantise_head import DEPTH_UNITS
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CheckpointError
from m3vit_pynq.reference.checkpoint import expected_shapes, gate_bias_name

#: Largest remainder of a router's bias that is left out, in natural units of a logit.
_NO_BIAS = 1e-3
#: Layers whose results are added to the residual stream.
_ADDING = ("attn.proj", "fc2", "h4toh")

Arrays = dict[str, np.ndarray]


def unfold_model(model: QuantisedModel) -> Arrays:
    """Float weights of a quantised model, float32."""
    arrays = _Unfolder(model).run()
    return {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}


def unfold(layer: Linear, source: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Float weight [outputs, K] and bias [outputs] of an integer layer."""
    factor = row_factors(layer) * target.scale
    weight = layer.weights * factor[:, None] / source.scale
    bias = layer.bias * factor + target.offset - weight @ source.offset
    return weight, bias


def residual_unit(model: QuantisedModel) -> float:
    """Real value of one unit of the residual stream, if need be from LAYERNORM's epsilon."""
    if "residual" in model.scales:
        return float(model.scales["residual"])
    eps = model.blocks[0].norm.eps
    return model.config.embed_dim * (model.config.layernorm_eps / eps) ** 0.5


class _Unfolder:
    """Turns one model back."""

    def __init__(self, model: QuantisedModel) -> None:
        self.model, self.config = model, model.config
        self.unit = residual_unit(model)
        self.residual = Grid.uniform(self.config.embed_dim, self.unit)
        self.tables = _grids_of(_with_tables(model))
        scales = {name: table.before[0] for name, table in self.tables.items()}
        self.grids = gauge(model, self.unit, scales)
        self.arrays: Arrays = {}

    def run(self) -> Arrays:
        self._embed()
        for index, block in enumerate(self.model.blocks):
            self._attention(f"backbone.blocks.{index}", block)
            if isinstance(block.ffn, DenseFfn):
                self._norm(f"backbone.blocks.{index}.norm2", block.ffn.norm)
                source = self.grids[block.ffn.norm.name]
                self._mlp(f"backbone.blocks.{index}.mlp", block.ffn.mlp, source)
            else:
                self._mixture(index, block.ffn)
        for task in range(len(self.config.tasks)):
            self._head(task)
        return self.arrays | _absent(self.config, len(self.model.blocks))

    def _put(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"] = weight, bias

    def _embed(self) -> None:
        config, model = self.config, self.model
        table = model.embedding.astype(np.float64) * self.unit
        self.arrays["backbone.cls_token"] = table[:1].reshape(1, 1, -1)
        self.arrays["backbone.pos_embed"] = np.concatenate([0 * table[:1], table[1:]])[None]
        std, mean = np.array(config.std, np.float64), np.array(config.mean, np.float64)
        pixels = config.patch_size**2
        source = Grid(np.tile(1 / (255 * std), pixels), np.tile((128 / 255 - mean) / std, pixels))
        weight, bias = unfold(model.patches, source, self.residual)
        side = config.patch_size
        weight = weight.reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
        self._put("backbone.patch_embed.proj", weight, bias)

    def _norm(self, name: str, norm: Norm, shift: np.ndarray | float = 0.0) -> None:
        grid = self.grids[norm.name]
        self._put(name, grid.scale * gammas(norm), grid.scale * betas(norm) + grid.offset + shift)

    def _attention(self, prefix: str, block: Block) -> None:
        self._norm(f"{prefix}.norm1", block.norm)
        query, key, value = (
            Grid(*parts)
            for parts in zip(
                *(np.split(a, 3) for a in vars(self.grids[block.qkv.name]).values()), strict=True
            )
        )
        # A query's zero is zero, and the scales of query and key have the layer's product.
        query = Grid(query.scale, np.zeros_like(query.scale))
        key = Grid(score_unit(block, self.config.head_dim) / query.scale, key.offset)
        target = joined(query, key, value)
        self._put(f"{prefix}.attn.qkv", *unfold(block.qkv, self.grids[block.norm.name], target))
        mixed = Grid(value.scale / value_gain(block), value.offset)
        self._put(f"{prefix}.attn.proj", *unfold(block.proj, mixed, self.residual))

    def _mlp(self, name: str, mlp: Mlp, source: Grid) -> None:
        first, first_bias, hidden = self._first(mlp.first, source)
        second, second_bias = unfold(mlp.second, hidden, self.residual)
        order = self._order(mlp.first)
        self._put(f"{name}.fc1", first[order], first_bias[order])
        self._put(f"{name}.fc2", second[:, order], second_bias)

    def _first(self, layers: Iterable[Linear], source: Grid) -> tuple[np.ndarray, np.ndarray, Grid]:
        """Layers before a GELU, side by side, and the grid behind it."""
        weights, biases, hidden = [], [], []
        for layer in layers:
            table = self.tables[layer.name]
            weight, bias = unfold(layer, source, _uniform(layer.outputs, table.before))
            weights.append(weight)
            biases.append(bias)
            hidden.append(_uniform(layer.outputs, table.after))
        return np.concatenate(weights), np.concatenate(biases), joined(*hidden)

    def _order(self, layers: tuple[Linear, ...]) -> np.ndarray:
        """Where the checkpoint's hidden channels are in the groups; as they are if unknown."""
        hidden = sum(layer.outputs for layer in layers)
        known = [self.model.channels.get(layer.name, np.empty(0, int)) for layer in layers]
        order = np.concatenate(known)
        if not np.array_equal(np.sort(order), np.arange(hidden)):
            return np.arange(hidden)
        return np.argsort(order)

    def _mixture(self, index: int, ffn: MoeFfn) -> None:
        prefix = f"backbone.blocks.{index}"
        source = self.grids[ffn.norm.name]
        shift = self._routers(index, ffn, source)
        self._norm(f"{prefix}.norm2", ffn.norm, shift)
        source = Grid(source.scale, source.offset + shift)
        experts = [self._expert(expert, source) for expert in ffn.experts]
        names = ("htoh4.weight", "htoh4.bias", "h4toh.weight", "h4toh.bias")
        for name, parts in zip(names, zip(*experts, strict=True), strict=True):
            self.arrays[f"{prefix}.mlp.experts.{name}"] = np.stack(parts)
        if ffn.shared is not None:
            self._mlp(f"{prefix}.mlp.shared", ffn.shared, source)

    def _expert(self, expert: Expert, source: Grid) -> tuple[np.ndarray, ...]:
        first, first_bias, hidden = self._first(expert.first, source)
        edges = np.cumsum([layer.outputs for layer in expert.first])[:-1]
        grids = zip(np.split(hidden.scale, edges), np.split(hidden.offset, edges), strict=True)
        pairs = [
            unfold(layer, Grid(*grid), self.residual)
            for layer, grid in zip(expert.second, grids, strict=True)
        ]
        weights, biases = zip(*pairs, strict=True)
        return first, first_bias, np.concatenate(weights, axis=1), sum(biases)

    def _routers(self, index: int, ffn: MoeFfn, source: Grid) -> np.ndarray:
        """Store the routers; what to add to the LayerNorm's bias so that they need none."""
        target = Grid.uniform(self.config.experts, 1 / LOGIT_UNITS)
        pairs = [unfold(router, source, target) for router in ffn.routers]
        shift, rest = without_bias([w for w, _ in pairs], [b for _, b in pairs])
        for task, (weight, _) in enumerate(pairs):
            self.arrays[f"backbone.blocks.{index}.mlp.gate.{task}.w_gate"] = weight.T
            if rest is not None:
                self.arrays[gate_bias_name(index, task)] = rest[task]
        return shift

    def _head(self, task: int) -> None:
        config, head = self.config, self.model.heads[task]
        name = f"decoders.{config.tasks[task].name}"
        for tap, norm in enumerate(head.norms):
            self._norm(f"{name}.norm.{tap}", norm)
        target = Grid(self.grids[head.proj.name].scale, np.zeros(head.proj.outputs))
        source = joined(*(self.grids[norm.name] for norm in head.norms))
        self._put(f"{name}.proj", *unfold(head.proj, source, target))
        for index, conv in enumerate(head.convs):
            # The integer for zero is given: it is what the map is padded with.
            source = Grid(np.tile(target.scale, 9), np.tile(-conv.pad * target.scale, 9))
            scale = self.grids[conv.linear.name].scale
            target = Grid(scale, -INT8_LOW * scale)
            weight, bias = unfold(conv.linear, source, target)
            weight = weight.reshape(len(weight), 3, 3, -1).transpose(0, 3, 1, 2)
            self._put(f"{name}.conv.{index}", weight, bias)
        self._put(f"{name}.out", *self._out(task, target))

    def _out(self, task: int, source: Grid) -> tuple[np.ndarray, np.ndarray]:
        layer, name = self.model.heads[task].out_wide, self.config.tasks[task].name
        if self.config.tasks[task].kind == "depth":
            # log2 of millimetres to the natural logarithm of metres
            weight, bias = unfold(layer, source, Grid.uniform(layer.outputs, 1 / DEPTH_UNITS))
            return weight * np.log(2), bias * np.log(2) - np.log(1000)
        # Any scale of the logits has the same argmax.
        unit = self.model.scales.get(f"{name}.out", 1 / 1024)
        return unfold(layer, source, Grid.uniform(layer.outputs, unit))


def _absent(config: ModelConfig, present: int) -> Arrays:
    """Blocks that no head needs and no program has: untrained, and adding nothing."""
    rng = np.random.default_rng(0)
    absent = tuple(f"backbone.blocks.{index}." for index in range(present, config.depth))
    arrays = {}
    for name, shape in expected_shapes(config).items():
        if not name.startswith(absent):
            continue
        if ".norm" in name and name.endswith("weight"):
            arrays[name] = np.ones(shape)
        elif name.endswith("bias") or any(part in name for part in _ADDING):
            arrays[name] = np.zeros(shape)
        else:
            arrays[name] = rng.normal(0, config.embed_dim**-0.5, shape)
    return arrays


def _uniform(channels: int, pair: tuple[float, float]) -> Grid:
    return Grid(np.full(channels, pair[0]), np.full(channels, pair[1]))


def _with_tables(model: QuantisedModel) -> Iterable[Linear]:
    """Layers before a GELU."""
    for block in model.blocks:
        if isinstance(block.ffn, DenseFfn):
            yield from block.ffn.mlp.first
            continue
        for expert in block.ffn.experts:
            yield from expert.first
        if block.ffn.shared is not None:
            yield from block.ffn.shared.first


def _grids_of(layers: Iterable[Linear]) -> dict[str, TableGrids]:
    """Grids before and behind every layer's GELU; equal tables are looked at once."""
    known: dict[bytes, TableGrids] = {}
    found = {}
    for layer in layers:
        if layer.table is None:
            raise CheckpointError(f"{layer.name} has no GELU behind it")
        content = layer.table.tobytes()
        try:
            if content not in known:
                known[content] = table_grids(layer.table)
        except ValueError as error:
            raise CheckpointError(f"{layer.name}: {error}") from None
        found[layer.name] = known[content]
    return found


def without_bias(
    weights: list[np.ndarray], biases: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray] | None]:
    """What to add to the routers' input in place of their biases.

    A constant in all logits of a router changes nothing, and is free.

    Parameters
    ----------
    weights : list of float [experts, D]
        One a task.
    biases : list of float [experts]

    Returns
    -------
    shift : float [D]
    rest : list of float [experts] or None
        Biases that remain; None if they do not matter.
    """
    centred = [w - w.mean(axis=0) for w in weights]
    wanted = [b - b.mean() for b in biases]
    matrix, right = np.concatenate(centred), np.concatenate(wanted)
    for cutoff in (0.1, 0.03, 0.01, 1e-3):  # the smallest shift that serves
        shift = np.linalg.lstsq(matrix, right, rcond=cutoff)[0]
        if np.abs(matrix @ shift - right).max() <= _NO_BIAS:
            return shift, None
    return np.zeros(matrix.shape[1]), wanted
