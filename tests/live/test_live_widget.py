# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The widget of the notebook, with and without acknowledged pictures; no browser needed."""

import base64
import re
import sys
import threading

import cv2
import ipywidgets
import numpy as np
import pytest
from live_board import Scripted, class_of, live_threads, millimetres_of, until

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import controls as controls_module
from m3vit_pynq.live.controls import close_all
from m3vit_pynq.live.plain import make_picture
from m3vit_pynq.live.widget import LiveView


@pytest.fixture(params=["plain", "acknowledged"])
def acknowledged(request):
    if request.param == "acknowledged":
        pytest.importorskip("anywidget")
    return request.param == "acknowledged"


@pytest.fixture
def view(make, acknowledged):
    view = make(acknowledged=acknowledged)
    view.start()
    view.wait(2)
    return view


def control(view, name):
    return getattr(view._controls, name)


def test_it_is_one_widget_with_named_parts(view):
    assert isinstance(view, ipywidgets.VBox) and isinstance(view, LiveView)
    names = set()

    def collect(widget):
        names.update(widget._dom_classes)
        for child in getattr(widget, "children", ()):
            collect(child)

    collect(view)
    wanted = "picture task mode source opacity freeze snapshot start stop legend scale readout"
    wanted += " figures message link"
    assert {f"m3vit-live-{name}" for name in wanted.split()} | {"m3vit-live"} <= names


def test_the_cell_that_makes_it_is_not_held_up(overlay):
    slow = threading.Event()
    began = threading.Event()

    def source():
        began.set()
        slow.wait(30)
        return Scripted()

    view = overlay.live(source)  # returns while the source is still being opened
    assert began.wait(10) and view.status.state == "opening" and view.session.moment is None
    slow.set()
    view.close()


def test_the_picture_follows_the_toggle(view):
    assert list(control(view, "task").options) == ["segmentation", "depth", "both"]
    seen = {}
    for task in ("segmentation", "depth", "both"):
        control(view, "task").value = task
        until(lambda task=task: "+".join(view.session.moment.shots) == {
            "both": "segmentation+depth"}.get(task, task))  # fmt: skip
        view.stop()  # the last picture stays
        seen[task] = view.browser.pixels()
        view.start()
    assert view.task == "both"
    assert seen["segmentation"].shape == seen["depth"].shape == (480, 640, 3)
    assert np.abs(seen["segmentation"].astype(int) - seen["depth"]).mean() > 10
    assert seen["both"].shape[1] > 900


@pytest.mark.parametrize("name", ["task", "mode", "opacity", "frozen", "point", "source"])
def test_setting_from_a_program_moves_the_control(view, name):
    value = {"task": "depth", "mode": "side by side", "opacity": 0.25, "frozen": True,
             "point": (0.25, 0.5), "source": "synthetic"}[name]  # fmt: skip
    setattr(view, name, value)
    assert getattr(view, name) == value
    if name == "point":
        assert control(view, "point_y").value == 0.25
    else:
        assert control(view, {"frozen": "freeze"}.get(name, name)).value == value


def test_a_click_while_the_controls_are_brought_up_to_date_is_not_lost(view, monkeypatch):
    """Pages have threads of their own in the kernel; cells run in another one."""
    looking, go_on = threading.Event(), threading.Event()
    choices = view._controls.choices

    def slow(current):
        looking.set()
        go_on.wait(20)
        return choices(current)

    monkeypatch.setattr(view._controls, "choices", slow)
    cell = threading.Thread(target=setattr, args=(view, "task", "depth"))
    page = threading.Thread(target=setattr, args=(control(view, "mode"), "value", "result"))
    cell.start()
    assert looking.wait(10)
    page.start()
    page.join(0.5)  # either lost by now, or waiting for its turn
    go_on.set()
    cell.join(20)
    page.join(20)
    assert (view.task, view.mode) == ("depth", "result")


def test_controls_do_what_they_say(view):
    control(view, "mode").value = "result"
    control(view, "opacity").value = 0.3
    control(view, "point_x").value = 0.75
    assert (view.mode, view.opacity, view.point) == ("result", 0.3, (0.5, 0.75))
    control(view, "freeze").value = True
    assert view.frozen and view.status.state == "frozen"
    control(view, "source").value = "synthetic"
    assert not view.frozen and view.source == "synthetic"
    until(lambda: view.session.moment.source == "generated frames")
    control(view, "stop").click()
    assert not view.running and not live_threads()
    control(view, "start").click()
    assert view.running


def test_wrong_values_raise_in_a_program_and_are_told_in_the_widget(view):
    for name, value in (("task", "pose"), ("mode", "sideways"), ("opacity", 2), ("point", (3, 0))):
        before = getattr(view, name)
        with pytest.raises(ValueError):
            setattr(view, name, value)
        assert getattr(view, name) == before
    control(view, "stop").click()
    view.session._closed = True  # what cannot be started any more
    control(view, "start").click()
    assert "make a new one" in control(view, "message").value
    view.session._closed = False


@pytest.mark.parametrize("wrong", [{"task": "pose"}, {"mode": "x"}, {"rate": 0}, {"height": 1}])
def test_wrong_arguments_leave_nothing_behind(overlay, wrong):
    before = set(registry())
    with pytest.raises(ValueError):
        overlay.live("synthetic", acknowledged=False, **wrong)
    assert not live_threads()
    assert set(registry()) == before
    assert overlay._live is None


def test_what_stands_around_the_picture(view):
    until(lambda: "frames/s" in control(view, "figures").value)
    view.task = "both"
    until(lambda: len(view.session.moment.shots) == 2)
    view.frozen = True
    until(lambda: len({id(s.frame) for s in view.session.moment.shots.values()}) == 1)
    frame = view.session.moment.newest.frame
    view.stop()
    from m3vit_pynq.labels import NYUD13, get_label_set

    labels = get_label_set(view.session.moment.shots["segmentation"].result.label_set)
    assert labels is NYUD13
    text = re.sub("<[^>]*>", "", control(view, "legend").value)
    assert text == f"{labels.class_name(class_of(frame))} 100%"
    read = re.sub("<[^>]*>", "", control(view, "readout").value)
    metres = f"{millimetres_of(frame) / 1000:.1f} m"
    assert read == f"at the cross: {labels.class_name(class_of(frame))}, {metres}"
    assert "m3vit-mark" in control(view, "scale").value
    view.task = "segmentation"
    view.start()
    until(lambda: list(view.session.moment.shots) == ["segmentation"])
    view.stop()
    assert control(view, "scale").value == ""


def test_a_click_reads_a_point(make):
    pytest.importorskip("anywidget")
    view = make(acknowledged=True, task="both", mode="side by side")
    view.start()
    until(lambda: view.session.moment is not None and len(view.session.moment.shots) == 2)
    composed = view.painter.newest().composed
    panel = composed.panels[-1]
    height, width = composed.pixels.shape[:2]
    x, y = (panel.left + 0.2 * panel.width) / width, (panel.top + 0.7 * panel.height) / height
    view.browser.say(type="point", x=x, y=y)
    assert view.point == pytest.approx((0.7, 0.2), abs=0.01)
    view.browser.say(type="step", x=1, y=0)
    assert view.point == pytest.approx((0.7, 0.22), abs=0.01)


@pytest.mark.parametrize(
    "message",
    [None, 7, "frame", [], {}, {"type": "shown"}, {"type": "shown", "serial": "x"},
     {"type": "point", "x": None, "y": 1}, {"type": "point", "x": float("nan"), "y": 0.5},
     {"type": "step", "x": float("inf"), "y": 0}, {"type": "unheard of"},
     {"type": "shown", "serial": 10**30}, {"type": ["a"]}],
)  # fmt: skip
def test_nonsense_from_a_browser_does_no_harm(make, message):
    pytest.importorskip("anywidget")
    view = make(acknowledged=True)
    view.start()
    view._picture._received(view._picture, message, [])
    view.wait(2)
    serial = view._pump._serial
    until(lambda: view._pump._serial > serial)
    assert all(0 <= p <= 1 for p in view.point)


def test_a_tab_that_is_closed_gets_two_pictures_and_comes_back(make):
    pytest.importorskip("anywidget")
    view = make(acknowledged=True)
    view.browser.answers = False
    view.start()
    view.wait(10)
    frames = [content for content, _ in view.browser.sent if content["type"] == "frame"]
    assert len(frames) <= 3  # one stood there before the start
    texts = control(view, "figures").value
    view.wait(5)
    assert control(view, "figures").value == texts
    view.browser.answers = True
    view.browser.say(type="hello")
    until(lambda: len([c for c, _ in view.browser.sent if c["type"] == "frame"]) > 10)


def test_without_acknowledgement_it_stops_when_nobody_clicks(make):
    view = make(acknowledged=False, idle=0.2)
    view.start()
    until(lambda: view.status.state == "stopped", 20)
    assert "without a click" in view.status.text
    until(lambda: "without a click" in control(view, "message").value)
    control(view, "start").click()
    assert view.running


def test_a_snapshot_is_saved_and_offered(view, tmp_path):
    view.frozen = True
    control(view, "snapshot").click()
    html = control(view, "link").value
    name = re.search('download="([^"]+)"', html)[1]
    saved = (tmp_path / "snapshots" / name).read_bytes()
    assert base64.b64decode(re.search('base64,([^"]+)', html)[1]) == saved
    picture = cv2.imdecode(np.frombuffer(saved, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(picture, view.picture())
    with np.load((tmp_path / "snapshots" / name).with_suffix(".npz")) as arrays:
        frame = arrays["frame"]
        assert (arrays["segmentation"] == class_of(frame)).all()


def test_a_snapshot_that_cannot_be_made_is_told(make, tmp_path):
    view = make()
    with pytest.raises(M3ViTError, match="no picture"):
        view.snapshot()
    control(view, "snapshot").click()
    assert "no picture to save yet" in control(view, "message").value
    (tmp_path / "file").write_text("x")
    view.folder = tmp_path / "file"
    view.start()
    view.wait()
    control(view, "snapshot").click()
    assert "choose another folder" in control(view, "message").value


def test_waiting_for_a_picture_that_does_not_come(make):
    view = make("no-such-file.mp4")
    view.start()
    with pytest.raises(M3ViTError, match=r"failed.*no-such-file\.mp4"):
        view.wait(timeout=1.0)


def test_waiting_with_a_frozen_frame_ends_when_all_its_results_are_there(view):
    view.task = "both"
    view.wait(4)
    view.frozen = True
    until(lambda: len({id(shot.frame) for shot in view.session.moment.shots.values()}) == 1)
    shots = view.wait(3, timeout=20.0).shots
    assert list(shots) == ["segmentation", "depth"]
    assert shots["segmentation"].frame is shots["depth"].frame
    view.task = "depth"
    assert list(view.wait(1, timeout=20.0).shots) == ["depth"]
    view.frozen = False
    number = view.session.moment.number
    assert view.wait(2).number >= number + 2


def test_a_second_view_says_so_in_the_first(make):
    first, second = make(), make()
    first.start()
    first.wait()
    second.start()
    second.wait()
    assert not first.running and second.running
    until(lambda: "taken over" in control(first, "message").value)
    control(first, "start").click()
    first.wait()
    assert first.running and not second.running


def registry():
    """Models that the kernel keeps for browsers."""
    from ipywidgets.widgets import widget

    known = getattr(widget, "_instances", None)  # ipywidgets 8
    return ipywidgets.Widget.widgets if known is None else known


def test_closing_forgets_every_widget(make, acknowledged):
    def once():
        view = make(acknowledged=acknowledged)
        view.start()
        view.wait()
        view.close()
        view.close()
        assert not view.running and not live_threads()

    once()
    before = set(registry())
    for _ in range(5):
        once()
    assert set(registry()) == before


def test_a_context_manager(make):
    with make() as view:
        view.start()
        view.wait()
    assert not view.running
    with pytest.raises(M3ViTError, match=r"overlay\.live"):
        view.start()
    control(view, "start").click()  # a click that was on its way


def test_a_hundred_starts_and_stops(view):
    before = threading.active_count()
    for _ in range(100):
        view.stop()
        view.start()
    assert threading.active_count() <= before
    view.wait(1)
    view.stop()
    until(lambda: not live_threads())


def test_without_anywidget_the_plain_picture_is_used(overlay, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "m3vit_pynq.live.acknowledged", raising=False)
    view = overlay.live("synthetic", start=False)
    assert not view._picture.acknowledged
    with pytest.raises(ValueError, match="anywidget"):
        view.source = "browser"
    view.close()
    with pytest.raises(M3ViTError, match=r"m3vit-pynq\[live\]"):
        overlay.live("synthetic", acknowledged=True)


@pytest.mark.parametrize(
    ("server", "answers"),
    [("voila/0.3.8", False), ("voila/0.1.23", False), ("voila/0.5.13", True),
     ("voila/0.10.0", True), ("voila/1.0", True), ("jupyter_server/1.2", True), ("", True)],
)  # fmt: skip
def test_an_old_voila_has_no_place_for_the_picture_that_answers(monkeypatch, server, answers):
    pytest.importorskip("anywidget")
    monkeypatch.setenv("SERVER_SOFTWARE", server)
    picture = make_picture(None)
    assert picture.acknowledged == answers
    close_all(picture)


def test_a_camera_that_is_plugged_in_appears_in_the_list(view, monkeypatch):
    listed = [("automatic", "auto"), ("camera 5", 5), ("generated frames", "synthetic")]
    monkeypatch.setattr(controls_module, "source_choices", lambda: listed)
    view.opacity = 0.5
    assert ("camera 5", 5) in list(control(view, "source").options)
    assert view.source in [value for _, value in control(view, "source").options]


def test_outside_a_notebook_no_cell_is_running(view):
    assert view._cells.busy is False
