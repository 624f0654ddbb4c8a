# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Classes and distances against pixels counted by hand, and files read by other programs' means."""

import math
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq import readings
from m3vit_pynq.errors import FrameError
from m3vit_pynq.labels import NYUD13
from m3vit_pynq.result import Result

CHAIR, FLOOR, WALL = (NYUD13.classes.index(name) for name in ("chair", "floor", "wall"))


def segmentation(ids) -> Result:
    return Result("segmentation", np.asarray(ids, np.uint8), 0, 0.0, 0, "segmentation", "nyud13")


def depth(millimetres) -> Result:
    return Result("depth", np.asarray(millimetres, np.uint16), 0, 0.0, 0, "depth")


@pytest.fixture
def room():
    """A wall 3 m away, a floor from 1 to 2 m, a chair at 1.5 m with one wrong pixel."""
    ids = np.full((20, 30), WALL)
    ids[12:] = FLOOR
    ids[8:16, 20:26] = CHAIR
    millimetres = np.full((20, 30), 3000)
    millimetres[12:] = np.linspace(2000, 1000, 8).astype(int)[:, None]
    millimetres[8:16, 20:26] = 1500
    millimetres[9, 21] = 600  # beyond the tail of 5 %
    return segmentation(ids), depth(millimetres)


def test_classes_with_their_distances(room):
    found = {reading.name: reading for reading in readings.by_class(*room)}
    assert list(found) == ["wall", "floor", "chair"]  # by area: 336, 216, 48 of 600
    assert found["wall"].share == pytest.approx(336 / 600)
    assert found["chair"].share == pytest.approx(48 / 600)
    assert found["chair"].nearest == pytest.approx(1.5)
    assert found["chair"].median == found["chair"].farthest == pytest.approx(1.5)
    assert found["wall"].nearest == found["wall"].farthest == pytest.approx(3.0)
    assert found["floor"].nearest == pytest.approx(1.0)  # the last row is 30 of 216 pixels
    y, x = found["floor"].at
    assert int(y * 20) == 19 and 12 <= int(x * 30) <= 17


def test_where_a_class_is_nearest_lies_on_it():
    """The middle of a ring is not on the ring."""
    ids = np.full((21, 21), WALL)
    ring = np.zeros((21, 21), np.uint8)
    cv2.circle(ring, (10, 10), 8, 1)
    ids[ring == 1] = CHAIR
    (chair,) = [
        reading
        for reading in readings.by_class(segmentation(ids), depth(np.full((21, 21), 2000)))
        if reading.name == "chair"
    ]
    y, x = chair.at
    assert ids[int(y * 21), int(x * 21)] == CHAIR


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 13), st.booleans())
def test_readings_of_anything(seed, classes, holes):
    """Shares add up, percentiles are ordered, and each is what sorting the pixels gives."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, classes, (9, 11))
    millimetres = rng.integers(0 if holes else 1, 4000, (9, 11))
    if holes:
        millimetres[rng.random((9, 11)) < 0.5] = 0
    found = readings.by_class(segmentation(ids), depth(millimetres), least=0.0)
    assert sum(reading.share for reading in found) == pytest.approx(1)
    for reading in found:
        known = sorted(m / 1000 for m in millimetres[ids == reading.index] if m)
        if not known:
            assert math.isnan(reading.nearest) and math.isnan(reading.at[0])
            continue
        place = 0.05 * (len(known) - 1)
        low, high = known[math.floor(place)], known[math.ceil(place)]
        expected = low + (place - math.floor(place)) * (high - low)
        assert reading.nearest == pytest.approx(expected, abs=1e-5)
        assert reading.nearest <= reading.median <= reading.farthest
        y, x = (int(reading.at[0] * 9), int(reading.at[1] * 11))
        assert ids[y, x] == reading.index
        assert 0 < millimetres[y, x] / 1000 <= reading.nearest + 1e-6


def test_small_classes_and_pixels_without_a_class_are_left_out():
    ids = np.full((10, 10), WALL)
    ids[0, 0] = CHAIR
    ids[5:] = 255
    distances = depth(np.full((10, 10), 1000))
    assert [r.name for r in readings.by_class(segmentation(ids), distances, 0.02)] == ["wall"]
    names = [r.name for r in readings.by_class(segmentation(ids), distances, 0.0)]
    assert names == ["wall", "chair"]


def test_results_of_different_sizes():
    ids = np.zeros((4, 6))
    ids[:, 3:] = CHAIR
    metres = np.full((8, 12), 1000)
    metres[:, 6:] = 2000
    found = {r.name: r.median for r in readings.by_class(segmentation(ids), depth(metres))}
    assert found == {NYUD13.classes[0]: pytest.approx(1.0), "chair": pytest.approx(2.0)}


def test_a_mask(room):
    ids = room[0].data
    np.testing.assert_array_equal(readings.mask(room[0], "chair"), ids == CHAIR)
    large = readings.mask(room[0], "chair", (40, 60))
    assert large.dtype == bool and large.shape == (40, 60)
    blocks = np.kron(ids == CHAIR, np.ones((2, 2), bool))
    assert np.mean(large != blocks) < 0.02  # borders are smoothed
    assert not readings.mask(room[0], "sofa").any()


def test_bad_input(room):
    classes, distances = room
    with pytest.raises(ValueError, match="bed, books"):
        readings.mask(classes, "dragon")
    with pytest.raises(ValueError, match="not class ids"):
        readings.mask(distances, "chair")
    with pytest.raises(ValueError, match="not class ids"):
        readings.by_class(distances, distances)
    with pytest.raises(ValueError, match="not distances"):
        readings.by_class(classes, classes)


def test_the_table(room):
    table = readings.reading_table(readings.by_class(*room))
    assert table.rows[2] == ("chair", "8.0%", "1.50 m", "1.50 m", "1.50 m")
    blind = readings.by_class(room[0], depth(np.zeros((20, 30))))
    assert readings.reading_table(blind).rows[0] == ("wall", "56.0%", *["unknown"] * 3)


def test_saved_files_hold_the_arrays(room, tmp_path):
    frame = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    results = {"segmentation": room[0], "depth": room[1]}
    files = readings.save(tmp_path / "new" / "shot.1", frame, results)
    assert [f.name for f in files] == [
        "shot.1.npz", "shot.1-segmentation.png", "shot.1-segmentation-picture.png",
        "shot.1-depth.png", "shot.1-depth-picture.png",
    ]  # fmt: skip
    assert sorted(f.name for f in (tmp_path / "new").iterdir()) == sorted(f.name for f in files)
    ids = cv2.imread(str(files[1]), cv2.IMREAD_UNCHANGED)
    millimetres = cv2.imread(str(files[3]), cv2.IMREAD_UNCHANGED)
    assert ids.dtype == np.uint8 and millimetres.dtype == np.uint16
    np.testing.assert_array_equal(ids, room[0].data)
    np.testing.assert_array_equal(millimetres, room[1].data)
    picture = cv2.imread(str(files[2]))[:, :, ::-1]
    np.testing.assert_array_equal(picture, room[0].overlay(frame))
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.testzip() is None
    with np.load(files[0], allow_pickle=False) as saved:
        assert set(saved) == {
            "frame", "segmentation", "segmentation_classes", "depth", "depth_metres",
        }  # fmt: skip
        np.testing.assert_array_equal(saved["frame"], frame)
        np.testing.assert_array_equal(saved["depth"], room[1].data)
        np.testing.assert_allclose(saved["depth_metres"], room[1].data / 1000, rtol=1e-6)
        assert saved["segmentation_classes"][CHAIR] == "chair"


def test_frames_are_saved_for_reading_again(tmp_path):
    rng = np.random.default_rng(5)
    frames = [rng.integers(0, 256, (12, 16, 3), np.uint8), rng.integers(0, 256, (9, 9), np.uint8)]
    paths = readings.save_frames(iter(frames), tmp_path / "mine")
    assert [path.name for path in paths] == ["frame_00.png", "frame_01.png"]
    np.testing.assert_array_equal(cv2.imread(str(paths[0]))[:, :, ::-1], frames[0])
    np.testing.assert_array_equal(cv2.imread(str(paths[1]), cv2.IMREAD_GRAYSCALE), frames[1])


def test_files_that_cannot_be_written(room, tmp_path):
    (tmp_path / "file").write_text("in the way")
    frame = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(OSError):
        readings.save(tmp_path / "file" / "shot", frame, {"depth": room[1]})
    with pytest.raises(FrameError):
        readings.save(tmp_path / "shot", np.zeros((20, 30, 3)), {"depth": room[1]})
    with pytest.raises(FrameError):
        readings.save_frames([np.zeros((2, 2, 3), np.uint8)], tmp_path / "none")
