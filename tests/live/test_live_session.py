# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The engine of the live view on an emulated board: results, tasks, ends of all kinds."""

import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from live_board import (
    PlainKernel,
    Scripted,
    class_of,
    live_threads,
    millimetres_of,
    plain_frame,
    unplugged,
    until,
)

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live.session import LiveSession


@pytest.fixture
def session(overlay):
    with LiveSession(overlay, Scripted) as session:
        yield session


def check(shot):
    """A result is that of the frame it is shown with."""
    if shot.result.task == "segmentation":
        assert shot.result.data.dtype == np.uint8
        assert (shot.result.data == class_of(shot.frame)).all()
    else:
        assert (shot.result.data == millimetres_of(shot.frame)).all()


def moments(session, count, after=None):
    number = session.moment.number if session.moment is not None and after is None else after or 0
    found = []
    for _ in range(count):
        moment = session.wait(number, 20)
        assert moment is not None, session.status
        number = moment.number
        found.append(moment)
    return found


def test_every_result_goes_with_its_frame(session):
    seen = moments(session, 6)
    for moment in seen:
        assert list(moment.shots) == ["segmentation"]
        assert moment.source == "scripted"
        check(moment.newest)
    assert session.status.state == "running"
    numbers = [int(moment.newest.frame[0, 0, 0]) for moment in seen]
    assert numbers == sorted(set(numbers))


def test_a_task_is_changed_within_two_results(session):
    moments(session, 2)
    session.task = "depth"
    assert session.task == "depth"
    until(lambda: session.figures.switch is not None)
    assert 1 <= session.figures.switch.frames <= 3
    moment = moments(session, 1)[0]
    assert list(moment.shots) == ["depth"]
    check(moment.newest)


def test_both_shows_both_and_alternates(session):
    session.task = "both"
    assert session.task == "both" and session.tasks == ("segmentation", "depth")
    until(lambda: len(session.moment.shots if session.moment else ()) == 2)
    seen = moments(session, 4)
    newest = [moment.newest.result.task for moment in seen]
    assert set(newest) == {"segmentation", "depth"}
    for moment in seen:
        assert list(moment.shots) == ["segmentation", "depth"]
        for shot in moment.shots.values():
            check(shot)
    session.task = ("depth",)
    until(lambda: list(session.moment.shots) == ["depth"])


def test_a_stale_result_is_not_shown_again(session):
    """Back to a task that was seen before: its old picture must not flash up."""
    moments(session, 1)
    old = session.moment.newest.frame[0, 0, 0]
    session.task = "depth"
    until(lambda: session.moment.newest.result.task == "depth")
    latest = session.moment.newest.frame[0, 0, 0]
    session.task = "segmentation"
    until(lambda: session.moment.newest.result.task == "segmentation")
    assert session.moment.newest.frame[0, 0, 0] > latest > old


@pytest.mark.parametrize("wrong", ["pose", ("depth", "pose"), ()])
def test_a_task_that_does_not_exist(session, overlay, wrong):
    for make in (lambda: setattr(session, "task", wrong),
                 lambda: LiveSession(overlay, "synthetic", wrong)):  # fmt: skip
        with pytest.raises(ValueError, match=r"segmentation, depth, and 'both'"):
            make()
    assert session.task == "segmentation"
    moments(session, 2)


def test_a_frozen_frame_stays_and_its_task_can_be_changed(session):
    moments(session, 2)
    session.frozen = True
    frame = session.moment.newest.frame
    assert session.status.state == "frozen"
    session.task = "depth"
    until(lambda: session.moment.newest.result.task == "depth")
    assert session.moment.newest.frame is frame
    check(session.moment.newest)
    number = session.moment.number
    assert session.wait(number, 0.3) is None  # nothing new, so nothing is drawn
    session.frozen = False
    assert moments(session, 3)[-1].newest.frame is not frame


def test_the_source_can_be_changed_while_frames_go_on(session):
    moments(session, 2)
    scripted = session.open_source
    session.frozen = True
    session.source = lambda: Scripted("another")
    assert not session.frozen
    until(lambda: session.moment.source == "another")
    until(lambda: scripted.times_closed == 1)


def test_a_clip_that_ends_can_be_started_again(overlay):
    clips = []

    def clip():
        clips.append(Scripted("clip", "video", count=4))
        return clips[-1]

    with LiveSession(overlay, clip) as session:
        until(lambda: session.status.state == "ended")
        until(lambda: (session.moment.newest.frame == plain_frame(4)).all())
        session.task = "depth"  # still works on the last frame
        until(lambda: session.moment.newest.result.task == "depth")
        check(session.moment.newest)
        session.start()
        until(lambda: len(clips) == 2 and session.status.state == "ended")
    assert [c.times_closed for c in clips] == [1, 1]


def test_an_unplugged_camera_leaves_the_picture_and_a_message(overlay):
    with LiveSession(overlay, Scripted) as session:
        moments(session, 2)
        session.open_source.script = unplugged
        until(lambda: session.status.state == "failed")
        assert "unplugged" in session.status.text
        session.task = "depth"
        until(lambda: session.moment.newest.result.task == "depth")
        check(session.moment.newest)


def test_an_accelerator_that_refuses_ends_the_view_with_its_message(overlay, session):
    moments(session, 1)
    PlainKernel.fail = 3
    until(lambda: session.status.state == "failed")
    assert "accelerator error" in session.status.text
    until(lambda: not session.running)
    PlainKernel.fail = 0
    session.start()
    moments(session, 2)
    assert session.status.state == "running"


def test_a_fault_of_a_source_is_a_message_and_not_a_traceback(overlay):
    def broken(number):
        raise ZeroDivisionError("of the test")

    with LiveSession(overlay, lambda: Scripted(script=broken)) as session:
        until(lambda: session.status.state == "failed")
        assert "ZeroDivisionError: of the test" in session.status.text
        until(lambda: not session.running)
    assert overlay.run(plain_frame(3), "segmentation").data[0, 0] == 3


def test_a_second_view_takes_over_and_can_be_taken_over(overlay, session):
    moments(session, 1)
    second = LiveSession(overlay, Scripted)
    second.start()
    assert not session.running
    assert session.status.state == "stopped" and "taken over" in session.status.text
    moments(second, 2)
    session.start()
    assert not second.running and "taken over" in second.status.text
    moments(session, 2)
    second.close()
    assert session.running  # closing the one that is stopped does not stop the other


def test_a_stream_of_the_user_is_not_disturbed(overlay):
    with overlay.stream(iter([plain_frame(1)] * 50)) as stream:
        first = next(iter(stream))
        session = LiveSession(overlay, Scripted)
        session.start()
        until(lambda: session.status.state == "failed")
        assert "a stream is open" in session.status.text
        rest = list(stream)
    assert len(rest) == 49 and (first[1].data == 1).all()
    session.start()
    moments(session, 1)
    session.close()


def test_an_overlay_that_is_closed_stops_its_view(micro, overlay):
    session = LiveSession(overlay, Scripted)
    session.start()
    moments(session, 2)
    overlay.close()
    assert not session.running
    assert session.status.text == "the overlay was closed"
    session.start()
    until(lambda: session.status.state == "failed")
    assert "closed" in session.status.text
    session.close()


def test_stop_and_close_do_no_harm_twice(overlay):
    scripted = Scripted()
    session = LiveSession(overlay, lambda: scripted)
    session.stop()
    session.start()
    session.start()
    moments(session, 1)
    session.stop()
    session.stop()
    assert session.status.state == "stopped" and scripted.times_closed == 1
    assert session.moment is not None  # the last picture stays
    session.close()
    session.close()
    with pytest.raises(M3ViTError, match=r"overlay\.live"):
        session.start()


def test_stop_while_the_camera_does_not_deliver(overlay):
    stuck = Scripted()
    stuck.gate.clear()
    session = LiveSession(overlay, lambda: stuck)
    session.start()
    until(lambda: session.open_source is stuck)
    session.stop()
    assert not session.running and stuck.times_closed == 1


def test_ctrl_c_while_stopping_leaves_it_stoppable(overlay):
    """The kernel's interrupt arrives in the main thread, which waits for the thread to end."""
    blocked = threading.Event()

    def slow(number):
        if number > 3:
            blocked.set()
            time.sleep(0.6)

    session = LiveSession(overlay, lambda: Scripted(script=slow))
    session.start()
    assert blocked.wait(10)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        session.stop()
        time.sleep(5)
    until(lambda: not session.running)
    session.close()
    assert overlay.run(plain_frame(9), "segmentation").data[0, 0] == 9


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_after_a_hundred_starts_and_stops(overlay):
    session = LiveSession(overlay, Scripted)

    def once(wanted):
        session.start()
        assert session.wait(wanted, 20) is not None
        session.stop()

    once(0)
    gc.collect()
    before = descriptors(), threading.active_count(), overlay.device.memory.live
    for _ in range(100):
        once(session.moment.number)
    gc.collect()
    assert (descriptors(), threading.active_count(), overlay.device.memory.live) == before
    assert not live_threads()
    session.close()


def test_the_overlay_can_be_used_after_a_view(overlay, session):
    moments(session, 1)
    with pytest.raises(RuntimeError, match="stream is open"):
        overlay.run(plain_frame(1), "depth")
    session.stop()
    assert overlay.run(plain_frame(5), "depth").data[0, 0] == 1000 + 10 * 15


def test_the_figures(overlay):
    with LiveSession(overlay, Scripted) as session:
        moments(session, 8)
        figures = session.figures
    assert figures.results.value > 0
    assert figures.modelled is None  # nothing counts cycles
    assert figures.line(True).count("cycles are not counted") == 1
    assert figures.device.value >= PlainKernel.SECONDS
