# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writing a video that can be played back."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.sources.frames import quieten_opencv

log = logging.getLogger(__name__)

#: Codec and file name ending, in order of preference. MPEG-4 is in OpenCV's
#: wheels and most builds; Motion JPEG needs no library at all.
CODECS = (("mp4v", ".mp4"), ("MJPG", ".avi"))


class VideoError(M3ViTError):
    """A video cannot be written or does not read back."""


class VideoFile:
    """A video file that grows by `write`; a context manager.

    Parameters
    ----------
    path : Path
        Where to write; the ending follows from the codec that works.
    fps : float
        Frames per second of the video.
    codecs : sequence
        Pairs of codec and ending to try.

    Attributes
    ----------
    path : Path
        The file, known after the first frame.
    frames : int
        Frames written.

    Raises
    ------
    VideoError
        On the first frame, if no codec works.
    """

    def __init__(self, path: Path, fps: float, codecs=CODECS) -> None:
        self.path = Path(path)
        self.fps = fps
        self.frames = 0
        self._codecs = codecs
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, picture: np.ndarray) -> None:
        """Add a frame, uint8 RGB; all must have the shape of the first."""
        if self._writer is None:
            self._open(picture.shape)
        if picture.shape != self._shape:
            raise VideoError(f"{self.path}: frame {self.frames} is {picture.shape}, the first was "
                             f"{self._shape}")  # fmt: skip
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, shape: tuple[int, ...]) -> None:
        quieten_opencv()
        for codec, ending in self._codecs:
            path = self.path.with_suffix(ending)
            writer = cv2.VideoWriter(
                str(path), cv2.VideoWriter_fourcc(*codec), self.fps, (shape[1], shape[0])
            )
            if writer.isOpened():
                self.path, self._writer, self._shape = path, writer, shape
                return
            writer.release()
            log.info("%s: codec %s is not available", path, codec)
        tried = ", ".join(codec for codec, _ in self._codecs)
        raise VideoError(
            f"{self.path}: cannot be written (tried {tried}); is the folder writable, "
            "and does this OpenCV have video support?"
        )

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def verify(self) -> None:
        """Read the finished file back.

        Raises
        ------
        VideoError
            If it does not hold the frames that were written.
        """
        capture = cv2.VideoCapture(str(self.path))
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        if count != self.frames:
            raise VideoError(f"{self.path}: {count} of {self.frames} frames read back")

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
