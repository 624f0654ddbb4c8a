# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The camera of the page that shows the widget; no browser needed."""

import cv2
import numpy as np
import pytest
from live_board import Scripted, until

from m3vit_pynq.live import browser_camera
from m3vit_pynq.live import feed as feed_module

pytest.importorskip("anywidget")


def test_the_browsers_camera(make, monkeypatch):
    monkeypatch.setattr(browser_camera, "LOST", 60.0)
    view = make("browser", acknowledged=True)
    sent = view.browser.sent
    view.start()
    until(lambda: ({"type": "camera", "on": True}, None) in sent)
    view.browser.say(type="hello")  # a page that appears later is asked again
    assert sent.count(({"type": "camera", "on": True}, None)) == 2
    picture = np.full((48, 64, 3), (30, 60, 120), np.uint8)
    jpeg = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()

    def grabs():
        return [c for c, _ in sent].count({"type": "grab"})

    until(lambda: grabs() == 1)  # too early
    view.browser.say(type="camera", width=64, height=48)
    for number in range(5):
        # One at a time: a page that is slower than the accelerator must not fall behind.
        assert grabs() == 2 + number
        view.browser.say(type="camera", frame=True, buffers=[memoryview(jpeg)])
        until(lambda number=number: grabs() > 2 + number)
    assert view.session.moment.source == "the camera of this browser"
    assert np.abs(view.session.moment.newest.frame.astype(int) - (30, 60, 120)).max() < 6
    for broken in (b"", b"no jpeg"):
        view.browser.say(type="camera", frame=True, buffers=[broken])
    view.browser.say(type="camera", frame=True)
    view.source = Scripted
    until(lambda: ({"type": "camera", "on": False}, None) in sent)
    view.browser.say(type="camera", frame=True, buffers=[jpeg])  # was on its way


def test_a_page_that_is_silent_for_a_while_is_asked_again(make, monkeypatch):
    """As during a long cell."""
    monkeypatch.setattr(browser_camera, "TIMEOUT", 0.05)
    monkeypatch.setattr(feed_module, "TRY_ANYWAY", 0.05)
    view = make("browser", acknowledged=True)

    def asked():
        return [c for c, _ in view.browser.sent].count({"type": "camera", "on": True})

    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    view.start()
    until(lambda: asked() == 1)
    view.browser.say(type="camera", frame=True, buffers=[jpeg])
    view.wait(1)
    until(lambda: asked() == 2)
    assert view.status.state != "failed"
    number = view.session.moment.number

    def goes_on():
        view.browser.say(type="camera", frame=True, buffers=[jpeg])
        return view.session.moment.number > number

    until(goes_on)


@pytest.mark.parametrize(
    ("error", "words"),
    [("insecure", "ssh -L"), ("NotAllowedError", "was not allowed"), ("NotFoundError", "no camera"),
     ("NotReadableError", "another program"), ("ended", "taken away"), ("OddError", "odd text")],
)  # fmt: skip
def test_a_browser_that_gives_no_camera(make, error, words):
    view = make("browser", acknowledged=True)
    view.start()
    until(lambda: view.session.open_source is not None)
    view.browser.say(type="camera", error=error, text="odd text")
    until(lambda: view.status.state == "failed")
    assert words in view.status.text
