# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Any picture as the one format of frames: uint8 RGB [height, width, 3]."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import FrameError, SourceError

#: File name endings that are tried as images.
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
)
#: Shortest side of a frame that makes sense.
SMALLEST_SIDE = 8


def quieten_opencv() -> None:
    """Keep OpenCV and its FFmpeg from writing to standard error.

    Everything they would say is raised as an exception here instead.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_VIDEOIO_DEBUG", "0")
    with contextlib.suppress(AttributeError):  # absent from some builds of OpenCV 4.5
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def as_rgb(array: np.ndarray, what: str = "frame") -> np.ndarray:
    """An array in any usual layout as uint8 RGB.

    Parameters
    ----------
    array : ndarray
        uint8 or uint16 (its upper byte is taken): grey ``[h, w]`` or
        ``[h, w, 1]``, RGB ``[h, w, 3]``, RGBA ``[h, w, 4]`` (alpha is dropped).
    what : str
        Name for the message of an error.

    Returns
    -------
    ndarray
        uint8 RGB ``[h, w, 3]``, C-contiguous; the array itself if it already is.

    Raises
    ------
    FrameError
        If the array cannot be a picture.
    """
    if not isinstance(array, np.ndarray):
        raise FrameError(f"{what}: expected a numpy array, not {type(array).__name__}")
    shape = list(array.shape)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise FrameError(f"{what}: shape {shape} is not [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]")
    if min(array.shape[:2]) < SMALLEST_SIDE:
        raise FrameError(f"{what}: {shape} is smaller than {SMALLEST_SIDE} pixels")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise FrameError(
            f"{what}: dtype {array.dtype} is not uint8 or uint16; "
            "scale the values to 0..255 and convert them with .astype(np.uint8)"
        )
    if array.ndim == 2 or array.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2RGB)
    if array.shape[2] == 4:
        array = array[:, :, :3]
    return np.ascontiguousarray(array)


def resized(frame: np.ndarray, size: tuple[int, int], into: np.ndarray | None = None) -> np.ndarray:
    """A frame at the (height, width) of a model, as the driver resizes it.

    Areas are averaged where the frame is larger in either direction, so that
    nothing flickers; otherwise the interpolation is bilinear.

    Parameters
    ----------
    into : ndarray, optional
        Where to write the result, if OpenCV can.
    """
    height, width = size
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = frame.shape[0] > height or frame.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (width, height), into, interpolation=method)


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 RGB, turned as its EXIF orientation says.

    Raises
    ------
    SourceError
        If the file cannot be opened or is not an image.
    FrameError
        If it is too small to be a frame.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    quieten_opencv()
    try:
        # IMREAD_COLOR turns grey, palette, alpha and 16-bit files into 8-bit BGR.
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # for example a header that announces too many pixels
        picture = None
    if picture is None:
        raise SourceError(
            f"{path}: not an image that OpenCV can decode (damaged, or of another format)"
        )
    return as_rgb(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), str(path))
