# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a program needs of a board: the furthest place each instruction touches."""

from __future__ import annotations

from m3vit_pynq.abi.isa import (
    Instruction,
    Opcode,
    Program,
    Store,
    lines,
    row_beats,
)

#: Capacities that a program can exhaust, as named in `m3vit_pynq.abi.boards.Board`.
REQUIREMENTS = (
    "act_lines",
    "residual_elements",
    "weight_tile_beats",
    "queue_entries",
    "score_elements",
    "strip_bytes",
)


def rows_per_port(outputs: int) -> int:
    """Weight rows of a layer in each of the four parts."""
    return -(-outputs // 4)


def conv_columns(cols_in: int) -> int:
    """K of a 3x3 convolution: every tap padded to whole lines."""
    return 9 * 64 * lines(cols_in)


def expert_beats(cols_in: int, hidden: int, cols_out: int) -> int:
    """Beats of one expert in each part."""
    return rows_per_port(hidden) * row_beats(cols_in) + rows_per_port(cols_out) * row_beats(hidden)


def span(rows: int, stride: int, width: int) -> int:
    """Lines or elements from the first to the last of ``rows`` rows."""
    return (rows - 1) * stride + width


def weight_beats_of(instruction: Instruction) -> int:
    """First beat of the weight image after all that an instruction reads; 0 if it reads none."""
    i = instruction
    if i.opcode == Opcode.LOAD_RESIDUAL:
        return i.table + -(-(i.rows * i.cols_out * 2) // 16)
    if i.opcode == Opcode.LAYERNORM:
        return i.table + -(-(i.cols_in * 8) // 16)
    if i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
        table = i.table + 16 if i.activation == 2 else 0
        columns = i.cols_in if i.opcode == Opcode.LINEAR else conv_columns(i.cols_in)
        return max(i.weights + rows_per_port(i.cols_out) * row_beats(columns), table)
    if i.opcode == Opcode.EXPERTS:
        last = i.weights + (i.experts - 1) * i.expert_beats
        return max(last + expert_beats(i.cols_in, i.hidden, i.cols_out), i.table + 16 * i.experts)
    return 0


def _row_lines(instruction: Instruction) -> int:
    wide = instruction.store == Store.ACT16
    return lines(instruction.cols_out * (2 if wide else 1))


def _act_lines(i: Instruction) -> int:
    """Activation lines up to the last one that an instruction touches."""
    if i.opcode == Opcode.LOAD_PATCHES:
        rows = (i.height // i.patch) * (i.width // i.patch)
        return i.dst + span(rows, i.dst_stride, lines(3 * i.patch**2))
    if i.opcode == Opcode.LAYERNORM:
        return i.dst + span(i.rows, i.dst_stride, lines(i.cols_in))
    if i.opcode == Opcode.LINEAR:
        read = i.src + span(i.rows, i.src_stride, lines(i.cols_in))
        in_memory = i.store in (Store.ACT8, Store.ACT16)
        return max(read, i.dst + span(i.rows, i.dst_stride, _row_lines(i)) if in_memory else 0)
    if i.opcode == Opcode.ATTENTION:
        channels = i.heads * i.head_dim
        read = i.src + span(i.rows, i.src_stride, lines(max(i.k_offset, i.v_offset) + channels))
        return max(read, i.dst + span(i.rows, i.dst_stride, lines(channels)))
    if i.opcode == Opcode.EXPERTS:
        read = i.src + span(i.rows, i.src_stride, lines(i.cols_in))
        return max(read, i.scratch + span(i.rows, i.scratch_stride, lines(i.hidden)))
    if i.opcode == Opcode.CONV3X3:
        pixels = i.height * i.width
        read = i.src + span(pixels, i.src_stride, lines(i.cols_in))
        return max(read, i.dst + span(pixels, i.dst_stride, _row_lines(i)))
    if i.opcode == Opcode.UPSAMPLE2X:
        pixels, width = i.height * i.width, lines(i.cols_in)
        read = i.src + span(pixels, i.src_stride, width)
        return max(read, i.dst + span(4 * pixels, i.dst_stride, width))
    if i.opcode == Opcode.OUTPUT_CLASSES:
        width = lines(i.cols_in * (2 if i.wide else 1))
        return i.src + span(i.height * i.width, i.src_stride, width)
    if i.opcode == Opcode.OUTPUT_DEPTH:
        return i.src + span(i.height * i.width, i.src_stride, 1)
    return 0


def _residual_elements(i: Instruction) -> int:
    if i.opcode == Opcode.LAYERNORM:
        return i.src + span(i.rows, i.src_stride, i.cols_in)
    if (
        i.opcode in (Opcode.LOAD_RESIDUAL, Opcode.EXPERTS)
        or (i.opcode == Opcode.LINEAR and i.store == Store.RESIDUAL)
    ):  # fmt: skip
        return i.dst + span(i.rows, i.dst_stride, i.cols_out)
    return 0


def _weight_tile_beats(i: Instruction) -> int:
    if i.opcode == Opcode.LINEAR:
        return row_beats(i.cols_in)
    if i.opcode == Opcode.CONV3X3:
        return row_beats(conv_columns(i.cols_in))
    if i.opcode == Opcode.EXPERTS:
        return max(row_beats(i.cols_in), row_beats(i.hidden))
    return 0


def _score_elements(i: Instruction) -> int:
    if i.opcode == Opcode.LINEAR and i.store == Store.SCORES:
        return i.dst + span(i.rows, i.dst_stride, i.cols_out)
    if i.opcode == Opcode.GATE:
        return i.src + span(1 if i.per_image else i.rows, i.src_stride, i.experts)
    return 0


def instruction_requirements(instruction: Instruction) -> dict[str, int]:
    """Capacities that one instruction needs, by name of `REQUIREMENTS`."""
    i = instruction
    patches = i.opcode == Opcode.LOAD_PATCHES
    return {
        "act_lines": _act_lines(i),
        "residual_elements": _residual_elements(i),
        "weight_tile_beats": _weight_tile_beats(i),
        "queue_entries": i.rows * i.top_k if i.opcode == Opcode.GATE else 0,
        "score_elements": _score_elements(i),
        "strip_bytes": 3 * i.patch * i.width if patches else 0,
    }


def requirements_of(program: Program) -> dict[str, int]:
    """Capacities that a whole program needs."""
    needs = [instruction_requirements(instruction) for instruction in program.instructions]
    return {name: max((need[name] for need in needs), default=0) for name in REQUIREMENTS}
