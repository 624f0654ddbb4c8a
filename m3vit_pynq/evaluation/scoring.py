# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Predictions of a task against the labels, at the labels' size.

Class ids are enlarged by nearest neighbour, depth bilinearly. Depth is compared
on the Eigen crop.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from m3vit_pynq.config import ModelConfig, TaskConfig
from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.evaluation.classes13 import to_13_classes
from m3vit_pynq.evaluation.dataset import LabelledFrame
from m3vit_pynq.evaluation.metrics import EIGEN_CROP, DepthMetrics, SegmentationMetrics
from m3vit_pynq.evaluation.nyuv2 import CLASSES
from m3vit_pynq.labels import get_label_set


class EvaluationError(M3ViTError, ValueError):
    """A model, backend or output cannot be evaluated as asked; says what to do."""


def enlarged_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 class ids at another (height, width), nearest neighbour."""
    return cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def enlarged_metres(millimetres: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint16 millimetres as float32 metres at another (height, width), bilinear."""
    metres = millimetres.astype(np.float32) * np.float32(1e-3)
    return cv2.resize(metres, size[::-1], interpolation=cv2.INTER_LINEAR)


class Scorer(Protocol):
    """Collects the predictions of one task."""

    def add(self, prediction: np.ndarray, frame: LabelledFrame) -> None:
        """Count one frame; the prediction is the accelerator's array."""

    def figures(self, per_class: bool) -> dict[str, Any]:
        """Metrics so far."""


class SegmentationScorer:
    """mIoU and pixel accuracy, and of 39 classes those of the 13 coarse ones too."""

    def __init__(self, label_set: str) -> None:
        self.own = SegmentationMetrics(CLASSES[label_set])
        self.coarse = SegmentationMetrics(13) if label_set == "nyud39" else None

    def add(self, prediction: np.ndarray, frame: LabelledFrame) -> None:
        """Count one frame; see `Scorer`."""
        ids = enlarged_ids(prediction, frame.label.shape)
        self.own.add(ids, frame.label)
        if self.coarse is not None and frame.label13 is not None:
            self.coarse.add(to_13_classes(ids), frame.label13)

    def figures(self, per_class: bool = True) -> dict[str, Any]:
        """``miou39``, ``miou13``, ``pixel_accuracy`` and so on; see `Scorer`."""
        summary = self.own.summary()
        figures: dict[str, Any] = {f"miou{self.own.classes}": summary["miou"]}
        figures["pixel_accuracy"] = summary["pixel_accuracy"]
        if self.coarse is not None:
            summary = self.coarse.summary()
            figures["miou13"] = summary["miou"]
            figures["pixel_accuracy13"] = summary["pixel_accuracy"]
        if per_class:
            for metrics in filter(None, (self.own, self.coarse)):
                figures[f"iou{metrics.classes}"] = _by_name(metrics)
        return figures


def _by_name(metrics: SegmentationMetrics) -> dict[str, float | None]:
    """IoU by class name; None for a class that never occurs."""
    names = get_label_set(f"nyud{metrics.classes}").classes
    values = metrics.iou.tolist()
    return {n: None if np.isnan(v) else v for n, v in zip(names, values, strict=True)}


class DepthScorer:
    """Errors of depth on the Eigen crop."""

    def __init__(self) -> None:
        self.metrics = DepthMetrics()

    def add(self, prediction: np.ndarray, frame: LabelledFrame) -> None:
        """Count one frame; see `Scorer`."""
        metres = enlarged_metres(prediction, frame.metres.shape)
        self.metrics.add(metres[EIGEN_CROP], frame.metres[EIGEN_CROP])

    def figures(self, per_class: bool = True) -> dict[str, Any]:
        """RMSE, AbsRel, log10, δ < 1.25; see `Scorer`."""
        return dict(self.metrics.summary())


def make_scorers(config: ModelConfig) -> dict[str, Scorer]:
    """A new scorer for every task, by name."""
    return {
        task.name: DepthScorer() if task.kind == "depth" else SegmentationScorer(task.label_set)
        for task in config.tasks
    }


#: Keys of a report that are no task.
RESERVED = frozenset((
    "package", "checkpoint", "dataset", "split", "frames", "backend", "board", "labels13", "costs",
    "conditions", "settings",
))  # fmt: skip


def label_set_of(config: ModelConfig) -> str:
    """The label set that the data must have to judge a model; empty for depth alone.

    Raises
    ------
    EvaluationError
        If a task cannot be judged on NYU Depth v2.
    """
    found = {_check_task(config, task) for task in config.tasks} - {""}
    if len(found) > 1:
        raise EvaluationError(
            f"{config.name} has tasks with different label sets ({', '.join(sorted(found))}): "
            "only models with one can be evaluated"
        )
    return found.pop() if found else ""


def _check_task(config: ModelConfig, task: TaskConfig) -> str:
    known = ", ".join(CLASSES)
    if task.name in RESERVED:
        raise EvaluationError(
            f"{config.name}: a task named {task.name!r} would hide a field of the report; rename it"
        )
    if task.kind == "depth":
        return ""
    if task.label_set not in CLASSES:
        raise EvaluationError(
            f"{config.name}: task {task.name} has the label set {task.label_set or 'none'!r}; "
            f"NYU Depth v2 has {known}. Give a package that was trained on it"
        )
    if task.outputs != CLASSES[task.label_set]:
        raise EvaluationError(
            f"{config.name}: task {task.name} has {task.outputs} outputs, but label set "
            f"{task.label_set} has {CLASSES[task.label_set]} classes"
        )
    return task.label_set
