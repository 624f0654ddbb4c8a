# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantised layers to instructions and weight image.

Weights shared by tasks are stored once. The image is in the order in which the
first task reads it; what only a later task needs (its routers, its head)
follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.isa import Activation, Opcode, Store, lines
from m3vit_pynq.analysis.requirements import REQUIREMENTS, expert_beats, instruction_requirements
from m3vit_pynq.compiler.allocate import Tensor
from m3vit_pynq.compiler.image import ImageBuilder
from m3vit_pynq.compiler.layers import (
    Conv,
    DenseFfn,
    Head,
    Linear,
    Mlp,
    MoeFfn,
    Norm,
    QuantisedModel,
)
from m3vit_pynq.compiler.limits import check_limits
from m3vit_pynq.compiler.listing import Listing, Place
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError

_KINDS = {"segmentation": isa.TaskKind.CLASSES, "depth": isa.TaskKind.DEPTH}
#: Capacities of which smaller tiles need less.
_HELPED_BY_TILES = ("act_lines", "queue_entries", "score_elements")
_GATE_MODES = {
    "noisy_vmoe": isa.GateMode.SOFTMAX_ALL,
    "noisy": isa.GateMode.SOFTMAX_SELECTED,
}


@dataclass(frozen=True)
class Lowered:
    """A program with its image and the layer behind every instruction."""

    program: isa.Program
    weights: np.ndarray
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Choices that trade activation memory for something else.

    Attributes
    ----------
    tile_rows : int
        Tokens that a feed-forward layer takes at a time; fewer need less
        memory, and the layer's weights are read once for every tile.
    wide_logits : bool
        Class logits as int16, which need up to twice the lines.
    """

    tile_rows: int
    wide_logits: bool = True


class _TaskLowering:
    """Emits the instruction list of one task."""

    def __init__(self, model: QuantisedModel, task: int, plan: Plan, image: ImageBuilder) -> None:
        self.model, self.config, self.task, self.plan = model, model.config, task, plan
        self.image = image
        self.listing = Listing()
        self.emit = self.listing.emit
        self.dim = self.config.embed_dim
        self.row = lines(self.dim)

    def lower(self) -> Listing:
        """The whole task, from loading the frame to END."""
        head = self.model.heads[self.task]
        taps = self.config.head.taps
        tapped = Tensor("taps", self.config.tokens - 1, len(taps) * self.row)
        self._embed()
        for index, block in enumerate(self.model.blocks):
            self._attend(block)
            self._feed_forward(block.name, block.ffn)
            if index in taps:
                tap = taps.index(index)
                self._norm(
                    head.norms[tap], tapped.rows, self.dim, Place(tapped, tap * self.row),
                    tapped.stride,
                )  # fmt: skip
        self._head(head, tapped)
        self.emit("end", Opcode.END)
        return self.listing

    def _norm(self, norm: Norm, rows: int, src: int, dst: Tensor | Place, dst_stride: int) -> None:
        self.emit(
            norm.name, Opcode.LAYERNORM, rows=rows, cols_in=self.dim, src=src,
            src_stride=self.dim, dst=dst, dst_stride=dst_stride, table=self.image.norm(norm),
            shift_a=norm.shift, eps_low=norm.eps & 0xFFFFFFFF, eps_high=norm.eps >> 32,
        )  # fmt: skip

    def _linear(
        self, layer: Linear, rows: int, src: Tensor | Place, dst: Tensor | Place | int,
        *, src_stride: int, dst_stride: int, segments: int = 1,
    ) -> None:  # fmt: skip
        """A LINEAR; ``segments`` runs of input channels start on lines of their own."""
        width = layer.columns // segments
        cols_in = (segments - 1) * LINE * lines(width) + width
        weights = self.image.layer(layer, segments)
        self.emit(
            layer.name, Opcode.LINEAR, rows=rows, cols_in=cols_in, cols_out=layer.outputs, src=src,
            src_stride=src_stride, dst=dst, dst_stride=dst_stride, weights=weights,
            store=layer.store, activation=layer.activation, table=self._gelu(layer),
        )  # fmt: skip

    def _gelu(self, layer: Linear) -> int:
        if layer.activation != Activation.GELU:
            return 0
        return self.image.table(f"{layer.name}.table", layer.table)

    def _embed(self) -> None:
        config = self.config
        patches = Tensor("patches", config.tokens - 1, lines(3 * config.patch_size**2))
        table = self.image.table("pos_embed", self.model.embedding.astype("<i2"))
        self.emit(
            "pos_embed", Opcode.LOAD_RESIDUAL, rows=config.tokens, cols_out=self.dim, table=table,
            dst=0, dst_stride=self.dim,
        )  # fmt: skip
        self.emit(
            "patches", Opcode.LOAD_PATCHES, height=config.image_size[0],
            width=config.image_size[1], patch=config.patch_size, dst=patches,
            dst_stride=patches.stride,
        )  # fmt: skip
        self._linear(
            self.model.patches, patches.rows, patches, self.dim,
            src_stride=patches.stride, dst_stride=self.dim,
        )  # fmt: skip

    def _attend(self, block) -> None:
        config, tokens, row = self.config, self.config.tokens, self.row
        normed = Tensor("normed", tokens, row)
        qkv = Tensor("qkv", tokens, lines(3 * self.dim))
        mixed = Tensor("mixed", tokens, row)
        self._norm(block.norm, tokens, 0, normed, row)
        self._linear(block.qkv, tokens, normed, qkv, src_stride=row, dst_stride=qkv.stride)
        scale = block.attention
        self.emit(
            scale.name, Opcode.ATTENTION, rows=tokens, heads=config.heads,
            head_dim=config.head_dim, src=qkv, src_stride=qkv.stride, k_offset=self.dim,
            v_offset=2 * self.dim, dst=mixed, dst_stride=row, mult_a=scale.score_scale[0],
            shift_a=scale.score_scale[1], mult_b=scale.output_scale[0],
            shift_b=scale.output_scale[1],
        )  # fmt: skip
        self._linear(block.proj, tokens, mixed, 0, src_stride=row, dst_stride=self.dim)

    def _feed_forward(self, name: str, ffn: DenseFfn | MoeFfn) -> None:
        tokens, tile = self.config.tokens, self.plan.tile_rows
        for start in range(0, tokens, tile):
            rows = min(tile, tokens - start)
            normed = Tensor("normed", rows, self.row)
            self._norm(ffn.norm, rows, start * self.dim, normed, self.row)
            if isinstance(ffn, DenseFfn):
                self._mlp(ffn.mlp, start, rows, normed)
            else:
                self._mixture(name, ffn, start, rows, normed)

    def _mlp(self, mlp: Mlp, start: int, rows: int, normed: Tensor) -> None:
        hidden = Tensor("hidden", rows, lines(mlp.second.columns))
        offset = 0
        for group in mlp.first:
            self._linear(
                group, rows, normed, Place(hidden, offset), src_stride=self.row,
                dst_stride=hidden.stride,
            )  # fmt: skip
            offset += group.outputs // LINE
        self._linear(
            mlp.second, rows, hidden, start * self.dim, src_stride=hidden.stride,
            dst_stride=self.dim,
        )  # fmt: skip

    def _mixture(self, name: str, ffn: MoeFfn, start: int, rows: int, normed: Tensor) -> None:
        config = self.config
        # One decision for the whole image is taken before any expert has run.
        if not config.per_image or start == 0:
            self._route(ffn, 1 if config.per_image else rows, normed)
        if ffn.shared is not None:
            self._mlp(ffn.shared, start, rows, normed)
        self.emit(
            f"{name}.gate", Opcode.GATE, rows=rows, experts=config.experts, top_k=config.top_k,
            gate_mode=_GATE_MODES[config.router], per_image=int(config.per_image), src=0,
            src_stride=config.experts,
        )  # fmt: skip
        self._experts(name, ffn, start, rows, normed)

    def _route(self, ffn: MoeFfn, rows: int, normed: Tensor) -> None:
        """Logits to score memory, router weights of every task side by side in the image."""
        for router in ffn.routers:
            self.image.layer(router)
        self._linear(
            ffn.routers[self.task], rows, normed, 0, src_stride=self.row,
            dst_stride=self.config.experts,
        )  # fmt: skip

    def _experts(self, name: str, ffn: MoeFfn, start: int, rows: int, normed: Tensor) -> None:
        """One EXPERTS for each part of the hidden channels, all with the same queues."""
        parts = len(ffn.experts[0].first)
        for part in range(parts):
            first = [expert.first[part] for expert in ffn.experts]
            label = f"{name}.experts" if parts == 1 else f"{name}.experts.{part}"
            table = self.image.table(f"{label}.tables", np.stack([la.table for la in first]))
            weights = self.image.beats
            for expert, layer in zip(ffn.experts, first, strict=True):
                weights = min(weights, self.image.layer(layer))
                self.image.layer(expert.second[part])
            self._expert_part(label, first[0].outputs, start, rows, normed, weights, table)

    def _expert_part(
        self, label: str, hidden: int, start: int, rows: int, normed: Tensor, weights: int,
        table: int,
    ) -> None:  # fmt: skip
        config = self.config
        scratch = Tensor("scratch", rows, lines(hidden))
        self.emit(
            label, Opcode.EXPERTS, rows=rows, experts=config.experts, top_k=config.top_k,
            cols_in=self.dim, cols_out=self.dim, hidden=hidden, src=normed, src_stride=self.row,
            dst=start * self.dim, dst_stride=self.dim, scratch=scratch,
            scratch_stride=scratch.stride, weights=weights,
            expert_beats=expert_beats(self.dim, hidden, self.dim), table=table,
        )  # fmt: skip

    def _head(self, head: Head, tapped: Tensor) -> None:
        config = self.config
        height, width = config.grid
        taps = len(config.head.taps)
        features = Tensor("features", tapped.rows, lines(head.proj.outputs))
        self._linear(
            head.proj, tapped.rows, tapped, features, src_stride=tapped.stride,
            dst_stride=features.stride, segments=taps,
        )  # fmt: skip
        channels = head.proj.outputs
        for conv in head.convs:
            features = self._upsampled_conv(conv, features, channels, height, width)
            channels, height, width = conv.linear.outputs, 2 * height, 2 * width
        wide = self.plan.wide_logits or head.out is None
        out = head.out_wide if wide else head.out
        logits = Tensor("logits", height * width, lines(out.outputs * (2 if wide else 1)))
        self._linear(
            out, logits.rows, features, logits, src_stride=features.stride,
            dst_stride=logits.stride,
        )  # fmt: skip
        name = f"{config.tasks[self.task].name}.output"
        shape = {"height": height, "width": width, "factor": config.head.output_upsample}
        if head.out is None:
            self.emit(name, Opcode.OUTPUT_DEPTH, src=logits, src_stride=logits.stride, **shape)
        else:
            self.emit(
                name, Opcode.OUTPUT_CLASSES, src=logits, src_stride=logits.stride,
                cols_in=out.outputs, wide=int(wide), **shape,
            )  # fmt: skip

    def _upsampled_conv(
        self, conv: Conv, features: Tensor, channels: int, height: int, width: int
    ) -> Tensor:
        pixels = 4 * height * width
        name = conv.linear.name
        larger = Tensor("larger", pixels, features.stride)
        self.emit(
            f"{name}.upsample", Opcode.UPSAMPLE2X, height=height, width=width, cols_in=channels,
            src=features, src_stride=features.stride, dst=larger, dst_stride=larger.stride,
        )  # fmt: skip
        result = Tensor("features", pixels, lines(conv.linear.outputs))
        self.emit(
            name, Opcode.CONV3X3, height=2 * height, width=2 * width, cols_in=channels,
            cols_out=conv.linear.outputs, src=larger, src_stride=larger.stride, dst=result,
            dst_stride=result.stride, weights=self.image.layer(conv.linear, segments=9),
            store=Store.ACT8, activation=Activation.NONE, table=0, pad=conv.pad,
        )  # fmt: skip
        return result


@dataclass(frozen=True)
class Candidate:
    """All tasks lowered under one plan; the image is still to be made."""

    config: ModelConfig
    image: ImageBuilder
    tasks: tuple[isa.TaskEntry, ...]
    instructions: tuple[isa.Instruction, ...]
    layers: tuple[str, ...]

    def finish(self) -> Lowered:
        """Program and weight image."""
        weights = self.image.finish()
        program = isa.Program(
            *self.config.image_size, weights.shape[1], self.tasks, self.instructions
        )
        return Lowered(program, weights, self.layers)

    def overflow(self, board: Board) -> CapacityError | None:
        """The first instruction that needs more than the board has, as an error."""
        for name, instruction in zip(self.layers, self.instructions, strict=True):
            needs = instruction_requirements(instruction)
            for resource in REQUIREMENTS:
                if needs[resource] > getattr(board, resource):
                    return CapacityError(
                        resource, needs[resource], getattr(board, resource),
                        f"{self.config.name} on {board.title}, layer {name}",
                    )  # fmt: skip
        return None


def draft(model: QuantisedModel, plan: Plan) -> Candidate:
    """Lower all tasks with given choices, whatever memory that takes."""
    image = ImageBuilder()
    lists, names, entries, first = [], [], [], 0
    config = model.config
    pixels = config.grid[0] * config.grid[1] * config.head.enlargement**2
    for index, task in enumerate(config.tasks):
        listing = _TaskLowering(model, index, plan, image).lower()
        lists.append(listing.resolve())
        names += [item.name for item in listing.drafts]
        kind = _KINDS[task.kind]
        size = pixels * (2 if kind == isa.TaskKind.DEPTH else 1)
        entries.append(isa.TaskEntry(kind, first, len(lists[-1]), size))
        first += len(lists[-1])
    return Candidate(config, image, tuple(entries), isa.concatenate(lists), tuple(names))


def plans(tokens: int) -> list[Plan]:
    """Choices in order of preference: whole layers first, then ever smaller tiles."""
    tiles = sorted({-(-tokens // count) for count in (1, 2, 3, 4, 6, 8, 12, 16)}, reverse=True)
    return [Plan(tile, wide) for tile in tiles for wide in (True, False)]


def lower(model: QuantisedModel, board: Board | None = None) -> Lowered:
    """Compile quantised layers, for a board if one is given.

    Raises
    ------
    CapacityError
        If the model exceeds the architecture's limits or cannot fit the
        board; the message names the layer and the number.
    """
    config = model.config
    check_limits(config)
    if board is None:
        return draft(model, Plan(config.tokens)).finish()
    error = None
    for plan in plans(config.tokens):
        candidate = draft(model, plan)
        error = candidate.overflow(board)
        if error is None:
            return candidate.finish()
        if error.resource not in _HELPED_BY_TILES:
            break
    raise error
