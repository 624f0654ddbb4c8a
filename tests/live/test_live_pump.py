# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures on their way to a browser: shared drawing, slow and closed pages."""

import threading
import time

import cv2
import numpy as np
import pytest
from live_board import Scripted, until

from m3vit_pynq.live import pacing
from m3vit_pynq.live import pump as pump_module
from m3vit_pynq.live.painter import Painter, make_painter
from m3vit_pynq.live.pump import Pump
from m3vit_pynq.live.session import LiveSession
from m3vit_pynq.live.settings import ViewSettings


@pytest.fixture
def session(overlay):
    with LiveSession(overlay, Scripted) as session:
        yield session


class Page:
    """A browser page: answers, or does not."""

    def __init__(self, acknowledged=True, answers=True):
        self.acknowledged = acknowledged
        self.answers = answers
        self.shown, self.asked = [], []
        self.pump = None

    def show(self, serial, jpeg):
        self.shown.append((serial, jpeg))
        if self.answers and self.acknowledged:
            self.pump.answered(serial)

    def ask(self, serial):
        self.asked.append(serial)
        if self.answers:
            self.pump.answered(serial)


def attach(session, page, **arguments):
    page.pump = Pump(Painter(session), page, rate=200.0, **arguments)
    page.pump.start()
    return page.pump


def test_a_picture_is_drawn_once_for_all_viewers(session, monkeypatch):
    painter = Painter(session)
    session.wait(1)
    session.stop()
    drawn = []
    compose = painter._composer.compose
    monkeypatch.setattr(
        painter._composer, "compose", lambda *a: (drawn.append(1), time.sleep(0.05), compose(*a))[2]
    )
    got = []
    viewers = [threading.Thread(target=lambda: got.append(painter.newest())) for _ in range(6)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join()
    assert len(drawn) == 1 and len({id(painted) for painted in got}) == 1
    painter.change(opacity=0.2)
    assert painter.newest().serial == got[0].serial + 1
    assert painter.after(painter.newest().serial, 0.05) is None


def test_the_jpeg_is_the_picture(session):
    session.wait(0)
    painted = Painter(session, ViewSettings(quality=95)).newest()
    seen = cv2.imdecode(np.frombuffer(painted.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(seen.astype(int) - painted.composed.pixels).mean() < 3


def test_without_a_frame_there_is_a_notice(overlay):
    painter = make_painter(overlay, "synthetic")
    painted = painter.newest()
    assert painted.moment is None and painted.composed.pixels.shape == (480, 640, 3)


def test_a_viewer_waits_for_the_next_picture(session):
    painter = Painter(session)
    serial = 0
    for _ in range(5):
        painted = painter.after(serial, 20)
        assert painted.serial > serial
        serial = painted.serial


def test_wrong_settings_change_nothing(session):
    painter = Painter(session)
    with pytest.raises(ValueError, match="sideways"):
        painter.change(mode="sideways")
    assert painter.settings.mode == "overlay"


def test_a_page_that_answers_gets_one_picture_after_the_other(session):
    page = Page()
    pump = attach(session, page)
    until(lambda: len(page.shown) > 10)
    serials = [serial for serial, _ in page.shown]
    assert serials == sorted(set(serials))
    assert session.figures.end_to_end.value > 0
    pump.stop()
    count = len(page.shown)
    session.wait(session.moment.number)
    assert len(page.shown) == count


def test_a_closed_tab_costs_nothing_but_questions(session, monkeypatch):
    monkeypatch.setattr(pacing, "PATIENCE", 0.05)
    monkeypatch.setattr(pacing, "ASK_FIRST", 0.02)
    page = Page(answers=False)
    ticks = []
    pump = attach(session, page, tick=ticks.append)
    until(lambda: len(page.asked) > 2)
    number, ticked = session.moment.number, len(ticks)
    session.wait(number + 5)
    assert len(page.shown) == pacing.WINDOW
    assert len(ticks) == ticked  # nor are texts sent
    page.answers = True  # the tab is back, or the browser caught up
    until(lambda: len(page.shown) > pacing.WINDOW + 5)
    pump.stop()


def test_a_page_that_is_opened_again_gets_the_picture_at_once(session):
    page = Page(answers=False)
    pump = attach(session, page)
    until(lambda: len(page.shown) == pacing.WINDOW)
    session.frozen = True  # nothing new will come by itself
    time.sleep(0.1)
    last = page.shown[-1][0]
    page.answers = True
    pump.greeted()
    until(lambda: page.shown[-1][0] >= last and len(page.shown) > pacing.WINDOW)
    pump.stop()


def test_while_a_cell_runs_pictures_go_on_without_answers(session, monkeypatch):
    monkeypatch.setattr(pacing, "BUSY_RATE", 100.0)
    page = Page(answers=False)
    pump = attach(session, page, busy=lambda: True)
    until(lambda: len(page.shown) > pacing.WINDOW + 5)
    pump.stop()


def test_the_last_picture_and_texts_come_when_the_session_ends(session):
    page, ticks = Page(), []
    pump = attach(session, page, tick=ticks.append)
    until(lambda: page.shown)
    session.stop("another view took over")
    until(lambda: not pump.running)
    assert ticks and ticks[-1] is not None
    pump.greeted()  # a page that is opened afterwards still gets the last picture
    assert len(page.shown) >= 2
    pump.stop()


def test_a_view_that_fails_ends_the_pump_and_not_the_session(session, caplog):
    page = Page()
    page.show = lambda serial, jpeg: 1 / 0
    pump = attach(session, page)
    until(lambda: not pump.running)
    assert "the live picture stops" in caplog.text
    assert session.running


def test_stop_is_quick_although_the_page_is_silent(session):
    page = Page(answers=False)
    pump = attach(session, page)
    until(lambda: len(page.shown) == pacing.WINDOW)
    pump.stop()
    assert not pump.running
    pump.stop()
    assert pump_module.TICK < 1
