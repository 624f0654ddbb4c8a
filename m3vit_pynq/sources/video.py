# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Video files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.frames import as_rgb, quieten_opencv

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpeg", ".mjpg", ".wmv")
)

#: A clip that gives less than this share of the frames it announces is damaged.
_WHOLE = 0.9


class Video(Source):
    """Frames of a video file in order.

    Parameters
    ----------
    path : Path
        The file.
    loop : bool
        Start again at its end instead of ending.

    Raises
    ------
    SourceError
        If the file is missing, not a video, or breaks off in the middle.
    """

    kind = "video"

    def __init__(self, path: str | Path, scene: str = "unknown", loop: bool = False) -> None:
        path = Path(path)
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        quieten_opencv()
        self.path = path
        self.loop = loop
        self._read = 0
        self._capture = cv2.VideoCapture(str(path))
        opened = self._capture.isOpened()
        fps = self._capture.get(cv2.CAP_PROP_FPS) if opened else 0.0
        super().__init__(path.name, fps=fps if 0 < fps < 1000 else 25.0, scene=scene)
        self._announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) if opened else 0
        self._first = self._grab() if opened else None
        if self._first is None:
            self.close()
            raise SourceError(
                f"{path}: not a video that OpenCV can decode (damaged, empty, or a codec "
                "that is not there); converting it with 'ffmpeg -i IN OUT.mp4' often helps"
            )

    def _grab(self) -> np.ndarray | None:
        ok, frame = self._capture.read()
        if not ok or frame is None:
            return None
        self._read += 1
        return as_rgb(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), self.path.name)

    def _next_frame(self) -> np.ndarray:
        frame, self._first = self._first, None
        if frame is None:
            frame = self._grab()
        if frame is not None:
            return frame
        if self._read < _WHOLE * self._announced:
            raise SourceError(
                f"{self.path}: breaks off after {self._read} of {self._announced} frames"
            )
        if not self.loop:
            raise StopIteration
        # Reopening is the one way to rewind that every codec takes.
        self._capture.release()
        self._capture.open(str(self.path))
        self._read = 0
        frame = self._grab()
        if frame is None:
            raise SourceError(f"{self.path}: cannot be read a second time; was it removed?")
        return frame

    def close(self) -> None:
        self._capture.release()
        super().close()
