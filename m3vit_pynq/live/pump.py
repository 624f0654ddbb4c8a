# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The thread that brings pictures from a painter to a view in the browser."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from m3vit_pynq.live.pacing import Pacer
from m3vit_pynq.live.painter import Painted, Painter
from m3vit_pynq.live.worker import Worker

log = logging.getLogger(__name__)

#: Seconds between two updates of what stands around the picture.
TICK = 0.4
#: Seconds for which `Pump.stop` waits for a picture that is being drawn.
STOP_TIMEOUT = 5.0


class PictureView(Protocol):
    """Where pictures go."""

    acknowledged: bool

    def show(self, serial: int, jpeg: bytes) -> None: ...

    def ask(self, serial: int) -> None: ...


class Pump:
    """Sends the newest picture whenever the view can take one.

    Runs as long as the session does, then sends the last picture and ends.

    Parameters
    ----------
    painter : Painter
        Makes the pictures.
    view : PictureView
        Takes them.
    rate : float
        Pictures per second at most.
    tick : callable
        Called a few times per second while somebody looks, with the last picture sent.
    busy : callable
        Whether the kernel runs a cell, so that answers wait unread.
    """

    def __init__(
        self,
        painter: Painter,
        view: PictureView,
        rate: float = 20.0,
        tick: Callable[[Painted | None], None] = lambda painted: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._painter = painter
        self._view = view
        self._tick = tick
        self._busy = busy
        self._pacer = Pacer(rate, view.acknowledged)
        self._wake = threading.Condition()
        self._stopping = False
        self._worker: Worker | None = None
        self._serial = 0
        self._captured: dict[int, float] = {}
        self._moment = 0
        self._sent: Painted | None = None
        self._ticked = float("-inf")

    # What the browser says.

    def answered(self, serial: int) -> None:
        """A picture is on the screen."""
        now = time.perf_counter()
        with self._wake:
            self._pacer.answered(serial)
            captured = self._captured.pop(serial, None)
            self._captured = {s: t for s, t in self._captured.items() if s > serial}
            self._wake.notify_all()
        if captured is not None:
            self._painter.session.figures.end_to_end.add(now - captured)

    def greeted(self) -> None:
        """Somebody new looks: show the picture of now again."""
        with self._wake:
            self._pacer.reset()
            self._serial = 0
            self._ticked = float("-inf")
            self._wake.notify_all()
        if not self.running:
            self.once()

    # Life.

    @property
    def running(self) -> bool:
        worker = self._worker
        return worker is not None and worker.running

    def start(self) -> None:
        """Begin, unless at work already."""
        if self.running and not self._stopping:
            return
        self._join()
        self._stopping = False
        self._pacer.reset()
        self._worker = Worker(self._run, "m3vit-view")

    def stop(self) -> None:
        """End soon. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        with self._painter.session.changed:
            self._painter.session.changed.notify_all()
        self._join()

    def _join(self) -> None:
        worker = self._worker
        if worker is not None and worker.wait(STOP_TIMEOUT):
            self._worker = None

    def once(self) -> None:
        """Send the picture of now, whatever the pace; for when the thread does not run."""
        self._send(self._painter.newest())
        self._tick(self._sent)

    # The thread.

    def _run(self) -> None:
        try:
            while not self._stopping and self._painter.session.running:
                if not self._wait_for_turn():
                    continue
                painted = self._painter.after(self._serial, TICK, lambda: self._stopping)
                if painted is not None and not self._stopping:
                    self._send(painted)
                self._tick_if_due()
            if not self._stopping:
                self.once()
        except Exception:
            log.exception("the live picture stops")

    def _wait_for_turn(self) -> bool:
        """Sleep until a picture may be sent; False to look again."""
        with self._wake:
            now, busy = time.monotonic(), self._busy()
            wait = self._pacer.ready_in(now, busy)
            if wait <= 0:
                return True
            ask = self._pacer.ask_in(now)
            if ask > 0:
                self._wake.wait(min(wait, ask, TICK))
                return False
            self._pacer.asked(now)
        self._view.ask(self._serial)
        return False

    def _send(self, painted: Painted) -> None:
        with self._wake:
            self._pacer.sent(painted.serial, time.monotonic(), self._busy())
            self._serial, self._sent = painted.serial, painted
            captured = self._capture_time(painted)
            if captured is not None and self._view.acknowledged:
                self._captured[painted.serial] = captured
        self._view.show(painted.serial, painted.jpeg)
        figures = self._painter.session.figures
        figures.pictures.tick()
        if captured is not None and not self._view.acknowledged:
            figures.end_to_end.add(time.perf_counter() - captured)

    def _capture_time(self, painted: Painted) -> float | None:
        """When the frame of a picture was captured, if it is shown for the first time."""
        moment = painted.moment
        if moment is None or moment.number == self._moment:
            return None
        self._moment = moment.number
        return moment.newest.captured

    def _tick_if_due(self) -> None:
        now = time.monotonic()
        if now - self._ticked >= TICK:
            self._ticked = now
            self._tick(self._sent)
