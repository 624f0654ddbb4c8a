# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which boards a package fits, and the cycles of a frame where they are counted.

Nothing counts cycles at present: the model of the first edition put work side by
side on its own word. The records stay, for a count that follows from the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from m3vit_pynq.abi.boards import BOARDS, Board
from m3vit_pynq.emulator.cycle_records import CycleRecord, PassageLog
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.package import Package

#: What reports say in the place of cycles.
NOT_COUNTED = "not counted"


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


def count_cycles(board: Board, package: Package, image: np.ndarray) -> BoardCycles:
    """Whether a package fits a board; cycles of `image` are not counted at present.

    A board that the package does not fit is reported, not raised.
    """
    del image
    try:
        package.check_fits(board)
    except CapacityError as error:
        problem = f"{error.resource} = {error.needed}, it has {error.available}"
        return BoardCycles(board, problem=problem)
    return BoardCycles(board)


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
