# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""An evaluation as text for people, and as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m3vit_pynq.evaluation.scoring import RESERVED, EvaluationError

#: Columns of the table of conditions, and how each figure is written.
_COLUMNS = {
    "miou39": "{:.1%}", "miou13": "{:.1%}", "pixel_accuracy": "{:.1%}", "rmse": "{:.3f} m",
    "absrel": "{:.3f}", "delta1": "{:.1%}",
}  # fmt: skip


def task_names(report: Mapping[str, Any]) -> list[str]:
    """Names of the tasks in a report."""
    return [name for name in report if name not in RESERVED]


def _rows(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def csv_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(condition, task, metric, value) of every figure; per-class IoU is ``iou39.wall``."""
    for task in task_names(report):
        for metric, value in _rows(report[task]):
            yield "as it is", task, metric, _text(value)
    for condition, tasks in report.get("conditions", {}).items():
        for task, figures in tasks.items():
            for metric, value in _rows(figures):
                yield condition, task, metric, _text(value)
    for task, figures in report.get("costs", {}).items():
        for metric, value in _rows(figures, "costs."):
            yield "as it is", task, metric, _text(value)


def write_csv(path: Path, report: Mapping[str, Any], **context: str) -> None:
    """One line per figure: context columns, condition (if any), task, metric, value."""
    with_conditions = "conditions" in report
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ["condition"] if with_conditions else []
        writer.writerow([*context, *head, "task", "metric", "value"])
        for condition, *figure in csv_rows(report):
            head = [condition] if with_conditions else []
            writer.writerow([*context.values(), *head, *figure])


def check_writable(path: Path | None) -> None:
    """Find out before the work whether a result can be written after it.

    Raises
    ------
    EvaluationError
        If the path is a folder, or no file can be made there.
    """
    if path is None:
        return
    if path.is_dir():
        raise EvaluationError(f"{path} is a folder: name a file")
    if path.exists():
        writable = os.access(path, os.W_OK)
    else:
        parent = next((p for p in path.absolute().parents if p.exists()), Path("/"))
        writable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
    if not writable:
        raise EvaluationError(f"{path} cannot be written: choose another place")


def figures_text(report: Mapping[str, Any]) -> str:
    """The metrics of every task, one line each."""
    lines = []
    for task in task_names(report):
        figures = {k: v for k, v in report[task].items() if not isinstance(v, Mapping)}
        written = ", ".join(
            f"{name} {'unknown' if value is None else format(value, '.4f')}"
            for name, value in figures.items()
        )
        lines.append(f"{task}: {written}")
    return "\n".join(lines)


def _table(rows: list[list[str]]) -> str:
    """Columns side by side, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)


def conditions_text(report: Mapping[str, Any]) -> str:
    """The metrics under every condition as a table; empty without conditions."""
    if "conditions" not in report:
        return ""
    every = {"as it is": {name: report[name] for name in task_names(report)}}
    every |= report["conditions"]
    columns = [
        (task, metric)
        for task in task_names(report)
        for metric in _COLUMNS
        if metric in report[task]
    ]
    rows = [["condition", *(metric for _, metric in columns)]]
    for condition, tasks in every.items():
        values = (tasks[task][metric] for task, metric in columns)
        rows.append([
            condition,
            *(
                "unknown" if value is None else _COLUMNS[metric].format(value)
                for value, (_, metric) in zip(values, columns, strict=True)
            ),
        ])  # fmt: skip
    return _table(rows)


def costs_text(report: Mapping[str, Any]) -> str:
    """Costs of a frame as a table; empty where they are not known."""
    costs = report.get("costs")
    if not costs:
        return ""
    rows = [["a frame costs", "GMAC", "of it head", "parameters", "weights moved", "experts used"]]
    for task in task_names(report):
        entry = costs[task]
        experts = ""
        if "experts" in entry:
            known = "" if entry["routing"] == "measured" else ", at most"
            experts = f"{entry['experts_used']:.1f} of {entry['experts']}{known}"
        rows.append([task, *_amounts(entry), experts])
        if "dense" in entry:
            rows.append(["  dense ViT of this shape", *_amounts(entry["dense"]), ""])
        if "every_expert_macs" in entry:
            gmac = f"{entry['every_expert_macs'] / 1e9:.2f}"
            rows.append(["  every token, every expert", gmac, "", "", "", ""])
    return _table(rows)


def _amounts(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{entry['macs'] / 1e9:.2f}", f"{entry['head_macs'] / 1e9:.2f}",
        f"{entry['parameters'] / 1e6:.2f} M", f"{entry['weight_bytes'] / 1e6:.2f} MB",
    ]  # fmt: skip
