# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Streaming: frames through the accelerator with ping-pong buffers.

While the accelerator computes a frame from one buffer, the next is captured
and resized into the other and the result before is with the user::

    accelerator   |  frame 1, A   |  frame 2, B   |  frame 3, A   |
    host           fill B  result 0  fill A  result 1  fill B  ...

Whoever changes `Stream.task` on seeing result *n* changes frame *n* + 2, the
next one that has not been started. No frame is lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq.banks import CHUNK, Transfer
from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.package import Package, PackageTask
from m3vit_pynq.stream_statistics import StreamStatistics

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay
    from m3vit_pynq.result import Result

__all__ = ["Stream", "StreamStatistics"]


@dataclass
class _Flight:
    """A frame that the accelerator is working on."""

    image: np.ndarray
    task: PackageTask
    index: int
    registers_before: int
    first: bool
    switched: bool


class Stream:
    """Frames in, results out; made by `M3ViTOverlay.stream`.

    Attributes
    ----------
    statistics : StreamStatistics
        Figures so far.
    chunk : int
        Bytes of a package that are moved per frame while it is streamed in.

    Examples
    --------
    >>> with overlay.stream(camera, task="segmentation") as stream:
    ...     for frame, result in stream:
    ...         show(result.overlay(frame))
    ...         stream.task = "depth"
    """

    def __init__(
        self,
        overlay: M3ViTOverlay,
        source: Iterable[np.ndarray],
        task: str | Sequence[str] | None = None,
    ) -> None:
        self._overlay = overlay
        self._source = source
        self._package = overlay.package
        self._transfer: Transfer | None = None
        self._flight: _Flight | None = None
        self._done: deque[tuple[np.ndarray, Result]] = deque()
        self._slot = 0
        self._started = 0
        self._last_task: PackageTask | None = None
        self._refresh = True  # the next frame writes registers that later ones do not
        self._results: Iterator | None = None
        self._closed = False
        self.chunk = CHUNK
        self.statistics = StreamStatistics()
        self.task = task if task is not None else self._package.task_names[0]
        overlay._frames.fit(self._package)

    # What may be changed while frames go on.

    @property
    def task(self) -> str | tuple[str, ...]:
        """Task of the next frame that is started.

        Several names alternate frame by frame; ``"both"`` (or ``"all"``)
        stands for all tasks of the package. `ValueError` for an unknown name.
        """
        return self._tasks[0] if len(self._tasks) == 1 else self._tasks

    @task.setter
    def task(self, names: str | Sequence[str]) -> None:
        target = self._transfer.package if self._transfer is not None else self._package
        if isinstance(names, str):
            names = target.task_names if names in ("both", "all") else (names,)
        names = tuple(names)
        if not names:
            raise ValueError(f"no task given; this model has: {', '.join(target.task_names)}")
        for name in names:
            target.task(name)
        # One assignment, so that a frame sees either the old tasks or the new.
        self._tasks = names

    @property
    def package(self) -> Package:
        """Model of the next frame that is started.

        Assigning one that is not resident streams it into the idle weight
        bank, `chunk` bytes per frame, and flips when it has arrived;
        meanwhile this attribute stays the old model.
        """
        return self._package

    @package.setter
    def package(self, package: Package) -> None:
        self._check_open()
        self._overlay.check_fits(package)
        missing = [name for name in self._tasks if name not in package.task_names]
        if missing:
            raise ValueError(
                f"the package has no task {', '.join(missing)}; set stream.task to one of "
                f"{', '.join(package.task_names)} first"
            )
        keep = self._overlay._banks.find(self._package)
        self._transfer = self._overlay._banks.begin(package, keep)

    @property
    def loading(self) -> float | None:
        """Share of a package that has been streamed in, or None."""
        transfer = self._transfer
        return None if transfer is None else transfer.moved / transfer.total

    # The loop.

    def __iter__(self) -> Iterator[tuple[np.ndarray, Result]]:
        self._check_open()
        if self._results is None:
            self._results = self._run()
        return self._results

    def _run(self) -> Iterator[tuple[np.ndarray, Result]]:
        try:
            source = iter(self._source)
            while (image := self._capture(source)) is not None:
                self._advance(image)
                yield from self._deliver()
            self._finish()
            yield from self._deliver()
        finally:
            self.close()

    def _capture(self, source: Iterator[np.ndarray]) -> np.ndarray | None:
        with self._timed("capture"):
            return next(source, None)

    def _advance(self, image: np.ndarray) -> None:
        """Fill the idle buffer, take the running frame's result, start the next."""
        transfer = self._transfer
        if transfer is not None:
            # Before filling: the flip may change the size of frames.
            self._stream_weights(transfer)
        with self._timed("resize"):
            self._overlay._frames[self._slot].fill(image)
        self._finish()
        self._start(image)

    def _stream_weights(self, transfer: Transfer) -> None:
        """Move a part of the wanted package; flip when all of it is there."""
        banks = self._overlay._banks
        before = banks.bytes_moved
        resident = banks.step(transfer, self.chunk)
        self.statistics.bytes_moved += banks.bytes_moved - before
        if not resident:
            return
        self._finish()
        self._overlay._frames.fit(transfer.package)
        self._package = self._overlay.package = transfer.package
        if self._transfer is transfer:
            self._transfer = None
        self._refresh = True
        self.statistics.package_switches += 1

    def _start(self, image: np.ndarray) -> None:
        tasks = self._tasks
        task = self._package.task(tasks[self._started % len(tasks)])
        switched = self._last_task is not None and task.name != self._last_task.name
        flight = _Flight(
            image, task, self._started, self._overlay.driver.port.accesses, self._refresh, switched
        )
        self._overlay._start(task, self._overlay._frames[self._slot], self._package)
        self._refresh = False
        self._flight, self._last_task = flight, task
        self._started += 1
        self._slot ^= 1

    def _finish(self) -> None:
        """Wait for the running frame, if any, and queue its result."""
        if self._flight is None:
            return
        flight = self._flight
        port = self._overlay.driver.port
        polls = port.polls
        completion = self._overlay._wait()
        self._flight = None
        with self._timed("postprocess"):
            result = self._overlay._collect(
                flight.task, self._overlay._frames[self._slot ^ 1], flight.index, completion
            )
        statistics = self.statistics
        statistics.add_stage("device", completion.seconds)
        statistics.add_stage("wait", completion.waited)
        statistics.polls += port.polls - polls
        registers = port.accesses - flight.registers_before
        statistics.add_frame(
            flight.task.name, completion.cycles, registers, flight.first, flight.switched
        )
        self._done.append((flight.image, result))

    def _deliver(self) -> Iterator[tuple[np.ndarray, Result]]:
        while self._done:
            item = self._done.popleft()
            with self._timed("consumer"):
                yield item

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.statistics.add_stage(stage, time.perf_counter() - began)

    # The end.

    def _check_open(self) -> None:
        if self._closed:
            raise M3ViTError("the stream is closed; make a new one with overlay.stream(...)")

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Leave the device idle and return the frame buffers.

        Idempotent. The source stays open and the model resident.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._overlay._settle()
        finally:
            self._flight = None
            self._done.clear()
            self._overlay._stream = None
            self._overlay._frames.release()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
