# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots: what is in the files, and folders that cannot be written."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import snapshot
from m3vit_pynq.live.moment import Moment, Shot
from m3vit_pynq.result import Result

RNG = np.random.default_rng(8)
FRAME, EARLIER = RNG.integers(0, 256, (2, 24, 32, 3), np.uint8)
IDS = RNG.integers(0, 39, (6, 8), np.uint8)
MILLIMETRES = RNG.integers(500, 9000, (6, 8)).astype(np.uint16)
PICTURE = RNG.integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture
def moment():
    segmentation = Result("segmentation", IDS, 6, 0.0, 0, "segmentation", "nyud39")
    depth = Result("depth", MILLIMETRES, 7, 0.0, 0, "depth")
    newest = Shot(FRAME, depth, 0.0)
    shots = {"segmentation": Shot(EARLIER, segmentation, 0.0), "depth": newest}
    return Moment(3, shots, newest, "camera 0")


def test_picture_and_arrays_are_saved(tmp_path, moment):
    package = SimpleNamespace(config=SimpleNamespace(name="small"))
    saved = snapshot.save(tmp_path / "new" / "folder", moment, PICTURE, package)
    assert saved.picture.stem == saved.arrays.stem
    np.testing.assert_array_equal(cv2.imread(str(saved.picture))[..., ::-1], PICTURE)
    with np.load(saved.arrays, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["frame"], FRAME)
        np.testing.assert_array_equal(arrays["segmentation"], IDS)
        np.testing.assert_array_equal(arrays["segmentation_frame"], EARLIER)
        np.testing.assert_array_equal(arrays["depth"], MILLIMETRES)
        np.testing.assert_allclose(arrays["depth_metres"], MILLIMETRES / 1000, rtol=1e-6)
        assert "depth_frame" not in arrays
        about = json.loads(str(arrays["about"]))
    assert about["model"] == "small" and about["source"] == "camera 0"
    assert about["tasks"]["segmentation"]["classes"][:2] == ["wall", "floor"]
    assert about["tasks"]["depth"] == {"kind": "depth", "frame_index": 7}


def test_snapshots_of_the_same_second_have_names_of_their_own(tmp_path, moment):
    saved = {snapshot.save(tmp_path, moment, PICTURE).picture for _ in range(4)}
    assert len(saved) == 4
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be_made(tmp_path, moment, kind):
    (tmp_path / "a").write_text("x")
    folder = tmp_path / "a" if kind == "file" else tmp_path / "a" / "b"
    with pytest.raises(M3ViTError, match="choose another folder"):
        snapshot.save(folder, moment, PICTURE)


def test_a_full_disk(tmp_path, moment, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(M3ViTError, match="No space left"):
        snapshot.save(tmp_path, moment, PICTURE)
