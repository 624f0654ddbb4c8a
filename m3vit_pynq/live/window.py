# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live picture in a window of OpenCV, with keys for what a page has buttons for."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import snapshot
from m3vit_pynq.live.painter import Painter
from m3vit_pynq.live.session import BOTH
from m3vit_pynq.live.settings import MODES
from m3vit_pynq.live.status import FAILED

log = logging.getLogger(__name__)

TITLE = "m3vit-pynq"
KEYS = "t: task   m: view   f: freeze   s: snapshot   + -: opacity   click: read a point   q: quit"

_PAGE_INSTEAD = "without --window the picture is a page that any browser shows"


def check_display(environment: Mapping[str, str] | None = None) -> None:
    """Raise `M3ViTError` if there is no screen: OpenCV would end the whole program."""
    environment = os.environ if environment is None else environment
    if not sys.platform.startswith("linux"):
        return
    if not environment.get("DISPLAY") and not environment.get("WAYLAND_DISPLAY"):
        raise M3ViTError(f"no display for a window (DISPLAY is not set); {_PAGE_INSTEAD}")


class Window:
    """Shows a painter's pictures until it is closed.

    Parameters
    ----------
    painter : Painter
        With its session started.
    folder : Path
        For snapshots.
    screen : module
        OpenCV, or what stands for it.

    Raises
    ------
    M3ViTError
        If this OpenCV has no windows.
    """

    def __init__(self, painter: Painter, folder: Path, screen: Any = cv2) -> None:
        self._painter = painter
        self._folder = folder
        self._screen = screen
        try:
            screen.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
            screen.setMouseCallback(TITLE, self._mouse)
        except cv2.error:
            raise M3ViTError(
                "this OpenCV has no windows (opencv-python-headless has none; opencv-python "
                f"does); {_PAGE_INSTEAD}"
            ) from None

    def run(self, seconds: float | None = None) -> None:
        """Show pictures until ``q``, Escape, the window's cross, or the time is over.

        Raises
        ------
        M3ViTError
            What ended the session, if it failed.
        """
        serial = 0
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while end is None or time.monotonic() < end:
                painted = self._painter.after(serial, 0.02)
                if painted is not None:
                    serial = painted.serial
                    bgr = cv2.cvtColor(painted.composed.pixels, cv2.COLOR_RGB2BGR)
                    self._screen.imshow(TITLE, bgr)
                if not self._pressed(self._screen.waitKey(1) & 0xFF) or self._is_closed():
                    return
                status = self._painter.session.status
                if status.state == FAILED:
                    raise M3ViTError(status.text)
        finally:
            self._screen.destroyAllWindows()

    def _is_closed(self) -> bool:
        return self._screen.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1

    def _pressed(self, key: int) -> bool:
        """Do what a key stands for; False to quit."""
        session, settings = self._painter.session, self._painter.settings
        if key in (ord("q"), 27):
            return False
        if key == ord("t"):
            session.task = _after(session.task, [*session.task_names, BOTH])
        elif key == ord("m"):
            self._painter.change(mode=_after(settings.mode, list(MODES)))
        elif key == ord("f"):
            session.frozen = not session.frozen
        elif key in (ord("+"), ord("-")):
            step = 0.1 if key == ord("+") else -0.1
            self._painter.change(opacity=min(1.0, max(0.0, settings.opacity + step)))
        elif key == ord("s"):
            try:
                snapshot.take(self._painter, self._folder)
            except M3ViTError as error:
                log.warning("%s", error)
        return True

    def _mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        if event != cv2.EVENT_LBUTTONDOWN:
            return
        composed = self._painter.newest().composed
        height, width = composed.pixels.shape[:2]
        point = composed.point_at(y / height, x / width)
        if point is not None:
            self._painter.change(point=point)


def _after(value: str, values: list[str]) -> str:
    """The value after this one, in a circle."""
    return values[(values.index(value) + 1) % len(values)]
