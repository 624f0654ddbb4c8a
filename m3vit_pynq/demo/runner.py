# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Streams frames through the accelerator, alternating tasks, and measures."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import cv2
import numpy as np

from m3vit_pynq.bench.boards import boards_of
from m3vit_pynq.bench.cycles import BoardCycles
from m3vit_pynq.computer import versions
from m3vit_pynq.demo.report import DemoReport, Switch
from m3vit_pynq.demo.sheet import Row, contact_sheet
from m3vit_pynq.demo.video import VideoFile
from m3vit_pynq.drawing import annotate, fit
from m3vit_pynq.errors import SourceError
from m3vit_pynq.labels import get_label_set
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.package import Package
from m3vit_pynq.result import Result
from m3vit_pynq.sources import Source
from m3vit_pynq.stream import StreamStatistics
from m3vit_pynq.tasks import colourise, depth_scale

#: Height of the frame in the video.
VIDEO_HEIGHT = 480
SHEET_ROWS = 4


@dataclass(frozen=True)
class DemoSettings:
    """What to show.

    Attributes
    ----------
    frames : int
        Frames to compute.
    switch_every : int
        Frames after which the task changes; 0 for never.
    out : Path
        Folder for the video.
    sheet : Path or None
        File for the contact sheet; by default in ``out``.
    sheet_rows : int
        Frames on the contact sheet.
    video_fps : float
        Frames per second of the video.
    boards : bool
        Whether to say which boards the package fits; only done on the emulated one.
    """

    frames: int = 48
    switch_every: int = 6
    out: Path = field(default_factory=lambda: Path("demo_output"))
    sheet: Path | None = None
    sheet_rows: int = SHEET_ROWS
    video_fps: float = 6.0
    boards: bool = True


def trained_scenes(package: Package) -> tuple[str, ...]:
    """Kinds of scene a model was trained on: as its package says, else as its classes tell."""
    if "scenes" in package.metadata:
        return tuple(package.metadata["scenes"])
    named = (get_label_set(task.label_set).scene for task in package.config.tasks)
    return tuple(dict.fromkeys(scene for scene in named if scene != "unknown"))


def scene_warning(package: Package, source: Source) -> str:
    """What to tell a viewer about weights and frames that do not go together.

    Empty if the weights were trained on the kind of scene that the source shows.
    """
    if package.metadata.get("random"):
        return "random weights: the colours mean nothing"
    if source.kind == "synthetic":
        return "generated frames: not a real scene"
    trained = trained_scenes(package)
    if trained and source.scene not in (*trained, "unknown"):
        return f"{source.scene} scene, but trained on {' and '.join(trained)} scenes only"
    return ""


def run_demo(
    overlay: M3ViTOverlay,
    source: Source,
    settings: DemoSettings,
    progress: Callable[[int], None] = lambda done: None,
) -> DemoReport:
    """Compute frames, write the pictures, return the figures.

    Parameters
    ----------
    overlay : M3ViTOverlay
        With its package loaded.
    source : Source
        Where the frames come from; it may end before ``settings.frames``.
    progress : callable
        Called after every frame with the number done.

    Raises
    ------
    SourceError, VideoError, AcceleratorError, AcceleratorTimeout
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    run = _Run(overlay, source, settings)
    run.stream(progress)
    run.video.verify()
    sheet = run.write_sheet()
    # A count of cycles is not a board's work.
    count = settings.boards and overlay.emulated
    boards, reason = boards_of(overlay.package, run.kept[0]) if count else ({}, "")
    return run.report(sheet, boards, reason)


class _Beside:
    """Does work in another thread, in order, while the loop goes on; a context manager.

    The loop waits while `WAITING` pieces of work have not been done: a slow disk must
    not fill the memory with frames. What fails there is raised at the next occasion.
    """

    WAITING = 3

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="m3vit-demo")
        self._work: deque[Future] = deque()

    def do(self, function: Callable[..., None], *arguments: object) -> None:
        """Let a call be made soon."""
        while len(self._work) >= self.WAITING or (self._work and self._work[0].done()):
            self._work.popleft().result()
        self._work.append(self._worker.submit(function, *arguments))

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._worker.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for work in self._work:
                work.result()


class _Run:
    """State of one demo run."""

    def __init__(self, overlay: M3ViTOverlay, source: Source, settings: DemoSettings) -> None:
        self.overlay = overlay
        self.package = overlay.package
        self.source = source
        self.settings = settings
        self.warning = scene_warning(overlay.package, source)
        self.scale = depth_scale(trained_scenes(overlay.package))
        self.video = VideoFile(settings.out / "demo.mp4", settings.video_fps)
        self.milliseconds: dict[str, list[float]] = {"post-process": [], "draw": [], "write": []}
        self.history: list[tuple[str, int | None]] = []  # task and cycles of every frame
        self.asked: list[int] = []  # frames that had been shown when a change was asked for
        self.kept: list[np.ndarray] = []  # frames of the contact sheet
        self.last_index = -1
        self.statistics = StreamStatistics()
        self.seconds = 0.0

    def stream(self, progress: Callable[[int], None]) -> None:
        """Compute, draw and record all frames."""
        settings, names = self.settings, itertools.cycle(self.package.task_names)
        frames = itertools.islice(self.source, settings.frames)
        keep = max(1, settings.frames // settings.sheet_rows)
        began = time.perf_counter()
        with (
            self.video, _Beside() as beside,
            self.overlay.stream(frames, task=next(names)) as stream,
        ):  # fmt: skip
            for shown, (frame, result) in enumerate(stream):
                self.last_index = result.frame_index
                self.history.append((result.task, result.cycles))
                if shown % keep == keep // 2:
                    self.kept.append(frame.copy())
                beside.do(self.show, frame, result)
                if settings.switch_every and (shown + 1) % settings.switch_every == 0:
                    stream.task = next(names)
                    self.asked.append(shown + 1)
                progress(shown + 1)
        self.statistics = stream.statistics
        self.seconds = time.perf_counter() - began
        if not self.history:
            raise SourceError(f"{self.source.name}: ended before its first frame")
        if not self.kept:
            self.kept.append(frame)

    def show(self, frame: np.ndarray, result: Result) -> None:
        """Draw one result and add it to the video."""
        times = [time.perf_counter()]
        frame = fit(frame, VIDEO_HEIGHT)
        colour = colourise(result.data, result.kind, result.label_set, frame.shape[:2], self.scale)
        times.append(time.perf_counter())
        picture = annotate(
            frame, result.data, result.kind, result.label_set, height=VIDEO_HEIGHT,
            scale=self.scale, colour=colour, title=result.task, warning=self.warning,
            figures=f"frame {result.frame_index}   {1e3 * result.device_seconds:.0f} ms",
        )  # fmt: skip
        times.append(time.perf_counter())
        self.video.write(picture)
        times.append(time.perf_counter())
        steps = zip(self.milliseconds.values(), itertools.pairwise(times), strict=True)
        for stage, (start, end) in steps:
            stage.append(1e3 * (end - start))

    def write_sheet(self) -> Path:
        """Run the kept frames for every task and write the contact sheet."""
        path = self.settings.sheet or self.settings.out / "sheet.png"
        tasks = {
            name: (self.package.task(name).kind, self.package.task(name).label_set)
            for name in self.package.task_names
        }
        rows = [
            Row(frame, {name: r.data for name, r in self.overlay.run(frame, tuple(tasks)).items()})
            for frame in self.kept[: self.settings.sheet_rows]
        ]
        sheet = contact_sheet(rows, tasks, self.scale, self.warning)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{path}: cannot be written")
        return path

    def stages_ms(self) -> dict[str, float]:
        """Mean milliseconds of every stage of a frame."""
        streamed = self.statistics.stages_ms
        return {
            "capture": streamed["capture"],
            "resize": streamed["resize"],
            "device": streamed["device"],
            "wait": streamed["wait"],
            "post-process": streamed["postprocess"] + mean(self.milliseconds["post-process"]),
            "draw": mean(self.milliseconds["draw"]),
            "write": mean(self.milliseconds["write"]),
        }

    def switches(self) -> tuple[Switch, ...]:
        """What each change of task cost."""
        found, asked = [], iter(self.asked)
        for index in range(1, len(self.history)):
            task, cycles = self.history[index]
            if task == self.history[index - 1][0]:
                continue
            steady = _cycles_until_next_switch(self.history[index + 1 :], task)
            ratio = cycles / median(steady) if steady and cycles else None
            found.append(Switch(index, task, index - next(asked), ratio))
        return tuple(found)

    def report(
        self, sheet: Path, boards: Mapping[str, BoardCycles], not_counted: str
    ) -> DemoReport:
        """Everything that was measured."""
        statistics = self.statistics
        return DemoReport(
            package=self.package.config.name,
            source=self.source.name,
            scene=self.source.scene,
            board=self.overlay.board.title,
            emulated=self.overlay.emulated,
            frames=len(self.history),
            lost=self.last_index + 1 - len(self.history),
            seconds=self.seconds,
            stages_ms=self.stages_ms(),
            switches=self.switches(),
            registers_per_frame=statistics.registers_per_frame,
            registers_per_switch_frame=statistics.registers_per_switch_frame,
            tasks=self.package.task_names,
            boards=boards,
            not_counted=not_counted,
            warning=self.warning,
            versions=versions(),
            files={"video": str(self.video.path), "contact sheet": str(sheet)},
        )


def _cycles_until_next_switch(history: list[tuple[str, int | None]], task: str) -> list[int]:
    """Cycles of the frames that follow for the same task, as far as they were counted."""
    same = itertools.takewhile(lambda item: item[0] == task, history)
    return [cycles for _, cycles in same if cycles]
