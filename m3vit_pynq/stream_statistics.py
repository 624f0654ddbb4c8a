# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures of a stream, kept in constant memory however long it runs."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

#: Stages in the order of the way of a frame. ``device`` overlaps the others.
STAGES = ("capture", "resize", "device", "wait", "postprocess", "consumer")


@dataclass
class Mean:
    """Running mean."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass
class StreamStatistics:
    """What a stream did so far.

    Attributes
    ----------
    frames : int
        Results delivered.
    switches : int
        Frames that were started with another task than the one before.
    package_switches : int
        Flips to another weight bank.
    bytes_moved : int
        Weight bytes copied to device memory during the stream.
    registers : int
        Register accesses of the accelerator, without status polls.
    polls : int
        Reads of CTRL.
    """

    frames: int = 0
    switches: int = 0
    package_switches: int = 0
    bytes_moved: int = 0
    registers: int = 0
    polls: int = 0
    _stages: dict[str, Mean] = field(default_factory=lambda: defaultdict(Mean), repr=False)
    _steady_registers: Mean = field(default_factory=Mean, repr=False)
    _switch_registers: Mean = field(default_factory=Mean, repr=False)
    _steady_cycles: dict[str, Mean] = field(default_factory=lambda: defaultdict(Mean), repr=False)
    _switch_cycles: dict[str, Mean] = field(default_factory=lambda: defaultdict(Mean), repr=False)
    _first: float = field(default=0.0, repr=False)
    _last: float = field(default=0.0, repr=False)

    def add_stage(self, stage: str, seconds: float) -> None:
        """Time that one frame spent in a stage."""
        self._stages[stage].add(seconds)

    def add_frame(
        self, task: str, cycles: int | None, registers: int, first: bool, switched: bool
    ) -> None:
        """A result was delivered.

        Parameters
        ----------
        cycles : int or None
            Of the accelerator, where they are counted.
        registers : int
            Accesses that this frame took.
        first : bool
            Whether registers were written that only the first frame needs.
        switched : bool
            Whether the frame before had another task.
        """
        self._last = time.perf_counter()
        self._first = self._first or self._last
        self.frames += 1
        self.registers += registers
        self.switches += switched
        if not first:
            (self._switch_registers if switched else self._steady_registers).add(registers)
        if cycles is not None:
            (self._switch_cycles if switched else self._steady_cycles)[task].add(cycles)

    @property
    def fps(self) -> float:
        """Results per second, from the first to the last."""
        elapsed = self._last - self._first
        return (self.frames - 1) / elapsed if elapsed > 0 else 0.0

    @property
    def stages_ms(self) -> dict[str, float]:
        """Milliseconds per frame and stage.

        ``device`` is from start until the driver saw the end, during which
        the host captures and resizes the next frame and the user works on the
        one before; ``wait`` is the part of it in which the host had nothing
        to do; ``consumer`` is what the user's loop body took.
        """
        return {name: 1e3 * self._stages[name].value for name in STAGES if name in self._stages}

    @property
    def registers_per_frame(self) -> float:
        """Accesses of a frame whose task is that of the frame before."""
        return self._steady_registers.value

    @property
    def registers_per_switch_frame(self) -> float:
        """Accesses of the first frame after a task switch."""
        return self._switch_registers.value

    @property
    def cycles_per_frame(self) -> dict[str, float]:
        """Mean cycles of a frame by task; empty where they are not counted."""
        names = {*self._steady_cycles, *self._switch_cycles}
        return {name: self._joined(name).value for name in sorted(names)}

    def _joined(self, task: str) -> Mean:
        steady, switch = self._steady_cycles[task], self._switch_cycles[task]
        return Mean(steady.total + switch.total, steady.count + switch.count)

    @property
    def first_frame_after_switch_ratio(self) -> float | None:
        """Cycles of the first frame after a switch over those of later frames.

        The mean over tasks that have both kinds of frame; None without any.
        """
        ratios = [
            mean.value / self._steady_cycles[task].value
            for task, mean in self._switch_cycles.items()
            if self._steady_cycles[task].value
        ]
        return sum(ratios) / len(ratios) if ratios else None
