# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The camera of the computer whose browser shows the notebook.

The page opens its camera (`getUserMedia`) and sends one JPEG whenever a frame
is asked for; the next one is asked for when that has come, so that nothing piles
up. Browsers allow that on pages from ``https`` and from ``localhost`` only.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3vit_pynq.errors import FrameError
from m3vit_pynq.sources import Mailbox

if TYPE_CHECKING:
    from m3vit_pynq.live.acknowledged import AcknowledgedPicture

log = logging.getLogger(__name__)

#: Seconds for a person to allow the camera, and for a frame after that.
FIRST_TIMEOUT, TIMEOUT = 60.0, 5.0
#: Seconds after which a frame that was asked for counts as lost.
LOST = 2.0

_PROBLEMS = {
    "insecure": "this browser gives its camera only to pages from https or localhost. Open the "
    "board through a tunnel (ssh -L 9090:localhost:9090 xilinx@BOARD) and use "
    "http://localhost:9090",
    "NotAllowedError": "the camera was not allowed; allow it beside the address of the page, "
    "then press Start",
    "NotFoundError": "this computer has no camera that the browser can see",
    "NotReadableError": "another program uses the camera of this computer",
    "ended": "the camera of this computer was taken away; press Start when it is back",
}


class BrowserCamera(Mailbox):
    """Frames from the page that shows a live view.

    Parameters
    ----------
    picture : AcknowledgedPicture
        The widget on that page.
    """

    kind = "browser"

    def __init__(self, picture: AcknowledgedPicture) -> None:
        super().__init__(
            "the camera of this browser", timeout=TIMEOUT, first_timeout=FIRST_TIMEOUT,
            scene="indoor", ask=self._grab,
        )  # fmt: skip
        self._picture = picture
        self._asking = threading.Lock()
        self._asked = float("-inf")
        picture.handle("camera", self._received)
        self.greet()

    def greet(self) -> None:
        """Ask the page, which may just have appeared, to open its camera."""
        self._picture.send({"type": "camera", "on": True})

    @property
    def may_go_on(self) -> bool:
        """Unless the page refused: it says nothing while a cell runs, or nobody has it open."""
        return not self._problem

    def _grab(self) -> None:
        """Ask for a frame, unless one is on its way."""
        with self._asking:
            now = time.monotonic()
            if now - self._asked < LOST:
                return
            self._asked = now
        self._picture.send({"type": "grab"})

    def _answered(self) -> None:
        with self._asking:
            self._asked = float("-inf")

    def _received(self, content: dict, buffers: list) -> None:
        """What the page says about its camera."""
        self._answered()
        if "error" in content:
            name = str(content["error"])
            text = f"the camera of this browser cannot be used: {content.get('text', name)}"
            self.fail(_PROBLEMS.get(name, text))
        elif "frame" in content:
            self._put_jpeg(buffers)
        else:
            self._grab()  # the camera is open: the first picture

    def _put_jpeg(self, buffers: list) -> None:
        data = np.frombuffer(buffers[0], np.uint8) if buffers else np.empty(0, np.uint8)
        try:
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if picture is None:
                raise FrameError("not a JPEG")
            self.put(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        except (FrameError, cv2.error) as error:
            log.warning("a picture of the browser's camera was not used: %s", error)

    def close(self) -> None:
        """Let the page close its camera."""
        if not self._released:
            self._released = True
            self._picture.handle("camera", lambda content, buffers: None)
            self._picture.send({"type": "camera", "on": False})
        super().close()

    _released = False
