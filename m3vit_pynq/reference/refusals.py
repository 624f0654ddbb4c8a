# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the accelerator refuses, in the order of ``docs/numerics.md``, Refusals.

An instruction is summarised as `Demands` (what it would read and write), which
are then held against the capacities; nothing is executed before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store, lines, row_beats
from m3vit_pynq.abi.registers import WEIGHT_PORTS

_GELU_BEATS = 16
_MAX_SHIFT = 47


@dataclass(frozen=True)
class Capacity:
    """On-chip capacities (see `Board`); the defaults hold any reasonable program."""

    act_lines: int = 131072
    residual_elements: int = 1 << 22
    weight_tile_beats: int = 4096
    queue_entries: int = isa.MAX_TOKENS * isa.MAX_TOP_K
    score_elements: int = isa.MAX_TOKENS * isa.MAX_EXPERTS
    strip_bytes: int = 3 * isa.MAX_PATCH * isa.MAX_SIDE

    @classmethod
    def of(cls, source: Board | Capacity | Mapping[str, int] | None) -> Capacity:
        """From a board, a mapping (missing names keep the default) or nothing."""
        if source is None:
            return cls()
        if isinstance(source, Mapping):
            return cls(**{f.name: int(source[f.name]) for f in fields(cls) if f.name in source})
        return cls(**{f.name: getattr(source, f.name) for f in fields(cls)})


@dataclass(frozen=True)
class Extent:
    """Rows of a tensor in one memory.

    Attributes
    ----------
    memory : ErrorCode
        The code that says this memory was left.
    base, rows, stride, width : int
        In the memory's units: lines, elements or bytes.
    """

    memory: ErrorCode
    base: int
    rows: int
    stride: int
    width: int

    @property
    def end(self) -> int:
        return self.base + (self.rows - 1) * self.stride + self.width

    def meets(self, other: Extent) -> bool:
        """Whether both are in the same memory and their ranges overlap."""
        return self.memory == other.memory and self.base < other.end and other.base < self.end


@dataclass(frozen=True)
class Demands:
    """What one instruction would touch."""

    source: Extent | None = None
    destination: Extent | None = None
    scratch: Extent | None = None
    weights_end: int = 0
    row_beats: int = 0
    queued: int = 0


@dataclass(frozen=True)
class Buffers:
    """Sizes that vary with the run: two in bytes, and beats of each weight part."""

    frame_bytes: int
    output_bytes: int
    weight_beats: int


def _act(base: int, rows: int, stride: int, channels: int) -> Extent:
    return Extent(ErrorCode.ACT_RANGE, base, rows, stride, lines(channels))


def _layer_beats(outputs: int, cols: int) -> int:
    return -(-outputs // WEIGHT_PORTS) * row_beats(cols)


def _stored(i: Instruction, rows: int) -> Extent:
    """Destination of LINEAR and CONV3X3."""
    if i.store == Store.RESIDUAL:
        return Extent(ErrorCode.RESIDUAL_RANGE, i.dst, rows, i.dst_stride, i.cols_out)
    if i.store == Store.SCORES:
        return Extent(ErrorCode.SCORES_RANGE, i.dst, rows, i.dst_stride, i.cols_out)
    size = 2 if i.store == Store.ACT16 else 1
    return _act(i.dst, rows, i.dst_stride, size * i.cols_out)


def _load_patches(i: Instruction) -> Demands:
    count = (i.height // i.patch) * (i.width // i.patch)
    return Demands(
        source=Extent(ErrorCode.FRAME_RANGE, 0, 1, 0, 3 * i.height * i.width),
        destination=_act(i.dst, count, i.dst_stride, 3 * i.patch**2),
    )


def _load_residual(i: Instruction) -> Demands:
    return Demands(
        destination=Extent(ErrorCode.RESIDUAL_RANGE, i.dst, i.rows, i.dst_stride, i.cols_out),
        weights_end=i.table + -(-i.rows * i.cols_out // 8),
    )


def _layernorm(i: Instruction) -> Demands:
    return Demands(
        source=Extent(ErrorCode.RESIDUAL_RANGE, i.src, i.rows, i.src_stride, i.cols_in),
        destination=_act(i.dst, i.rows, i.dst_stride, i.cols_in),
        weights_end=i.table + -(-i.cols_in // 2),
    )


def _matrix(i: Instruction, rows: int, cols: int) -> Demands:
    table = i.table + _GELU_BEATS if i.activation == Activation.GELU else 0
    return Demands(
        source=_act(i.src, rows, i.src_stride, i.cols_in),
        destination=_stored(i, rows),
        weights_end=max(i.weights + _layer_beats(i.cols_out, cols), table),
        row_beats=row_beats(cols),
    )


def conv_cols(channels: int) -> int:
    """K of a 3x3 convolution as a LINEAR."""
    return 9 * 64 * lines(channels)


def _linear(i: Instruction) -> Demands:
    return _matrix(i, i.rows, i.cols_in)


def _conv3x3(i: Instruction) -> Demands:
    return _matrix(i, i.height * i.width, conv_cols(i.cols_in))


def _upsample2x(i: Instruction) -> Demands:
    pixels = i.height * i.width
    return Demands(
        source=_act(i.src, pixels, i.src_stride, i.cols_in),
        destination=_act(i.dst, 4 * pixels, i.dst_stride, i.cols_in),
    )


def _attention(i: Instruction) -> Demands:
    width = i.heads * i.head_dim
    return Demands(
        source=_act(i.src, i.rows, i.src_stride, max(i.k_offset, i.v_offset) + width),
        destination=_act(i.dst, i.rows, i.dst_stride, width),
    )


def _gate(i: Instruction) -> Demands:
    rows = 1 if i.per_image else i.rows
    return Demands(
        source=Extent(ErrorCode.SCORES_RANGE, i.src, rows, i.src_stride, i.experts),
        queued=i.rows * i.top_k,
    )


def _experts(i: Instruction) -> Demands:
    one = _layer_beats(i.hidden, i.cols_in) + _layer_beats(i.cols_out, i.hidden)
    return Demands(
        source=_act(i.src, i.rows, i.src_stride, i.cols_in),
        destination=Extent(ErrorCode.RESIDUAL_RANGE, i.dst, i.rows, i.dst_stride, i.cols_out),
        scratch=_act(i.scratch, i.rows, i.scratch_stride, i.hidden),
        weights_end=max(
            i.weights + (i.experts - 1) * i.expert_beats + one,
            i.table + i.experts * _GELU_BEATS,
        ),
        row_beats=max(row_beats(i.cols_in), row_beats(i.hidden)),
    )


def _output(i: Instruction, row_bytes: int, pixel_bytes: int) -> Demands:
    pixels = i.height * i.width
    size = pixel_bytes * i.factor**2 * pixels
    return Demands(
        source=_act(i.src, pixels, i.src_stride, row_bytes),
        destination=Extent(ErrorCode.OUTPUT_RANGE, 0, 1, 0, size),
    )


def _output_classes(i: Instruction) -> Demands:
    return _output(i, 2 * i.cols_in if i.wide else i.cols_in, 1)


def _output_depth(i: Instruction) -> Demands:
    return _output(i, 2, 2)


_DEMANDS: dict[Opcode, Callable[[Instruction], Demands]] = {
    Opcode.END: lambda i: Demands(),
    Opcode.LOAD_PATCHES: _load_patches,
    Opcode.LOAD_RESIDUAL: _load_residual,
    Opcode.LAYERNORM: _layernorm,
    Opcode.LINEAR: _linear,
    Opcode.ATTENTION: _attention,
    Opcode.GATE: _gate,
    Opcode.EXPERTS: _experts,
    Opcode.CONV3X3: _conv3x3,
    Opcode.UPSAMPLE2X: _upsample2x,
    Opcode.OUTPUT_CLASSES: _output_classes,
    Opcode.OUTPUT_DEPTH: _output_depth,
}

#: Operands that count something and are therefore at least 1.
_COUNTS = ("rows", "cols_in", "cols_out", "height", "width", "heads", "hidden")


def _routes(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_TOKENS
        and i.experts <= isa.MAX_EXPERTS
        and 1 <= i.top_k <= min(isa.MAX_TOP_K, i.experts)
    )


def _activates(i: Instruction) -> bool:
    return i.activation <= Activation.GELU and (
        i.activation == Activation.NONE or i.store == Store.ACT8
    )


def _map_fits(i: Instruction, factor: int, pixels: int) -> bool:
    return factor * max(i.height, i.width) <= isa.MAX_SIDE and pixels <= isa.MAX_ROWS


def _result_fits(i: Instruction) -> bool:
    return i.factor in (1, 2, 4) and _map_fits(i, i.factor, i.height * i.width)


_LIMITS: dict[Opcode, Callable[[Instruction, Capacity], bool]] = {
    Opcode.END: lambda i, c: True,
    Opcode.LOAD_PATCHES: lambda i, c: (
        1 <= i.patch <= isa.MAX_PATCH
        and max(i.height, i.width) <= isa.MAX_SIDE
        and i.height % i.patch == 0
        and i.width % i.patch == 0
        and (i.height // i.patch) * (i.width // i.patch) <= isa.MAX_ROWS
        and 3 * i.patch * i.width <= c.strip_bytes
    ),
    Opcode.LOAD_RESIDUAL: lambda i, c: i.rows <= isa.MAX_ROWS and i.cols_out <= isa.MAX_OUTPUTS,
    Opcode.LAYERNORM: lambda i, c: (
        i.rows <= isa.MAX_ROWS
        and i.cols_in <= isa.MAX_LAYERNORM
        and 1 <= i.shift_a <= 31
        and 1 <= layernorm_eps(i) < 1 << 63
    ),
    Opcode.LINEAR: lambda i, c: (
        i.rows <= isa.MAX_ROWS
        and i.cols_in <= isa.MAX_COLS
        and i.cols_out <= isa.MAX_OUTPUTS
        and i.store <= Store.SCORES
        and _activates(i)
    ),
    Opcode.CONV3X3: lambda i, c: (
        _map_fits(i, 1, i.height * i.width)
        and conv_cols(i.cols_in) <= isa.MAX_COLS
        and i.cols_out <= isa.MAX_OUTPUTS
        and i.store <= Store.ACT16
        and _activates(i)
    ),
    Opcode.UPSAMPLE2X: lambda i, c: (
        _map_fits(i, 2, 4 * i.height * i.width) and i.cols_in <= isa.MAX_COLS
    ),
    Opcode.ATTENTION: lambda i, c: (
        i.rows <= isa.MAX_TOKENS
        and i.heads <= isa.MAX_HEADS
        and i.head_dim in (16, 32, 64)
        and i.k_offset % i.head_dim == 0
        and i.v_offset % i.head_dim == 0
        and 1 <= i.shift_a <= _MAX_SHIFT
        and 1 <= i.shift_b <= _MAX_SHIFT
    ),
    Opcode.GATE: lambda i, c: _routes(i) and i.gate_mode <= 1,
    Opcode.EXPERTS: lambda i, c: (
        _routes(i)
        and max(i.cols_in, i.hidden) <= isa.MAX_COLS
        and i.cols_out <= isa.MAX_OUTPUTS
        and i.scratch_stride >= lines(i.hidden)
    ),
    Opcode.OUTPUT_CLASSES: lambda i, c: _result_fits(i) and i.cols_in <= isa.MAX_CLASSES,
    Opcode.OUTPUT_DEPTH: lambda i, c: _result_fits(i),
}


def layernorm_eps(instruction: Instruction) -> int:
    """Epsilon of a LAYERNORM, from its two words."""
    return instruction.eps_high << 32 | instruction.eps_low


def demands(instruction: Instruction) -> Demands:
    """What an instruction within the architecture's limits would touch."""
    return _DEMANDS[instruction.opcode](instruction)


def check(
    instruction: Instruction, capacity: Capacity, buffers: Buffers, routed: tuple[int, int, int]
) -> ErrorCode:
    """The code with which the accelerator refuses an instruction, or ``OK``.

    Parameters
    ----------
    routed : tuple of int
        rows, experts and top_k of the GATE that last filled the queues.
    """
    operands = isa.OPERANDS[instruction.opcode]
    if any(name in operands and getattr(instruction, name) < 1 for name in _COUNTS):
        return ErrorCode.SHAPE
    if not _LIMITS[instruction.opcode](instruction, capacity):
        return ErrorCode.SHAPE
    needs = demands(instruction)
    if "dst_stride" in operands and instruction.dst_stride < needs.destination.width:
        return ErrorCode.SHAPE
    sizes = {
        ErrorCode.FRAME_RANGE: buffers.frame_bytes,
        ErrorCode.OUTPUT_RANGE: buffers.output_bytes,
        ErrorCode.ACT_RANGE: capacity.act_lines,
        ErrorCode.RESIDUAL_RANGE: capacity.residual_elements,
        ErrorCode.SCORES_RANGE: capacity.score_elements,
    }
    for extent in (needs.source, needs.destination, needs.scratch):
        if extent is not None and extent.end > sizes[extent.memory]:
            return extent.memory
    written = needs.scratch or needs.destination
    if needs.source and written and needs.source.meets(written):
        return ErrorCode.ACT_RANGE
    if needs.weights_end > buffers.weight_beats:
        return ErrorCode.WEIGHTS_RANGE
    if needs.row_beats > capacity.weight_tile_beats:
        return ErrorCode.WEIGHT_TILE
    if needs.queued > capacity.queue_entries:
        return ErrorCode.QUEUE
    if instruction.opcode == Opcode.EXPERTS and routed != (
        instruction.rows,
        instruction.experts,
        instruction.top_k,
    ):
        return ErrorCode.QUEUE
    return ErrorCode.OK
