# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The figures of a live view: rates and times over the last moments."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

#: Events that a rate or a median is taken over.
WINDOW = 30
#: Seconds after which a rate counts as zero.
STALE = 3.0


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
        self.modelled: float | None = None
        self.switch: Switch | None = None

    def line(self, emulated: bool, board: str = "", frozen: bool = False) -> str:
        """The figures as one line of text."""
        rate = "frozen" if frozen else f"{self.results.value:.1f} frames/s"
        parts = [rate, self._device(emulated, board)]
        total, switch = self.end_to_end.value, self.switch
        if total is not None:
            parts.append(f"end to end {_ms(total)}")
        if switch is not None:
            frames = f"{switch.frames} frame{'s' if switch.frames > 1 else ''}"
            parts.append(f"last switch {frames}, {_ms(switch.seconds)}")
        return "  |  ".join(part for part in parts if part)

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
