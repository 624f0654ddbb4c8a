# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The instruction list of one task: encoder with its routers and experts, and head.

All tensors, the residual stream among them, lie in the workspace. Experts leave
their results in slots; the next LAYERNORM, whichever it is, adds them to the
residual stream of all tokens. So every LAYERNORM covers all tokens, and a
head's projection skips the class token's row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import Activation, Opcode, Store, layer_lines, lines
from m3vit_pynq.compiler.allocate import Tensor
from m3vit_pynq.compiler.image import ImageBuilder, residual_table, whole_lines
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
from m3vit_pynq.compiler.listing import Listing, Place, Stored

_GATE_MODES = {
    "noisy_vmoe": isa.GateMode.SOFTMAX_ALL,
    "noisy": isa.GateMode.SOFTMAX_SELECTED,
}


@dataclass(frozen=True)
class Plan:
    """Choices that trade accuracy for a board's buffers.

    Attributes
    ----------
    wide_logits : bool
        Class logits as int16, of which a map row needs up to twice the lines.
    """

    wide_logits: bool = True


class TaskLowering:
    """Emits the instruction list of one task."""

    def __init__(self, model: QuantisedModel, task: int, plan: Plan, image: ImageBuilder) -> None:
        self.model, self.config, self.task, self.plan = model, model.config, task, plan
        self.image = image
        self.listing = Listing()
        self.emit = self.listing.emit
        self.dim, self.tokens = self.config.embed_dim, self.config.tokens
        self.row = lines(self.dim)
        self.residual = Tensor("residual", self.tokens, lines(2 * self.dim))
        # Slots that the next LAYERNORM has to add.
        self.slots: Tensor | None = None

    def lower(self) -> Listing:
        """The whole task, from loading the frame to END, without blocks that no tap sees."""
        head = self.model.heads[self.task]
        taps = self.config.head.taps
        tapped = Tensor("taps", self.tokens, len(taps) * self.row)
        self._embed()
        for index, block in enumerate(self.model.blocks[: max(taps) + 1]):
            self._attend(block)
            self._feed_forward(block.name, block.ffn)
            if index in taps:
                tap = taps.index(index)
                self._norm(head.norms[tap], Place(tapped, tap * self.row), tapped.stride)
        self._head(head, tapped)
        self.emit("end", Opcode.END)
        return self.listing

    # Pieces

    def _norm(self, norm: Norm, dst: Tensor | Place, dst_stride: int) -> None:
        """A LAYERNORM of all tokens, which also adds what experts left in slots."""
        pending: dict[str, Tensor | int] = {}
        if self.slots is not None:
            pending = {"slots": self.slots.rows // self.tokens, "slot_base": self.slots}
            self.slots = None
        self.emit(
            norm.name, Opcode.LAYERNORM, rows=self.tokens, cols_in=self.dim, src=self.residual,
            src_stride=self.residual.stride, dst=dst, dst_stride=dst_stride,
            table=self.image.norm(norm), shift_a=norm.shift, eps_low=norm.eps & 0xFFFFFFFF,
            eps_high=norm.eps >> 32, **pending,
        )  # fmt: skip

    def _linear(
        self, layer: Linear, rows: int, src: Tensor | Place, dst: Tensor | Place,
        *, src_stride: int, dst_stride: int, segments: int = 1, planar: bool = False,
    ) -> None:  # fmt: skip
        """A LINEAR; ``segments`` runs of input channels start on lines of their own."""
        width = layer.columns // segments
        cols_in = (segments - 1) * LINE * lines(width) + width
        weights = self.image.layer(layer, segments)
        self.emit(
            layer.name, Opcode.LINEAR, rows=rows, cols_in=cols_in, cols_out=layer.outputs, src=src,
            src_stride=src_stride, dst=dst, dst_stride=dst_stride, weights=weights,
            store=layer.store, activation=layer.activation, table=self._gelu(layer),
            planar=int(planar),
        )  # fmt: skip

    def _add(self, layer: Linear, src: Tensor, first: int = 0) -> None:
        """A LINEAR to the residual stream, from row ``first`` on."""
        dst = Place(self.residual, first * self.residual.stride)
        self._linear(
            layer, self.tokens - first, src, dst, src_stride=src.stride,
            dst_stride=self.residual.stride,
        )  # fmt: skip

    def _gelu(self, layer: Linear) -> Stored | int:
        if layer.activation != Activation.GELU:
            return 0
        return self.image.table(f"{layer.name}.table", layer.table)

    # Encoder

    def _embed(self) -> None:
        config = self.config
        patches = Tensor("patches", self.tokens - 1, lines(3 * config.patch_size**2))
        table = self.image.table("pos_embed", residual_table(self.model.embedding))
        self.emit(
            "pos_embed", Opcode.LOAD_RESIDUAL, rows=self.tokens, cols_out=self.dim, table=table,
            dst=self.residual, dst_stride=self.residual.stride,
        )  # fmt: skip
        self.emit(
            "patches", Opcode.LOAD_PATCHES, height=config.image_size[0],
            width=config.image_size[1], patch=config.patch_size, dst=patches,
            dst_stride=patches.stride,
        )  # fmt: skip
        self._add(self.model.patches, patches, first=1)

    def _attend(self, block: Block) -> None:
        """Queries, keys and values lie in planes of 64 channels; each begins with a plane."""
        normed = Tensor("normed", self.tokens, self.row)
        qkv = Tensor("qkv", 3 * self.row, self.tokens)
        mixed = Tensor("mixed", self.tokens, self.row)
        self._norm(block.norm, normed, self.row)
        self._linear(
            whole_lines(block.qkv, 3), self.tokens, normed, qkv, src_stride=self.row,
            dst_stride=qkv.stride, planar=True,
        )  # fmt: skip
        self._attention(block.attention, qkv, mixed)
        self._add(block.proj, mixed)

    def _attention(self, attention: Attention, qkv: Tensor, mixed: Tensor) -> None:
        config = self.config
        (mult_a, shift_a), (mult_b, shift_b) = attention.score_scale, attention.output_scale
        self.emit(
            attention.name, Opcode.ATTENTION, rows=self.tokens, heads=config.heads,
            head_dim=config.head_dim, src=qkv, src_stride=qkv.stride, k_offset=self.row,
            v_offset=2 * self.row, dst=mixed, dst_stride=mixed.stride, mult_a=mult_a,
            shift_a=shift_a, mult_b=mult_b, shift_b=shift_b, passes=attention.passes,
        )  # fmt: skip

    def _feed_forward(self, name: str, ffn: DenseFfn | MoeFfn) -> None:
        normed = Tensor("normed", self.tokens, self.row)
        self._norm(ffn.norm, normed, self.row)
        if isinstance(ffn, DenseFfn):
            self._mlp(ffn.mlp, normed)
        else:
            self._mixture(name, ffn, normed)

    def _mlp(self, mlp: Mlp, normed: Tensor) -> None:
        hidden = Tensor("hidden", self.tokens, lines(mlp.second.columns))
        offset = 0
        for group in mlp.first:
            self._linear(
                group, self.tokens, normed, Place(hidden, offset), src_stride=self.row,
                dst_stride=hidden.stride,
            )  # fmt: skip
            offset += group.outputs // LINE
        self._add(mlp.second, hidden)

    def _mixture(self, name: str, ffn: MoeFfn, normed: Tensor) -> None:
        scores = self._route(ffn, normed)
        if ffn.shared is not None:
            self._mlp(ffn.shared, normed)
        config = self.config
        records = Tensor("records", self.tokens, 1)
        self.emit(
            f"{name}.gate", Opcode.GATE, rows=self.tokens, experts=config.experts,
            top_k=config.top_k, gate_mode=_GATE_MODES[config.router],
            per_image=int(config.per_image), src=scores, src_stride=scores.stride, dst=records,
        )  # fmt: skip
        parts = len(ffn.experts[0].first)
        slots = Tensor("slots", parts * config.top_k * self.tokens, self.residual.stride)
        for part in range(parts):
            label = f"{name}.experts" if parts == 1 else f"{name}.experts.{part}"
            self._experts(label, ffn.experts, part, normed, records, slots)
        self.slots = slots

    def _route(self, ffn: MoeFfn, normed: Tensor) -> Tensor:
        """Router logits; router weights of every task lie side by side in the image."""
        for router in ffn.routers:
            self.image.layer(router)
        rows = 1 if self.config.per_image else self.tokens
        scores = Tensor("scores", rows, lines(4 * self.config.experts))
        self._linear(
            ffn.routers[self.task], rows, normed, scores, src_stride=self.row,
            dst_stride=scores.stride,
        )  # fmt: skip
        return scores

    def _experts(
        self, label: str, experts: tuple[Expert, ...], part: int, normed: Tensor,
        records: Tensor, slots: Tensor,
    ) -> None:  # fmt: skip
        """EXPERTS_UP and EXPERTS_DOWN of one part of the hidden channels."""
        config = self.config
        first = tuple(expert.first[part] for expert in experts)
        second = tuple(expert.second[part] for expert in experts)
        hidden = Tensor("hidden", self.tokens * config.top_k, lines(first[0].outputs))
        tables = 0
        if first[0].activation == Activation.GELU:
            data = np.stack([layer.table for layer in first])
            tables = self.image.table(f"{label}.tables", data)
        common = {
            "rows": self.tokens, "experts": config.experts, "top_k": config.top_k,
            "records": records,
        }  # fmt: skip
        self.emit(
            f"{label}.up", Opcode.EXPERTS_UP, **common, **self._layers(first), src=normed,
            src_stride=self.row, dst=hidden, activation=first[0].activation, table=tables,
        )  # fmt: skip
        self.emit(
            f"{label}.down", Opcode.EXPERTS_DOWN, **common, **self._layers(second), src=hidden,
            dst=slots, first_slot=part * config.top_k,
        )  # fmt: skip

    def _layers(self, layers: tuple[Linear, ...]) -> dict[str, Stored | int]:
        """One layer of all experts, one behind the other in the image."""
        stored = [self.image.layer(layer) for layer in layers]
        outputs, columns = layers[0].outputs, layers[0].columns
        return {
            "cols_in": columns, "cols_out": outputs, "weights": stored[0],
            "expert_lines": layer_lines(outputs, columns),
        }  # fmt: skip

    # Head

    def _head(self, head: Head, tapped: Tensor) -> None:
        config = self.config
        height, width = config.grid
        features = Tensor("features", self.tokens - 1, lines(head.proj.outputs))
        self._linear(
            head.proj, features.rows, Place(tapped, tapped.stride), features,
            src_stride=tapped.stride, dst_stride=features.stride, segments=len(config.head.taps),
        )  # fmt: skip
        channels = head.proj.outputs
        for conv in head.convs:
            features = self._upsampled_conv(conv, features, channels, height, width)
            channels, height, width = conv.linear.outputs, 2 * height, 2 * width
        self._output(head, features, height, width)

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

    def _output(self, head: Head, features: Tensor, height: int, width: int) -> None:
        wide = self.plan.wide_logits or head.out is None
        out = head.out_wide if wide else head.out
        logits = Tensor("logits", height * width, lines(out.outputs * (2 if wide else 1)))
        self._linear(
            out, logits.rows, features, logits, src_stride=features.stride,
            dst_stride=logits.stride,
        )  # fmt: skip
        name = f"{self.config.tasks[self.task].name}.output"
        shape = {
            "height": height, "width": width, "factor": self.config.head.output_upsample,
            "src": logits, "src_stride": logits.stride,
        }  # fmt: skip
        if head.out is None:
            self.emit(name, Opcode.OUTPUT_DEPTH, **shape)
        else:
            self.emit(name, Opcode.OUTPUT_CLASSES, **shape, cols_in=out.outputs, wide=int(wide))
