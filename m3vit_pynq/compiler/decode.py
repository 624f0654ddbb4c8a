# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A package back to the layers it was lowered from: the inverse of `lower`.

Layers are found by their names in the package's metadata; what lies where is
asked of the instructions.
"""

from __future__ import annotations

import numpy as np

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import TABLE_LINES
from m3vit_pynq.abi.isa import Activation, Instruction, Store, lines
from m3vit_pynq.compiler.gauge import read_gauge, row_factors
from m3vit_pynq.compiler.grids import multiplier
from m3vit_pynq.compiler.layers import (
    Attention,
    Block,
    Conv,
    DenseFfn,
    Expert,
    Head,
    Linear,
    Mlp,
    MoeFfn,
    Norm,
    QuantisedModel,
)
from m3vit_pynq.config import TaskConfig
from m3vit_pynq.errors import PackageError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.image import WeightImage

#: int8 results of a last layer have this many units of its int16 results.
_NARROW = 127 / 32767


def decode_model(package: Package) -> QuantisedModel:
    """The quantised model inside a package.

    Grids and channels are those that the package's metadata keeps, if any.

    Raises
    ------
    PackageError
        If the metadata do not name the layers, one is missing, or they are not what
        their names say.
    """
    try:
        return _Decoder(package).model()
    except (ValueError, TypeError, IndexError) as error:
        problem = f"the program is not of the layers named: {error}"
        raise PackageError("metadata.layers", problem) from None


class _Decoder:
    def __init__(self, package: Package) -> None:
        self.package, self.config = package, package.config
        self.image = WeightImage(package.weights, package.decoded.layout.weights_line)
        names = package.metadata.get("layers")
        if names is None:
            raise PackageError("metadata.layers", "missing: nothing says which layer is which")
        self.listing = list(zip(names, package.decoded.instructions, strict=True))
        self.code: dict[str, Instruction] = {}
        for name, instruction in self.listing:
            self.code.setdefault(name, instruction)

    def model(self) -> QuantisedModel:
        config = self.config
        code = self._find("pos_embed")
        width = LINE * lines(2 * config.embed_dim) // 2
        embedding = self.image.table(code.table, config.tokens * width, "<i2")
        grids, channels = read_gauge(self.package.metadata)
        return QuantisedModel(
            config,
            embedding.reshape(config.tokens, width)[:, : config.embed_dim].astype(np.int16),
            self._linear("patch_embed.proj"),
            tuple(self._block(index) for index in range(max(config.head.taps) + 1)),
            tuple(self._head(task) for task in config.tasks),
            self._scales(),
            grids,
            channels,
        )

    def _scales(self) -> dict[str, float]:
        """Real values of the residual stream's and the results' units."""
        scales = self.package.metadata.get("scales", {})
        if not isinstance(scales, dict):
            raise PackageError("metadata.scales", "is no JSON object")
        for name, value in scales.items():
            if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise PackageError("metadata.scales", f"{name} is {value!r}")
        return dict(scales)

    def _find(self, name: str) -> Instruction:
        if name not in self.code:
            raise PackageError("metadata.layers", f"no layer {name}")
        return self.code[name]

    def _rows(
        self, name: str, start: int, outputs: int, cols: int, store: Store,
        table: np.ndarray | None = None,
    ) -> Linear:  # fmt: skip
        rows = self.image.rows(start, outputs, cols)
        return Linear(
            name, rows.weights[:, :cols].copy(), rows.bias.astype(np.int32),
            rows.mult.astype(np.uint16), rows.shift.astype(np.uint8), store, table,
        )  # fmt: skip

    def _linear(self, name: str) -> Linear:
        code = self._find(name)
        gelu = Activation(code.activation) == Activation.GELU
        table = self.image.gelu(code.table).copy() if gelu else None
        store = Store(code.store)
        return self._rows(name, code.weights, code.cols_out, code.cols_in, store, table)

    def _norm(self, name: str) -> Norm:
        code = self._find(name)
        gamma, beta = self.image.layernorm(code.table, code.cols_in)
        eps = code.eps_low | code.eps_high << 32
        return Norm(name, gamma.copy(), beta.copy(), code.shift_a, eps)

    def _block(self, index: int) -> Block:
        name = f"blocks.{index}"
        code = self._find(f"{name}.attn")
        attention = Attention(
            f"{name}.attn", (code.mult_a, code.shift_a), (code.mult_b, code.shift_b), code.passes
        )
        routed = index in self.config.moe_blocks
        return Block(
            name, self._norm(f"{name}.norm1"), self._qkv(f"{name}.attn.qkv", code), attention,
            self._linear(f"{name}.attn.proj"), self._mixture(name) if routed else self._dense(name),
        )  # fmt: skip

    def _qkv(self, name: str, attention: Instruction) -> Linear:
        """Queries, keys and values; each begins with a plane, padding is left out."""
        layer, dim = self._linear(name), self.config.embed_dim
        starts = (LINE * plane for plane in (0, attention.k_offset, attention.v_offset))
        return _taken(layer, np.concatenate([start + np.arange(dim) for start in starts]))

    def _parts(self, name: str, ending: str = "") -> list[str]:
        """A layer in one piece, or its numbered parts."""
        if f"{name}{ending}" in self.code:
            return [f"{name}{ending}"]
        parts: list[str] = []
        while f"{name}.{len(parts)}{ending}" in self.code:
            parts.append(f"{name}.{len(parts)}{ending}")
        if not parts:
            raise PackageError("metadata.layers", f"no layer {name}")
        return parts

    def _mlp(self, name: str) -> Mlp:
        first = tuple(self._linear(part) for part in self._parts(f"{name}.fc1"))
        return Mlp(first, self._linear(f"{name}.fc2"))

    def _dense(self, name: str) -> DenseFfn:
        return DenseFfn(self._norm(f"{name}.norm2"), self._mlp(f"{name}.mlp"))

    def _mixture(self, name: str) -> MoeFfn:
        config = self.config
        routers = tuple(self._linear(f"{name}.mlp.gate.{t}") for t in range(len(config.tasks)))
        parts = [part.removesuffix(".up") for part in self._parts(f"{name}.experts", ".up")]
        experts = tuple(self._expert(name, parts, index) for index in range(config.experts))
        shared = self._mlp(f"{name}.mlp.shared") if config.shared_hidden else None
        return MoeFfn(self._norm(f"{name}.norm2"), routers, experts, shared)

    def _expert(self, block: str, parts: list[str], index: int) -> Expert:
        prefix, layers = f"{block}.mlp.experts.{index}", []
        for number, part in enumerate(parts):
            suffix = f".{number}" if len(parts) > 1 else ""
            up, down = self._find(f"{part}.up"), self._find(f"{part}.down")
            gelu = Activation(up.activation) == Activation.GELU
            table = self.image.gelu(up.table + index * TABLE_LINES).copy() if gelu else None
            first = self._rows(
                f"{prefix}.htoh4{suffix}", up.weights + index * up.expert_lines, up.cols_out,
                up.cols_in, Store.ACT8, table,
            )  # fmt: skip
            second = self._rows(
                f"{prefix}.h4toh{suffix}", down.weights + index * down.expert_lines, down.cols_out,
                down.cols_in, Store.RESIDUAL,
            )  # fmt: skip
            layers.append((first, second))
        firsts, seconds = zip(*layers, strict=True)
        return Expert(firsts, seconds)

    def _head(self, task: TaskConfig) -> Head:
        config, name = self.config, task.name
        taps, channels = len(config.head.taps), config.head.channels
        proj = _narrowed(self._linear(f"{name}.proj"), taps, config.embed_dim)
        out, wide = self._out(task)
        return Head(
            tuple(self._norm(f"{name}.norm.{tap}") for tap in range(taps)), proj,
            tuple(self._conv(f"{name}.conv.{j}") for j in range(len(channels) - 1)), out, wide,
        )  # fmt: skip

    def _conv(self, name: str) -> Conv:
        code = self._find(name)
        cols = 9 * LINE * lines(code.cols_in)
        layer = self._rows(name, code.weights, code.cols_out, cols, Store.ACT8)
        return Conv(_narrowed(layer, 9, code.cols_in), code.pad)

    def _out(self, task: TaskConfig) -> tuple[Linear | None, Linear]:
        """The last layer with int8 and with int16 results; the program has one of them."""
        found = self._linear(f"{task.name}.out")
        if task.kind == "depth":
            return None, found
        if found.store == Store.ACT8:
            return found, _rescaled(found, 1 / _NARROW, Store.ACT16)
        return _rescaled(found, _NARROW, Store.ACT8), found


def _taken(layer: Linear, rows: np.ndarray) -> Linear:
    """Some rows of a layer."""
    parts = (layer.weights[rows], layer.bias[rows], layer.mult[rows], layer.shift[rows])
    return Linear(layer.name, *parts, layer.store, layer.table)


def _narrowed(layer: Linear, segments: int, width: int) -> Linear:
    """Without the padding that brings each of several runs of columns to whole lines."""
    step = LINE * lines(width)
    full = np.zeros((layer.outputs, segments * step), np.int8)
    full[:, : layer.columns] = layer.weights
    kept = full.reshape(layer.outputs, segments, step)[:, :, :width]
    return Linear(**{**vars(layer), "weights": kept.reshape(layer.outputs, -1)})


def _rescaled(layer: Linear, factor: float, store: Store) -> Linear:
    """The same layer with results in other units."""
    mult, shift = multiplier(row_factors(layer) * factor)
    return Linear(**{**vars(layer), "mult": mult, "shift": shift, "store": store})
