# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Choosing a source by itself, frames from elsewhere, and waking a reader."""

import itertools
import os
import threading

import cv2
import numpy as np
import pytest

from m3vit_pynq.errors import FrameError, SourceError
from m3vit_pynq.sources import Camera, Mailbox, open_source, opening, source_choices, stills
from m3vit_pynq.sources import camera as camera_module
from m3vit_pynq.sources import choices as choices_module
from m3vit_pynq.sources import mailbox as mailbox_module


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A machine without cameras and without packages of pictures."""
    for module in (opening, choices_module):
        monkeypatch.setattr(module, "device_nodes", list)
    monkeypatch.setattr(stills, "STILLS_PACKAGE", "no-such-distribution-here")
    monkeypatch.setattr(opening, "STREET_PACKAGE", "no-such-distribution-here")
    monkeypatch.delenv(opening.CLIP_VARIABLE, raising=False)


def clip(path, level=200):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


class Steady:
    """A cv2.VideoCapture that always has a frame, or none."""

    def __init__(self, works=True):
        self.works = works

    def isOpened(self):
        return self.works

    def set(self, key, value):
        return True

    def get(self, key):
        return 30.0

    def read(self):
        return True, np.zeros((48, 64, 3), np.uint8)

    def release(self):
        pass


# What "auto" chooses


def test_a_camera_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv(opening.CLIP_VARIABLE, str(clip(tmp_path / "a.avi")))
    monkeypatch.setattr(opening, "device_nodes", lambda: [1, 4])
    monkeypatch.setattr(
        opening, "Camera", lambda index: Camera(index, opener=lambda i: Steady(works=i == 4))
    )
    with open_source("auto") as source:
        assert (source.name, source.note, source.live) == ("camera 4", "", True)


def test_then_a_clip_and_the_note_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv(opening.CLIP_VARIABLE, str(clip(tmp_path / "a.avi")))
    with open_source("auto") as source:
        assert (source.kind, source.name, source.live) == ("video", "a.avi", False)
        assert source.note == "no camera is plugged in"
        assert sum(1 for _ in itertools.islice(source, 7)) == 7  # it starts again


def test_a_camera_that_may_not_be_opened_is_in_the_note(monkeypatch, tmp_path):
    monkeypatch.setattr(opening, "device_nodes", lambda: [3])

    def refused(index):
        raise SourceError("/dev/video3: no permission; add your user to the group")

    monkeypatch.setattr(opening, "Camera", refused)
    with open_source("auto") as source:
        assert source.kind == "synthetic"
        assert source.note.startswith("/dev/video3: no permission")
        assert "pip install" in source.note  # of the photographs


def test_a_clip_that_is_not_there_is_in_the_note(monkeypatch, tmp_path):
    monkeypatch.setenv(opening.CLIP_VARIABLE, str(tmp_path / "gone.mp4"))
    with open_source("auto") as source:
        assert source.kind == "synthetic" and "gone.mp4" in source.note


@pytest.mark.parametrize(("prefer", "first"), [("indoor", "photo"), ("street", "street.avi")])
def test_what_is_installed_is_chosen_by_scene(monkeypatch, tmp_path, prefer, first):
    picture = tmp_path / "photo.png"
    cv2.imwrite(str(picture), np.full((480, 640, 3), 90, np.uint8))
    street = clip(tmp_path / "street.avi")
    monkeypatch.setattr(opening, "room_photographs", lambda: [picture])
    monkeypatch.setattr(opening, "street_clip", lambda: street)
    with open_source("auto", prefer=prefer) as source:
        assert source.name.startswith(first)


def test_photographs_stay_as_long_as_asked(monkeypatch, tmp_path):
    for value in (10, 200):
        cv2.imwrite(str(tmp_path / f"{value:03}.png"), np.full((50, 90, 3), value, np.uint8))
    with open_source(tmp_path, hold=3) as source:
        assert [int(f.mean()) for f in itertools.islice(source, 6)] == [10, 10, 10, 200, 200, 200]


@pytest.mark.parametrize(
    ("spec", "index"),
    [(0, 0), ("2", 2), ("/dev/video11", 11), ("auto", None), ("a.mp4", None), (True, None),
     (None, None), ("/dev/videofoo", None), (3.5, None)],
)  # fmt: skip
def test_names_of_cameras(spec, index):
    assert opening.camera_index(spec) == index


def test_what_can_be_chosen(monkeypatch, tmp_path):
    assert source_choices() == [("automatic", "auto"), ("generated frames", "synthetic")]
    path = clip(tmp_path / "my.avi")
    monkeypatch.setenv(opening.CLIP_VARIABLE, str(path))
    monkeypatch.setattr(choices_module, "device_nodes", lambda: [0, 2])
    monkeypatch.setattr(choices_module, "room_photographs", list)
    monkeypatch.setattr(choices_module, "street_clip", lambda: path)
    assert source_choices() == [
        ("automatic", "auto"), ("camera 0", 0), ("camera 2", 2), ("clip my.avi", str(path)),
        ("clip of a street", "street"), ("photographs of rooms", "stills"),
        ("generated frames", "synthetic"),
    ]  # fmt: skip
    for _, spec in source_choices()[-1:]:
        with open_source(spec) as source:
            assert next(source).shape == (480, 640, 3)


def test_plugging_a_camera_in_changes_the_signature(tmp_path):
    assert camera_module.node_signature(tmp_path) == ()
    (tmp_path / "video0").touch()
    first = camera_module.node_signature(tmp_path)
    assert [index for index, _ in first] == [0]
    assert camera_module.node_signature(tmp_path) == first
    (tmp_path / "video0").chmod(0o600)  # as udev does when it gives the node to a group
    os.utime(tmp_path / "video0")
    assert camera_module.node_signature(tmp_path) != first


# Frames from elsewhere


def test_a_mailbox_gives_the_newest_frame_once():
    box = Mailbox("box", timeout=0.2)
    for level in (1, 2, 3):
        box.put(np.full((10, 12, 3), level, np.uint8))
    assert next(box)[0, 0, 0] == 3
    with pytest.raises(SourceError, match=r"box: no frame for 0\.2 s"):
        next(box)


def test_a_mailbox_asks_for_what_it_needs():
    asked = []

    def deliver():
        asked.append(len(asked))
        if len(asked) % 2:  # every second request comes back
            box.put(np.full((10, 12, 3), len(asked), np.uint8))

    box = Mailbox("box", timeout=0.2, ask=deliver)
    assert next(box)[0, 0, 0] == 1
    assert next(box)[0, 0, 0] == 3
    assert len(asked) == 4


def test_a_mailbox_asks_again_if_nothing_comes(monkeypatch):
    monkeypatch.setattr(mailbox_module, "ASK_AGAIN", 0.02)
    asked = []

    def deliver():
        asked.append(len(asked))
        if len(asked) == 3:  # two requests are lost
            box.put(np.full((10, 12, 3), 7, np.uint8))

    box = Mailbox("box", timeout=30, ask=deliver)
    assert next(box)[0, 0, 0] == 7


def test_a_mailbox_takes_pictures_only():
    box = Mailbox("box", timeout=0.2)
    with pytest.raises(FrameError, match="uint8"):
        box.put(np.zeros((10, 12, 3)))
    box.fail("the camera was not allowed")
    with pytest.raises(SourceError, match="not allowed"):
        next(box)
    box.close()
    assert list(box) == []


def test_a_reader_that_waits_for_a_mailbox_is_woken():
    box = Mailbox("box", timeout=30)
    check_waking(box)
    box.close()


def test_a_reader_that_waits_for_a_camera_is_woken():
    class Silent(Steady):
        """Gives one frame, then blocks as a driver does."""

        def __init__(self):
            super().__init__()
            self.go_on, self.given = threading.Event(), 0

        def read(self):
            if self.given:
                self.go_on.wait(20)
            self.given += 1
            return super().read()

    capture = Silent()
    camera = Camera(0, timeout=30, opener=lambda index: capture)
    check_waking(camera)
    capture.go_on.set()
    camera.close()
    assert camera.closed


def check_waking(source):
    got = []
    reader = threading.Thread(target=lambda: got.append(list(source)), daemon=True)
    reader.start()
    reader.join(0.1)
    assert reader.is_alive()
    source.cancel()
    reader.join(10)
    assert not reader.is_alive() and got == [[]]
