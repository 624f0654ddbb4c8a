# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board against PyTorch and ONNX Runtime on the same shapes, in one run.

All run the same tasks in turn, so that whatever else the computer does hits
all alike; what counts is the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.bench.competitors import ONNXRUNTIME, TORCH, Runner
from m3vit_pynq.overlay import M3ViTOverlay

#: Seconds between two measurements, in which threads that watch for work go to sleep.
_PAUSE = 0.01
#: Runs of each before the measurements.
_WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one thing.

    Attributes
    ----------
    milliseconds : tuple of float
        Wall time of every repeat.
    busy_cores : float
        Processor time by wall time: how many cores were at work.
    """

    milliseconds: tuple[float, ...]
    busy_cores: float

    @property
    def median(self) -> float:
        return median(self.milliseconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile."""
        low, high = np.percentile(self.milliseconds, (25, 75))
        return float(low), float(high)


@dataclass(frozen=True)
class ClassTime:
    """What the instructions of one opcode took of a frame.

    Attributes
    ----------
    milliseconds : float
        Of a frame, mean over the repeats.
    products : int
        Multiply-accumulates of a frame.
    """

    milliseconds: float
    products: int


@dataclass(frozen=True)
class Comparison:
    """One task on the emulated board and in whatever else took part.

    Attributes
    ----------
    emulated : Timing
    others : mapping of str to Timing
        By the keys of `m3vit_pynq.bench.competitors.TITLES`.
    classes : mapping of str to ClassTime
        By opcode, in the fast engine; empty in another.
    """

    emulated: Timing
    others: Mapping[str, Timing] = field(default_factory=dict)
    classes: Mapping[str, ClassTime] = field(default_factory=dict)

    def ratio(self, other: str) -> float | None:
        """Median over the repeats of another's time by the emulated board's.

        Above 1 the emulated board is faster; None if the other did not take part.
        """
        if other not in self.others:
            return None
        pairs = zip(self.others[other].milliseconds, self.emulated.milliseconds, strict=True)
        return median(a / b for a, b in pairs)

    @property
    def best_onnxruntime(self) -> str | None:
        """The fastest form in ONNX Runtime, if any took part."""
        forms = [form for form in ONNXRUNTIME if form in self.others]
        return min(forms, key=lambda form: self.others[form].median, default=None)

    @property
    def ratio_onnxruntime(self) -> float | None:
        """`ratio` of ONNX Runtime's fastest form."""
        best = self.best_onnxruntime
        return None if best is None else self.ratio(best)

    @property
    def ratio_torch(self) -> float | None:
        return self.ratio(TORCH)


class _Stopwatch:
    """Collects wall and processor time of calls."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._processor = 0.0

    def __call__(self, function: Callable[[], object]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        function()
        self._processor += time.process_time() - processor
        self.milliseconds.append(1e3 * (time.perf_counter() - wall))

    def timing(self) -> Timing:
        busy = 1e3 * self._processor / sum(self.milliseconds)
        return Timing(tuple(self.milliseconds), busy)


def compare(
    overlay: M3ViTOverlay,
    frame: np.ndarray,
    repeats: int,
    others: Mapping[str, Runner] | None = None,
) -> dict[str, Comparison]:
    """Time every task of the loaded package.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB at the model's size.
    repeats : int
        Measurements of each, after some that do not count.
    others : mapping of str to callable, optional
        What runs in turn with the emulated board, see `m3vit_pynq.bench.competitors`.

    Returns
    -------
    dict
        `Comparison` by task.
    """
    others = others or {}
    profile = _Profile(overlay)
    return {
        task: _compare_task(overlay, frame, repeats, others, task, profile)
        for task in overlay.package.task_names
    }


def _compare_task(
    overlay: M3ViTOverlay,
    frame: np.ndarray,
    repeats: int,
    others: Mapping[str, Runner],
    task: str,
    profile: _Profile,
) -> Comparison:
    runs: dict[str, Callable[[], object]] = {
        "": lambda: overlay.run(frame, task),
        **{name: (lambda run=run: run(frame, task)) for name, run in others.items()},
    }
    watches = {name: _Stopwatch() for name in runs}
    for run in runs.values():  # first calls compile, allocate and fill caches
        for _ in range(_WARM_UP):
            run()
    profile.clear()
    for _ in range(repeats):
        for name, run in runs.items():
            time.sleep(_PAUSE)
            watches[name](run)
    timings = {name: watch.timing() for name, watch in watches.items()}
    return Comparison(timings.pop(""), timings, profile.classes(repeats))


class _Profile:
    """The fast engine's own clock, where that engine runs."""

    def __init__(self, overlay: M3ViTOverlay) -> None:
        self._engine = fast_engine(overlay)

    def clear(self) -> None:
        if self._engine is not None:
            self._engine.profile(clear=True)

    def classes(self, frames: int) -> dict[str, ClassTime]:
        if self._engine is None:
            return {}
        times = self._engine.profile().opcodes
        return {
            Opcode(opcode).name: ClassTime(1e3 * t.seconds / frames, round(t.products / frames))
            for opcode, t in sorted(times.items(), key=lambda item: -item[1].seconds)
        }


def fast_engine(overlay: M3ViTOverlay):
    """The overlay's `m3vit_pynq.emulator.fast.FastEngine`, or None if another computes."""
    fabric = getattr(overlay.device, "fabric", None)
    return getattr(getattr(fabric, "kernel", None), "engine", None)
