# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames for a live view, from whichever source is wanted at the moment.

A feed is what `overlay.stream` reads. It never ends by itself: when a camera is
unplugged or a clip is over, the last frame is repeated at a slow pace, so that
the task can still be changed, and the camera is looked for until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from m3vit_pynq.errors import FrameError, SourceError
from m3vit_pynq.live import status
from m3vit_pynq.live.status import Status
from m3vit_pynq.sources import Source, open_source
from m3vit_pynq.sources.camera import node_signature
from m3vit_pynq.sources.opening import camera_index

log = logging.getLogger(__name__)

#: Seconds between two looks for a camera, and between two repetitions of a held frame.
LOOK_AGAIN = 1.0
#: Seconds after which a camera that did not work is tried again though nothing changed.
TRY_ANYWAY = 10.0
#: Frames for which a photograph stays.
HOLD = 100
#: Photographs per second, whatever their source says: they have no rate of their own.
STILLS_RATE = 25.0
#: After so many fresh frames one is given twice, at once. The host then has nothing
#: to do but wait for the accelerator, and sees how long that really takes.
TWICE_EVERY = 50

#: A held frame is given this often at once after a change, so that its result
#: gets through the two buffers of the stream.
_FLUSH = 3

Opener = Callable[[object], Source]


@dataclass(frozen=True)
class Handed:
    """A frame that was given to the stream.

    Attributes
    ----------
    time : float
        `time.perf_counter` when it had been captured.
    fresh : bool
        False if the frame was given before.
    """

    time: float
    fresh: bool


class Feed:
    """An iterator of frames whose source can be changed, frozen and lost.

    Parameters
    ----------
    spec : object
        As for `m3vit_pynq.sources.open_source`, or a callable that opens a source.
    report : callable
        Called with a `Status` whenever it changes; from the reading thread.
    opener : callable, optional
        Opens a source from a spec.
    nodes : callable, optional
        Something that changes when a camera is plugged in or out.

    Attributes
    ----------
    handed : deque of Handed
        One entry for every frame given and not yet taken out.
    capture_seconds : float
        What getting the last fresh frame took, without waiting for its time.
    """

    def __init__(
        self,
        spec: object = "auto",
        report: Callable[[Status], None] = lambda status: None,
        opener: Opener | None = None,
        nodes: Callable[[], object] = node_signature,
    ) -> None:
        self._spec = spec
        self._report = report
        self._opener = opener or partial(open_source, hold=HOLD)
        self._nodes = nodes
        self._changed = threading.Condition()
        self._reopen = True
        self._stopped = False
        self._frozen: np.ndarray | None = None
        self._flush = 0
        self._source: Source | None = None
        self._last: np.ndarray | None = None
        self._retry = False
        self._seen_nodes: object = None
        self._looked = self._tried = 0.0
        self._due = 0.0
        self._until_twice = 1
        self.handed: deque[Handed] = deque()
        self.capture_seconds = 0.0

    # What other threads may do.

    @property
    def spec(self) -> object:
        """The source that is wanted."""
        return self._spec

    @spec.setter
    def spec(self, spec: object) -> None:
        with self._changed:
            self._spec, self._reopen = spec, True
            self._changed.notify_all()
        self._interrupt()

    def freeze(self, frame: np.ndarray | None) -> None:
        """Give this frame again and again; None goes on with the source."""
        with self._changed:
            self._frozen = frame
        self.hurry()

    def hurry(self) -> None:
        """Give a held frame at once, for example because the task was changed."""
        with self._changed:
            self._flush = _FLUSH
            self._changed.notify_all()

    def stop(self) -> None:
        """End the iteration, now or soon."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._interrupt()

    def _interrupt(self) -> None:
        source = self._source
        if source is not None:
            source.cancel()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def source(self) -> Source | None:
        """The open source, if any."""
        return self._source

    # The loop, in the thread of the reader.

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        while not self._stopped:
            if self._reopen or self._worth_another_try():
                self._open()
            if self._frozen is None and self._source is not None:
                twice = self._until_twice == 0
                frame, fresh = (self._last, False) if twice else (self._take(), True)
                self._until_twice = TWICE_EVERY if twice else self._until_twice
            elif self._hold():
                frame, fresh = self._frozen if self._frozen is not None else self._last, False
            else:
                continue
            if frame is not None:
                return self._hand(frame, fresh)
        self.close()
        raise StopIteration

    def _hand(self, frame: np.ndarray, fresh: bool) -> np.ndarray:
        if fresh:
            self._last = frame
            self._until_twice -= 1
        self.handed.append(Handed(time.perf_counter(), fresh))
        return frame

    def _hold(self) -> bool:
        """Wait until a held frame is due; False if something else came up meanwhile."""
        with self._changed:
            if self._flush > 0:
                self._flush -= 1
                return True
            self._changed.wait_for(self._something_new, LOOK_AGAIN)
            return not (self._stopped or self._reopen or self._flush)

    def _something_new(self) -> bool:
        return self._stopped or self._reopen or self._flush > 0

    # Sources.

    def _open(self) -> None:
        with self._changed:
            spec, self._reopen = self._spec, False
        self._tried = self._looked = time.monotonic()
        self._seen_nodes = self._nodes()
        automatic, old = _is_automatic(spec), self._source
        self._close_source()
        if old is None or not automatic:
            self._report(Status(status.OPENING, f"opening {_called(spec)}"))
        try:
            source = spec() if callable(spec) else self._opener(spec)
        except (SourceError, FrameError) as error:
            self._lost(spec, error)
            return
        self._source = source
        self._retry = automatic and not source.live
        self._due = 0.0
        with self._changed:
            superseded = self._reopen or self._stopped
        if superseded:  # while it was being opened
            return
        self._report(Status(status.RUNNING, _explained(source)))

    def _take(self) -> np.ndarray | None:
        """A fresh frame, or None if the source had none."""
        source = self._source
        rate = STILLS_RATE if source.kind == "stills" else source.fps
        if not source.live and not self._its_time(rate):
            return None
        began = time.perf_counter()
        try:
            frame = next(source)
        except StopIteration:
            self._over()
            return None
        except (SourceError, FrameError) as error:
            self._lost(self._spec, error)
            return None
        self.capture_seconds = time.perf_counter() - began
        return frame

    def _its_time(self, fps: float) -> bool:
        """Wait until the next frame of a clip is due; False if something else came up."""
        now = time.monotonic()
        with self._changed:
            if self._due > now and self._changed.wait_for(self._diverted, self._due - now):
                return False
        self._due = max(self._due + 1.0 / fps, now)
        return True

    def _diverted(self) -> bool:
        return self._stopped or self._reopen or self._frozen is not None

    def _over(self) -> None:
        """The source gave all that it had, or was told to stop."""
        with self._changed:
            if self._stopped or self._reopen:
                return
        name = self._source.name
        self._close_source()
        self._retry = False
        self.hurry()
        self._report(Status(status.ENDED, f"{name} is over; press Start to see it again"))

    def _lost(self, spec: object, error: Exception) -> None:
        """The source cannot be opened or gives no more frames."""
        log.info("%s", error)
        camera = self._source is not None and self._source.live
        late = self._source is not None and self._source.may_go_on
        self._close_source()
        if _is_automatic(spec) and camera:
            # Falls through to what "auto" shows without a camera, with a note why.
            self._reopen = True
            return
        self._retry = _is_automatic(spec) or camera_index(spec) is not None or late
        self.hurry()
        if self._retry:
            text = f"{error}. It is looked for: as soon as it works, the picture goes on"
            self._report(Status(status.WAITING, text))
        else:
            self._report(Status(status.FAILED, str(error)))

    def _worth_another_try(self) -> bool:
        """Whether a camera may have come; looks at most once a second."""
        now = time.monotonic()
        if not self._retry or now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        nodes = self._nodes()
        if nodes != self._seen_nodes:
            return bool(nodes) or self._source is None
        return self._source is None and now - self._tried > TRY_ANYWAY

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close the source. Idempotent; only while nobody reads."""
        self._close_source()


def _is_automatic(spec: object) -> bool:
    return spec is None or spec == "auto"


def _explained(source: Source) -> str:
    """Why this source is shown, if another would have been better."""
    if not source.note:
        return ""
    return f"{source.note}. Showing {source.name}; a camera is shown as soon as one is plugged in"


def _called(spec: object) -> str:
    """What to call a source before it is open."""
    if _is_automatic(spec):
        return "a camera, or what there is instead"
    if callable(spec):
        return getattr(spec, "title", "the source")
    index = camera_index(spec)
    return f"camera {index}" if index is not None else str(spec)
