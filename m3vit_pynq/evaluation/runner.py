# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Run labelled frames through a predictor and collect the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from m3vit_pynq.config import ModelConfig
from m3vit_pynq.evaluation.conditions import Condition
from m3vit_pynq.evaluation.dataset import DatasetError, LabelledFrame
from m3vit_pynq.evaluation.predictors import Predict
from m3vit_pynq.evaluation.scoring import Scorer, label_set_of, make_scorers

#: Called after each frame as it is, with the results by task.
Observe = Callable[[LabelledFrame, Mapping[str, np.ndarray]], None]


class ExpertUsage:
    """Mean number of experts that each mixture loads, by task and block."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, float]] = {}
        self._frames: dict[str, int] = {}

    def add(self, task: str, used: Mapping[str, float]) -> None:
        """Count one frame; nothing is counted where nothing is known."""
        if not used:
            return
        sums = self._sums.setdefault(task, {})
        for block, count in used.items():
            sums[block] = sums.get(block, 0.0) + count
        self._frames[task] = self._frames.get(task, 0) + 1

    def mean(self, task: str) -> dict[str, float]:
        """Experts a frame by block; empty if nothing is known."""
        frames = self._frames.get(task, 0)
        return {block: total / frames for block, total in self._sums.get(task, {}).items()}


def evaluate(
    config: ModelConfig,
    frames: Iterable[LabelledFrame],
    predict: Predict,
    *,
    conditions: Sequence[Condition] = (),
    observe: Observe | None = None,
    usage: ExpertUsage | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Metrics of every task of a model over labelled frames.

    Parameters
    ----------
    config : ModelConfig
        The tasks and their label sets.
    frames : iterable of LabelledFrame
        Full-size frames with labels.
    predict : callable
        ``predict(image, task name)``, see `m3vit_pynq.evaluation.predictors`.
    conditions : sequence of Condition
        Further ways in which every frame is shown.
    observe : callable, optional
        Gets each frame (as it is) with its results.
    usage : ExpertUsage, optional
        Is told what the predictor's ``experts_used`` says about each frame as it is.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        ``{"frames": n, "segmentation": {...}, "depth": {...}}``, and with
        conditions ``"conditions": {name: {"segmentation": {...}, ...}}``.

    Raises
    ------
    EvaluationError
        If the model has a task that cannot be judged.
    DatasetError
        If there is no frame, or one cannot be read.
    """
    label_set_of(config)
    names = config.task_names
    plain = make_scorers(config)
    altered = {condition.name: make_scorers(config) for condition in conditions}
    total = len(frames) * (1 + len(conditions)) if hasattr(frames, "__len__") else None
    count = 0
    with tqdm(total=total, desc="evaluate", unit="frame", disable=not progress) as bar:
        for frame in frames:
            results = {}
            for name in names:
                results[name] = predict(frame.image, name)
                plain[name].add(results[name], frame)
                if usage is not None:
                    usage.add(name, getattr(predict, "experts_used", {}))
            if observe is not None:
                observe(frame, results)
            count += 1
            bar.update()
            for condition in conditions:
                _score(condition.apply(frame), names, predict, altered[condition.name])
                bar.update()
    if not count:
        raise DatasetError("there is no frame to evaluate")
    report: dict[str, Any] = {"frames": count}
    report |= {name: plain[name].figures(per_class=True) for name in names}
    if conditions:
        report["conditions"] = {
            condition: {name: scorers[name].figures(per_class=False) for name in names}
            for condition, scorers in altered.items()
        }
    return report


def _score(
    frame: LabelledFrame, names: Sequence[str], predict: Predict, scorers: Mapping[str, Scorer]
) -> None:
    for name in names:
        scorers[name].add(predict(frame.image, name), frame)
