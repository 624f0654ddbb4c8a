# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Run a labelled split through a package and collect the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from m3vit_pynq.abi.isa import TaskKind
from m3vit_pynq.evaluation.metrics import EIGEN_CROP, DepthMetrics, SegmentationMetrics
from m3vit_pynq.evaluation.nyuv2 import LabelledFrame
from m3vit_pynq.package import Package
from m3vit_pynq.sources.frames import resized

#: A frame in, the accelerator's raw result for one task out.
Predict = Callable[[np.ndarray, str], np.ndarray]


def integer_predictor(package: Package) -> Predict:
    """Predictions of the numpy integer specification."""
    from m3vit_pynq.reference.machine import Machine

    machine = Machine()
    machine.load(package.program, package.weights)

    def predict(image: np.ndarray, task: str) -> np.ndarray:
        frame = resized(image, package.config.image_size)
        return machine.run(package.task(task).index, frame)

    return predict


def evaluate(
    package: Package, frames: Iterable[LabelledFrame], predict: Predict, progress: bool = True
) -> dict:
    """Metrics of every task of a package over labelled frames.

    Class ids are enlarged to the labels by nearest neighbour, depth bilinearly;
    depth is compared on the Eigen crop.

    Parameters
    ----------
    frames : iterable of LabelledFrame
        Full-size frames with labels.
    predict : callable
        ``predict(image, task name)`` gives uint8 class ids or uint16 millimetres.

    Returns
    -------
    dict
        ``{"frames": n, "segmentation": {...}, "depth": {...}}``; per-class IoU
        is a list under ``segmentation.iou``.
    """
    collectors = {}
    for name in package.task_names:
        task = package.config.tasks[package.task(name).index]
        is_depth = package.task(name).kind == TaskKind.DEPTH
        collectors[name] = DepthMetrics() if is_depth else SegmentationMetrics(task.outputs)
    count = 0
    for frame in tqdm(frames, desc="evaluate", unit="frame", disable=not progress):
        count += 1
        for name, collector in collectors.items():
            result = predict(frame.image, name)
            size = frame.label.shape[::-1]
            if isinstance(collector, DepthMetrics):
                metres = cv2.resize(result.astype(np.float32) * 1e-3, size)
                collector.add(metres[EIGEN_CROP], frame.metres[EIGEN_CROP])
            else:
                classes = cv2.resize(result, size, interpolation=cv2.INTER_NEAREST_EXACT)
                collector.add(classes, frame.label)
    report: dict = {"frames": count}
    for name, collector in collectors.items():
        report[name] = collector.summary()
        if isinstance(collector, SegmentationMetrics):
            report[name]["iou"] = [None if np.isnan(v) else float(v) for v in collector.iou]
            report[name][f"miou{collector.classes}"] = report[name].pop("miou")
    return report


def write_csv(path: Path, report: dict, **context: str) -> None:
    """One line per figure: context columns, task, metric, value."""
    rows = [",".join([*context, "task", "metric", "value"])]
    for task, figures in report.items():
        if isinstance(figures, dict):
            for metric, value in figures.items():
                if not isinstance(value, list):
                    rows.append(",".join([*context.values(), task, metric, f"{value:.6g}"]))
    path.write_text("\n".join(rows) + "\n")
