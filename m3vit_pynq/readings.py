# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Results read as numbers: which classes are where, how far, and saved to files.

Everything works at the resolution of the result; `tasks.enlarge_ids` and
`tasks.enlarge_depth` bring a result to the size of its frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import FrameError
from m3vit_pynq.labels import IGNORE, get_label_set
from m3vit_pynq.pictures.table import Table
from m3vit_pynq.result import Result
from m3vit_pynq.sources.frames import as_rgb
from m3vit_pynq.tasks import classes_in_view, enlarge_ids

#: Per cent of a class's pixels that are nearer than ``nearest`` and farther
#: than ``farthest``: borders between classes and depths are a pixel or two off.
TAIL = 5.0


@dataclass(frozen=True)
class ClassReading:
    """One class in a picture.

    Attributes
    ----------
    index : int
        Class id.
    share : float
        Of the picture, 0 to 1.
    nearest, median, farthest : float
        Metres; the outer two leave `TAIL` per cent beyond them. NaN if the
        distance of none of its pixels is known.
    at : tuple of float
        Where it is nearest: (y, x) from 0 to 1 of height and width.
    """

    index: int
    name: str
    share: float
    nearest: float
    median: float
    farthest: float
    at: tuple[float, float]


def _pair(segmentation: Result, depth: Result) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and metres of one frame, of the same shape."""
    if segmentation.kind == "depth":
        raise ValueError(f"task {segmentation.task!r} gives distances, not class ids")
    ids, metres = segmentation.data, depth.metres
    if ids.shape != metres.shape:
        metres = cv2.resize(metres, ids.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return ids, metres


def mask(segmentation: Result, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Where a class is.

    Parameters
    ----------
    size : tuple of int, optional
        (height, width) of the mask, such as the frame's; default: the result's.

    Returns
    -------
    ndarray
        bool ``[height, width]``.

    Raises
    ------
    ValueError
        If the task has no class of this name.
    """
    if segmentation.kind == "depth":
        raise ValueError(f"task {segmentation.task!r} gives distances, not class ids")
    names = get_label_set(segmentation.label_set).classes
    if name not in names:
        known = ", ".join(names) or "none have a name"
        raise ValueError(f"no class {name!r}; classes of {segmentation.task}: {known}")
    ids = segmentation.data if size is None else enlarge_ids(segmentation.data, size)
    return ids == names.index(name)


def by_class(segmentation: Result, depth: Result, least: float = 0.005) -> list[ClassReading]:
    """Every class in view, with its share of the picture and its distance.

    Parameters
    ----------
    segmentation, depth : Result
        Of the same frame.
    least : float
        Leave out classes that cover less than this share.

    Returns
    -------
    list of ClassReading
        Largest share first.

    Raises
    ------
    ValueError
        If the results are not one of each kind.
    """
    ids, metres = _pair(segmentation, depth)
    labels = get_label_set(segmentation.label_set)
    return [
        _reading(index, labels.class_name(index), share, ids == index, metres)
        for index, share in classes_in_view(ids, least)
        if index != IGNORE
    ]


def _reading(
    index: int, name: str, share: float, where: np.ndarray, metres: np.ndarray
) -> ClassReading:
    known = where & (metres > 0)
    if not known.any():
        nan = float("nan")
        return ClassReading(index, name, share, nan, nan, nan, (nan, nan))
    nearest, median, farthest = np.percentile(metres[known], (TAIL, 50.0, 100.0 - TAIL))
    # The middle of what is as near as that, moved onto a pixel of the class.
    rows, columns = np.nonzero(known & (metres <= nearest))
    away = np.hypot(rows - rows.mean(), columns - columns.mean())
    place = int(away.argmin())
    height, width = where.shape
    at = ((rows[place] + 0.5) / height, (columns[place] + 0.5) / width)
    return ClassReading(
        index, name, share, float(nearest), float(median), float(farthest),
        (float(at[0]), float(at[1])),
    )  # fmt: skip


def reading_table(readings: Iterable[ClassReading]) -> Table:
    """What `by_class` found, for a notebook or a terminal."""

    def metres(value: float) -> str:
        return "unknown" if value != value else f"{value:.2f} m"

    rows = [
        (reading.name, f"{reading.share:.1%}", metres(reading.nearest), metres(reading.median),
         metres(reading.farthest))
        for reading in readings
    ]  # fmt: skip
    return Table.of(("class", "of the picture", "nearest", "median", "farthest"), rows)


def save_frames(frames: Iterable[np.ndarray], folder: str | Path) -> list[Path]:
    """Write frames as ``frame_00.png``, ``frame_01.png``, ...; the folder is made if need be.

    Raises
    ------
    FrameError
        If a frame is no picture.
    OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_png(folder / f"frame_{number:02}", "", cv2.cvtColor(as_rgb(f), cv2.COLOR_RGB2BGR))
        for number, f in enumerate(frames)
    ]


def save(stem: str | Path, frame: np.ndarray, results: Mapping[str, Result]) -> list[Path]:
    """Write a frame and its results where other programs can read them.

    * ``<stem>.npz``: the arrays ``frame`` (uint8 RGB) and, for every task, its
      ``data`` under the name of the task; ``metres`` of a depth task as
      ``<task>_metres`` (float32); ``<task>_classes``, the names of class ids
    * ``<stem>-<task>.png``: class ids (8 bits) or millimetres (16 bits), grey
    * ``<stem>-<task>-picture.png``: the same laid over the frame, for people

    Parameters
    ----------
    stem : str or Path
        Path without an ending; its folder is made if need be.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    FrameError
        If the frame is no picture.
    OSError
        If a file cannot be written.
    """
    stem, frame = Path(stem), as_rgb(frame)
    stem.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {"frame": frame}
    files = []
    for name, result in results.items():
        arrays[name] = result.data
        if result.kind == "depth":
            arrays[f"{name}_metres"] = result.metres
        else:
            arrays[f"{name}_classes"] = np.array(get_label_set(result.label_set).classes, str)
        files.append(_write_png(stem, f"-{name}", result.data))
        picture = cv2.cvtColor(result.overlay(frame), cv2.COLOR_RGB2BGR)
        files.append(_write_png(stem, f"-{name}-picture", picture))
    archive = stem.with_name(stem.name + ".npz")
    np.savez_compressed(archive, **arrays)
    return [archive, *files]


def _write_png(stem: Path, ending: str, picture: np.ndarray) -> Path:
    path = stem.with_name(f"{stem.name}{ending}.png")
    coded, data = cv2.imencode(".png", picture)
    if not coded:
        raise FrameError(f"{path}: OpenCV cannot write this picture as PNG")
    path.write_bytes(data.tobytes())
    return path
