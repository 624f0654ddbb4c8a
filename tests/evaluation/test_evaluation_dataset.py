# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reading a split: what the files hold, and what is said about files that are wrong."""

import shutil

import cv2
import numpy as np
import pytest
from small_dataset import MAP_40_TO_13, NAMES

from m3vit_pynq.evaluation.dataset import FolderDataset
from m3vit_pynq.evaluation.nyuv2 import DatasetError


def stored(root, folder, name):
    suffix = "jpg" if folder == "image" else "png"
    return cv2.imread(str(root / folder / f"{name}.{suffix}"), cv2.IMREAD_UNCHANGED)


def test_frames_are_what_the_files_hold(made_dataset):
    frames = FolderDataset(made_dataset, "test", "nyud39")
    assert len(frames) == 4
    assert frames.labels13 == "label13"
    for name, frame in zip(NAMES, frames, strict=True):
        assert frame.name == name
        assert np.array_equal(frame.image, stored(made_dataset, "image", name)[:, :, ::-1])
        assert np.array_equal(frame.label, stored(made_dataset, "label39", name))
        assert np.array_equal(frame.label13, stored(made_dataset, "label13", name))
        depth = (stored(made_dataset, "depth", name) + 0.5) * 10 / 255
        assert np.abs(frame.metres - depth).max() < 1e-3


def test_coarse_labels_are_mapped_where_the_official_ones_are_missing(dataset):
    official = stored(dataset, "label13", "0002")
    fine = stored(dataset, "label39", "0002")
    shutil.rmtree(dataset / "label13")
    frames = FolderDataset(dataset, "test", "nyud39")
    assert frames.labels13 == "label39, mapped"
    mapped = frames.read("0002").label13
    assert np.all(mapped[fine == 255] == 255)
    assert np.array_equal(mapped[fine != 255], official[fine != 255])
    assert np.array_equal(mapped[fine == 24], np.full((fine == 24).sum(), MAP_40_TO_13[24] - 1))


@pytest.mark.parametrize("official", [True, False])
def test_a_model_of_13_classes_gets_coarse_labels(dataset, official):
    expected = stored(dataset, "label13", "0001")
    if not official:
        shutil.rmtree(dataset / "label13")
        expected = np.where(stored(dataset, "label39", "0001") == 255, 255, expected)
    frame = next(iter(FolderDataset(dataset, "test", "nyud13")))
    assert np.array_equal(frame.label, expected)
    assert np.array_equal(frame.label13, expected)


def test_depth_alone_needs_no_labels(dataset):
    shutil.rmtree(dataset / "label13")
    shutil.rmtree(dataset / "label39")
    frame = next(iter(FolderDataset(dataset, "test", "")))
    assert frame.label is None and frame.label13 is None
    assert frame.metres.shape == (480, 640)


def test_a_limit_takes_the_first_frames(made_dataset):
    assert FolderDataset(made_dataset, "test", "nyud39", 2).names == ["0001", "0002"]
    assert len(FolderDataset(made_dataset, "test", "nyud39", 4)) == 4


def _missing(folder, name="0003"):
    def damage(root):
        next((root / folder).glob(f"{name}.*")).unlink()
        return rf"{folder}.{name}\.\w+ is missing"

    damage.__name__ = f"missing_{folder}"
    return damage


def _no_folder(folder, message):
    def damage(root):
        shutil.rmtree(root / folder)
        return message

    damage.__name__ = f"no_{folder}"
    return damage


def _split(text, message):
    def damage(root):
        (root / "test.txt").write_bytes(text)
        return message

    damage.__name__ = f"split_{message[:12]}"
    return damage


def _no_labels(root):
    shutil.rmtree(root / "label13")
    shutil.rmtree(root / "label39")
    return "no folder label39/"


@pytest.mark.parametrize(
    "damage",
    [
        _missing("image"), _missing("depth"), _missing("label39"), _missing("label13"),
        _no_folder("image", "not the NYU Depth v2 data set"),
        _no_folder("label39", "no folder label39/"), _no_labels,
        _split(b"", "is empty"), _split(b"0001 0001", "names a frame twice"),
        _split(b"0001\n../etc", "no index of a frame"), _split(b"\xff\xfe\x00", "is no text"),
        _split(b"0001\n0009", r"0009\.jpg is missing"),
    ],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_what_is_missing_is_named_before_any_frame_is_read(dataset, damage):
    message = damage(dataset)
    with pytest.raises(DatasetError, match=message):
        FolderDataset(dataset, "test", "nyud39")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), r"train\.txt is missing"),
        (("test", "nyud39", 5), "a limit of 5 frames: split test .* has 4"),
        (("test", "nyud39", 0), "a limit of 0 frames"),
        (("test", "cityscapes19"), "label set 'cityscapes19': only nyud39, nyud13"),
    ],
)
def test_what_cannot_be_had_is_said(made_dataset, arguments, message):
    with pytest.raises(DatasetError, match=message):
        FolderDataset(made_dataset, *arguments)


def test_a_root_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        FolderDataset(tmp_path / "nowhere", "test")


CONTENTS = {
    "image/0002.jpg": (b"no picture", "0002.jpg cannot be decoded"),
    "depth/0002.png": (np.zeros((10, 20), np.uint8), "0002.png is 20x10, not 640x480"),
    "label39/0002.png": (np.full((480, 640), 39, np.uint8), "holds class 39, but nyud39 has"),
    "label13/0002.png": (np.full((480, 640), 13, np.uint8), "holds class 13, but nyud13 has"),
}


@pytest.mark.parametrize("file", CONTENTS)
def test_wrong_contents_are_named(dataset, file):
    content, message = CONTENTS[file]
    if isinstance(content, bytes):
        (dataset / file).write_bytes(content)
    else:
        cv2.imwrite(str(dataset / file), content)
    frames = iter(FolderDataset(dataset, "test", "nyud39"))
    assert next(frames).name == "0001"
    with pytest.raises(DatasetError, match=message):
        next(frames)


def test_labels_and_depth_must_have_one_channel(dataset):
    colour = np.zeros((480, 640, 3), np.uint8)
    for folder, message in (("label39", "one-channel image of class"), ("depth", "8- or 16-bit")):
        kept = (dataset / folder / "0001.png").read_bytes()
        cv2.imwrite(str(dataset / folder / "0001.png"), colour)
        with pytest.raises(DatasetError, match=message):
            FolderDataset(dataset, "test", "nyud39").read("0001")
        (dataset / folder / "0001.png").write_bytes(kept)
