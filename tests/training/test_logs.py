# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""The CSV and the picture of a training log."""

from __future__ import annotations

import builtins
import csv

import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")

from m3vit_pynq.training import curve
from m3vit_pynq.training.curve import PANELS, draw_curve, points_of
from m3vit_pynq.training.epochlog import add_row, read_log

ROW = {
    "epoch": 1, "step": 10, "seconds": 3.0, "images_per_second": 7.5, "lr_factor": 0.5,
    "segmentation": 2.0, "depth": 1.5, "taught_segmentation": 0.7, "balance": 0.1,
    "seg_gap_below_0.1": 0.01, "seg_usage_min": 0.5, "seg_changed_0.03": 0.002,
}  # fmt: skip
HELD_OUT = {
    "held_out_segmentation_miou": 0.3, "held_out_segmentation_pixel_accuracy": 0.6,
    "held_out_depth_rmse": 0.7, "held_out_depth_absrel": 0.2,
}  # fmt: skip


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_epoch_that_is_repeated_replaces_its_row(tmp_path):
    path = tmp_path / "dense.csv"
    for epoch, loss in ((1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5)):
        add_row(path, {"epoch": epoch, "segmentation": loss})
    assert [(row["epoch"], row["segmentation"]) for row in _rows(path)] == [
        ("1", "5.0"),
        ("2", "4.5"),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense.csv", "dense.png"]


def test_columns_may_come_later(tmp_path):
    path = tmp_path / "dense.csv"
    add_row(path, ROW)
    add_row(path, ROW | {"epoch": 2} | HELD_OUT)
    add_row(path, ROW | {"epoch": 3})
    rows = _rows(path)
    assert [row["held_out_depth_rmse"] for row in rows] == ["", "0.7", ""]
    assert points_of(rows, "held_out_depth_rmse") == [(2, 0.7)]


def test_every_column_is_in_the_panel_it_belongs_to():
    names = [*ROW, *HELD_OUT]
    shown = {panel.label: [name for name in names if panel.shows(name)] for panel in PANELS}
    assert list(shown.values()) == [
        ["segmentation", "depth", "taught_segmentation", "balance"],
        ["lr_factor"],
        ["held_out_segmentation_miou", "held_out_segmentation_pixel_accuracy"],
        ["held_out_depth_rmse"],
        ["seg_changed_0.03"],
    ]


def test_the_picture_has_a_diagram_for_each_kind_of_curve(tmp_path):
    """Widths in proportion to the diagrams, and lines where the values are."""
    widths = []
    for name, rows in (
        ("plain", [{"epoch": e, "lr_factor": 1.0 / e, "depth": 2.0 / e} for e in (1, 2, 3)]),
        ("full", [ROW | HELD_OUT | {"epoch": e, "depth": 2.0 / e} for e in (1, 2, 3)]),
    ):
        path = tmp_path / f"{name}.csv"
        for row in rows:
            add_row(path, row)
        picture = cv2.imread(str(path.with_suffix(".png")))
        assert (picture < 200).any(axis=2).mean() > 0.005
        widths.append(picture.shape[1])
    assert widths[1] / widths[0] == pytest.approx(5 / 2, rel=0.01)


def test_zero_and_missing_values_are_drawn(tmp_path):
    path = tmp_path / "moe.csv"
    path.write_text("epoch,depth,seg_changed_0.03\n1,,0.0\n2,1.5,0.0\n")
    assert draw_curve(path) == tmp_path / "moe.png"


def test_another_file_is_no_log(tmp_path):
    path = tmp_path / "dense.csv"
    path.write_bytes(b"\xff\xfename,value\n1,2\n")
    with pytest.raises(ValueError, match=r"dense\.csv is no log of this program"):
        read_log(path)
    assert read_log(tmp_path / "none.csv") == []


def test_without_matplotlib_there_is_a_log_but_no_picture(tmp_path, monkeypatch, caplog):
    load = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return load(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    curve._warn_once.cache_clear()
    for epoch in (1, 2):
        add_row(tmp_path / "dense.csv", {"epoch": epoch, "depth": 1.0})
    assert [p.name for p in tmp_path.iterdir()] == ["dense.csv"]
    assert caplog.text.count("Matplotlib is not installed") == 1
