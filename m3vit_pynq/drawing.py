# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Results drawn for people: class names in their regions, legends, depth scales.

OpenCV only; a side-by-side picture at 480x640 takes a few milliseconds.
Pictures are uint8 RGB, sizes (height, width).
"""

from __future__ import annotations

import cv2
import numpy as np

from m3vit_pynq.labels import LabelSet, get_label_set
from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import (
    INDOOR_SCALE,
    DepthScale,
    blend,
    classes_in_view,
    colourise,
    depth_colours,
    is_depth,
)

BACKGROUND = (24, 27, 32)
TEXT = (235, 238, 242)
FAINT = (150, 156, 164)
WARNING = (255, 190, 70)

#: Height of the title above a picture and of the legend below it.
TITLE_HEIGHT = 34
STRIP_HEIGHT = 46

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE = 0.5
#: A class must cover this share of the picture to be listed.
_LEAST_SHARE = 0.004


def text_size(text: str, scale: float = _TEXT_SCALE) -> tuple[int, int]:
    """(height, width) in pixels of a line of text, without descenders."""
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    return height, width


def put_text(
    picture: np.ndarray,
    text: str,
    left: int,
    base: int,
    colour: tuple[int, int, int] = TEXT,
    scale: float = _TEXT_SCALE,
    outline: tuple[int, int, int] | None = None,
) -> None:
    """Write one line; the baseline starts at (left, base)."""
    text = text.encode("ascii", "replace").decode()  # all that OpenCV's fonts have
    if outline is not None:
        cv2.putText(picture, text, (left, base), _FONT, scale, outline, 3, cv2.LINE_AA)
    cv2.putText(picture, text, (left, base), _FONT, scale, colour, 1, cv2.LINE_AA)


def _clip_text(text: str, width: int, scale: float = _TEXT_SCALE) -> str:
    """The text, shortened with dots to fit a width in pixels."""
    if text_size(text, scale)[1] <= width:
        return text
    while text and text_size(text + "...", scale)[1] > width:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


def place_names(
    ids: np.ndarray, labels: LabelSet, size: tuple[int, int]
) -> list[tuple[str, int, int]]:
    """Where class names fit inside their regions.

    Returns
    -------
    list of (name, left, base)
        One entry for every class whose name fits wholly inside a region of
        that class, at the roomiest place, in pixels of ``size``.
    """
    scale_y, scale_x = size[0] / ids.shape[0], size[1] / ids.shape[1]
    places = []
    for index, _ in classes_in_view(ids, _LEAST_SHARE):
        if len(labels) and index >= len(labels):
            continue
        name = labels.class_name(index)
        high, wide = text_size(name)
        box = (int((wide + 10) / scale_x) + 1, int((high + 10) / scale_y) + 1)
        mask = cv2.compare(ids, index, cv2.CMP_EQ)
        fits = cv2.erode(
            mask, np.ones(box[::-1], np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        if not fits.any():
            continue
        room = cv2.distanceTransform(fits, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        left = int((x + 0.5) * scale_x - wide / 2)
        base = int((y + 0.5) * scale_y + high / 2)
        places.append((name, max(left, 2), max(base, high + 2)))
    return places


def legend(
    ids: np.ndarray, label_set: str | LabelSet, width: int, height: int = STRIP_HEIGHT
) -> np.ndarray:
    """A strip with colour and name of the classes in view, largest first.

    What does not fit the strip is summed up as ``+ N more``.
    """
    labels, colours = get_label_set(label_set), palette(label_set)
    strip = np.full((height, width, 3), BACKGROUND, np.uint8)
    entries = [
        (colours[index], labels.class_name(index), share)
        for index, share in classes_in_view(ids, _LEAST_SHARE)
        if not len(labels) or index < len(labels)
    ]
    left, middle = 10, height // 2
    for position, (colour, name, share) in enumerate(entries):
        caption = f"{name} {share:.0%}"
        wide = 24 + text_size(caption)[1]
        remaining = len(entries) - position
        reserve = 80 if remaining > 1 else 0
        if left + wide + reserve > width:
            put_text(strip, f"+ {remaining} more", left, middle + 5, FAINT)
            break
        swatch = tuple(int(c) for c in colour)
        cv2.rectangle(strip, (left, middle - 8), (left + 16, middle + 8), swatch, cv2.FILLED)
        put_text(strip, caption, left + 23, middle + 5)
        left += wide + 16
    return strip


def depth_bar(width: int, scale: DepthScale = INDOOR_SCALE, height: int = STRIP_HEIGHT):
    """The depth colours with distances in metres below them, uint8 RGB."""
    strip = np.full((height, width, 3), BACKGROUND, np.uint8)
    left, right = 14, width - 46
    ramp = np.rint(np.linspace(255, 1, right - left)).astype(np.uint8)
    strip[8 : height // 2, left:right] = depth_colours()[ramp]
    for tick in scale.ticks():
        x = left + int(scale.position(tick) * (right - left - 1))
        cv2.line(strip, (x, height // 2), (x, height // 2 + 4), TEXT, 1)
        caption = f"{tick:g}"
        put_text(strip, caption, x - text_size(caption, 0.45)[1] // 2, height - 6, TEXT, 0.45)
    put_text(strip, "m", right + 24, height - 6, FAINT, 0.45)
    return strip


def mark_depth(picture: np.ndarray, depth: np.ndarray, point: tuple[float, float]) -> None:
    """Draw the distance at a point, given as (y, x) from 0 to 1, into a picture."""
    row = min(int(point[0] * depth.shape[0]), depth.shape[0] - 1)
    column = min(int(point[1] * depth.shape[1]), depth.shape[1] - 1)
    y, x = int(point[0] * picture.shape[0]), int(point[1] * picture.shape[1])
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.line(picture, (x - 7, y), (x + 7, y), colour, thickness, cv2.LINE_AA)
        cv2.line(picture, (x, y - 7), (x, y + 7), colour, thickness, cv2.LINE_AA)
    millimetres = int(depth[row, column])
    caption = f"{millimetres / 1000:.1f} m" if millimetres else "unknown"
    put_text(picture, caption, x + 10, y - 6, (255, 255, 255), outline=(0, 0, 0))


def result_panel(
    frame: np.ndarray,
    data: np.ndarray,
    kind: str | int,
    label_set: str | LabelSet = "",
    *,
    opacity: float = 0.62,
    scale: DepthScale = INDOOR_SCALE,
    colour: np.ndarray | None = None,
) -> np.ndarray:
    """The frame with its result laid over it.

    Class names stand in the regions where they fit. Depth is shown opaque (a
    colour there is a number), with the distance at the centre.

    Parameters
    ----------
    colour : ndarray, optional
        ``colourise(data, ...)`` at the frame's size, if it is at hand already;
        it is drawn into.
    """
    size = frame.shape[:2]
    if colour is None:
        colour = colourise(data, kind, label_set, size, scale)
    if is_depth(kind):
        mark_depth(colour, data, (0.5, 0.5))
        return colour
    panel = blend(frame, colour, opacity)
    for name, left, base in place_names(data, get_label_set(label_set), size):
        put_text(panel, name, left, base, (255, 255, 255), outline=(16, 16, 16))
    return panel


def scale_strip(
    data: np.ndarray,
    kind: str | int,
    label_set: str | LabelSet,
    width: int,
    scale: DepthScale = INDOOR_SCALE,
) -> np.ndarray:
    """What the colours of a result mean: classes in view, or the depth scale."""
    return depth_bar(width, scale) if is_depth(kind) else legend(data, label_set, width)


def title_bar(width: int, left: str = "", right: str = "", warning: str = "") -> np.ndarray:
    """A line above a picture: title, figures at the right, a warning between."""
    bar = np.full((TITLE_HEIGHT, width, 3), BACKGROUND, np.uint8)
    right_width = text_size(right)[1] if right else 0
    end = width - right_width - 24
    put_text(bar, _clip_text(left, end - 12), 12, 22)
    start = 12 + text_size(left)[1] + 24
    if warning and end - start > 60:
        put_text(bar, _clip_text(warning, end - start), start, 22, WARNING)
    put_text(bar, right, width - right_width - 12, 22, FAINT)
    return bar


def fit(frame: np.ndarray, height: int) -> np.ndarray:
    """The frame at a height, aspect kept, both sides even (as video codecs want)."""
    height -= height % 2
    width = max(2, 2 * round(frame.shape[1] * height / frame.shape[0] / 2))
    if frame.shape[:2] == (height, width):
        return frame
    smaller = height < frame.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(frame, (width, height), interpolation=method)


def annotate(
    frame: np.ndarray,
    data: np.ndarray,
    kind: str | int,
    label_set: str | LabelSet = "",
    *,
    height: int = 480,
    opacity: float = 0.62,
    scale: DepthScale = INDOOR_SCALE,
    colour: np.ndarray | None = None,
    title: str = "",
    figures: str = "",
    warning: str = "",
) -> np.ndarray:
    """Frame and result side by side, with a title above and the scale below.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB of any size.
    data, kind, label_set, scale
        As for `m3vit_pynq.tasks.colourise`.
    colour : ndarray, optional
        The coloured result at the size of ``fit(frame, height)``, if at hand.
    height : int
        Height of the two pictures.
    opacity : float
        Of the class colours over the frame.
    title, figures, warning : str
        Text of the title bar; without any there is none.

    Returns
    -------
    ndarray
        uint8 RGB, both sides even.
    """
    frame = fit(frame, height)
    panel = result_panel(frame, data, kind, label_set, opacity=opacity, scale=scale, colour=colour)
    width = 2 * frame.shape[1]
    parts = [np.hstack((frame, panel)), scale_strip(data, kind, label_set, width, scale)]
    if title or figures or warning:
        parts.insert(0, title_bar(width, title, figures, warning))
    return np.vstack(parts)
