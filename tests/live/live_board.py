# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""An emulated board whose results can be told from the frame by hand, and sources on command."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
from board_identification import identification

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources import Source


class PlainKernel:
    """Class = red of the first pixel modulo 39; millimetres = 1000 + 10 * green of it."""

    SECONDS = 0.004  # that a frame takes
    fail = 0  # error code of the runs to come

    def __init__(self, board) -> None:
        self.board = board

    def __call__(self, arguments, memories):
        outputs = identification(self.board)
        if arguments["run_command"] == 1:
            time.sleep(self.SECONDS)
            red, green = np.frombuffer(memories["frame_pixels"], np.uint8, 2)
            output = np.frombuffer(memories["result_pixels"], np.uint8)
            if arguments["run_task"] == 0:
                output[:] = int(red) % 39
            else:
                output.view("<u2")[:] = 1000 + 10 * int(green)
            outputs["run_error"] = type(self).fail
        return outputs


def class_of(frame: np.ndarray) -> int:
    return int(frame[0, 0, 0]) % 39


def millimetres_of(frame: np.ndarray) -> int:
    return 1000 + 10 * int(frame[0, 0, 1])


def plain_frame(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame of one colour, told by its number."""
    frame = np.empty((*size, 3), np.uint8)
    frame[...] = (number % 200, (3 * number) % 200, 77)
    return frame


class Scripted(Source):
    """Plain frames, as fast as they are wanted, until told otherwise.

    `kind` decides how it is treated; `script` is called with every number and
    may raise.
    """

    opened: list = []  # noqa: RUF012

    def __init__(self, name="scripted", kind="camera", fps=1000.0, script=None, count=None):
        super().__init__(name, fps=fps)
        self.kind = kind
        self.script = script
        self.count = count
        self.given = 0
        self.times_closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def _next_frame(self):
        while not self.gate.wait(0.01):
            if self._closed:
                raise StopIteration
        if self.script is not None:
            self.script(self.given)
        if self.given == self.count:
            raise StopIteration
        self.given += 1
        return plain_frame(self.given)

    def close(self):
        self.times_closed += 1
        super().close()


def unplugged(*_):
    raise SourceError("camera 0: no frame for 3 s; was it unplugged?")


def until(condition, timeout: float = 10.0) -> None:
    """Wait for something that threads bring about."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def live_threads() -> list[str]:
    return [
        t.name
        for t in threading.enumerate()
        if t.name.startswith(("m3vit-live", "m3vit-view", "m3vit-page", "camera"))
    ]


class Browser:
    """The other end of an acknowledged picture."""

    def __init__(self, view):
        self.picture = view._picture
        self.sent = []
        self.answers = True
        if self.picture.acknowledged:
            self.picture.send = self.receive

    def receive(self, content, buffers=None):
        self.sent.append((content, buffers))
        if content["type"] in ("frame", "question") and self.answers:
            self.say(type="shown", serial=content["serial"])

    def say(self, buffers=(), **content):
        self.picture._received(self.picture, content, list(buffers))

    def jpeg(self):
        """The picture that is shown now."""
        if not self.picture.acknowledged:
            return self.picture.value
        return next(b[0] for c, b in reversed(self.sent) if c["type"] == "frame")

    def pixels(self):
        return cv2.imdecode(np.frombuffer(self.jpeg(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
