# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is on the screen, as files: the picture, and the arrays behind it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.labels import get_label_set
from m3vit_pynq.live.moment import Moment
from m3vit_pynq.package import Package
from m3vit_pynq.tasks import is_depth

if TYPE_CHECKING:
    from m3vit_pynq.live.painter import Painter


@dataclass(frozen=True)
class Snapshot:
    """Files of one snapshot.

    Attributes
    ----------
    picture : Path
        PNG, as it was shown.
    arrays : Path
        ``.npz``: ``frame`` (uint8 RGB) and, for every task, its result: class
        ids (uint8), or ``<task>_metres`` (float32) beside the millimetres
        (uint16); ``<task>_frame`` where it was computed from another frame;
        ``about`` is a JSON text. No pickled objects.
    """

    picture: Path
    arrays: Path


def take(painter: Painter, folder: str | Path) -> Snapshot:
    """Save what a painter shows now.

    Raises
    ------
    M3ViTError
        If there is nothing to save yet, or the files cannot be written.
    """
    painted = painter.with_strips()
    if painted.moment is None:
        raise M3ViTError("there is no picture to save yet; press Start and wait for one")
    package = painter.session.overlay.package
    return save(folder, painted.moment, painted.composed.pixels, package)


def save(
    folder: str | Path, moment: Moment, pixels: np.ndarray, package: Package | None = None
) -> Snapshot:
    """Write a snapshot under a name with date and time.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    moment : Moment
        The results.
    pixels : numpy.ndarray
        The picture, uint8 RGB.
    package : Package, optional
        The model, for the record.

    Raises
    ------
    M3ViTError
        If the files cannot be written; the message names the folder.
    """
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        base = _free_name(folder)
        picture, arrays = base.with_suffix(".png"), base.with_suffix(".npz")
        coded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        picture.write_bytes(coded.tobytes())
        with arrays.open("wb") as file:
            np.savez_compressed(file, **_arrays(moment, package))
    except OSError as error:
        raise M3ViTError(
            f"{folder}: the snapshot cannot be written ({error.strerror or error}); "
            "choose another folder with overlay.live(folder=...)"
        ) from None
    return Snapshot(picture, arrays)


def _free_name(folder: Path) -> Path:
    """A name without ending that no file has yet."""
    stem = time.strftime("m3vit-%Y%m%d-%H%M%S")
    names = [folder / stem, *(folder / f"{stem}-{number}" for number in range(2, 1000))]
    for name in names:
        if not name.with_suffix(".png").exists() and not name.with_suffix(".npz").exists():
            return name
    raise FileExistsError(17, "too many snapshots in one second")


def _arrays(moment: Moment, package: Package | None) -> dict[str, np.ndarray]:
    arrays = {"frame": moment.newest.frame}
    tasks: dict[str, dict[str, object]] = {}
    for name, shot in moment.shots.items():
        result = shot.result
        arrays[name] = result.data
        tasks[name] = {"kind": result.kind, "frame_index": result.frame_index}
        if shot.frame is not moment.newest.frame:
            arrays[f"{name}_frame"] = shot.frame
        if is_depth(result.kind):
            arrays[f"{name}_metres"] = result.metres
        else:
            labels = get_label_set(result.label_set)
            tasks[name] |= {"label_set": labels.name, "classes": list(labels.classes)}
    about = {
        "taken": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "source": moment.source,
        "model": package.config.name if package is not None else "",
        "tasks": tasks,
    }
    arrays["about"] = np.array(json.dumps(about))
    return arrays
