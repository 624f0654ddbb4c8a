# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which boards a package fits, and the cycles of a frame, counted from the sources.

A count runs the frame through the traced accelerator (`m3vit_pynq.emulator.trace`):
seconds for ``tiny`` on a large board, a minute for ``small`` on a small one. It is
kept in the per-user cache. Nothing here was measured on a board.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from m3vit_pynq.abi.boards import BOARDS, Board
from m3vit_pynq.emulator.cycle_records import CycleRecord, PassageLog
from m3vit_pynq.emulator.trace import store
from m3vit_pynq.emulator.trace.build import build
from m3vit_pynq.emulator.trace.depths import depths_of
from m3vit_pynq.emulator.trace.frame import FrameTrace, InstructionTime, count_frame
from m3vit_pynq.emulator.trace.library import TraceLibrary
from m3vit_pynq.emulator.trace.machine import FRAME_CYCLES, INSTRUCTION_CYCLES, Machine
from m3vit_pynq.errors import CapacityError, M3ViTError
from m3vit_pynq.package import Package

#: What reports say in the place of cycles that nobody counted.
NOT_COUNTED = "not counted"

#: Wraps the indices of a task's instructions, as `tqdm.tqdm` does.
Progress = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class FrameCycles:
    """One frame of one task on one board.

    Attributes
    ----------
    total : int
        Cycles from start to done.
    records : tuple of CycleRecord
        One for every instruction.
    passages : PassageLog
        One record for every chunk of weights.
    instructions : tuple of InstructionTime
        For every instruction also its processes; empty in records of other origin.
    counted_on : str
        Which frame was counted: the experts that its tokens choose decide what is read.
    """

    total: int
    records: tuple[CycleRecord, ...]
    passages: PassageLog = field(default_factory=PassageLog)
    instructions: tuple[InstructionTime, ...] = ()
    counted_on: str = ""

    @property
    def bytes(self) -> int:
        """Bytes between DRAM and the accelerator."""
        return sum(record.bytes for record in self.records)

    @property
    def utilisation(self) -> float:
        """Share of the cycles in which the matrix engine multiplies."""
        return sum(record.compute for record in self.records) / self.total


@dataclass(frozen=True)
class BoardCycles:
    """One frame of every task on one board.

    Attributes
    ----------
    tasks : mapping of str to FrameCycles
        Empty if the package does not fit, or cycles are not counted.
    problem : str
        Why it does not fit, with the number; empty if it does.
    """

    board: Board
    tasks: Mapping[str, FrameCycles] = field(default_factory=dict)
    problem: str = ""

    def cycles(self, task: str) -> int | None:
        """Of one frame; None where they are not counted."""
        return self.tasks[task].total if task in self.tasks else None

    def milliseconds(self, task: str) -> float | None:
        """Of one frame at the board's clock; None where cycles are not counted."""
        cycles = self.cycles(task)
        return None if cycles is None else cycles / (self.board.clock_mhz * 1e3)


def name_of(frame: np.ndarray) -> str:
    """A short name of a frame's pixels."""
    return hashlib.sha256(np.ascontiguousarray(frame)).hexdigest()[:12]


def count_task(
    board: Board,
    package: Package,
    task: str,
    image: np.ndarray,
    *,
    progress: Progress = iter,
    say: Callable[[str], None] | None = None,
    fresh: bool = False,
) -> FrameCycles:
    """Cycles of one frame of one task, from the cache if it was counted before.

    Parameters
    ----------
    image : uint8 [height, width, 3]
        RGB; resized to the package's frame if need be.
    progress : callable
        Wraps the indices of the instructions, as `tqdm.tqdm` does.
    say : callable, optional
        Called with a line of text before a compilation.
    fresh : bool
        Count again even if the cache has it.

    Raises
    ------
    CapacityError
        If the package does not fit the board.
    TraceError, MachineError, BuildError
        If its cycles cannot be counted.
    """
    package.check_fits(board)
    pixels = _pixels(package, image)
    name = name_of(pixels)
    library = TraceLibrary(board, say)
    key = _key(board, package, task, library.key)
    found = None if fresh else store.load(key, name)
    if found is None:
        chosen = package.task(task)
        trace = count_frame(
            library, board, package.decoded, package.bank_image(), chosen.index, pixels,
            chosen.output_bytes, progress,
        )  # fmt: skip
        store.save(key, name, trace)
        found = trace, name
    return _frame(*found)


def count_cycles(
    board: Board, package: Package, image: np.ndarray, cached_only: bool = False
) -> BoardCycles:
    """Cycles of a frame of every task on a board.

    A board that the package does not fit is reported, not raised.

    Parameters
    ----------
    cached_only : bool
        Only what is in the cache, of whatever frame; nothing is counted or compiled.
    """
    try:
        package.check_fits(board)
    except CapacityError as error:
        problem = f"{error.resource} = {error.needed}, it has {error.available}"
        return BoardCycles(board, problem=problem)
    if not cached_only:
        return BoardCycles(
            board, {name: count_task(board, package, name, image) for name in package.task_names}
        )
    frames = {}
    try:
        sources = build(board, only_key=True)[2]
    except M3ViTError:  # an installation without the sources
        return BoardCycles(board)
    for name in package.task_names:
        found = store.load(_key(board, package, name, sources))
        if found is not None:
            frames[name] = _frame(*found)
    return BoardCycles(board, frames if len(frames) == len(package.task_names) else {})


def count_on_boards(
    package: Package, image: np.ndarray, cached_only: bool = True
) -> dict[str, BoardCycles]:
    """`count_cycles` for every known board, by name; by default only what is in the cache."""
    return {
        name: count_cycles(board, package, image, cached_only) for name, board in BOARDS.items()
    }


def _pixels(package: Package, image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == tuple(package.config.image_size):
        return image
    from m3vit_pynq.sources import resized

    return resized(image, package.config.image_size)


def _key(board: Board, package: Package, task: str, sources: str) -> str:
    """What a count follows from, the frame aside."""
    return store.key_of(
        sources, Machine.of(board), sorted(depths_of(board.name).items()), INSTRUCTION_CYCLES,
        FRAME_CYCLES, package.program, np.ascontiguousarray(package.weights).tobytes(), task,
    )  # fmt: skip


def _frame(trace: FrameTrace, counted_on: str) -> FrameCycles:
    records = tuple(i.record for i in trace.instructions)
    return FrameCycles(
        sum(record.total for record in records), records, PassageLog(trace.passages),
        trace.instructions, counted_on,
    )  # fmt: skip


def by_layer(package: Package, frame: FrameCycles) -> dict[str, dict[str, int]]:
    """Cycles and bytes by layer, in program order; the tiles of a layer are summed.

    Layers are named as in the package's metadata (``blocks.0.attn.qkv``).
    """
    names = package.metadata.get("layers") or []
    layers: dict[str, dict[str, int]] = {}
    for record in frame.records:
        name = names[record.pc] if record.pc < len(names) else f"instruction {record.pc}"
        entry = layers.setdefault(
            name, {"cycles": 0, "compute": 0, "load": 0, "stall": 0, "bytes": 0}
        )
        entry["cycles"] += record.total
        for key in ("compute", "load", "stall", "bytes"):
            entry[key] += getattr(record, key)
    return layers
