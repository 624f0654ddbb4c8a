# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reports as CSV and as text."""

import csv

import pytest

from m3vit_pynq.evaluation.report import (
    check_writable,
    conditions_text,
    costs_text,
    figures_text,
    task_names,
    write_csv,
)
from m3vit_pynq.evaluation.scoring import EvaluationError

REPORT = {
    "frames": 2,
    "backend": "emulated, and quoted",
    "segmentation": {"miou39": 0.5, "iou39": {"wall": 0.25, "floor mat": 1.0, "tv": None}},
    "depth": {"rmse": 0.123456789, "delta1": None},
    "costs": {
        "segmentation": {
            "macs": 9096459264, "head_macs": 360087552, "parameters": 42900000,
            "weight_bytes": 44700000, "experts_used": 95.1, "experts": 96, "routing": "measured",
            "every_expert_macs": 16591942656,
            "dense": {
                "macs": 9083446272, "head_macs": 360087552, "parameters": 21868519,
                "weight_bytes": 22719360,
            },
        },
        "depth": {"macs": 5, "head_macs": 1, "parameters": 1, "weight_bytes": 1},
        "all_tasks": {"macs": 6},
    },
}  # fmt: skip


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_csv_has_a_line_for_every_figure(tmp_path):
    path = tmp_path / "new" / "figures.csv"
    write_csv(path, REPORT, package="a, b", frames="2", backend=REPORT["backend"])
    head, *lines = rows(path)
    assert head == ["package", "frames", "backend", "task", "metric", "value"]
    assert {tuple(line[:3]) for line in lines} == {("a, b", "2", "emulated, and quoted")}
    figures = {(task, metric): value for *_, task, metric, value in lines}
    assert figures["segmentation", "miou39"] == "0.5"
    assert figures["segmentation", "iou39.floor mat"] == "1"
    assert figures["depth", "rmse"] == "0.123457"
    assert figures["segmentation", "costs.macs"] == "9096459264"
    assert figures["segmentation", "costs.dense.weight_bytes"] == "22719360"
    assert figures["all_tasks", "costs.macs"] == "6"
    # What is not known has no line.
    assert ("segmentation", "iou39.tv") not in figures and ("depth", "delta1") not in figures
    assert b"\r" not in path.read_bytes()


def test_csv_with_conditions_has_a_column_for_them(tmp_path):
    report = {**REPORT, "conditions": {"mirrored": {"depth": {"rmse": 0.25}}}}
    write_csv(tmp_path / "a.csv", report, package="small")
    head, *lines = rows(tmp_path / "a.csv")
    assert head == ["package", "condition", "task", "metric", "value"]
    assert ["small", "mirrored", "depth", "rmse", "0.25"] in lines
    assert ["small", "as it is", "depth", "rmse", "0.123457"] in lines


def test_tasks_are_what_is_no_field_of_the_report():
    assert task_names({**REPORT, "labels13": "label13"}) == ["segmentation", "depth"]


def test_text_for_people():
    text = figures_text(REPORT)
    assert text.splitlines() == [
        "segmentation: miou39 0.5000",
        "depth: rmse 0.1235, delta1 unknown",
    ]
    costs = costs_text(REPORT)
    line = next(line for line in costs.splitlines() if line.startswith("segmentation"))
    assert line.split() == [
        "segmentation", "9.10", "0.36", "42.90", "M", "44.70", "MB", "95.1", "of", "96",
    ]  # fmt: skip
    assert "dense ViT of this shape" in costs
    assert costs_text({"frames": 1}) == ""
    assert conditions_text(REPORT) == ""


def test_table_of_conditions():
    report = {
        "segmentation": {"miou39": 0.5, "pixel_accuracy": 0.75},
        "depth": {"rmse": 0.5, "absrel": 0.125},
        "conditions": {
            "dark-25": {
                "segmentation": {"miou39": 0.25, "pixel_accuracy": None},
                "depth": {"rmse": 1.0, "absrel": 0.25},
            }
        },
    }
    assert [line.split() for line in conditions_text(report).splitlines()] == [
        ["condition", "miou39", "pixel_accuracy", "rmse", "absrel"],
        ["as", "it", "is", "50.0%", "75.0%", "0.500", "m", "0.125"],
        ["dark-25", "25.0%", "unknown", "1.000", "m", "0.250"],
    ]


def test_places_that_cannot_be_written_are_found_before(tmp_path):
    check_writable(None)
    check_writable(tmp_path / "new" / "folder" / "file.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EvaluationError, match="is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot be written"):
        check_writable(tmp_path / "file" / "below.json")
