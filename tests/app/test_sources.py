# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cameras, clips, images and stills, good and bad."""

import itertools
import os
import threading
import time

import cv2
import numpy as np
import pytest

from m3vit_pynq.errors import FrameError, SourceError
from m3vit_pynq.sources import (
    Camera,
    Stills,
    Video,
    as_rgb,
    open_source,
    opening,
    read_image,
    stills,
)
from m3vit_pynq.sources import camera as camera_module

RNG = np.random.default_rng(3)


@pytest.fixture
def no_cameras(monkeypatch):
    monkeypatch.setattr(opening, "device_nodes", list)


def photo(path, height=60, width=80):
    """A smooth picture, so that JPEG changes it little."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)
    cv2.imwrite(str(path), rgb[..., ::-1])
    return rgb


def clip(path, frames=8, height=48, width=64):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
    for index in range(frames):
        writer.write(np.full((height, width, 3), 25 * index, np.uint8))
    writer.release()
    return path


# Arrays as frames


def test_rgb_is_passed_through_without_a_copy():
    frame = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    assert as_rgb(frame) is frame


@pytest.mark.parametrize("shape", [(21, 33), (21, 33, 1)])
def test_grey_becomes_three_equal_channels(shape):
    grey = RNG.integers(0, 255, shape, dtype=np.uint8)
    rgb = as_rgb(grey)
    assert rgb.shape == (21, 33, 3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[..., channel], grey.reshape(21, 33))


def test_alpha_is_dropped_and_16_bits_are_shortened():
    rgba = RNG.integers(0, 65535, (20, 30, 4), dtype=np.uint16)
    rgb = as_rgb(rgba)
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, rgba[..., :3] // 256)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 30, 3), np.float32), "astype"),
        (np.zeros((20, 30, 3), np.int64), "uint8"),
        (np.zeros((20, 30, 2), np.uint8), r"\[h, w, 3\]"),
        (np.zeros((2, 20, 30, 3), np.uint8), r"\[h, w, 3\]"),
        (np.zeros(30, np.uint8), r"\[h, w, 3\]"),
        (np.zeros((3, 300, 3), np.uint8), "smaller than"),
        (np.zeros((0, 300, 3), np.uint8), "smaller than"),
        ([[0, 1], [2, 3]], "numpy array, not list"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(FrameError, match=message):
        as_rgb(array)


# Image files


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "ä ö.png"])
def test_image_files_in_rgb_order(tmp_path, name):
    path = tmp_path / name
    expected = photo(tmp_path / "x.png")
    (tmp_path / "x.png").rename(path) if name.endswith(".png") else photo(path)
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("kind", ["grey", "rgba", "grey16", "rgb16"])
def test_unusual_image_files(tmp_path, kind):
    colour = RNG.integers(0, 255, (30, 41, 3), dtype=np.uint8)
    grey = colour[..., 0]
    stored, expected = {
        "grey": (grey, np.repeat(grey[..., None], 3, axis=2)),
        "rgba": (np.dstack([colour[..., ::-1], grey]), colour),
        "grey16": (grey.astype(np.uint16) * 257, np.repeat(grey[..., None], 3, axis=2)),
        "rgb16": (colour[..., ::-1].astype(np.uint16) * 257, colour),
    }[kind]
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    with open_source(tmp_path / "a.png") as source:
        frame = next(source)
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_damaged_images(tmp_path, content, capfd):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"broken\.png: not an image"):
        open_source(path)
    assert capfd.readouterr().err == ""


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "nothing.jpg")
    with pytest.raises(SourceError, match="No such file"):
        read_image(tmp_path / "nothing.jpg")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="neither an image"):
        open_source(tmp_path / "notes.txt")
    for spec in (True, 3.5, ["a"]):
        with pytest.raises(SourceError, match="named by"):
            open_source(spec)


def test_a_single_image_is_shown_as_it_is(tmp_path):
    expected = photo(tmp_path / "a.png", 33, 71)
    with open_source(tmp_path / "a.png") as source:
        assert source.kind == "image"
        for frame in itertools.islice(source, 3):
            np.testing.assert_array_equal(frame, expected)


# Folders and stills


def test_empty_folder(tmp_path):
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


def test_a_folder_is_shown_picture_by_picture_and_again(tmp_path):
    for value, name in ((10, "a.png"), (120, "b.png"), (240, "c.PNG")):
        cv2.imwrite(str(tmp_path / name), np.full((50, 90, 3), value, np.uint8))
    source = Stills(stills.images_in(tmp_path), "three", hold=2)
    levels = [int(frame.mean()) for frame in itertools.islice(source, 8)]
    assert levels == [10, 10, 120, 120, 240, 240, 10, 10]


def test_a_damaged_picture_in_a_folder_names_itself(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    source = Stills(stills.images_in(tmp_path), "two", hold=1)
    next(source)
    with pytest.raises(SourceError, match=r"b\.png"):
        next(source)


@pytest.mark.parametrize("shape", [(400, 1200), (1200, 400), (480, 640), (31, 17)])
def test_the_moving_window_stays_inside_the_picture(tmp_path, shape):
    """A border drawn around the outermost pixels' outside would show as black."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((*shape, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((*shape, 3), 200, np.uint8))
    source = Stills(stills.images_in(tmp_path), "two", hold=5)
    for frame in itertools.islice(source, 10):
        assert frame.shape == (480, 640, 3)
        assert frame.min() == 200


def test_the_window_moves_a_little(tmp_path):
    photo(tmp_path / "a.png", 600, 800)
    source = Stills([tmp_path / "a.png"], "one", hold=10)
    frames = [frame.astype(int) for frame in itertools.islice(source, 10)]
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(frames)]
    assert max(steps) > 0.1
    assert np.abs(frames[9] - frames[0]).mean() < 40


def test_stills_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(stills, "STILLS_PACKAGE", "no-such-distribution-here")
    with pytest.raises(SourceError, match="pip install"):
        open_source("stills")
    monkeypatch.setattr(opening, "STREET_PACKAGE", "no-such-distribution-here")
    with pytest.raises(SourceError, match="pip install"):
        open_source("street")


def test_auto_without_camera_and_stills_generates_frames(monkeypatch, no_cameras):
    monkeypatch.setattr(stills, "STILLS_PACKAGE", "no-such-distribution-here")
    with open_source() as source:
        assert source.kind == "synthetic"
        first, second = next(source), next(source)
    assert first.shape == (480, 640, 3)
    assert np.any(first != second)


def test_auto_passes_over_cameras_that_do_not_work(monkeypatch):
    monkeypatch.setattr(opening, "device_nodes", lambda: [98, 99])
    monkeypatch.setattr(stills, "STILLS_PACKAGE", "no-such-distribution-here")
    with open_source("auto") as source:
        assert source.kind == "synthetic"


def test_generated_frames_are_the_same_every_time():
    with open_source("synthetic") as a, open_source("synthetic") as b:
        for left, right in itertools.islice(zip(a, b, strict=True), 4):
            np.testing.assert_array_equal(left, right)


def test_the_scene_can_be_told(tmp_path):
    photo(tmp_path / "a.png")
    with (
        open_source(tmp_path / "a.png") as unknown,
        open_source(tmp_path / "a.png", scene="street") as street,
    ):
        assert (unknown.scene, street.scene) == ("unknown", "street")


# Clips


def test_a_clip_ends_or_starts_again(tmp_path):
    path = clip(tmp_path / "a.avi")
    with open_source(path, loop=False) as source:
        levels = [round(frame.mean() / 25) for frame in source]
        assert source.fps == 10
    assert levels == list(range(8))
    with open_source(path) as source:
        levels = [round(frame.mean() / 25) for frame in itertools.islice(source, 20)]
    assert levels == [*range(8), *range(8), *range(4)]


def test_a_clip_of_unusual_sides(tmp_path):
    with Video(clip(tmp_path / "a.avi", height=46, width=130)) as source:
        assert next(source).shape == (46, 130, 3)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_unreadable_clips(tmp_path, content, capfd):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"broken\.mp4: not a video"):
        open_source(path)
    assert capfd.readouterr().err == ""


def test_a_clip_that_breaks_off(tmp_path):
    path = clip(tmp_path / "a.avi", frames=40, height=96, width=128)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"breaks off after \d+ of 40 frames|not a video"):
        list(open_source(path, loop=False))


def test_a_clip_that_vanishes_while_looping(tmp_path):
    path = clip(tmp_path / "a.avi", frames=3)
    with open_source(path) as source:
        for _ in range(3):
            next(source)
        path.unlink()
        with pytest.raises(SourceError, match="was it removed"):
            next(source)


def test_a_closed_source_gives_no_more_frames(tmp_path):
    source = open_source(clip(tmp_path / "a.avi"))
    next(source)
    source.close()
    source.close()
    assert source.closed
    assert list(source) == []


# Cameras


class FakeCapture:
    """What cv2.VideoCapture does with a camera, on command."""

    def __init__(self, opens=True, size=(480, 640)):
        self.opens = opens
        self.shape = (*size, 3)
        self.grabbed = 0
        self.working = True
        self.blocked = threading.Event()
        self.blocked.set()
        self.released = False
        self.settings = {}

    def isOpened(self):
        return self.opens

    def set(self, key, value):
        self.settings[key] = value
        return True

    def get(self, key):
        return 15.0 if key == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        self.blocked.wait(5)
        if not self.working:
            return False, None
        time.sleep(0.002)
        self.grabbed += 1
        frame = np.zeros(self.shape, np.uint8)
        frame[...] = (self.grabbed // 65536, self.grabbed // 256 % 256, self.grabbed % 256)
        return True, frame

    def release(self):
        self.released = True


def number(frame):
    """The fake camera's counter, from an RGB frame."""
    return int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1])


def test_a_camera_asks_for_mjpg_and_reads_back_what_it_got():
    capture = FakeCapture(size=(360, 640))
    with Camera(0, opener=lambda index: capture) as source:
        assert next(source).shape == (360, 640, 3)
        assert source.size == (360, 640)
        assert source.fps == 15
    assert capture.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter_fourcc(*"MJPG")
    assert capture.settings[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert capture.released


def test_a_slow_reader_sees_the_newest_frame():
    capture = FakeCapture()
    with Camera(0, opener=lambda index: capture) as source:
        numbers = []
        for _ in range(4):
            target = capture.grabbed + 12
            while capture.grabbed < target:
                time.sleep(0.001)
            numbers.append((number(next(source)), target))
    for seen, target in numbers:
        assert seen >= target - 1
    assert [seen for seen, _ in numbers] == sorted({seen for seen, _ in numbers})


def test_an_unplugged_camera_is_an_error_and_lets_go():
    capture = FakeCapture()
    with Camera(2, timeout=0.5, opener=lambda index: capture) as source:
        next(source)
        capture.working = False
        with pytest.raises(SourceError, match=r"camera 2: no frame.*unplugged"):
            for _ in range(100):
                next(source)
    assert capture.released


def test_a_camera_that_freezes_is_an_error_after_the_timeout():
    capture = FakeCapture()
    with Camera(0, timeout=0.2, opener=lambda index: capture) as source:
        capture.blocked.clear()
        with pytest.raises(SourceError, match=r"no frame for 0\.2 s"):
            for _ in range(100):
                next(source)
        capture.blocked.set()
        time.sleep(0.05)
        assert next(source) is not None  # it comes back without being opened again


def test_a_camera_that_delivers_nothing_is_released():
    capture = FakeCapture()
    capture.working = False
    with pytest.raises(SourceError, match="no frame"):
        Camera(0, timeout=0.2, opener=lambda index: capture)
    assert capture.released


def test_a_camera_in_use():
    capture = FakeCapture(opens=False)
    with pytest.raises(SourceError, match="another program"):
        Camera(0, opener=lambda index: capture)
    assert capture.released


def test_no_camera_and_no_permission(tmp_path, monkeypatch):
    with pytest.raises(SourceError, match=r"no such camera \(present: none\)"):
        camera_module.check_node(0, tmp_path)
    for name in ("video3", "video11", "videofoo"):
        (tmp_path / name).touch()
    assert camera_module.device_nodes(tmp_path) == [3, 11]
    with pytest.raises(SourceError, match="present: 3, 11"):
        camera_module.check_node(0, tmp_path)
    monkeypatch.setattr(os, "access", lambda *a: False)
    with pytest.raises(SourceError, match="usermod -aG video"):
        camera_module.check_node(3, tmp_path)


@pytest.mark.parametrize("spec", [97, "97", "/dev/video97"])
def test_camera_specs(spec):
    with pytest.raises(SourceError, match="/dev/video97: no such camera"):
        open_source(spec)


def test_closing_a_camera_leaves_no_thread():
    before = threading.active_count()
    for _ in range(5):
        Camera(0, opener=lambda index: FakeCapture()).close()
    assert threading.active_count() == before
