# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the accelerator refuses, in the order of ``docs/numerics.md``, Refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.footprint import Footprint, Region, Section, capacities_of, footprint
from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode, Program
from m3vit_pynq.abi.limits import within_limits


@dataclass(frozen=True)
class Capacity:
    """Buffers of a bitstream (see `Board`); the defaults hold any program."""

    half_lines: int = 4096
    tokens: int = isa.MAX_TOKENS
    map_lines: int = 1 << 20

    @classmethod
    def of(cls, source: Board | Capacity | Mapping[str, int] | None) -> Capacity:
        """From a board, a mapping (missing names keep the default) or nothing."""
        if source is None or isinstance(source, Capacity):
            return source or cls()
        if isinstance(source, Mapping):
            return cls(**{f.name: int(source[f.name]) for f in fields(cls) if f.name in source})
        return cls(**capacities_of(source))


@dataclass(frozen=True)
class Buffers:
    """Sizes of a run's buffers in bytes."""

    frame_bytes: int
    result_bytes: int


@dataclass(frozen=True)
class Pending:
    """Slots that EXPERTS_DOWN wrote and no LAYERNORM has added yet."""

    slots: int
    base: int
    rows: int
    channels: int


def _inside(region: Region, layout: BankLayout) -> bool:
    first = layout.workspace_line
    return first <= region.base and region.end <= first + layout.workspace_lines


def _ranges(needs: Footprint, buffers: Buffers, layout: BankLayout) -> ErrorCode:
    """Steps 3 to 6: everything lies inside its section."""
    for region in needs.reads + needs.updates:
        if region.section == Section.WORKSPACE and not _inside(region, layout):
            return ErrorCode.READ_RANGE
    for region in needs.reads:
        if region.section == Section.FRAME and region.end > buffers.frame_bytes:
            return ErrorCode.FRAME_RANGE
    for region in needs.writes:
        if region.section == Section.WORKSPACE and not _inside(region, layout):
            return ErrorCode.WRITE_RANGE
    for region in needs.writes:
        if region.section == Section.RESULT and LINE * region.end > buffers.result_bytes:
            return ErrorCode.RESULT_RANGE
    return ErrorCode.OK


def _overlaps(needs: Footprint) -> bool:
    """Step 7: something that is written meets anything else."""
    everything = needs.reads + needs.writes + needs.updates
    return any(
        written is not other and written.meets(other)
        for written in needs.writes + needs.updates
        for other in everything
    )


def _weights_outside(needs: Footprint, layout: BankLayout) -> bool:
    first = layout.weights_line
    return any(w.base < first or w.end > first + layout.part_lines for w in needs.weights)


def slots_match(instruction: Instruction, pending: Pending | None) -> bool:
    """Step 10: slots are written in order and added exactly once."""
    i = instruction
    if i.opcode == Opcode.EXPERTS_DOWN:
        if pending is None:
            return i.first_slot == 0
        return (i.first_slot, i.dst, i.rows, i.cols_out) == (
            pending.slots, pending.base, pending.rows, pending.channels,
        )  # fmt: skip
    if i.opcode == Opcode.LAYERNORM:
        if pending is None:
            return i.slots == 0
        return (i.slots, i.slot_base, i.rows, i.cols_in) == (
            pending.slots, pending.base, pending.rows, pending.channels,
        )  # fmt: skip
    if i.opcode in (Opcode.END, Opcode.OUTPUT_CLASSES, Opcode.OUTPUT_DEPTH):
        return pending is None
    return True


def after(instruction: Instruction, pending: Pending | None) -> Pending | None:
    """Slots that are pending behind an instruction that was not refused."""
    i = instruction
    if i.opcode == Opcode.EXPERTS_DOWN:
        return Pending(i.first_slot + i.top_k, i.dst, i.rows, i.cols_out)
    return None if i.opcode == Opcode.LAYERNORM else pending


def check(
    instruction: Instruction,
    capacity: Capacity,
    buffers: Buffers,
    layout: BankLayout,
    pending: Pending | None = None,
) -> ErrorCode:
    """The code with which the accelerator refuses an instruction, or ``OK``.

    Parameters
    ----------
    pending : Pending or None
        Slots that the instructions before it left.
    """
    if not within_limits(instruction):
        return ErrorCode.SHAPE
    needs = footprint(instruction)
    code = _ranges(needs, buffers, layout)
    if code != ErrorCode.OK:
        return code
    if _overlaps(needs):
        return ErrorCode.OVERLAP
    if _weights_outside(needs, layout):
        return ErrorCode.WEIGHTS_RANGE
    if any(needed > getattr(capacity, name) for name, needed in needs.needs.items()):
        return ErrorCode.CAPACITY
    return ErrorCode.OK if slots_match(instruction, pending) else ErrorCode.SLOTS


def first_refusal(
    program: Program,
    task: int,
    capacity: Board | Capacity | Mapping[str, int] | None = None,
    buffers: Buffers | None = None,
) -> tuple[ErrorCode, int]:
    """What a run of a task would be refused with, without running it.

    Parameters
    ----------
    program : Program
        Decoded, so header and directory are in order.
    buffers : Buffers, optional
        By default those that the program states.

    Returns
    -------
    code, pc
        ``OK`` and the index of END if nothing is refused.
    """
    entry = program.tasks[task]
    if buffers is None:
        size = LINE * isa.lines(entry.output_bytes)
        buffers = Buffers(3 * program.frame_height * program.frame_width, size)
    limits, pending = Capacity.of(capacity), None
    for pc in range(entry.first, entry.first + entry.count):
        instruction = program.instructions[pc]
        code = check(instruction, limits, buffers, program.layout, pending)
        if code != ErrorCode.OK or instruction.opcode == Opcode.END:
            return code, pc
        pending = after(instruction, pending)
    return ErrorCode.PROGRAM_RANGE, entry.first + entry.count
