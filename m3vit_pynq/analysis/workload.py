# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Work of a program: multiply-accumulates, bytes moved, parameters touched.

Everything follows from the instructions. Only EXPERTS depends on data: which
experts a frame's tokens choose. Without queue lengths the figures are those of
a frame that uses every expert it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from m3vit_pynq.abi.boards import BEAT
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Program, Store, row_beats
from m3vit_pynq.abi.registers import WEIGHT_PORTS
from m3vit_pynq.analysis.requirements import conv_columns, expert_beats, rows_per_port


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
        Read from the frame, written to the output buffer.
    """

    macs: int = 0
    weight_bytes: int = 0
    parameters: int = 0
    frame_bytes: int = 0
    output_bytes: int = 0

    def __add__(self, other: Workload) -> Workload:
        return Workload(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def dram_bytes(self) -> int:
        """All bytes between DRAM and the accelerator, instructions aside."""
        return self.weight_bytes + self.frame_bytes + self.output_bytes


def _matrix(rows: int, columns: int, outputs: int, stored_columns: int) -> Workload:
    beats = WEIGHT_PORTS * rows_per_port(outputs) * row_beats(stored_columns)
    return Workload(rows * columns * outputs, BEAT * beats, outputs * (columns + 1))


def _experts(i: Instruction, queues: Sequence[int] | None) -> Workload:
    pairs, used = i.rows * i.top_k, min(i.experts, i.rows * i.top_k)
    if queues is not None:
        pairs, used = sum(queues), sum(1 for length in queues if length)
    beats = WEIGHT_PORTS * expert_beats(i.cols_in, i.hidden, i.cols_out)
    one = i.hidden * (i.cols_in + i.cols_out)
    return Workload(
        macs=pairs * one,
        weight_bytes=used * (BEAT * beats + 256),
        parameters=used * (one + i.hidden + i.cols_out),
    )


def workload_of(instruction: Instruction, queues: Sequence[int] | None = None) -> Workload:
    """Work of one instruction.

    Parameters
    ----------
    queues : sequence of int, optional
        For EXPERTS: tokens in each expert's queue.
    """
    i = instruction
    table = Workload(weight_bytes=256 if i.activation == Activation.GELU else 0)
    if i.opcode == Opcode.LOAD_PATCHES:
        return Workload(frame_bytes=3 * i.height * i.width)
    if i.opcode == Opcode.LOAD_RESIDUAL:
        return Workload(weight_bytes=2 * i.rows * i.cols_out, parameters=i.rows * i.cols_out)
    if i.opcode == Opcode.LAYERNORM:
        return Workload(weight_bytes=8 * i.cols_in, parameters=2 * i.cols_in)
    if i.opcode == Opcode.LINEAR:
        return _matrix(i.rows, i.cols_in, i.cols_out, i.cols_in) + table
    if i.opcode == Opcode.ATTENTION:
        return Workload(macs=2 * i.rows**2 * i.heads * i.head_dim)
    if i.opcode == Opcode.EXPERTS:
        return _experts(i, queues)
    if i.opcode == Opcode.CONV3X3:
        columns = conv_columns(i.cols_in)
        return _matrix(i.height * i.width, 9 * i.cols_in, i.cols_out, columns) + table
    pixels = i.height * i.width * i.factor**2
    if i.opcode == Opcode.OUTPUT_CLASSES:
        return Workload(output_bytes=pixels)
    if i.opcode == Opcode.OUTPUT_DEPTH:
        return Workload(output_bytes=2 * pixels)
    return Workload()


def task_workload(program: Program, task: int) -> Workload:
    """Work of one frame of a task, every expert in use."""
    entry = program.tasks[task]
    body = program.instructions[entry.first : entry.first + entry.count]
    return sum((workload_of(instruction) for instruction in body), Workload())


def written_bytes(instruction: Instruction) -> int:
    """Bytes an instruction writes to on-chip memories, row padding aside."""
    i = instruction
    if i.opcode == Opcode.LOAD_PATCHES:
        return 3 * i.height * i.width
    if i.opcode == Opcode.LAYERNORM:
        return i.rows * i.cols_in
    if i.opcode == Opcode.ATTENTION:
        return i.rows * i.heads * i.head_dim
    if i.opcode == Opcode.UPSAMPLE2X:
        return 4 * i.height * i.width * i.cols_in
    if i.opcode in (Opcode.LOAD_RESIDUAL, Opcode.EXPERTS):
        return 2 * i.rows * i.cols_out
    if i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
        rows = i.rows if i.opcode == Opcode.LINEAR else i.height * i.width
        width = {Store.ACT8: 1, Store.ACT16: 2, Store.RESIDUAL: 2, Store.SCORES: 4}
        return rows * i.cols_out * width[Store(i.store)]
    return 0
