# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the demo measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from m3vit_pynq.bench.cycles import NOT_COUNTED, BoardCycles


@dataclass(frozen=True)
class Switch:
    """One change of task.

    Attributes
    ----------
    frame : int
        Index of the first frame computed for the new task.
    task : str
        The new task.
    delay_frames : int
        Frames that were shown for the old task after the change was asked
        for; they were in flight already.
    cycles_ratio : float or None
        Cycles of this frame by the median of the frames that follow for the
        same task; None where cycles are not counted or no such frame followed.
    """

    frame: int
    task: str
    delay_frames: int
    cycles_ratio: float | None


@dataclass(frozen=True)
class DemoReport:
    """Figures of one demo run.

    Attributes
    ----------
    frames : int
        Frames shown; ``lost`` of the source's were not.
    fps : float
        Frames per second, everything included.
    stages_ms : mapping of str to float
        Mean milliseconds of each stage of a frame. The device works while the
        host is busy with the frames beside it; ``wait`` is what the host
        waited for it in the end.
    registers_per_frame, registers_per_switch_frame : float
        Register accesses of a steady frame, and of the first frame after a
        change of task, without status polls.
    not_counted : str
        Why boards' cycles cannot be had on this computer.
    """

    package: str
    source: str
    scene: str
    board: str
    emulated: bool
    frames: int
    lost: int
    seconds: float
    stages_ms: Mapping[str, float]
    switches: tuple[Switch, ...]
    registers_per_frame: float
    registers_per_switch_frame: float
    tasks: tuple[str, ...]
    boards: Mapping[str, BoardCycles]
    warning: str
    versions: Mapping[str, str]
    files: Mapping[str, str]
    not_counted: str = ""

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def first_frame_after_switch_ratio(self) -> float | None:
        """Median over the switches; None where cycles are not counted."""
        ratios = [s.cycles_ratio for s in self.switches if s.cycles_ratio is not None]
        return median(ratios) if ratios else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": self.frames,
            "frames_lost": self.lost,
            "fps": self.fps,
            "seconds": self.seconds,
            "stages_ms": dict(self.stages_ms),
            "switches": [asdict(switch) for switch in self.switches],
            "registers_per_frame": self.registers_per_frame,
            "registers_per_switch_frame": self.registers_per_switch_frame,
            "first_frame_after_switch_ratio": self.first_frame_after_switch_ratio,
            "cycles_per_frame": {
                name: {task: found.cycles(task) for task in self.tasks}
                for name, found in self.boards.items()
                if not found.problem
            },
            "cycles": None if any(b.tasks for b in self.boards.values()) else NOT_COUNTED,
            "not_counted": self.not_counted,
            "does_not_fit": {n: found.problem for n, found in self.boards.items() if found.problem},
            "package": self.package,
            "source": self.source,
            "scene": self.scene,
            "warning": self.warning,
            "board": self.board,
            "emulated": self.emulated,
            "versions": dict(self.versions),
            "files": dict(self.files),
        }

    def table(self) -> str:
        """The figures for a person."""
        where = "emulated " if self.emulated else ""
        lines = [
            f"{self.package} on the {where}{self.board}, {self.source}",
            "",
            f"{'frames':<28}{self.frames} ({self.lost} lost)",
            f"{'frames per second':<28}{self.fps:.2f}",
            "milliseconds per frame (the device works beside the host)",
            *(f"  {stage:<26}{ms:8.2f}" for stage, ms in self.stages_ms.items()),
            f"{'registers per frame':<28}{self.registers_per_frame:g}",
            *self._switch_lines(),
            *(["boards", *self._board_lines()] if self.boards else []),
            *(f"{name:<28}{path}" for name, path in self.files.items()),
        ]
        return "\n".join(lines)

    def _switch_lines(self) -> list[str]:
        if not self.switches:
            return [f"{'task switches':<28}0"]
        ratio = self.first_frame_after_switch_ratio
        delay = max(s.delay_frames for s in self.switches)
        return [
            f"{'task switches':<28}{len(self.switches)}",
            f"  {'cycles, first / steady':<26}{NOT_COUNTED if ratio is None else f'{ratio:.4f}'}",
            f"  {'registers, first frame':<26}{self.registers_per_switch_frame:g}",
            f"  {'frames already in flight':<26}{delay}",
        ]

    def _board_lines(self) -> list[str]:
        lines = []
        for found in self.boards.values():
            if found.problem:
                lines.append(f"  {found.board.title:<16}does not fit: {found.problem}")
                continue
            if not found.tasks:
                lines.append(f"  {found.board.title:<16}fits; cycles are {NOT_COUNTED}")
                continue
            parts = [
                f"{task} {frame.total / 1e6:.2f} M ({found.milliseconds(task):.1f} ms)"
                for task, frame in found.tasks.items()
            ]
            lines.append(f"  {found.board.title:<16}{', '.join(parts)}")
        if self.not_counted:
            lines.append(f"  cycles cannot be had here: {self.not_counted}")
        return lines
