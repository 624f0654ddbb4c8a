# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What each instruction reads, writes, and has to compute.

Requirements, refusals, the disassembler, cost models and pictures derive from
`footprint`. An opcode without an entry is an error when this module is
imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.isa import (
    Activation,
    Instruction,
    Opcode,
    Store,
    layer_lines,
    lines,
)

#: Lines of one GELU table.
TABLE_LINES = 4
#: Bytes of one channel in a LAYERNORM table: int32 beta, int16 gamma, two zero bytes.
NORM_ENTRY = 8


class Section(Enum):
    """Memory that a region lies in."""

    WORKSPACE = "workspace"
    FRAME = "frame"
    RESULT = "result"


@dataclass(frozen=True)
class Region:
    """Rows of a tensor.

    Attributes
    ----------
    what : str
        Name for people.
    base, rows, stride, width : int
        In lines; bytes for the frame. A planar tensor's rows are its planes.
    """

    what: str
    base: int
    rows: int
    stride: int
    width: int
    section: Section = Section.WORKSPACE

    @property
    def end(self) -> int:
        return self.base + (self.rows - 1) * self.stride + self.width

    def meets(self, other: Region) -> bool:
        """Whether both lie in the same section and their ranges overlap."""
        same = self.section == other.section
        return same and self.base < other.end and other.base < self.end


@dataclass(frozen=True)
class WeightRange:
    """Lines of the weight image, counted from the start of the bank, in part 0.

    ``parts`` is 4 where the same lines of every part are read.
    """

    what: str
    base: int
    lines: int
    parts: int

    @property
    def end(self) -> int:
        return self.base + self.lines


@dataclass(frozen=True)
class Footprint:
    """What one instruction within the architecture's limits touches.

    Attributes
    ----------
    reads, writes : tuple of Region
    updates : tuple of Region
        Read and written in place: each element once, read before its own write.
    weights : tuple of WeightRange
    products : int
        Multiply-accumulates of the matrix engine, without padding; for experts
        those of ``rows * top_k`` tokens.
    half_lines, tokens, map_lines : int
        What it needs of a board's buffers, see `m3vit_pynq.abi.boards.Board`.
    """

    reads: tuple[Region, ...] = ()
    writes: tuple[Region, ...] = ()
    updates: tuple[Region, ...] = ()
    weights: tuple[WeightRange, ...] = ()
    products: int = 0
    half_lines: int = 0
    tokens: int = 0
    map_lines: int = 0

    @property
    def needs(self) -> dict[str, int]:
        """What it needs of a board's buffers, by the names of `CAPACITIES`."""
        return {name: getattr(self, name) for name in CAPACITIES}


#: Buffers of a board that an instruction can exhaust, and the board's attribute.
CAPACITIES: dict[str, str] = {
    "half_lines": "half_lines",
    "tokens": "max_tokens",
    "map_lines": "map_lines",
}


def capacities_of(board: Board) -> dict[str, int]:
    """The buffers of a board, by the names of `CAPACITIES`."""
    return {name: getattr(board, attribute) for name, attribute in CAPACITIES.items()}


def conv_cols(channels: int) -> int:
    """K of a 3x3 convolution: each of the nine neighbours padded to whole lines."""
    return 9 * 64 * lines(channels)


#: Bytes of one result by how LINEAR and CONV3X3 store it.
ELEMENT = {Store.ACT8: 1, Store.ACT16: 2, Store.RESIDUAL: 2, Store.SCORES: 4}


def chunk_lines(cols: int, element: int) -> int:
    """Lines of half the smallest chunk of a layer.

    A chunk's results are whole lines: 64 bytes, half of them from each half engine.
    """
    return 32 // element * lines(cols)


def output_lines(i: Instruction) -> int:
    """Lines of one destination row of LINEAR and CONV3X3."""
    return lines(ELEMENT[Store(i.store)] * i.cols_out)


def _rows(what: str, base: int, rows: int, stride: int, channels: int) -> Region:
    return Region(what, base, rows, stride, lines(channels))


def _load_patches(i: Instruction) -> Footprint:
    count = (i.height // i.patch) * (i.width // i.patch)
    return Footprint(
        reads=(Region("frame", 0, 1, 0, 3 * i.height * i.width, Section.FRAME),),
        writes=(_rows("patches", i.dst, count, i.dst_stride, 3 * i.patch**2),),
    )


def _load_residual(i: Instruction) -> Footprint:
    width = lines(2 * i.cols_out)
    return Footprint(
        writes=(Region("residual", i.dst, i.rows, i.dst_stride, width),),
        weights=(WeightRange("table", i.table, i.rows * width, 1),),
    )


def _layernorm(i: Instruction) -> Footprint:
    width = lines(2 * i.cols_in)
    source = Region("residual", i.src, i.rows, i.src_stride, width)
    slots = Region("slots", i.slot_base, i.slots * i.rows, width, width)
    return Footprint(
        reads=(slots,) if i.slots else (source,),
        updates=(source,) if i.slots else (),
        writes=(_rows("normalised", i.dst, i.rows, i.dst_stride, i.cols_in),),
        weights=(WeightRange("table", i.table, lines(NORM_ENTRY * i.cols_in), 1),),
    )


def _layer(i: Instruction, cols: int, count: int = 1) -> tuple[WeightRange, ...]:
    """Weights of ``count`` experts (1: of a layer), and their GELU tables."""
    size = layer_lines(i.cols_out, cols) + (count - 1) * i.expert_lines
    weights = WeightRange("weights", i.weights, size, 4)
    if i.activation != Activation.GELU:
        return (weights,)
    return weights, WeightRange("table", i.table, TABLE_LINES * count, 1)


def _matrix(i: Instruction, rows: int, cols: int, map_lines: int) -> Footprint:
    planar = bool(i.planar)
    width = output_lines(i)
    destination = Region(
        "destination", i.dst, width if planar else rows, i.dst_stride, rows if planar else width
    )
    residual = i.store == Store.RESIDUAL
    return Footprint(
        reads=(_rows("source", i.src, rows, i.src_stride, i.cols_in),),
        writes=() if residual else (destination,),
        updates=(destination,) if residual else (),
        weights=_layer(i, cols),
        products=rows * i.cols_out * (cols if i.opcode == Opcode.LINEAR else 9 * i.cols_in),
        half_lines=chunk_lines(cols, ELEMENT[Store(i.store)]),
        map_lines=map_lines,
    )


def _linear(i: Instruction) -> Footprint:
    return _matrix(i, i.rows, i.cols_in, 0)


def _conv3x3(i: Instruction) -> Footprint:
    row = i.width * lines(i.cols_in)
    return _matrix(i, i.height * i.width, conv_cols(i.cols_in), 2 * row)


def _upsample2x(i: Instruction) -> Footprint:
    pixels = i.height * i.width
    return Footprint(
        reads=(_rows("source", i.src, pixels, i.src_stride, i.cols_in),),
        writes=(_rows("destination", i.dst, 4 * pixels, i.dst_stride, i.cols_in),),
        map_lines=2 * i.width * lines(i.cols_in),
    )


def _attention(i: Instruction) -> Footprint:
    width = i.heads * i.head_dim
    planes = lines(width)

    def part(what: str, plane: int) -> Region:
        return Region(what, i.src + plane * i.src_stride, planes, i.src_stride, i.rows)

    return Footprint(
        reads=(part("queries", 0), part("keys", i.k_offset), part("values", i.v_offset)),
        writes=(_rows("destination", i.dst, i.rows, i.dst_stride, width),),
        products=2 * i.rows * i.rows * width,
        tokens=i.rows,
    )


def _gate(i: Instruction) -> Footprint:
    rows = 1 if i.per_image else i.rows
    return Footprint(
        reads=(_rows("scores", i.src, rows, i.src_stride, 4 * i.experts),),
        writes=(Region("records", i.dst, i.rows, 1, 1),),
        tokens=i.rows,
    )


def _records(i: Instruction) -> Region:
    return Region("records", i.records, i.rows, 1, 1)


def _experts_up(i: Instruction) -> Footprint:
    width = lines(i.cols_out)
    return Footprint(
        reads=(_rows("source", i.src, i.rows, i.src_stride, i.cols_in), _records(i)),
        writes=(Region("hidden", i.dst, i.rows * i.top_k, width, width),),
        weights=_layer(i, i.cols_in, i.experts),
        products=i.rows * i.top_k * i.cols_in * i.cols_out,
        half_lines=chunk_lines(i.cols_in, 1),
        tokens=i.rows,
    )


def _experts_down(i: Instruction) -> Footprint:
    hidden, width = lines(i.cols_in), lines(2 * i.cols_out)
    first = i.dst + i.first_slot * i.rows * width
    return Footprint(
        reads=(Region("hidden", i.src, i.rows * i.top_k, hidden, hidden), _records(i)),
        writes=(Region("slots", first, i.rows * i.top_k, width, width),),
        weights=_layer(i, i.cols_in, i.experts),
        products=i.rows * i.top_k * i.cols_in * i.cols_out,
        half_lines=chunk_lines(i.cols_in, 2),
        tokens=i.rows,
    )


def _output(i: Instruction, row_bytes: int, pixel_bytes: int) -> Footprint:
    pixels = i.height * i.width
    size = lines(pixel_bytes * i.factor**2 * pixels)
    return Footprint(
        reads=(_rows("source", i.src, pixels, i.src_stride, row_bytes),),
        writes=(Region("result", 0, 1, 0, size, Section.RESULT),),
        map_lines=i.width * lines(row_bytes),
    )


def _output_classes(i: Instruction) -> Footprint:
    return _output(i, 2 * i.cols_in if i.wide else i.cols_in, 1)


def _output_depth(i: Instruction) -> Footprint:
    return _output(i, 2, 2)


_FOOTPRINTS: dict[Opcode, Callable[[Instruction], Footprint]] = {
    Opcode.END: lambda i: Footprint(),
    Opcode.LOAD_PATCHES: _load_patches,
    Opcode.LOAD_RESIDUAL: _load_residual,
    Opcode.LAYERNORM: _layernorm,
    Opcode.LINEAR: _linear,
    Opcode.ATTENTION: _attention,
    Opcode.GATE: _gate,
    Opcode.EXPERTS_UP: _experts_up,
    Opcode.EXPERTS_DOWN: _experts_down,
    Opcode.CONV3X3: _conv3x3,
    Opcode.UPSAMPLE2X: _upsample2x,
    Opcode.OUTPUT_CLASSES: _output_classes,
    Opcode.OUTPUT_DEPTH: _output_depth,
}

if set(_FOOTPRINTS) != set(Opcode):
    raise LookupError(f"no footprint for {set(Opcode) - set(_FOOTPRINTS)}")


def footprint(instruction: Instruction) -> Footprint:
    """What an instruction within the architecture's limits touches."""
    return _FOOTPRINTS[instruction.opcode](instruction)
