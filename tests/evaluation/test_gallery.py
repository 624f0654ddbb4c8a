# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The gallery: which frames it shows, and what stands in the picture."""

import cv2
import numpy as np
import pytest

from m3vit_pynq.config import TaskConfig, get_config
from m3vit_pynq.evaluation.dataset import LabelledFrame
from m3vit_pynq.evaluation.gallery import (
    GalleryCollector,
    check_suffix,
    draw_gallery,
    write_picture,
)
from m3vit_pynq.evaluation.scoring import EvaluationError
from m3vit_pynq.labels import NYUD39
from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import UNKNOWN_DEPTH_COLOUR


def frame_of(name):
    image = np.full((480, 640, 3), 90, np.uint8)
    label = np.full((480, 640), NYUD39.classes.index("sofa"), np.uint8)
    return LabelledFrame(name, image, label, np.full((480, 640), 2.0, np.float32), label)


def results_of(share, factor=1.0):
    """Segmentation right in ``share`` of the columns; depth off by ``factor`` everywhere."""
    ids = np.full((48, 100), NYUD39.classes.index("chair"), np.uint8)
    ids[:, : round(100 * share)] = NYUD39.classes.index("sofa")
    return {
        "segmentation": ids,
        "depth": np.full((48, 100), round(2000 * factor), np.uint16),
    }


@pytest.fixture
def collector(config39):
    collector = GalleryCollector(config39)
    for index, share in enumerate((0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6)):
        collector(frame_of(f"{index:04d}"), results_of(share))
    return collector


def test_frames_are_ordered_by_the_stated_score(collector):
    # Depth is right everywhere, so the score is (share + 1) / 2.
    scores = {judged.name: judged.score for judged in collector.judged}
    assert scores["0001"] == pytest.approx(0.95, abs=1e-3)
    assert scores["0000"] == pytest.approx(0.55, abs=1e-3)
    groups = {k: [j.name for j in members] for k, members in collector.chosen(1).items()}
    assert groups == {"best": ["0001"], "median": ["0002"], "worst": ["0000"]}
    groups = {k: [j.name for j in members] for k, members in collector.chosen(2).items()}
    assert groups["best"] == ["0001", "0006"] and groups["worst"] == ["0005", "0000"]


def test_depth_counts_as_much_as_classes(config39):
    collector = GalleryCollector(config39)
    collector(frame_of("0001"), results_of(0.6, factor=1.3))  # beyond a quarter: 0.6 and 0
    collector(frame_of("0002"), results_of(0.4, factor=1.2))  # within: 0.4 and 1
    assert [j.score for j in collector.judged] == pytest.approx([0.3, 0.7], abs=1e-3)
    assert "pixels right 60%" in collector.judged[0].caption
    assert "RMSE 0.60 m" in collector.judged[0].caption


def test_no_frame_is_shown_twice(collector):
    for rows in (1, 2, 3, 50):
        names = [j.name for members in collector.chosen(rows).values() for j in members]
        assert len(names) == len(set(names)) == 3 * min(rows, 3)


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames(config39, frames):
    collector = GalleryCollector(config39)
    for index in range(frames):
        collector(frame_of(str(index)), results_of(0.1 * index))
    assert sum(len(members) for members in collector.chosen(2).values()) == frames
    assert draw_gallery(collector, frame_of).shape[2] == 3


def test_what_is_kept_is_a_copy(config39):
    collector, results = GalleryCollector(config39), results_of(0.5)
    collector(frame_of("1"), results)
    results["depth"][:] = 0
    assert collector.judged[0].results["depth"].min() == 2000


def colour_near(picture, colour, tolerance=40):
    return (np.abs(picture.astype(int) - colour).sum(axis=2) < tolerance).any()


def test_the_picture_shows_labels_predictions_and_keys(collector):
    picture = draw_gallery(collector, frame_of, rows=1, title="a title")
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    colours = palette("nyud39")
    for name in ("sofa", "chair"):  # swatches of the key have the pure colours
        assert colour_near(picture, colours[NYUD39.classes.index(name)].astype(int), 3)
    assert not colour_near(picture, colours[NYUD39.classes.index("sink")].astype(int), 3)
    wider = draw_gallery(collector, frame_of, rows=2, title="a title")
    assert wider.shape[1] == picture.shape[1] and wider.shape[0] > picture.shape[0]


def test_unknown_depth_stays_grey(config39):
    frame = frame_of("1")
    frame.metres[:, :200] = 0.0
    collector = GalleryCollector(config39)
    collector(frame, results_of(1.0))

    def grey_pixels(read):
        picture = draw_gallery(collector, read).astype(int)
        return int((np.abs(picture - UNKNOWN_DEPTH_COLOUR).sum(axis=2) < 3).sum())

    # Almost a third of one picture; without unknown depth only edges of letters.
    assert grey_pixels(lambda name: frame) > 15_000
    assert grey_pixels(frame_of) < 1_000


def test_one_task_alone():
    config = get_config("micro", tasks=(TaskConfig("depth", "depth", 1),))
    collector = GalleryCollector(config)
    collector(frame_of("1"), {"depth": results_of(1.0)["depth"]})
    assert collector.judged[0].score == 1.0
    narrow = draw_gallery(collector, frame_of)
    assert narrow.shape[1] < 1000


def test_frames_without_labels_are_passed_over(config39):
    collector = GalleryCollector(config39)
    blank = frame_of("1")
    blank.label[:], blank.metres[:] = 255, 0.0
    collector(blank, results_of(1.0))
    assert collector.judged == []
    with pytest.raises(EvaluationError, match="nothing to show"):
        draw_gallery(collector, frame_of)


@pytest.mark.parametrize("name", ["a.jpg", "b.png", "new/c.JPEG"])
def test_pictures_are_written(tmp_path, name):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :, 0] = 200  # red
    write_picture(tmp_path / name, picture)
    read = cv2.imread(str(tmp_path / name))
    assert read.shape == (20, 30, 3)
    assert read[:, :, 2].mean() > 180 and read[:, :, 0].mean() < 30


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"ends in \.jpg, \.jpeg, \.png"):
        check_suffix(tmp_path / "a.gif")
