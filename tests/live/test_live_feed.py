# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames for a live view from sources that come, go, end and fail."""

import itertools
import threading

import numpy as np
import pytest
from live_board import Scripted, plain_frame, unplugged, until

from m3vit_pynq.errors import SourceError
from m3vit_pynq.live import feed as feed_module
from m3vit_pynq.live.feed import Feed


@pytest.fixture(autouse=True)
def only_when_devices_change(monkeypatch):
    monkeypatch.setattr(feed_module, "TRY_ANYWAY", 1000.0)


class Desk:
    """What is plugged in; opens sources as `open_source` would."""

    def __init__(self):
        self.cameras = {}
        self.nodes = ()
        self.plugged = 0
        self.opened = []

    def plug(self, index, source):
        self.cameras[index] = source
        self.plugged += 1
        self.nodes = (*self.nodes, (index, self.plugged))

    def unplug(self, index):
        self.cameras.pop(index).script = unplugged
        self.nodes = tuple(node for node in self.nodes if node[0] != index)

    def open(self, spec):
        source = self._choose(spec)
        self.opened.append(source)
        return source

    def _choose(self, spec):
        if spec == "auto":
            for source in self.cameras.values():
                return source
            fallback = Scripted("photographs", "stills")
            fallback.note = "no camera is plugged in"
            return fallback
        if spec in self.cameras:
            return self.cameras[spec]
        if isinstance(spec, Scripted):
            return spec
        raise SourceError(f"{spec}: no such thing")


@pytest.fixture
def desk():
    return Desk()


def make(spec, desk):
    said = []
    feed = Feed(spec, said.append, desk.open, lambda: desk.nodes)
    return feed, said


def fresh(feed, count):
    """The next frames that were not given before."""
    found = []
    while len(found) < count:
        frame = next(feed)
        if feed.handed[-1].fresh:
            found.append(frame)
    return found


def test_frames_come_in_order_and_each_is_noted(desk):
    feed, said = make(Scripted(), desk)
    frames = fresh(feed, 5)
    for number, frame in enumerate(frames, 1):
        np.testing.assert_array_equal(frame, plain_frame(number))
    times = [entry.time for entry in feed.handed]
    assert times == sorted(times)
    assert [status.state for status in said] == ["opening", "running"]


def test_a_frame_is_given_twice_now_and_then_for_the_clock(desk, monkeypatch):
    monkeypatch.setattr(feed_module, "TWICE_EVERY", 3)
    feed, _ = make(Scripted(), desk)
    frames = list(itertools.islice(feed, 9))
    assert [entry.fresh for entry in feed.handed] == [True, False, *[True] * 3, False, *[True] * 3]
    assert frames[1] is frames[0] and frames[5] is frames[4]


def test_photographs_have_no_rate_of_their_own(desk, monkeypatch):
    """Else a slow source would limit a view that shows the same picture for seconds."""
    waits = []
    feed, _ = make(Scripted("photographs", "stills", fps=0.01), desk)
    monkeypatch.setattr(feed._changed, "wait_for", lambda _, timeout: waits.append(timeout))
    assert len(fresh(feed, 4)) == 4
    assert waits and all(0 < wait <= 4 / feed_module.STILLS_RATE for wait in waits)


def test_a_clip_that_ends_leaves_its_last_frame(desk):
    clip = Scripted("clip", "video", count=3)
    feed, said = make(clip, desk)
    frames = [next(feed) for _ in range(8)]
    assert [entry.fresh for entry in feed.handed].count(True) == 3
    for frame in frames[4:]:
        np.testing.assert_array_equal(frame, plain_frame(3))
    assert said[-1].state == "ended" and "clip is over" in said[-1].text
    assert clip.times_closed == 1
    feed.spec = Scripted("other")
    assert fresh(feed, 1)[0][0, 0, 0] == 1
    assert said[-1].state == "running"


def test_a_camera_that_is_unplugged_is_looked_for_and_comes_back(desk):
    desk.plug(0, Scripted("camera 0"))
    feed, said = make(0, desk)
    last = fresh(feed, 4)[-1]
    desk.unplug(0)
    held = [next(feed) for _ in range(4)]
    assert all(frame is last for frame in held)
    lost = next(status for status in said if status.state == "waiting")
    assert "unplugged" in lost.text and "looked for" in lost.text
    assert desk.opened[0].times_closed == 1
    desk.plug(0, Scripted("camera 0"))
    np.testing.assert_array_equal(fresh(feed, 1)[0], plain_frame(1))
    assert said[-1] == feed_module.Status("running", "")


def test_automatic_falls_back_and_follows_a_camera(desk):
    feed, said = make("auto", desk)
    fresh(feed, 2)
    assert feed.source.name == "photographs"
    assert "no camera is plugged in. Showing photographs" in said[-1].text
    camera = Scripted("camera 3")
    desk.plug(3, camera)
    until(lambda: (next(feed), feed.source is camera)[1])
    assert said[-1].text == ""
    desk.unplug(3)
    until(lambda: (next(feed), feed.source.name == "photographs")[1])
    assert camera.times_closed == 1
    assert desk.opened[0].times_closed == 1


def test_a_camera_that_does_not_open_is_not_tried_again_and_again(desk):
    tried = []

    def opener(spec):
        tried.append(spec)
        raise SourceError("/dev/video0: no permission; add your user to the group")

    said = []
    feed = Feed(0, said.append, opener, lambda: desk.nodes)
    reader = threading.Thread(target=lambda: next(feed, None), daemon=True)
    reader.start()
    until(lambda: said and said[-1].state == "waiting")
    assert "no permission" in said[-1].text
    looked = feed._looked
    until(lambda: feed._looked > looked + 0.1)
    assert tried == [0]
    desk.nodes = ((0, 1),)  # its owner or mode was changed
    until(lambda: len(tried) == 2)
    feed.stop()
    reader.join(5)
    assert not reader.is_alive()


def test_a_file_that_does_not_exist_is_not_looked_for(desk):
    feed, said = make("nothing.mp4", desk)
    threading.Timer(0.15, feed.stop).start()
    assert list(feed) == []
    assert said[-1].state == "failed" and "nothing.mp4" in said[-1].text
    assert desk.opened == []


def test_freezing_repeats_one_frame_and_goes_on(desk):
    source = Scripted()
    feed, _ = make(source, desk)
    third = fresh(feed, 3)[-1]
    feed.freeze(third)
    given = source.given
    assert all(next(feed) is third for _ in range(5))
    assert source.given == given
    feed.freeze(None)
    np.testing.assert_array_equal(fresh(feed, 1)[0], plain_frame(given + 1))


@pytest.mark.parametrize("event", ["stop", "spec"])
def test_a_reader_that_waits_for_a_camera_is_woken(desk, event):
    stuck = Scripted("stuck")
    stuck.gate.clear()
    feed, _ = make(stuck, desk)
    got = []
    reader = threading.Thread(target=lambda: got.append(next(feed, None)), daemon=True)
    reader.start()
    until(lambda: feed.source is stuck)
    if event == "stop":
        feed.stop()
    else:
        feed.spec = Scripted("other")
    reader.join(5)
    assert not reader.is_alive()
    assert stuck.times_closed == 1
    assert (got[0] is None) == (event == "stop")
    feed.close()


def test_stopping_closes_the_source_once(desk):
    source = Scripted()
    feed, _ = make(source, desk)
    next(feed)
    feed.stop()
    assert list(feed) == []
    feed.close()
    assert source.times_closed == 1


def test_a_source_may_be_made_by_a_function(desk):
    source = Scripted("made")
    feed, _ = make(lambda: source, desk)
    next(feed)
    assert feed.source is source and desk.opened == []
