# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A whole frame through the traced accelerator, instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.isa import Instruction, Opcode, Program, lines
from m3vit_pynq.emulator.cycle_records import CycleRecord, Passage
from m3vit_pynq.emulator.hostlib import Slots
from m3vit_pynq.emulator.trace.library import TraceLibrary
from m3vit_pynq.emulator.trace.machine import FRAME_CYCLES, INSTRUCTION_CYCLES, MASTERS

_EXPERTS = (Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN)
_WITH_WEIGHTS = (Opcode.LINEAR, Opcode.CONV3X3, *_EXPERTS)
#: Reasons to stand still that are memory's.
MEMORY_REASONS = ("beat", "read request", "write request", "response", "write buffer")
#: Ends of the names of the processes that hold the ping-pong of half engine A.
_FILL, _COMPUTE = "results_a.fill", "results_a.compute"


@dataclass(frozen=True)
class ProcessTime:
    """One process during one instruction.

    Attributes
    ----------
    busy, stalled, idle : int
        Cycles in which its pipelines move, in which they stand still, and after its
        end; together those of the region.
    memory : int
        Part of ``stalled`` in which it waits for memory.
    waits : tuple of (str, str, int)
        Why it stood still, for which stream or AXI master, how many cycles; longest first.
    """

    name: str
    busy: int
    stalled: int
    idle: int
    memory: int
    waits: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class InstructionTime:
    """One instruction of a frame.

    Attributes
    ----------
    record : CycleRecord
    region : int
        Cycles of the dataflow region; the rest are fetching, checking and starting.
    processes : tuple of ProcessTime
        In the order of the region; none for END.
    moved : mapping of str to (int, int)
        Bytes read and written by AXI master; masters at rest are left out.
    """

    record: CycleRecord
    region: int
    processes: tuple[ProcessTime, ...]
    moved: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class FrameTrace:
    """All instructions of a frame, and its chunks of weights."""

    instructions: tuple[InstructionTime, ...]
    passages: tuple[Passage, ...]


def _aligned(size: int) -> np.ndarray:
    """uint8 [size] of zeros from the start of a line, whole lines behind it."""
    raw = np.zeros(LINE * (lines(size) + 2), np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size]


def count_frame(
    library: TraceLibrary,
    board: Board,
    program: Program,
    image: np.ndarray,
    task: int,
    frame: np.ndarray,
    result_bytes: int,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> FrameTrace:
    """Run one frame of a task and count its cycles.

    Parameters
    ----------
    program : Program
        What `image` holds.
    image : uint8 [bytes]
        Program and weights, as the driver puts them at the start of a bank.
    task : int
        Index of the task.
    frame : uint8
        Pixels as the accelerator reads them.
    result_bytes : int
        Size of the result.
    progress : callable
        Wraps the indices of the instructions, as `tqdm.tqdm` does.

    Raises
    ------
    TraceError
        See `TraceLibrary.step`.
    """
    bank = _aligned(LINE * program.layout.lines)
    bank[: image.size] = image
    pixels = _aligned(frame.nbytes)
    pixels[:] = np.ascontiguousarray(frame).reshape(-1).view(np.uint8)
    result = _aligned(result_bytes)
    entry, slots = program.tasks[task], Slots()
    found: list[InstructionTime] = []
    passages: list[Passage] = []
    now, free = 0, 0
    for pc in progress(range(entry.first, entry.first + entry.count)):
        instruction = program.instructions[pc]
        report = library.step(pc, bank, program.layout, pixels, result, slots)
        first = FRAME_CYCLES if pc == entry.first else 0
        start = now + first + INSTRUCTION_CYCLES + report["top"]["cycles"]
        region = report.get("region")
        chunks = _passages(pc, instruction, region, start, board) if region else []
        time = _instruction(pc, instruction, report, start - now, chunks, (now, free), board)
        found.append(time)
        passages += chunks
        free = chunks[-1].compute_end if chunks else free
        now += time.record.total
        if instruction.opcode == Opcode.END:
            break
    return FrameTrace(tuple(found), tuple(passages))


def _instruction(
    pc: int,
    instruction: Instruction,
    report: dict[str, Any],
    before: int,
    chunks: Sequence[Passage],
    times: tuple[int, int],
    board: Board,
) -> InstructionTime:
    """The records of one instruction; `before`: cycles until its region starts."""
    region = report.get("region")
    cycles = region["cycles"] if region else 0
    beats = [[a, b] for a, b in report["top"]["beats"]]
    for mine, theirs in zip(beats, region["beats"] if region else (), strict=False):
        mine[0] += theirs[0]
        mine[1] += theirs[1]
    moved = {
        name: (board.port_bytes * read, board.port_bytes * written)
        for name, (read, written) in zip(MASTERS, beats, strict=True) if read or written
    }  # fmt: skip
    record = CycleRecord(
        pc, instruction.opcode, before + cycles,
        _multiplying(instruction, region, board) if region else 0,
        sum(p.load_end - p.load_start for p in chunks), _waiting(chunks, *times),
        sum(read + written for read, written in moved.values()),
    )  # fmt: skip
    processes = tuple(_process(p, cycles) for p in region["processes"]) if region else ()
    return InstructionTime(record, cycles, processes, moved)


def _process(found: dict[str, Any], region: int) -> ProcessTime:
    waits = tuple(
        (reason, MASTERS[where] if isinstance(where, int) else where, lost)
        for reason, where, lost in sorted(found["stalls"], key=lambda w: -w[2])
    )
    return ProcessTime(
        found["name"], found["end"] - found["stalled"], found["stalled"], region - found["end"],
        sum(lost for reason, _, lost in waits if reason in MEMORY_REASONS), waits,
    )  # fmt: skip


def _calls(region: dict[str, Any], end: str) -> list[list[int]]:
    """Calls of the process whose name ends so: start, end, words written."""
    return next((p["calls"] for p in region["processes"] if p["name"].endswith(end)), [])


def _multiplying(instruction: Instruction, region: dict[str, Any], board: Board) -> int:
    """Cycles in which the busier half engine multiplies: its results times their rows."""
    i, pieces = instruction, LINE // board.in_par
    results = [
        sum(written for _, _, written in _calls(region, f"results_{half}.compute")) for half in "ab"
    ]
    if i.opcode == Opcode.ATTENTION:
        return max(results[0] * pieces, results[1] * lines(i.rows) * pieces * i.passes)
    if i.opcode not in _WITH_WEIGHTS:
        return 0
    return max(results) * _row_cycles(i, board)


def _passages(
    pc: int, instruction: Instruction, region: dict[str, Any], start: int, board: Board
) -> list[Passage]:
    """Chunks of weights of half engine A; those of experts without tokens are left out."""
    if instruction.opcode not in _WITH_WEIGHTS:
        return []
    fills, computes = _calls(region, _FILL), _calls(region, _COMPUTE)
    is_experts = instruction.opcode in _EXPERTS
    per_expert = max(1, len(computes) // instruction.experts) if is_experts else 0
    row = _row_cycles(instruction, board)
    return [
        Passage(
            pc, chunk // per_expert if is_experts else None,
            instruction.opcode == Opcode.EXPERTS_DOWN, chunk % 2,
            start + fill[0], start + fill[1], start + compute[0], start + compute[1],
            compute[2] * row,
        )
        for chunk, (fill, compute) in enumerate(zip(fills, computes, strict=True)) if compute[2]
    ]  # fmt: skip


def _row_cycles(instruction: Instruction, board: Board) -> int:
    """Cycles in which a half engine multiplies a row of weights with a tile."""
    taps = 9 if instruction.opcode == Opcode.CONV3X3 else 1
    return taps * lines(instruction.cols_in) * (LINE // board.in_par)


def _waiting(chunks: Sequence[Passage], begin: int, free: int) -> int:
    """Cycles in which the engine waits for weights, as `m3vit_pynq.pictures.waits` finds them."""
    total = 0
    for chunk in chunks:
        beside = chunk.load_start < free
        start = free if beside else chunk.load_start
        if (beside or start >= begin) and chunk.load_end > start:
            total += chunk.load_end - start
        free = chunk.compute_end
    return total
