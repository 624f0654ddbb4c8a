# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The official file, made small: the same frames as from the folder layout."""

import numpy as np
import pytest
from small_dataset import MAP_40_TO_13

from m3vit_pynq.evaluation.dataset import FolderDataset, OfficialDataset, open_dataset
from m3vit_pynq.evaluation.matfile import labels_of, to_40_classes
from m3vit_pynq.evaluation.nyuv2 import DatasetError

MAPPING = np.array([1, 40, 39, 7, 14])


def test_raw_classes_by_hand():
    raw = np.array([[0, 1, 2], [3, 4, 5]])
    forty = to_40_classes(raw, MAPPING)
    assert forty.tolist() == [[255, 0, 39], [38, 6, 13]]
    assert labels_of(forty, "nyud39").tolist() == [[255, 0, 255], [38, 6, 13]]
    # Otherprop is an object, wall a wall, a desk a table; classes from 0.
    assert labels_of(forty, "nyud13").tolist() == [[255, 11, 6], [5, 9, 9]]


def test_all_forty_classes_are_where_scenenet_puts_them():
    forty = np.arange(40, dtype=np.uint8)
    assert (labels_of(forty, "nyud13") + 1).tolist() == list(MAP_40_TO_13)


@pytest.fixture
def official(tmp_path):
    h5py = pytest.importorskip("h5py")
    savemat = pytest.importorskip("scipy.io").savemat
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 480, 640, 3), np.uint8)
    labels = rng.integers(0, len(MAPPING) + 1, (3, 480, 640)).astype(np.uint16)
    depths = rng.uniform(0.7, 10, (3, 480, 640)).astype(np.float32)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        # MATLAB stores columns first.
        file["images"] = images.transpose(0, 3, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
        file["depths"] = depths.transpose(0, 2, 1)
    savemat(tmp_path / "classMapping40.mat", {"mapClass": MAPPING[None]})
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[2], [3]], "testNdxs": [[1]]})
    return tmp_path, images, labels, depths


def test_frames_are_what_the_file_holds(official):
    root, images, labels, depths = official
    dataset = open_dataset(root, "train", "nyud39")
    assert isinstance(dataset, OfficialDataset)
    assert dataset.names == ["0002", "0003"]
    frame = list(dataset)[1]
    assert np.array_equal(frame.image, images[2])
    assert np.abs(frame.metres - depths[2]).max() < 6e-4
    for raw, fine, coarse in ((0, 255, 255), (1, 0, 11), (2, 255, 6), (3, 38, 5), (5, 13, 9)):
        assert np.all(frame.label[labels[2] == raw] == fine)
        assert np.all(frame.label13[labels[2] == raw] == coarse)
    coarse = next(iter(open_dataset(root, "test", "nyud13")))
    assert np.array_equal(coarse.label, coarse.label13)
    assert next(iter(open_dataset(root, "test", ""))).label is None


def test_limits_and_splits(official):
    root, *_ = official
    assert open_dataset(root, "train", "nyud39", 1).names == ["0002"]
    with pytest.raises(DatasetError, match="a limit of 3 frames"):
        open_dataset(root, "train", "nyud39", 3)
    (root / "splits.mat").unlink()
    (root / "train.txt").write_text("0003\n")
    assert open_dataset(root, "train").names == ["0003"]
    (root / "train.txt").write_text("0004\n")
    with pytest.raises(DatasetError, match="has 3 frames, but the split names frame 0004"):
        open_dataset(root, "train")
    (root / "train.txt").write_text("first\n")
    with pytest.raises(DatasetError, match="'first', which is no index"):
        open_dataset(root, "train")


def test_what_is_wrong_is_named(official):
    root, *_ = official
    mapping = (root / "classMapping40.mat").read_bytes()
    (root / "classMapping40.mat").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"classMapping40\.mat is not a readable MATLAB file"):
        open_dataset(root, "test")
    (root / "classMapping40.mat").unlink()
    with pytest.raises(DatasetError, match=r"classMapping40\.mat is missing"):
        open_dataset(root, "test")
    (root / "classMapping40.mat").write_bytes(mapping)
    (root / "nyu_depth_v2_labeled.mat").write_bytes(b"half a download")
    with pytest.raises(DatasetError, match="incomplete download"):
        open_dataset(root, "test")


def test_a_folder_without_the_file_is_read_as_folders(made_dataset):
    assert isinstance(open_dataset(made_dataset, "test"), FolderDataset)
