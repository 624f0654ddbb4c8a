# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The window of OpenCV, on a screen of the test's own, and the command that opens it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import pytest
from live_board import PlainKernel, Scripted, until

from m3vit_pynq import cli
from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live.painter import make_painter
from m3vit_pynq.live.window import Window, check_display


class Screen:
    """What OpenCV does with a window; keys are pressed one per picture."""

    def __init__(self, keys=()):
        self.keys = list(keys)
        self.shown = []
        self.visible = 1.0
        self.mouse = None
        self.destroyed = False

    def namedWindow(self, *_):
        pass

    def setMouseCallback(self, title, callback):
        self.mouse = callback

    def imshow(self, title, picture):
        self.shown.append(picture)

    def waitKey(self, delay):
        time.sleep(0.002)
        if self.shown and self.keys:
            key = self.keys.pop(0)
            return key() if callable(key) else ord(key)
        return -1

    def getWindowProperty(self, *_):
        return self.visible

    def destroyAllWindows(self):
        self.destroyed = True


@pytest.fixture
def painter(overlay):
    painter = make_painter(overlay, Scripted)
    with painter.session:
        painter.session.wait(0)
        yield painter


def test_keys_and_pictures(painter, tmp_path):
    screen = Screen("tmf+-sq")
    Window(painter, tmp_path, screen).run(60)
    assert painter.session.task == "depth" and painter.session.frozen
    assert painter.settings.mode == "side by side"
    assert painter.settings.opacity == pytest.approx(0.6)
    assert len(list(tmp_path.glob("*.png"))) == 1
    assert screen.destroyed and screen.shown[0].shape[2] == 3


def test_a_snapshot_that_cannot_be_written_does_not_end_it(painter, tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    screen = Screen("sq")
    Window(painter, tmp_path / "file", screen).run(60)
    assert "choose another folder" in caplog.text and screen.keys == []


def test_the_task_key_goes_round(painter, tmp_path):
    seen = []

    def note():
        seen.append(painter.session.task)
        return ord("t")

    Window(painter, tmp_path, Screen([note] * 4 + ["q"])).run(60)
    assert seen == ["segmentation", "depth", "both", "segmentation"]


def test_a_click_reads_a_point(painter, tmp_path):
    screen = Screen()

    def click():
        screen.mouse(cv2.EVENT_LBUTTONDOWN, 160, 120, 0, None)
        screen.mouse(cv2.EVENT_MOUSEMOVE, 1, 1, 0, None)
        return ord("q")

    screen.keys = [click]
    Window(painter, tmp_path, screen).run(60)
    assert painter.settings.point == pytest.approx((0.25, 0.25), abs=0.01)


def test_the_cross_of_the_window_ends_it(painter, tmp_path):
    screen = Screen()
    screen.visible = 0.0
    Window(painter, tmp_path, screen).run(60)
    assert screen.destroyed


def test_a_session_that_fails_ends_it_with_its_message(painter, tmp_path):
    screen = Screen()
    PlainKernel.fail = 3
    with pytest.raises(M3ViTError, match="accelerator error"):
        Window(painter, tmp_path, screen).run(60)
    assert screen.destroyed


def test_an_opencv_without_windows(painter, tmp_path):
    class Headless(Screen):
        def namedWindow(self, *_):
            raise cv2.error("The function is not implemented")

    with pytest.raises(M3ViTError, match="opencv-python-headless"):
        Window(painter, tmp_path, Headless())


def test_no_display(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(M3ViTError, match="without --window"):
        check_display({})
    check_display({"DISPLAY": ":0"})
    check_display({"WAYLAND_DISPLAY": "wayland-0"})
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert cli.main(["live", "--window"]) == 2
    assert "no display" in capsys.readouterr().err


@pytest.fixture
def package_file(micro, tmp_path):
    return str(micro.save(tmp_path / "micro.m3vit"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--task", "pose"], "'both'"), (["--mode", "x"], "unknown mode"), (["--rate", "0"], "rate"),
     (["--package", "nothing.m3vit"], "nothing.m3vit")],
)  # fmt: skip
def test_arguments_that_cannot_be(package_file, monkeypatch, capsys, arguments, words):
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    command = ["live", "--package", package_file, "--source", "synthetic", "--port", "0"]
    assert cli.main([*command, *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_a_page_until_it_is_told_to_end(package_file, told):
    command = [sys.executable, "-m", "m3vit_pynq.cli", "live", "--package", package_file,
               "--source", "synthetic", "--port", "0"]  # fmt: skip
    environment = {**os.environ, "M3VIT_EMULATE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        line = process.stdout.readline()
        assert line.startswith("open http://localhost:"), process.stderr.read()
        url = line.split()[1]

        def state():
            with urllib.request.urlopen(f"{url}state", timeout=60) as answer:
                return json.load(answer)

        until(lambda: state()["readings"], 60)
        process.send_signal(told)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
