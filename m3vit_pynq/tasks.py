# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the numbers of a task mean, and how they become a picture.

A result is an array of the accelerator: uint8 class ids or uint16
millimetres, at the resolution of the task's output map. The functions here
enlarge it to the size of a frame and colour it; `m3vit_pynq.drawing` adds
text, legends and scales. Sizes are (height, width), pictures uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from m3vit_pynq.abi.isa import TaskKind
from m3vit_pynq.errors import FrameError
from m3vit_pynq.labels import LabelSet
from m3vit_pynq.palette import palette

#: Standard deviation, in result pixels, by which class borders are smoothed.
MASK_BLUR = 0.6

#: Colour of pixels whose depth is not known (0 mm).
UNKNOWN_DEPTH_COLOUR = (96, 96, 96)


@dataclass(frozen=True)
class DepthScale:
    """Which distances the depth colours span.

    The scale is logarithmic, as the eye and the model judge distance: a colour
    step is the same *factor* everywhere. It does not depend on the picture, so
    a colour means the same distance in every frame.

    Attributes
    ----------
    near, far : float
        Metres at the bright and the dark end.
    """

    near: float = 0.7
    far: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.near < self.far:
            raise ValueError(f"depth scale: 0 < near < far expected, not {self.near}..{self.far}")

    def position(self, metres: float | np.ndarray) -> np.ndarray:
        """Place on the scale, 0 (near) to 1 (far), clipped."""
        ratio = np.log(np.maximum(metres, 1e-9) / self.near) / np.log(self.far / self.near)
        return np.clip(ratio, 0.0, 1.0)

    def ticks(self) -> tuple[float, ...]:
        """Round distances inside the scale."""
        steps = (m * 10.0**e for e in range(-3, 5) for m in (1, 1.5, 2, 3, 4, 5, 7))
        return tuple(t for t in steps if self.near <= t <= self.far)


INDOOR_SCALE = DepthScale()
STREET_SCALE = DepthScale(2.0, 100.0)


def depth_scale(scenes: Sequence[str]) -> DepthScale:
    """The scale for the scenes that a model was trained on; indoor unless all are streets."""
    return STREET_SCALE if scenes and set(scenes) == {"street"} else INDOOR_SCALE


@lru_cache(maxsize=1)
def depth_colours() -> np.ndarray:
    """uint8 [256, 3]: entry 0 is unknown, 1 far (dark) to 255 near (bright).

    Lightness rises evenly along the map, so it reads in grey and with every
    kind of colour sight.
    """
    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    colours = cv2.applyColorMap(ramp, cv2.COLORMAP_MAGMA)[:, 0, ::-1].copy()
    colours[0] = UNKNOWN_DEPTH_COLOUR
    colours.flags.writeable = False
    return colours


@lru_cache(maxsize=8)
def _depth_index(scale: DepthScale) -> np.ndarray:
    """uint8 [65536]: millimetres to entry of `depth_colours`."""
    index = np.rint(255 - 254 * scale.position(np.arange(65536) / 1000.0)).astype(np.uint8)
    index[0] = 0
    return index


def is_depth(kind: str | int) -> bool:
    """Whether a task kind, by name or as `TaskKind`, is depth.

    Raises
    ------
    ValueError
        If the kind is neither segmentation nor depth.
    """
    if kind in ("depth", TaskKind.DEPTH):
        return True
    if kind in ("segmentation", "classes", TaskKind.CLASSES):
        return False
    raise ValueError(f"unknown task kind {kind!r}; known: segmentation, depth")


def metres(data: np.ndarray) -> np.ndarray:
    """Depth in metres, float32, from uint16 millimetres."""
    return data.astype(np.float32) * np.float32(1e-3)


def _check(data: np.ndarray, dtype: type, what: str) -> None:
    if data.ndim != 2 or data.dtype != dtype or 0 in data.shape:
        raise FrameError(
            f"{what}: expected a {np.dtype(dtype).name} array [height, width], "
            f"not {data.dtype} {list(data.shape)}"
        )


def classes_in_view(ids: np.ndarray, least: float = 0.0) -> list[tuple[int, float]]:
    """Class ids in a result with the share of the picture they cover.

    Parameters
    ----------
    ids : ndarray
        uint8 class ids.
    least : float
        Leave out classes that cover less than this share.

    Returns
    -------
    list of (int, float)
        Largest share first.
    """
    counts = np.bincount(ids.reshape(-1), minlength=256)
    order = np.argsort(-counts, kind="stable")
    shares = ((int(i), float(counts[i]) / ids.size) for i in order if counts[i])
    return [(index, share) for index, share in shares if share >= least]


def enlarge_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class ids at another size, with smooth borders between classes.

    Every class is enlarged as a mask of its own, slightly blurred and then
    bilinearly, and the strongest mask wins: borders run straight instead of in
    steps, and no pixel gets a class that is not beside it. Specks of a single
    pixel disappear.

    Returns
    -------
    ndarray
        uint8 ``[height, width]``.
    """
    _check(ids, np.uint8, "class ids")
    height, width = size
    if ids.shape == (height, width):
        return ids.copy()
    if height < ids.shape[0] or width < ids.shape[1]:
        return cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
    best = np.zeros((height, width), np.uint8)
    winner = np.empty((height, width), np.uint8)
    for index, rows, columns, mask in _class_windows(ids, size):
        larger = cv2.compare(mask, best[rows, columns], cv2.CMP_GT)
        cv2.max(best[rows, columns], mask, best[rows, columns])
        winner[rows, columns][larger != 0] = index
    return winner


def _class_windows(
    ids: np.ndarray, size: tuple[int, int]
) -> Iterator[tuple[int, slice, slice, np.ndarray]]:
    """Each class's enlarged mask, within the part of the picture it can reach."""
    height, width = size
    scale_y, scale_x = height / ids.shape[0], width / ids.shape[1]
    for index, _ in classes_in_view(ids):
        mask = cv2.compare(ids, index, cv2.CMP_EQ)
        soft = cv2.GaussianBlur(mask, (3, 3), MASK_BLUR, borderType=cv2.BORDER_REPLICATE)
        large = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        left, top, wide, high = cv2.boundingRect(mask)
        rows = _reach(top, high, scale_y)
        columns = _reach(left, wide, scale_x)
        yield index, rows, columns, large[rows, columns]


def _reach(first: int, count: int, scale: float) -> slice:
    """Pixels of the picture that a run of mask pixels can colour."""
    return slice(max(0, int((first - 2) * scale)), int((first + count + 2) * scale) + 1)


def enlarge_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Millimetres at another size, bilinear, uint16."""
    _check(depth, np.uint16, "depth")
    return cv2.resize(depth, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def colourise(
    data: np.ndarray,
    kind: str | int,
    label_set: str | LabelSet = "",
    size: tuple[int, int] | None = None,
    scale: DepthScale = INDOOR_SCALE,
) -> np.ndarray:
    """A result as a picture.

    Parameters
    ----------
    data : ndarray
        uint8 class ids or uint16 millimetres, ``[h, w]``.
    kind : str or TaskKind
        ``"segmentation"`` or ``"depth"``.
    label_set : str
        Classes of a segmentation task.
    size : tuple of int, optional
        (height, width) of the picture; the result's own by default.
    scale : DepthScale
        Distances the colours of a depth task span.

    Returns
    -------
    ndarray
        uint8 RGB ``[height, width, 3]``.

    Raises
    ------
    FrameError
        If the array's shape or dtype does not go with the kind.
    ValueError
        If the kind or label set is unknown.
    """
    data = np.asarray(data)
    if is_depth(kind):
        _check(data, np.uint16, "depth")
        enlarged = enlarge_depth(data, size) if size else data
        index, colours = _depth_index(scale)[enlarged], depth_colours()
    else:
        _check(data, np.uint8, "class ids")
        index = enlarge_ids(data, size) if size else np.ascontiguousarray(data)
        colours = palette(label_set)
    return cv2.LUT(cv2.merge((index, index, index)), colours.reshape(1, 256, 3))


def blend(frame: np.ndarray, colour: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """A coloured result laid over its frame.

    Parameters
    ----------
    frame, colour : ndarray
        uint8 RGB; ``colour`` is resized to the frame if need be.
    opacity : float
        0 shows the frame alone, 1 the result alone.
    """
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity is from 0 to 1, not {opacity}")
    if colour.shape[:2] != frame.shape[:2]:
        colour = cv2.resize(colour, (frame.shape[1], frame.shape[0]))
    return cv2.addWeighted(frame, 1.0 - opacity, colour, opacity, 0.0)
