# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""One evaluation from start to end, as ``m3vit-pynq evaluate`` asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3vit_pynq.config import ModelConfig
from m3vit_pynq.evaluation.conditions import CONDITIONS, Condition
from m3vit_pynq.evaluation.costs import cost_report
from m3vit_pynq.evaluation.dataset import Dataset, open_dataset
from m3vit_pynq.evaluation.gallery import GalleryCollector, draw_gallery
from m3vit_pynq.evaluation.predictors import (
    BoardPredictor,
    FloatPredictor,
    IntegerPredictor,
    Predict,
)
from m3vit_pynq.evaluation.runner import ExpertUsage, evaluate
from m3vit_pynq.evaluation.scoring import EvaluationError, label_set_of
from m3vit_pynq.package import Package


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Attributes
    ----------
    name : str
        Of the package or checkpoint: its file without the ending.
    config : ModelConfig
    package : Package or None
        Integers; the float backend does without.
    checkpoint : mapping of arrays or None
        Float weights.
    """

    name: str
    config: ModelConfig
    package: Package | None = None
    checkpoint: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes
    ----------
    backend : str
        ``"emulated"`` (the board, or the emulated one), ``"integer"`` or ``"float"``.
    root, split, limit
        See `m3vit_pynq.evaluation.dataset.open_dataset`.
    board : str or None
        Bitstream configuration.
    conditions : tuple of Condition
        Ways in which every frame is shown besides as it is.
    gallery : bool
        Keep what is needed to draw a gallery afterwards.
    progress : bool
    """

    backend: str
    root: Path
    split: str = "test"
    limit: int | None = None
    board: str | None = None
    conditions: tuple[Condition, ...] = ()
    gallery: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes
    ----------
    report : dict
        See `m3vit_pynq.evaluation.runner.evaluate`; with ``backend``, ``split``,
        ``labels13`` and ``costs``.
    frames : Dataset
        What was evaluated.
    collector : GalleryCollector or None
        Every frame's results, for a gallery.
    """

    report: dict[str, Any]
    frames: Dataset
    collector: GalleryCollector | None = None

    def draw_gallery(self, rows: int = 2) -> np.ndarray:
        """The best, median and worst frames, uint8 RGB; the job must have asked for it."""
        title = "{package}, NYU Depth v2 {split} split, {backend}".format(**self.report)
        return draw_gallery(self.collector, self.frames.read, rows, title)


def open_subject(backend: str, package: str | None, checkpoint: Path | None) -> Subject:
    """Load what a backend needs.

    Raises
    ------
    EvaluationError
        If the backend needs what was not given, or the other way round.
    PackageError, CheckpointError
        If a file cannot be read.
    """
    from m3vit_pynq.compiler.checkpoint import load_checkpoint
    from m3vit_pynq.package import default_name, resolve

    if backend != "float":
        if checkpoint is not None:
            raise EvaluationError("--checkpoint goes with --backend float; others run a package")
        name = package or default_name()
        if name is None:
            raise EvaluationError("no package is installed: name one with --package FILE.m3vit")
        loaded = Package.load(name)
        return Subject(resolve(name).stem, loaded.config, loaded)
    if checkpoint is None:
        raise EvaluationError(
            "a package holds integers: give the checkpoint it was made from, or what m3vit-pynq "
            "export recovers of it, with --checkpoint FILE.npz"
        )
    config, arrays = load_checkpoint(checkpoint)
    loaded = Package.load(package) if package is not None else None
    if loaded is not None and loaded.config != config:
        raise EvaluationError(
            f"{checkpoint} is a checkpoint of {config.name} with another shape or other tasks "
            f"than package {package} ({loaded.config.name})"
        )
    return Subject(checkpoint.stem, config, loaded, arrays)


def choose_conditions(names: list[str] | None, every: bool) -> tuple[Condition, ...]:
    """Conditions by name, in the order of `CONDITIONS`.

    Raises
    ------
    EvaluationError
        If a name is unknown; the message lists the known ones.
    """
    wanted = set(CONDITIONS) if every else set(names or ())
    unknown = sorted(wanted - set(CONDITIONS))
    if unknown:
        raise EvaluationError(f"unknown condition {unknown[0]!r}; known: {', '.join(CONDITIONS)}")
    return tuple(condition for name, condition in CONDITIONS.items() if name in wanted)


@contextmanager
def open_predictor(subject: Subject, job: Job) -> Iterator[Predict]:
    """The predictor of a backend; what it holds is released at the end."""
    if job.backend == "float":
        yield FloatPredictor(subject.config, subject.checkpoint)
    elif job.backend == "integer":
        yield IntegerPredictor(subject.package)
    elif job.backend != "emulated":
        raise EvaluationError(f"unknown backend {job.backend!r}: emulated, integer or float")
    else:
        from m3vit_pynq.overlay import M3ViTOverlay

        with M3ViTOverlay(package=subject.package, board=job.board) as overlay:
            yield BoardPredictor(overlay)


def run_job(subject: Subject, job: Job) -> Outcome:
    """Evaluate; nothing is written.

    Raises
    ------
    M3ViTError
        For everything that is wrong with model, data or board.
    """
    label_set = label_set_of(subject.config)
    frames = open_dataset(job.root, job.split, label_set, job.limit)
    usage = ExpertUsage()
    collector = GalleryCollector(subject.config) if job.gallery else None
    with open_predictor(subject, job) as predict:
        report = evaluate(
            subject.config, frames, predict, conditions=job.conditions, observe=collector,
            usage=usage, progress=job.progress,
        )  # fmt: skip
        report["backend"] = predict.backend
    report["package"] = subject.name
    report["dataset"], report["split"] = "nyuv2", job.split
    if frames.labels13:
        report["labels13"] = frames.labels13
    report["costs"] = cost_report(subject.config, subject.package, usage)
    return Outcome(report, frames, collector)
