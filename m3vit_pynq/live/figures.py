# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The figures of a live view: rates and times over the last moments."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Events that a rate or a median is taken over.
WINDOW = 30
#: Seconds after which a rate counts as zero.
STALE = 3.0
#: Share of the time between results in which the host waits for a device that is the limit.
_WAITS = 0.1
#: Pictures per result below which the line tells both.
_FEWER = 0.85


class Rate:
    """Events per second over the last few."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=WINDOW)

    def tick(self) -> None:
        """Something happened."""
        now = self._clock()
        if self._times and now - self._times[-1] > STALE:
            self._times.clear()
        self._times.append(now)

    @property
    def value(self) -> float:
        """Per second; 0 without at least two events in the last seconds."""
        times = tuple(self._times)
        if len(times) < 2 or self._clock() - times[-1] > STALE or times[-1] <= times[0]:
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])


class Median:
    """Median of the last few values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> None:
        self._values.append(value)

    @property
    def value(self) -> float | None:
        values = tuple(self._values)
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Switch:
    """What the last change of task took.

    Attributes
    ----------
    frames : int
        Results from the request to the first one of the new task, that one included.
    seconds : float
        The same in time.
    """

    frames: int
    seconds: float


class Figures:
    """Collects; written by the threads of a live view, read by whoever shows them.

    Attributes
    ----------
    results, pictures : Rate
        Results of the accelerator and pictures shown.
    device, capture, draw, encode, end_to_end : Median
        Seconds. ``device`` counts only runs at whose end the host was waiting:
        otherwise nobody knows when the accelerator was ready. ``end_to_end``
        is from a captured frame to its picture being handed to the browser, or,
        with an acknowledged view, being on the screen.
    stages : dict of str to Median
        Seconds between two results that the loop spent waiting for the accelerator
        (``"wait"``), with or for the source (``"capture"``), and itself (``"host"``).
    modelled : float or None
        Seconds that the cycles of the last frame take at the board's clock; None
        where cycles are not counted.
    switch : Switch or None
        The last change of task.
    """

    def __init__(self) -> None:
        self.results, self.pictures = Rate(), Rate()
        self.device, self.capture = Median(), Median()
        self.draw, self.encode = Median(), Median()
        self.end_to_end = Median()
        self.stages = {name: Median() for name in ("wait", "capture", "host")}
        self._spent: dict[str, float] = {}
        self.modelled: float | None = None
        self.switch: Switch | None = None

    def spent(self, totals: Mapping[str, float]) -> None:
        """Take what the loop has spent in its stages up to a result, in seconds since its start.

        Parameters
        ----------
        totals : mapping of str to float
            By the names of `m3vit_pynq.stream_statistics.STAGES`.
        """
        now = dict.fromkeys(self.stages, 0.0)
        for name, seconds in totals.items():
            if name != "device":  # beside the others
                now[name if name in now else "host"] += seconds
        for name, seconds in now.items():
            if seconds >= self._spent.get(name, 0.0):  # less: another stream
                self.stages[name].add(seconds - self._spent.get(name, 0.0))
        self._spent = now

    def line(self, emulated: bool, board: str = "", frozen: bool = False) -> str:
        """The figures as one line of text."""
        rate = "frozen" if frozen else f"{self.results.value:.1f} frames/s"
        parts = [rate, self._device(emulated, board)]
        if not frozen:
            parts += [self._limit(emulated), self._shown()]
        total, switch = self.end_to_end.value, self.switch
        if total is not None:
            parts.append(f"end to end {_ms(total)}")
        if switch is not None:
            frames = f"{switch.frames} frame{'s' if switch.frames > 1 else ''}"
            parts.append(f"last switch {frames}, {_ms(switch.seconds)}")
        return "  |  ".join(part for part in parts if part)

    def _limit(self, emulated: bool) -> str:
        """What there would have to be more of for more frames."""
        seconds = {name: stage.value or 0.0 for name, stage in self.stages.items()}
        total = sum(seconds.values())
        if not total:
            return ""
        # While the accelerator is waited for, nothing else matters.
        slowest = max(seconds, key=seconds.get) if seconds["wait"] < _WAITS * total else "wait"
        device = "the emulated board" if emulated else "the accelerator"
        names = {"wait": device, "capture": "the source", "host": "this computer's own work"}
        return f"limited by {names[slowest]}"

    def _shown(self) -> str:
        """Pictures, where the browser or the rate cap takes fewer than there are results."""
        results, pictures = self.results.value, self.pictures.value
        return f"{pictures:.1f} pictures/s shown" if 0 < pictures < _FEWER * results else ""

    def _device(self, emulated: bool, board: str) -> str:
        measured, modelled = self.device.value, self.modelled
        if not emulated:  # the accelerator's own counter
            return f"device {_ms(modelled or measured)}" if modelled or measured else ""
        if modelled is None:
            return f"device {_ms(measured)} emulated (cycles are not counted)" if measured else ""
        text = f"{_ms(modelled)} modelled for {board}"
        return f"device {_ms(measured)} emulated ({text})" if measured else f"device {text}"


def _ms(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.1f} ms" if milliseconds < 99.95 else f"{milliseconds:.0f} ms"
