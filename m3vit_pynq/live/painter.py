# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The newest moment as a JPEG, for whoever asks for it.

Nothing is drawn unless somebody wants to see it, and several viewers of the
same moment share one drawing. The accelerator's thread is not involved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3vit_pynq import drawing
from m3vit_pynq.demo.runner import trained_scenes
from m3vit_pynq.live.compose import Composed, Composer
from m3vit_pynq.live.feed import HOLD
from m3vit_pynq.live.moment import Moment
from m3vit_pynq.live.session import LiveSession
from m3vit_pynq.live.settings import ViewSettings
from m3vit_pynq.live.status import STOPPED, Status
from m3vit_pynq.sources import open_source
from m3vit_pynq.tasks import INDOOR_SCALE, DepthScale, depth_scale

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay


@dataclass(frozen=True)
class Painted:
    """A picture that is ready to be sent.

    Attributes
    ----------
    serial : int
        Counts up with every picture.
    jpeg : bytes
        The picture.
    composed : Composed
        The same as an array, and what is in it.
    moment : Moment or None
        What it shows; None for a notice.
    """

    serial: int
    jpeg: bytes
    composed: Composed
    moment: Moment | None


class Painter:
    """Draws what a session has, as the settings say.

    Parameters
    ----------
    session : LiveSession
        Whose moments to draw.
    settings : ViewSettings
        How.
    scale : DepthScale
        Distances that the depth colours span.
    """

    def __init__(
        self,
        session: LiveSession,
        settings: ViewSettings | None = None,
        scale: DepthScale = INDOOR_SCALE,
    ) -> None:
        self.session = session
        self._settings = settings or ViewSettings()
        self._composer = Composer(scale)
        self._drawing = threading.Lock()
        self._newest: Painted | None = None
        self._key: tuple | None = None

    @property
    def settings(self) -> ViewSettings:
        """How pictures are drawn; assigning draws the moment anew."""
        return self._settings

    @settings.setter
    def settings(self, settings: ViewSettings) -> None:
        with self.session.changed:
            self._settings = settings
            self.session.changed.notify_all()

    @property
    def scale(self) -> DepthScale:
        return self._composer.scale

    def change(self, **values: object) -> None:
        """Replace some of the settings.

        Raises
        ------
        ValueError
            If a value is out of range; the settings stay as they were then.
        """
        self.settings = replace(self._settings, **values)

    def _state(self) -> tuple:
        """What a picture depends on, ending with a key to compare."""
        session = self.session
        moment, settings, status = session.moment, self._settings, session.status
        # With a moment at hand, the status is not in the picture.
        return moment, settings, (moment.number if moment else status, settings)

    def newest(self) -> Painted:
        """The picture of now."""
        with self._drawing:
            moment, settings, key = self._state()
            if self._newest is None or key != self._key:
                self._newest, self._key = self._paint(moment, settings), key
            return self._newest

    def with_strips(self) -> Painted:
        """The picture of now with legend and scale in it, whatever the settings say."""
        settings = replace(self._settings, strips=True)
        return Painter(self.session, settings, self.scale).newest()

    def after(
        self, serial: int, timeout: float, given_up: Callable[[], bool] = lambda: False
    ) -> Painted | None:
        """The newest picture as soon as it is another than `serial`, or None.

        Parameters
        ----------
        timeout : float
            Seconds to wait for one.
        given_up : callable
            Looked at whenever ``session.changed`` is notified.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self.session.changed:
                self.session.changed.wait_for(
                    lambda: self._is_new(serial) or given_up(),
                    max(0.0, deadline - time.monotonic()),
                )
            painted = self.newest() if self._is_new(serial) and not given_up() else None
            if painted is not None and painted.serial != serial:
                return painted
            if given_up() or time.monotonic() >= deadline:
                return None

    def _is_new(self, serial: int) -> bool:
        newest = self._newest
        return newest is None or newest.serial != serial or self._state()[-1] != self._key

    def _paint(self, moment: Moment | None, settings: ViewSettings) -> Painted:
        figures, began = self.session.figures, time.perf_counter()
        if moment is None:
            composed = Composed(notice_picture(self.session.status, settings.height))
        else:
            composed = self._composer.compose(moment, settings)
        drawn = time.perf_counter()
        jpeg = encode(composed.pixels, settings.quality)
        if moment is not None:
            figures.draw.add(drawn - began)
            figures.encode.add(time.perf_counter() - drawn)
        serial = self._newest.serial + 1 if self._newest is not None else 1
        return Painted(serial, jpeg, composed, moment)


def make_painter(
    overlay: M3ViTOverlay,
    source: object = "auto",
    task: str | Sequence[str] | None = None,
    settings: ViewSettings | None = None,
    loop: bool = True,
) -> Painter:
    """A painter with a new session, set up for the kind of scene that the model knows.

    Raises
    ------
    ValueError
        For a task that the model does not have.
    """
    session = LiveSession(overlay, source, task)
    scenes = trained_scenes(overlay.package)
    prefer = "street" if set(scenes) == {"street"} else "indoor"
    session.opener = partial(open_source, hold=HOLD, loop=loop, prefer=prefer)
    return Painter(session, settings, depth_scale(scenes))


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """RGB pixels as a JPEG."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def notice_picture(status: Status, height: int) -> np.ndarray:
    """What to show while there is no frame, uint8 RGB."""
    text = status.text or ("press Start" if status.state == STOPPED else "")
    return drawing.notice((height, 4 * height // 3), text, status.state)
