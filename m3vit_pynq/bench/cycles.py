# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Modelled cycles of one frame, counted by the compiled HLS of a board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from m3vit_pynq.abi.boards import BOARDS, Board
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.emulator.hostlib import CycleRecord, HostLibrary, PassageLog, build
from m3vit_pynq.errors import AcceleratorError, CapacityError
from m3vit_pynq.package import Package
from m3vit_pynq.sources.frames import as_rgb, resized


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
    """

    total: int
    records: tuple[CycleRecord, ...]
    passages: PassageLog = field(default_factory=PassageLog)

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
        Empty if the package does not fit.
    problem : str
        Why it does not fit, with the number; empty if it does.
    """

    board: Board
    tasks: Mapping[str, FrameCycles] = field(default_factory=dict)
    problem: str = ""

    def milliseconds(self, task: str) -> float:
        """Of one frame at the board's clock."""
        return self.tasks[task].total / (self.board.clock_mhz * 1e3)


@lru_cache(maxsize=len(BOARDS))
def _library(name: str) -> HostLibrary:
    return HostLibrary(build(name))


def count_cycles(board: Board, package: Package, image: np.ndarray) -> BoardCycles:
    """Run one image for every task on the compiled accelerator of a board.

    A board that the package does not fit is reported, not raised.

    Raises
    ------
    BuildError
        If the accelerator cannot be compiled here.
    AcceleratorError
        If it refuses the program.
    """
    try:
        package.check_fits(board)
    except CapacityError as error:
        problem = f"{error.resource} = {error.needed}, it has {error.available}"
        return BoardCycles(board, problem=problem)
    frame = np.ascontiguousarray(resized(as_rgb(image), package.config.image_size))
    library = _library(board.name)
    tasks = {name: _run(library, package, name, frame) for name in package.task_names}
    return BoardCycles(board, tasks)


def _run(library: HostLibrary, package: Package, name: str, frame: np.ndarray) -> FrameCycles:
    task = package.task(name)
    output = np.zeros(task.output_bytes, np.uint8)
    program = np.frombuffer(package.program, np.uint8)
    outputs = library.accel(
        Command.RUN, task.index, frame.ctypes.data, output.ctypes.data, program.ctypes.data,
        [row.ctypes.data for row in package.weights], frame.nbytes, output.nbytes,
        program.nbytes, package.weights.shape[1],
    )  # fmt: skip
    if outputs["error"]:
        raise AcceleratorError(outputs["error"], outputs["error_pc"])
    total = outputs["cycles_low"] | outputs["cycles_high"] << 32
    return FrameCycles(total, tuple(library.cycles()), library.passages())


def count_on_boards(package: Package, image: np.ndarray) -> dict[str, BoardCycles]:
    """`count_cycles` for every known board, by name."""
    return {name: count_cycles(board, package, image) for name, board in BOARDS.items()}


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
