# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Reading the data, its errors, and the views made of it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from m3vit_pynq.evaluation.matfile import labels_of, to_40_classes
from m3vit_pynq.training.augment import AugmentConfig, plain_view, random_view
from m3vit_pynq.training.dataset import Batches, DatasetError, prepare


@pytest.fixture
def copy(data_folder, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data_folder, root)
    return root


def test_frames_are_what_the_files_hold(frames, data_folder):
    image = cv2.imread(str(data_folder / "image" / "0003.jpg"))[:, :, ::-1]
    depth = cv2.imread(str(data_folder / "depth" / "0003.png"), cv2.IMREAD_UNCHANGED)
    assert frames.ids[2] == "0003"
    assert np.array_equal(frames.images[2], image)
    assert np.abs(frames.metres(2) - (depth + 0.5) * 10 / 255).max() < 1e-3


def test_sixteen_bit_depth_is_millimetres(copy, tmp_path):
    wide = np.full((480, 640), 2345, np.uint16)
    cv2.imwrite(str(copy / "depth" / "0001.png"), wide)
    frames = prepare(copy, "train", "nyud13", tmp_path / "cache")
    assert np.all(frames.metres(0) == np.float32(2.345))


def _no_image(root):
    (root / "image" / "0002.jpg").unlink()
    return "0002.jpg is missing"


def _truncated(root):
    (root / "depth" / "0002.png").write_bytes(b"\x89PNG")
    return "0002.png cannot be decoded"


def _wrong_size(root):
    cv2.imwrite(str(root / "label13" / "0002.png"), np.zeros((10, 20), np.uint8))
    return "0002.png is 20x10, not 640x480"


def _unknown_class(root):
    cv2.imwrite(str(root / "label13" / "0002.png"), np.full((480, 640), 13, np.uint8))
    return "0002.png holds class 13"


def _colour_labels(root):
    cv2.imwrite(str(root / "label13" / "0002.png"), np.zeros((480, 640, 3), np.uint8))
    return "not an 8-bit one-channel image"


def _no_split(root):
    (root / "train.txt").unlink()
    return "train.txt is missing"


def _empty_split(root):
    (root / "train.txt").write_text("")
    return "train.txt is empty"


def _twice(root):
    (root / "train.txt").write_text("0001\n0001\n")
    return "names a frame twice"


def _no_images(root):
    shutil.rmtree(root / "image")
    return "not the NYU Depth v2 data set"


def _bad_mat(root):
    pytest.importorskip("h5py")
    pytest.importorskip("scipy")
    (root / "nyu_depth_v2_labeled.mat").write_bytes(b"half a download")
    return "classMapping40.mat is missing"


@pytest.mark.parametrize(
    "damage",
    [
        _no_image, _truncated, _wrong_size, _unknown_class, _colour_labels, _no_split,
        _empty_split, _twice, _no_images, _bad_mat,
    ],
)  # fmt: skip
def test_damaged_data_is_named(copy, tmp_path, damage):
    message = damage(copy)
    with pytest.raises(DatasetError, match=message):
        prepare(copy, "train", "nyud13", tmp_path / "cache")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        prepare(tmp_path / "nowhere", "train", "nyud13", tmp_path / "cache")


def test_failed_decoding_leaves_no_cache_behind(copy, tmp_path):
    kept = (copy / "image" / "0002.jpg").read_bytes()
    _no_image(copy)
    with pytest.raises(DatasetError):
        prepare(copy, "train", "nyud13", tmp_path / "cache")
    (copy / "image" / "0002.jpg").write_bytes(kept)
    assert len(prepare(copy, "train", "nyud13", tmp_path / "cache")) == 8


def _official(root, frames, mapping):
    h5py = pytest.importorskip("h5py")
    savemat = pytest.importorskip("scipy.io").savemat
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (frames, 480, 640, 3), np.uint8)
    labels = rng.integers(0, len(mapping) + 1, (frames, 480, 640)).astype(np.uint16)
    depths = rng.uniform(0.7, 10, (frames, 480, 640)).astype(np.float32)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        # MATLAB stores columns first.
        file["images"] = images.transpose(0, 3, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
        file["depths"] = depths.transpose(0, 2, 1)
    savemat(root / "classMapping40.mat", {"mapClass": np.array([mapping])})
    savemat(root / "splits.mat", {"trainNdxs": np.array([[2], [3]]), "testNdxs": np.array([[1]])})
    return images, labels, depths


def test_official_file_gives_the_same_arrays(tmp_path):
    mapping = np.array([1, 40, 39, 7])
    images, labels, depths = _official(tmp_path, 3, mapping)
    frames = prepare(tmp_path, "train", "nyud39", tmp_path / "cache")
    assert frames.ids == ("0002", "0003")
    assert np.array_equal(frames.images[1], images[2])
    expected = {0: 255, 1: 0, 2: 255, 3: 38, 4: 6}
    for raw, value in expected.items():
        assert np.all(frames.labels[1][labels[2] == raw] == value)
    assert np.abs(frames.metres(1) - depths[2]).max() < 6e-4


def test_official_file_without_mapping_says_so(tmp_path):
    _official(tmp_path, 3, np.array([1]))
    (tmp_path / "classMapping40.mat").unlink()
    with pytest.raises(DatasetError, match=r"classMapping40\.mat is missing"):
        prepare(tmp_path, "train", "nyud39", tmp_path / "cache")


def test_half_an_official_file_says_so(tmp_path):
    _official(tmp_path, 3, np.array([1]))
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"half a download")
    with pytest.raises(DatasetError, match="incomplete download"):
        prepare(tmp_path, "train", "nyud39", tmp_path / "cache")


def test_class_forty_is_ignored():
    forty = to_40_classes(np.array([0, 1, 2]), np.array([40, 5]))
    assert labels_of(forty, "nyud39").tolist() == [255, 255, 4]


def test_views_depend_only_on_seed_epoch_and_frame(frames):
    def make(seed):
        batches = Batches(frames, range(8), (32, 48), (16, 24), 4, seed, AugmentConfig())
        return list(batches.epoch(3))

    first, again, other = make(1), make(1), make(2)
    assert len(first) == 2
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.images, b.images)
        assert np.array_equal(a.metres, b.metres)
    assert not np.array_equal(first[0].images, other[0].images)
    assert first[0].images.shape == (4, 3, 32, 48)
    assert first[0].labels.shape == (4, 16, 24)


def test_crops_scale_the_depth():
    rng = np.random.default_rng(0)
    image = np.zeros((480, 640, 3), np.uint8)
    label = np.zeros((480, 640), np.uint8)
    depth = np.full((480, 640), 4.0, np.float32)
    config = AugmentConfig(min_scale=0.5, whole_frame=0.0, rotation=0.0)
    found = [
        random_view(image, label, depth, (32, 48), (16, 24), rng, config).depth for _ in range(50)
    ]
    values = np.array([np.unique(view) for view in found])
    assert values.shape == (50, 1)
    assert 2.0 <= values.min() < 2.3
    assert 3.7 < values.max() <= 4.0


@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_labels_stay_on_their_pixels(rotation):
    """A frame whose image shows its own labels: every view must agree with itself."""
    rng = np.random.default_rng(1)
    label = np.zeros((480, 640), np.uint8)
    label[100:380, 200:500] = 1
    image = np.repeat(label[:, :, None] * 255, 3, axis=2)
    depth = 1.0 + label.astype(np.float32)
    quiet = AugmentConfig(rotation=rotation, brightness=0, gamma=0, saturation=0, whole_frame=0.3)
    for _ in range(20):
        view = random_view(image, label, depth, (240, 320), (240, 320), rng, quiet)
        known = view.label != 255
        agree = (view.image[:, :, 0] > 127) == (view.label == 1)
        assert agree[known].mean() > 0.99
        scale = view.depth[known & (view.label == 0)]
        if scale.size and (view.label == 1).any():
            assert np.allclose(view.depth[view.label == 1], 2 * scale.max(), rtol=1e-5)


def test_plain_view_keeps_the_depth():
    depth = np.full((480, 640), 3.0, np.float32)
    view = plain_view(
        np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.uint8), depth, (32, 48), (8, 12)
    )
    assert view.image.shape == (32, 48, 3)
    assert np.all(view.depth == 3.0)
