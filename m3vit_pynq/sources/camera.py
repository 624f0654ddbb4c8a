# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""V4L2 cameras."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.frames import as_rgb, quieten_opencv

log = logging.getLogger(__name__)

#: Seconds without a frame after which a camera counts as unplugged.
FRAME_TIMEOUT = 3.0
#: The first frame takes longer: exposure settles, USB wakes up.
FIRST_FRAME_TIMEOUT = 8.0


def device_nodes(root: Path = Path("/dev")) -> list[int]:
    """Indices of the V4L2 nodes of this machine, ascending."""
    names = (p.name[len("video") :] for p in root.glob("video*"))
    return sorted(int(n) for n in names if n.isdigit())


def node_signature(root: Path = Path("/dev")) -> tuple[tuple[int, int], ...]:
    """Something that changes when a camera is plugged in, plugged out or becomes usable."""
    found = []
    for index in device_nodes(root):
        try:  # udev changes owner and mode after it made the node, which changes ctime
            found.append((index, (root / f"video{index}").stat().st_ctime_ns))
        except OSError:  # gone between the two looks
            continue
    return tuple(found)


def check_node(index: int, root: Path = Path("/dev")) -> None:
    """Raise `SourceError` if a camera's node is missing or may not be opened."""
    node = root / f"video{index}"
    if not node.exists():
        others = ", ".join(str(i) for i in device_nodes(root)) or "none"
        raise SourceError(
            f"{node}: no such camera (present: {others}); plug one in, or choose another "
            "source: an image, a folder, a video, 'stills' or 'synthetic'"
        )
    if not os.access(node, os.R_OK | os.W_OK):
        raise SourceError(
            f"{node}: no permission; add your user to the group that owns it "
            "(sudo usermod -aG video $USER, then log in again)"
        )


def _open_v4l2(index: int) -> cv2.VideoCapture:
    return cv2.VideoCapture(index, cv2.CAP_V4L2)


class Camera(Source):
    """A camera that always gives its newest frame.

    A thread drains the camera as fast as it delivers, so that a reader slower
    than the camera sees the present and not a queue of the past.

    Parameters
    ----------
    index : int
        ``N`` of ``/dev/videoN``.
    size : tuple of int
        (height, width) to ask for. The camera may choose another: `size` holds
        what it really delivers.
    fps : float
        Frames per second to ask for.
    timeout : float
        Seconds without a frame after which reading raises `SourceError`.
    scene : str
        What the camera looks at; a desk or room unless told.
    opener : callable, optional
        Makes the ``cv2.VideoCapture`` from the index.

    Raises
    ------
    SourceError
        If there is no such camera, it may not be opened, is in use, or
        delivers nothing.
    """

    kind = "camera"

    def __init__(
        self,
        index: int = 0,
        size: tuple[int, int] = (480, 640),
        fps: float = 30.0,
        timeout: float = FRAME_TIMEOUT,
        scene: str = "indoor",
        opener: Callable[[int], cv2.VideoCapture] | None = None,
    ) -> None:
        if opener is None:
            check_node(index)
            quieten_opencv()
            opener = _open_v4l2
        self.index = index
        self.timeout = timeout
        self._capture = opener(index)
        super().__init__(f"camera {index}", fps=fps, scene=scene)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"/dev/video{index}: cannot be opened as a camera; another program may be "
                "using it, or it is not a capture device"
            )
        self._configure(size, fps)
        self._newest: np.ndarray | None = None
        self._failed = False
        self._stop = False
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._drain, name=self.name, daemon=True)
        self._thread.start()
        try:
            first = self._wait(max(FIRST_FRAME_TIMEOUT, timeout) if timeout >= 1 else timeout)
        except SourceError:
            self.close()
            raise
        self.size = first.shape[:2]
        log.info("%s: %dx%d at %g frames/s", self.name, self.size[1], self.size[0], self.fps)

    def _configure(self, size: tuple[int, int], fps: float) -> None:
        """Ask for MJPG (USB 2 has no room for raw VGA at 30 frames/s), read back the rest."""
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[1])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[0])
        self._capture.set(cv2.CAP_PROP_FPS, fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        actual = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = actual if 0 < actual < 1000 else fps

    def _drain(self) -> None:
        failures = 0
        while not self._stop:
            ok, frame = self._capture.read()
            if ok and frame is not None:
                failures = 0
                with self._ready:
                    self._newest = frame
                    self._ready.notify_all()
                continue
            failures += 1
            if failures >= 10:  # an unplugged camera fails at once, every time
                break
            time.sleep(0.02)
        with self._ready:
            self._failed = True
            self._ready.notify_all()

    def _wait(self, timeout: float) -> np.ndarray:
        with self._ready:
            self._ready.wait_for(
                lambda: self._newest is not None or self._failed or self._stop, timeout
            )
            frame, self._newest = self._newest, None
        if frame is None and self._stop:
            raise StopIteration
        if frame is None:
            raise SourceError(
                f"{self.name}: no frame for {timeout:g} s; was it unplugged, or taken by "
                "another program?"
            )
        return as_rgb(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), self.name)

    def _next_frame(self) -> np.ndarray:
        return self._wait(self.timeout)

    def cancel(self) -> None:
        """Wake a waiting reader and stop the thread, which `close` then joins."""
        with self._ready:
            self._stop = True
            self._ready.notify_all()

    def close(self) -> None:
        """Stop the thread and release the camera."""
        if self._closed:
            return
        super().close()
        self.cancel()
        self._thread.join(self.timeout + 1.0)
        if self._thread.is_alive():
            # Blocked inside the driver: releasing under it could crash, so the
            # thread keeps the capture until it comes back.
            log.warning("%s: the camera driver does not return; left to its thread", self.name)
            return
        self._capture.release()
