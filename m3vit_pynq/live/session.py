# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The engine of a live view: a thread that streams frames and keeps the newest results.

It knows nothing of pictures and browsers. Whoever shows something waits for
`LiveSession.changed` and looks at `moment` and `status`, as often as it likes:
the accelerator never waits for it.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import status
from m3vit_pynq.live.feed import Feed, Opener
from m3vit_pynq.live.figures import Figures, Switch
from m3vit_pynq.live.moment import Moment, Shot, same
from m3vit_pynq.live.status import Status
from m3vit_pynq.live.worker import Worker
from m3vit_pynq.stream_statistics import StreamStatistics

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay
    from m3vit_pynq.result import Result
    from m3vit_pynq.sources import Source
    from m3vit_pynq.stream import Stream

log = logging.getLogger(__name__)

#: Seconds for which `LiveSession.stop` waits for the running frame and the source.
STOP_TIMEOUT = 5.0
#: If the host waited for less than this share of a run, the accelerator may have
#: been ready before the host looked.
_WAITED = 0.2

#: The word for all tasks of a model, frame by frame in turn.
BOTH = "both"

TAKEN_OVER = "another live view of this overlay was started and has taken over; Start takes it back"


class LiveSession:
    """Streams a source through the accelerator in a thread of its own.

    Parameters
    ----------
    overlay : M3ViTOverlay
        With a model loaded, or a shipped one at hand.
    source : object
        As for `m3vit_pynq.sources.open_source`.
    task : str or sequence of str, optional
        Task to begin with, several, or ``"both"``; default: the first.
    opener : callable, optional
        Opens a source from a spec.

    Attributes
    ----------
    opener : callable or None
        Opens a source from a spec; read by `start`.
    changed : threading.Condition
        Notified when `moment` or `status` is replaced.
    figures : Figures
        Rates and times.

    Raises
    ------
    ValueError
        For a task that the model does not have.
    """

    def __init__(
        self,
        overlay: M3ViTOverlay,
        source: object = "auto",
        task: str | Sequence[str] | None = None,
        opener: Opener | None = None,
    ) -> None:
        self._overlay = overlay
        self.opener = opener
        self._spec = source
        self._worker: Worker | None = None
        self._feed: Feed | None = None
        self._stream: Stream | None = None
        self._statistics = StreamStatistics()
        self._closed = False
        self._frozen: np.ndarray | None = None
        self._shots: dict[str, Shot] = {}
        self._asked: tuple[float, int, int] | None = None
        self._results = 0
        self._waited = 0.0
        self._status = Status()
        self.changed = threading.Condition()
        self.moment: Moment | None = None
        self.figures = Figures()
        self._tasks = self._checked(task if task is not None else self.task_names[0])

    # Tasks.

    @property
    def overlay(self) -> M3ViTOverlay:
        return self._overlay

    @property
    def task_names(self) -> tuple[str, ...]:
        """Tasks of the model."""
        package = self._overlay.package
        return (self._overlay._ready_package() if package is None else package).task_names

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that are shown."""
        return self._tasks

    @property
    def task(self) -> str:
        """The task, or ``"both"`` for several that alternate frame by frame."""
        return self._tasks[0] if len(self._tasks) == 1 else BOTH

    @task.setter
    def task(self, names: str | Sequence[str]) -> None:
        tasks = self._checked(names)
        if tasks == self._tasks:
            return
        with self.changed:
            self._tasks = tasks
            self._shots = {name: shot for name, shot in self._shots.items() if name in tasks}
            if self._stream is not None:
                # Frames from this number on see the new task: a stream reads it
                # once per frame, when it starts the frame.
                self._asked = (time.perf_counter(), self._results, self._stream._started)
                self._stream.task = tasks
        if self._feed is not None:
            self._feed.hurry()

    def _checked(self, names: str | Sequence[str]) -> tuple[str, ...]:
        known = self.task_names
        if isinstance(names, str):
            names = known if names in (BOTH, "all") else (names,)
        names = tuple(names)
        wrong = [str(name) for name in names if name not in known]
        if wrong or not names:
            raise ValueError(
                f"unknown task {', '.join(wrong) or '(none)'}; "
                f"this model has: {', '.join(known)}, and {BOTH!r} for all of them"
            )
        return tuple(name for name in known if name in names)

    # Source and freezing.

    @property
    def source(self) -> object:
        """The source that is wanted; assigning changes it while frames go on."""
        return self._spec

    @source.setter
    def source(self, spec: object) -> None:
        self._spec = spec
        self.frozen = False
        if self._feed is not None:
            self._feed.spec = spec

    @property
    def open_source(self) -> Source | None:
        """The source that is open, if any."""
        return self._feed.source if self._feed is not None else None

    @property
    def frozen(self) -> bool:
        """Whether the frame that is shown is kept; its task can still be changed."""
        return self._frozen is not None

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        moment = self.moment
        self._frozen = moment.newest.frame if frozen and moment is not None else None
        if self._feed is not None:
            self._feed.freeze(self._frozen)
        self._notify()

    @property
    def settled(self) -> bool:
        """Whether the frame is frozen and all its results are there: nothing new comes."""
        with self.changed:
            moment, frozen, tasks = self.moment, self._frozen, self._tasks
        if frozen is None or moment is None:
            return False
        return set(moment.shots) == set(tasks) and all(
            shot.frame is frozen for shot in moment.shots.values()
        )

    # State.

    @property
    def status(self) -> Status:
        """What goes on."""
        current = self._status
        if self._frozen is not None and current.state == status.RUNNING:
            return Status(status.FROZEN, current.text)
        return current

    @property
    def stages_ms(self) -> dict[str, float]:
        """Milliseconds per frame and stage of this run; see `StreamStatistics.stages_ms`.

        ``capture`` includes waiting for the time of the next frame of a clip.
        """
        return self._statistics.stages_ms

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        worker = self._worker
        return worker is not None and worker.running

    def wait(self, after: int = 0, timeout: float = 30.0) -> Moment | None:
        """The first moment with a number above `after`, or None if none comes in time."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while not self._is_after(after) and self.running:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
                self.changed.wait(min(remaining, 0.2))  # the thread's end notifies nobody
            return self.moment if self._is_after(after) else None

    def _is_after(self, number: int) -> bool:
        return self.moment is not None and self.moment.number > number

    def _report(self, new: Status) -> None:
        with self.changed:
            self._status = new
            self.changed.notify_all()

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # Life.

    def start(self) -> None:
        """Begin, or go on after `stop`; open the source anew if it ended or failed.

        Another live view of the same overlay is stopped first.

        Raises
        ------
        M3ViTError
            If the session is closed, or its last run has not ended yet.
        """
        if self._closed:
            raise M3ViTError("the live view is closed; make a new one with overlay.live()")
        if self.running and self._feed is not None and not self._feed.stopped:
            if self._status.state in (status.ENDED, status.FAILED, status.WAITING):
                self._feed.spec = self._spec
            return
        self._join()
        if self.running:
            raise M3ViTError("the last run of the live view has not ended yet; try again shortly")
        other = self._overlay._live
        if other is not None and other is not self:
            other.stop(TAKEN_OVER)
        self._overlay._live = self
        self._feed = Feed(self._spec, self._report, self.opener)
        self._feed.freeze(self._frozen)
        self._status = Status(status.OPENING, "starting")
        atexit.register(self.stop)
        self._worker = Worker(self._run, "m3vit-live")

    def stop(self, reason: str = "") -> None:
        """Let the running frame end and release source and accelerator. Idempotent.

        Parameters
        ----------
        reason : str
            What to tell the person who looks.
        """
        feed = self._feed
        if feed is not None:
            feed.stop()
        self._join()
        if self.running:
            log.warning("the source has not come back yet; the live view ends when it does")
        if reason or self._status.state != status.FAILED:
            self._report(Status(status.STOPPED, reason))

    def _join(self) -> None:
        worker = self._worker
        if worker is not None and worker.wait(STOP_TIMEOUT):
            self._worker = None

    def close(self) -> None:
        """Stop for good and forget the pictures. Idempotent."""
        self._closed = True
        self.stop()
        self._shots.clear()
        self.moment = self._frozen = None

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> LiveSession:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The thread.

    def _run(self) -> None:
        feed = self._feed
        try:
            self._stream_frames(feed)
        except (M3ViTError, RuntimeError) as error:
            log.info("the live view stops: %s", error)
            self._report(Status(status.FAILED, str(error)))
        except Exception as error:
            log.exception("the live view stops")
            self._report(Status(status.FAILED, f"{type(error).__name__}: {error}"))
        finally:
            feed.stop()
            feed.close()
            self._stream = None
            atexit.unregister(self.stop)
            if self._overlay._live is self:
                self._overlay._live = None
            self._notify()

    def _stream_frames(self, feed: Feed) -> None:
        megahertz = self._overlay.clock_mhz or self._overlay.board.clock_mhz
        self._waited, self._asked = 0.0, None
        with self._overlay.stream(feed, task=self._tasks) as stream:
            self._stream, self._statistics = stream, stream.statistics
            stream.task = self._tasks  # changed between the two lines, perhaps
            for frame, result in stream:
                handed = feed.handed.popleft()
                self._measure(stream, result, feed if handed.fresh else None, megahertz)
                self._show(Shot(frame, result, handed.time), handed.fresh)

    def _measure(self, stream: Stream, result: Result, feed: Feed | None, megahertz: float) -> None:
        """Keep the figures of one result; `feed` is None for a repeated frame."""
        figures, statistics = self.figures, stream.statistics
        waited = statistics.stages_ms.get("wait", 0.0) * statistics.frames / 1e3
        if waited - self._waited > _WAITED * result.device_seconds:
            figures.device.add(result.device_seconds)
        self._waited = waited
        if result.cycles:
            figures.modelled = result.cycles / (1e6 * megahertz)
        figures.spent({name: mean.total for name, mean in statistics._stages.items()})
        if feed is not None:
            figures.results.tick()
            figures.capture.add(feed.capture_seconds)

    def _show(self, shot: Shot, fresh: bool) -> None:
        with self.changed:
            self._results += 1
            old, task = self.moment, shot.result.task
            self._note_switch(shot.result, old)
            if self._frozen is not None and shot.frame is not self._frozen:
                return  # was under way when the frame was frozen
            if task in self._tasks:
                self._shots[task] = shot
                shots = {name: self._shots[name] for name in self._tasks if name in self._shots}
            elif self._shots:
                return  # of the task before, and the new one has something to show already
            else:
                shots = {task: shot}
            if not fresh and old is not None and same(shots, old.shots):
                return
            number = old.number + 1 if old is not None else 1
            source = self.open_source
            name = source.name if source is not None else old.source if old is not None else ""
            self.moment = Moment(number, shots, shot, name)
            self.changed.notify_all()

    def _note_switch(self, result: Result, old: Moment | None) -> None:
        """Notice the first result that a change of task brought."""
        if self._asked is None:
            return
        asked, results, first = self._asked
        same = old is not None and old.newest.result.task == result.task
        if result.frame_index < first or (len(self._tasks) > 1 and same):
            return
        seconds = time.perf_counter() - asked
        self.figures.switch = Switch(self._results - results, seconds)
        self._asked = None
