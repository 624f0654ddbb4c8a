# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Work of a program: multiply-accumulates, bytes moved, parameters touched.

Everything follows from the instructions' footprints. Bytes are whole lines,
each read or written once; what a board reads again, because its buffers do not
hold a whole layer, is not counted here. Only experts depend on data: which of
them a frame's tokens choose. Without queue lengths the figures are those of a
frame that uses every expert it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import (
    TABLE_LINES,
    Footprint,
    Region,
    Section,
    footprint,
)
from m3vit_pynq.abi.isa import (
    WEIGHT_PARTS,
    Activation,
    Instruction,
    Opcode,
    Program,
    layer_lines,
    lines,
)

EXPERTS = (Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN)


@dataclass(frozen=True)
class Workload:
    """What an instruction, a task or a layer asks for.

    Attributes
    ----------
    macs : int
        int8 multiply-accumulates that the model needs (no padding).
    weight_bytes : int
        Read from the weight image: rows with parameters and padding, tables.
    parameters : int
        Weights and biases touched.
    frame_bytes, output_bytes : int
        Read from the frame, written to the result buffer.
    read_bytes, written_bytes : int
        Read from and written to the workspace.
    """

    macs: int = 0
    weight_bytes: int = 0
    parameters: int = 0
    frame_bytes: int = 0
    output_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: Workload) -> Workload:
        return Workload(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def dram_bytes(self) -> int:
        """All bytes between DRAM and the accelerator, instructions aside."""
        moved = self.frame_bytes + self.output_bytes + self.read_bytes + self.written_bytes
        return self.weight_bytes + moved


def _bytes(regions: Iterable[Region], section: Section) -> int:
    """Bytes of regions, each of its lines once."""
    unit = 1 if section == Section.FRAME else LINE
    return sum(unit * r.rows * r.width for r in regions if r.section == section)


def _parameters(i: Instruction) -> int:
    """Weights and biases of one instruction; of one expert of EXPERTS."""
    if i.opcode == Opcode.LOAD_RESIDUAL:
        return i.rows * i.cols_out
    if i.opcode == Opcode.LAYERNORM:
        return 2 * i.cols_in
    if i.opcode == Opcode.CONV3X3:
        return i.cols_out * (9 * i.cols_in + 1)
    if i.opcode == Opcode.LINEAR or i.opcode in EXPERTS:
        return i.cols_out * (i.cols_in + 1)
    return 0


def expert_bytes(instruction: Instruction) -> int:
    """Bytes of one expert's layer in the weight image, its table included."""
    i = instruction
    table = TABLE_LINES if i.activation == Activation.GELU else 0
    return LINE * (WEIGHT_PARTS * layer_lines(i.cols_out, i.cols_in) + table)


def _experts(i: Instruction, touched: Footprint, queues: Sequence[int] | None) -> Workload:
    """Rows are gathered and written by queue: as many as tokens have chosen experts."""
    pairs, used = i.rows * i.top_k, min(i.experts, i.rows * i.top_k)
    if queues is not None:
        pairs, used = sum(queues), sum(1 for length in queues if length)
    out = next(iter(touched.writes)).width
    return Workload(
        macs=pairs * touched.products // (i.rows * i.top_k),
        weight_bytes=used * expert_bytes(i),
        parameters=used * _parameters(i),
        read_bytes=LINE * (pairs * lines(i.cols_in) + i.rows),
        written_bytes=LINE * pairs * out,
    )


def workload_of(instruction: Instruction, queues: Sequence[int] | None = None) -> Workload:
    """Work of one instruction.

    Parameters
    ----------
    queues : sequence of int, optional
        For EXPERTS: tokens in each expert's queue.
    """
    touched = footprint(instruction)
    if instruction.opcode in EXPERTS:
        return _experts(instruction, touched, queues)
    read, written = touched.reads + touched.updates, touched.writes + touched.updates
    return Workload(
        macs=touched.products,
        weight_bytes=LINE * sum(part.lines * part.parts for part in touched.weights),
        parameters=_parameters(instruction),
        frame_bytes=_bytes(read, Section.FRAME),
        output_bytes=_bytes(written, Section.RESULT),
        read_bytes=_bytes(read, Section.WORKSPACE),
        written_bytes=_bytes(written, Section.WORKSPACE),
    )


def task_workload(program: Program, task: int) -> Workload:
    """Work of one frame of a task, every expert in use."""
    entry = program.tasks[task]
    body = program.instructions[entry.first : entry.first + entry.count]
    return sum((workload_of(instruction) for instruction in body), Workload())


def written_bytes(instruction: Instruction) -> int:
    """Bytes an instruction writes to the workspace, padding of rows included."""
    return workload_of(instruction).written_bytes
