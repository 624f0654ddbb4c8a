# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Scores of a whole evaluation against counts done by hand, and models that cannot be judged."""

import dataclasses

import numpy as np
import pytest

from m3vit_pynq.config import TaskConfig, get_config
from m3vit_pynq.evaluation.conditions import CONDITIONS
from m3vit_pynq.evaluation.dataset import FolderDataset, LabelledFrame
from m3vit_pynq.evaluation.nyuv2 import DatasetError
from m3vit_pynq.evaluation.runner import ExpertUsage, evaluate
from m3vit_pynq.evaluation.scoring import EvaluationError, label_set_of
from m3vit_pynq.labels import NYUD13, NYUD39


def frame_of(name, fine, coarse, metres):
    image = np.full((480, 640, 3), int(name), np.uint8)
    return LabelledFrame(name, image, fine, metres, coarse)


def halves(left, right, dtype=np.uint8):
    array = np.empty((480, 640), dtype)
    array[:, :320], array[:, 320:] = left, right
    return array


@pytest.fixture
def frames():
    """Wall and desk; then floor, and otherprop, which only the coarse labels know."""
    return [
        frame_of("1", halves(0, 13), halves(11, 9), halves(2.0, 4.0, np.float32)),
        frame_of("2", halves(1, 255), halves(4, 6), halves(1.0, 0.0, np.float32)),
    ]


#: Frame 1: wall right, desk taken for table; frame 2: floor right, then box.
PREDICTED = {1: halves(0, 6), 2: halves(1, 28)}
DEPTH = {1: halves(2000, 5000, np.uint16), 2: halves(1100, 7000, np.uint16)}


def predict(image, task):
    return (DEPTH if task == "depth" else PREDICTED)[int(image[0, 0, 0])]


def test_figures_by_hand(config39, frames):
    report = evaluate(config39, frames, predict, progress=False)
    segmentation = report["segmentation"]
    assert report["frames"] == 2
    # 39 classes: wall 1, desk 0 of 1, table 0 of 1, floor 1; a quarter of the pixels is ignored
    assert segmentation["miou39"] == pytest.approx(2 / 4)
    assert segmentation["pixel_accuracy"] == pytest.approx(2 / 3)
    # 13 classes: table is table; otherprop and box are objects: all right
    assert segmentation["miou13"] == pytest.approx(1.0)
    assert segmentation["pixel_accuracy13"] == pytest.approx(1.0)
    # Eigen crop: columns 41..600, 279 of them left of the middle, 281 right
    left, right = 279, 281
    pixels = 2 * left + right
    squared = left * 0.0 + right * 1.0 + left * 0.01
    depth = report["depth"]
    assert depth["rmse"] == pytest.approx(np.sqrt(squared / pixels), rel=1e-3)
    assert depth["absrel"] == pytest.approx((right * 0.25 + left * 0.1) / pixels, rel=1e-3)
    assert depth["delta1"] == pytest.approx(2 * left / pixels)
    expected = (right * np.log10(1.25) + left * np.log10(1.1)) / pixels
    assert depth["log10"] == pytest.approx(expected, rel=1e-3)


def test_classes_are_named_and_absent_ones_have_no_figure(config39, frames):
    segmentation = evaluate(config39, frames, predict, progress=False)["segmentation"]
    assert tuple(segmentation["iou39"]) == NYUD39.classes
    assert tuple(segmentation["iou13"]) == NYUD13.classes
    present = {name: v for name, v in segmentation["iou39"].items() if v is not None}
    assert present == {"wall": 1.0, "floor": 1.0, "desk": 0.0, "table": 0.0}
    assert segmentation["iou13"]["objects"] == 1.0
    assert segmentation["iou13"]["tv"] is None


def test_predictions_are_enlarged_to_the_labels(config39):
    fine = halves(3, 5)
    frame = frame_of("1", fine, halves(0, 8), halves(1.0, 3.0, np.float32))

    def coarse(image, task):
        small = [[1000, 3000]] * 2 if task == "depth" else [[3, 5]] * 2
        return np.array(small, np.uint16 if task == "depth" else np.uint8)

    report = evaluate(config39, [frame], coarse, progress=False)
    assert report["segmentation"]["pixel_accuracy"] == 1.0
    # Bilinear: a ramp over the middle half of the columns, exact outside.
    ramp = np.clip((np.arange(640) + 0.5) / 320 - 0.5, 0, 1)[41:601]
    error = 1 + 2 * ramp - np.where(np.arange(41, 601) < 320, 1.0, 3.0)
    assert report["depth"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)


def test_frames_without_any_label_give_unknown_figures(config39):
    frame = frame_of("1", halves(255, 255), halves(255, 255), halves(0.0, 0.0, np.float32))
    report = evaluate(config39, [frame], predict, progress=False)
    assert report["segmentation"]["miou39"] is None
    assert report["segmentation"]["pixel_accuracy"] is None
    assert report["depth"]["rmse"] is None


def test_no_frame_is_an_error(config39):
    with pytest.raises(DatasetError, match="no frame"):
        evaluate(config39, [], predict, progress=False)


def test_conditions_are_scored_against_their_own_labels(config39, made_dataset):
    frames = FolderDataset(made_dataset, "test", "nyud39", 2)
    chosen = [CONDITIONS[name] for name in ("mirrored", "nearer", "farther", "dark-25")]
    truth = {}
    for frame in frames:
        for shown in (frame, *(condition.apply(frame) for condition in chosen)):
            truth[shown.image.tobytes()] = shown

    def oracle(image, task):
        frame = truth[image.tobytes()]
        if task == "depth":
            return np.rint(frame.metres * 1000).astype(np.uint16)
        # otherprop, which no prediction can name, counts as an object: a box
        return np.where(frame.label == 255, 28, frame.label).astype(np.uint8)

    seen = []
    report = evaluate(
        config39, frames, oracle, conditions=chosen, progress=False,
        observe=lambda frame, results: seen.append((frame.name, sorted(results))),
    )  # fmt: skip
    assert list(report["conditions"]) == ["mirrored", "nearer", "farther", "dark-25"]
    for figures in (report, *report["conditions"].values()):
        assert figures["segmentation"]["miou39"] == 1.0
        assert figures["segmentation"]["miou13"] == 1.0
        assert figures["depth"]["rmse"] < 1e-3
    assert "iou39" not in report["conditions"]["nearer"]["segmentation"]
    assert seen == [("0001", ["depth", "segmentation"]), ("0002", ["depth", "segmentation"])]


def test_usage_is_a_mean_over_frames():
    usage = ExpertUsage()
    usage.add("depth", {"blocks.1": 4, "blocks.3": 8})
    usage.add("depth", {"blocks.1": 5, "blocks.3": 8})
    usage.add("segmentation", {})
    assert usage.mean("depth") == {"blocks.1": 4.5, "blocks.3": 8.0}
    assert usage.mean("segmentation") == {}


def test_label_set_of_models():
    assert label_set_of(get_config("small")) == "nyud39"
    assert label_set_of(get_config("micro")) == "nyud13"
    depth = get_config("micro", tasks=(TaskConfig("depth", "depth", 1),))
    assert label_set_of(depth) == ""


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            (TaskConfig("segmentation", "segmentation", 19, "cityscapes19"),),
            "label set 'cityscapes19'; NYU Depth v2 has nyud39, nyud13",
        ),
        ((TaskConfig("parts", "segmentation", 7, ""),), "label set 'none'"),
        (
            (TaskConfig("segmentation", "segmentation", 40, "nyud39"),),
            "40 outputs, but label set nyud39 has 39",
        ),
        (
            (
                TaskConfig("fine", "segmentation", 39, "nyud39"),
                TaskConfig("coarse", "segmentation", 13, "nyud13"),
            ),
            "different label sets",
        ),
        ((TaskConfig("backend", "depth", 1),), "'backend' would hide a field"),
    ],
)
def test_models_that_cannot_be_judged(tasks, message):
    config = dataclasses.replace(get_config("micro"), tasks=tasks)
    with pytest.raises(EvaluationError, match=message):
        label_set_of(config)
