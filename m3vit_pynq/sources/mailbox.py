# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames that somebody else brings: the newest one waits, older ones are dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.frames import as_rgb

#: Seconds after which a reader that waits asks again: what it asked for may have been lost.
ASK_AGAIN = 1.0


class Mailbox(Source):
    """A source whose frames are put in from another thread.

    Parameters
    ----------
    name : str
        What to call it before a person.
    fps : float
        Frames per second to expect.
    timeout : float
        Seconds without a frame after which reading raises `SourceError`.
    first_timeout : float, optional
        The same for the first frame.
    scene : str
        ``"indoor"``, ``"street"`` or ``"unknown"``.
    ask : callable, optional
        Called, without arguments, whenever a frame is wanted: before a reader
        waits, again and again while it does, and after a frame was taken.
    """

    kind = "mailbox"

    def __init__(
        self,
        name: str,
        fps: float = 30.0,
        timeout: float = 5.0,
        first_timeout: float | None = None,
        scene: str = "unknown",
        ask: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, fps=fps, scene=scene)
        self.timeout = timeout
        self._patience = timeout if first_timeout is None else first_timeout
        self._ask = ask
        self._arrived = threading.Condition()
        self._newest: np.ndarray | None = None
        self._problem = ""

    def put(self, frame: np.ndarray) -> None:
        """Leave a frame; one that nobody took yet is replaced.

        Raises
        ------
        FrameError
            If the array cannot be a picture.
        """
        frame = as_rgb(frame, self.name)
        with self._arrived:
            self._newest = frame
            self._arrived.notify_all()

    def fail(self, problem: str) -> None:
        """Say that no frame will come; a reader gets this text as a `SourceError`."""
        with self._arrived:
            self._problem = problem
            self._arrived.notify_all()

    def _next_frame(self) -> np.ndarray:
        deadline = time.monotonic() + self._patience
        while not self._settled and (left := deadline - time.monotonic()) > 0:
            if self._ask is not None:
                self._ask()
            with self._arrived:
                self._arrived.wait_for(lambda: self._settled, min(left, ASK_AGAIN))
        with self._arrived:
            frame, self._newest = self._newest, None
        if frame is None:
            if self._closed:
                raise StopIteration
            raise SourceError(self._problem or f"{self.name}: no frame for {self._patience:g} s")
        self._patience = self.timeout
        if self._ask is not None:
            self._ask()
        return frame

    @property
    def _settled(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._newest is not None or bool(self._problem) or self._closed

    def cancel(self) -> None:
        """Wake a reader that waits in another thread: it gets `StopIteration`."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def close(self) -> None:
        """Take no more frames."""
        self.cancel()
