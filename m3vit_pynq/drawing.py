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
    enlarge_ids,
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
LEAST_SHARE = 0.004
#: How much darker borders between classes are, and how they are found.
_OUTLINE = 70
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


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
    ids: np.ndarray,
    labels: LabelSet,
    size: tuple[int, int],
    scale: float = _TEXT_SCALE,
    places: dict[int, tuple[int, int]] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> list[tuple[str, int, int]]:
    """Where class names fit inside their regions.

    Parameters
    ----------
    ids : ndarray
        uint8 class ids.
    size : tuple of int
        (height, width) of the picture.
    scale : float
        Of the text.
    places : dict, optional
        Where each class's name stood before, (row, column) of the result by
        class id; updated. A name stays where it is as long as it fits there, so
        that names do not dance from frame to frame.
    corner : tuple of int
        (height, width) in pixels of the upper left corner that is to be left free.

    Returns
    -------
    list of (name, left, base)
        One entry for every class whose name fits wholly inside a region of
        that class, at the roomiest place, in pixels of ``size``.
    """
    scale_y, scale_x = size[0] / ids.shape[0], size[1] / ids.shape[1]
    taken = int(np.ceil(corner[0] / scale_y)), int(np.ceil(corner[1] / scale_x))
    before = places if places is not None else {}
    now: dict[int, tuple[int, int]] = {}
    found = []
    for index, _ in classes_in_view(ids, LEAST_SHARE):
        if len(labels) and index >= len(labels):
            continue
        name = labels.class_name(index)
        high, wide = text_size(name, scale)
        box = (int((wide + 10) / scale_x) + 1, int((high + 10) / scale_y) + 1)
        mask = cv2.compare(ids, index, cv2.CMP_EQ)
        mask[: taken[0], : taken[1]] = 0
        place = _roomiest(mask, box, before.get(index))
        if place is None:
            continue
        now[index] = place
        # The box covers the pixels from place - box // 2 on.
        left = int((place[1] - box[0] // 2 + box[0] / 2) * scale_x - wide / 2)
        base = int((place[0] - box[1] // 2 + box[1] / 2) * scale_y + high / 2)
        found.append((name, max(left, 2), max(base, high + 2)))
    if places is not None:
        places.clear()
        places.update(now)
    return found


def _roomiest(
    mask: np.ndarray, box: tuple[int, int], before: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The pixel around which a box (width, height) lies deepest inside a mask, or None."""
    fits = cv2.erode(
        mask, np.ones(box[::-1], np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    inside = before is not None and before[0] < fits.shape[0] and before[1] < fits.shape[1]
    if inside and fits[before]:
        return before
    if not cv2.countNonZero(fits):
        return None
    room = cv2.distanceTransform(fits, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(room.argmax()), room.shape)
    return int(row), int(column)


def colour_classes(ids: np.ndarray, label_set: str | LabelSet) -> np.ndarray:
    """Class ids in the colours of their set, uint8 RGB of the same size."""
    return cv2.applyColorMap(ids, palette(label_set).reshape(256, 1, 3))


def outline_classes(picture: np.ndarray, ids: np.ndarray) -> None:
    """Darken the borders between classes, so that regions part without colour as well.

    Parameters
    ----------
    picture : ndarray
        uint8 RGB, drawn into.
    ids : ndarray
        uint8 class ids of the same height and width.
    """
    border = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, _CROSS)
    cv2.subtract(picture, (_OUTLINE, _OUTLINE, _OUTLINE, 0), dst=picture, mask=border)


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
        for index, share in classes_in_view(ids, LEAST_SHARE)
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


def depth_bar(
    width: int,
    scale: DepthScale = INDOOR_SCALE,
    height: int = STRIP_HEIGHT,
    value: float | None = None,
) -> np.ndarray:
    """The depth colours with distances in metres below them, uint8 RGB.

    Parameters
    ----------
    value : float, optional
        A distance in metres to mark.
    """
    strip = np.full((height, width, 3), BACKGROUND, np.uint8)
    left, right = 14, width - 46
    ramp = np.rint(np.linspace(255, 1, right - left)).astype(np.uint8)
    strip[8 : height // 2, left:right] = depth_colours()[ramp]

    def place(metres: float) -> int:
        return left + int(scale.position(metres) * (right - left - 1))

    free = 0  # pixels from here on hold no caption yet
    for tick in scale.ticks():
        x, caption = place(tick), f"{tick:g}"
        cv2.line(strip, (x, height // 2), (x, height // 2 + 4), TEXT, 1)
        start = max(2, x - text_size(caption, 0.45)[1] // 2)
        if start >= free:
            put_text(strip, caption, start, height - 6, TEXT, 0.45)
            free = start + text_size(caption, 0.45)[1] + 6
    put_text(strip, "m", right + 24, height - 6, FAINT, 0.45)
    if value:
        x = place(value)
        cv2.line(strip, (x, 3), (x, height // 2 + 2), (255, 255, 255), 3, cv2.LINE_AA)
        cv2.line(strip, (x, 3), (x, height // 2 + 2), (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def value_at(data: np.ndarray, point: tuple[float, float]) -> int:
    """The element of a result at a point, given as (y, x) from 0 to 1."""
    row, column = (min(int(p * n), n - 1) for p, n in zip(point, data.shape, strict=True))
    return int(data[row, column])


def distance_text(millimetres: int) -> str:
    """Millimetres for people."""
    return f"{millimetres / 1000:.1f} m" if millimetres else "unknown"


def mark_point(picture: np.ndarray, point: tuple[float, float], caption: str = "") -> None:
    """Draw a cross with a caption at a point, (y, x) from 0 to 1, into a picture."""
    height, width = picture.shape[:2]
    y, x = int(point[0] * height), int(point[1] * width)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.line(picture, (x - 7, y), (x + 7, y), colour, thickness, cv2.LINE_AA)
        cv2.line(picture, (x, y - 7), (x, y + 7), colour, thickness, cv2.LINE_AA)
    if caption:
        high, wide = text_size(caption)
        left = x + 10 if x + 14 + wide < width else x - 12 - wide
        put_text(picture, caption, left, max(y - 6, high + 4), (255, 255, 255), outline=(0, 0, 0))


def mark_depth(picture: np.ndarray, depth: np.ndarray, point: tuple[float, float]) -> None:
    """Draw the distance at a point, given as (y, x) from 0 to 1, into a picture."""
    mark_point(picture, point, distance_text(value_at(depth, point)))


def tag_size(text: str, scale: float = 0.45) -> tuple[int, int]:
    """(height, width) in pixels of the plate that `tag` draws."""
    high, wide = text_size(text, scale)
    return high + 14, wide + 16


def tag(picture: np.ndarray, text: str, scale: float = 0.45) -> None:
    """Write a short text on a dark plate into the upper left corner of a picture."""
    high = text_size(text, scale)[0]
    plate = picture[tuple(slice(side) for side in tag_size(text, scale))]
    plate[...] = plate // 4 + np.array(BACKGROUND, np.uint8)
    put_text(picture, text, 8, high + 7, TEXT, scale)


def notice(size: tuple[int, int], text: str, title: str = "") -> np.ndarray:
    """A plain picture of (height, width) with a message, for when there is no frame."""
    height, width = size
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    lines = _wrapped(text, width - 48)
    top = height // 2 - 11 * len(lines)
    if title:
        put_text(picture, title, 24, top - 16, TEXT, 0.7)
    for number, line in enumerate(lines):
        put_text(picture, line, 24, top + 14 + 22 * number, FAINT)
    return picture


def _wrapped(text: str, width: int) -> list[str]:
    """Text in lines that fit a width in pixels."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_size(longer)[1] <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_clip_text(line, width) for line in lines]


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
    outline_classes(panel, enlarge_ids(data, size))
    write_names(panel, place_names(data, get_label_set(label_set), size))
    return panel


def write_names(
    picture: np.ndarray, places: list[tuple[str, int, int]], scale: float = _TEXT_SCALE
) -> None:
    """Write names where `place_names` put them."""
    for name, left, base in places:
        put_text(picture, name, left, base, (255, 255, 255), scale, outline=(16, 16, 16))


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
