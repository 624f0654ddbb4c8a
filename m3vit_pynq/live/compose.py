# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""One picture of everything a live view shows at a moment. OpenCV and numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from m3vit_pynq import drawing
from m3vit_pynq.labels import get_label_set
from m3vit_pynq.live.moment import Moment, Shot
from m3vit_pynq.live.settings import OVERLAY, SIDE_BY_SIDE, ViewSettings
from m3vit_pynq.result import Result
from m3vit_pynq.tasks import (
    INDOOR_SCALE,
    DepthScale,
    blend,
    classes_in_view,
    colourise,
    enlarge_ids,
    is_depth,
)

#: Height of a panel as a share of the whole by number of panels: together they
#: have roughly as many pixels as one alone.
_SHARE = {1: 1.0, 2: 0.75, 3: 0.625}
_GAP = 4
#: Pixels around that a detail of the frame is compared with, and how strong it shows.
_AROUND = 25
_DETAIL = 2.0
_ROOM = 96.0


@dataclass(frozen=True)
class Rect:
    """Where a panel lies in a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Reading:
    """What a result says at the chosen point.

    Attributes
    ----------
    task : str
        Name of the task.
    text : str
        Class or distance, for people.
    metres : float or None
        The distance; None for classes and where it is not known.
    """

    task: str
    text: str
    metres: float | None = None


@dataclass(frozen=True)
class Composed:
    """A picture and what is in it.

    Attributes
    ----------
    pixels : numpy.ndarray
        uint8 RGB.
    panels : tuple of Rect
        Frames and results, each showing the same view.
    readings : tuple of Reading
        At the chosen point, one for every task.
    classes : tuple of (int, float)
        Class ids in view with their shares, largest first; empty without segmentation.
    label_set : str
        Of these classes.
    """

    pixels: np.ndarray
    panels: tuple[Rect, ...] = ()
    readings: tuple[Reading, ...] = ()
    classes: tuple[tuple[int, float], ...] = ()
    label_set: str = ""

    def point_at(self, y: float, x: float) -> tuple[float, float] | None:
        """The point of a frame, (y, x) from 0 to 1, under a point of the picture, or None."""
        row, column = y * self.pixels.shape[0], x * self.pixels.shape[1]
        for panel in self.panels:
            inside_y, inside_x = row - panel.top, column - panel.left
            if 0 <= inside_y < panel.height and 0 <= inside_x < panel.width:
                return inside_y / panel.height, inside_x / panel.width
        return None


@dataclass
class Composer:
    """Draws moments; remembers where names stood.

    Attributes
    ----------
    scale : DepthScale
        Distances that the depth colours span.
    """

    scale: DepthScale = INDOOR_SCALE
    _places: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def compose(self, moment: Moment, settings: ViewSettings) -> Composed:
        """Draw a moment."""
        shots = moment.shots
        beside = settings.mode == SIDE_BY_SIDE
        count = len(shots) + beside
        height = int(settings.height * _SHARE.get(count, 0.5))
        height -= height % 2
        panels, strips = [], []
        if beside:
            frame = fitted(moment.newest.frame, height).copy()
            drawing.mark_point(frame, settings.point)
            drawing.tag(frame, moment.source or "frame")
            panels.append(frame)
            strips.append(None)
        for shot in shots.values():
            panels.append(self._panel(shot, settings, height, tagged=count > 1))
            strips.append(shot.result)
        pixels, rects = _joined(panels)
        if settings.strips:
            pixels = np.vstack((pixels, self._strip(strips, rects, pixels.shape[1], settings)))
        classes, label_set = _classes(shots)
        readings = tuple(read_out(shot.result, settings.point) for shot in shots.values())
        return Composed(pixels, tuple(rects), readings, classes, label_set)

    def _panel(self, shot: Shot, settings: ViewSettings, height: int, tagged: bool) -> np.ndarray:
        result, frame = shot.result, fitted(shot.frame, height)
        opacity = settings.opacity if settings.mode == OVERLAY else 1.0
        if is_depth(result.kind):
            panel = self._depth_panel(result, frame, opacity)
            drawing.mark_depth(panel, result.data, settings.point)
        else:
            corner = drawing.tag_size(result.task) if tagged else (0, 0)
            panel = self._class_panel(result, frame, opacity, settings.names, corner)
            drawing.mark_point(panel, settings.point)
        if tagged:
            drawing.tag(panel, result.task)
        return panel

    def _depth_panel(self, result: Result, frame: np.ndarray, opacity: float) -> np.ndarray:
        colour = colourise(result.data, result.kind, "", frame.shape[:2], self.scale)
        return colour if opacity == 1.0 else relief(frame, colour, opacity)

    def _class_panel(
        self,
        result: Result,
        frame: np.ndarray,
        opacity: float,
        names: bool,
        corner: tuple[int, int],
    ) -> np.ndarray:
        size = frame.shape[:2]
        ids = enlarge_ids(result.data, size)
        colour = drawing.colour_classes(ids, result.label_set)
        panel = colour if opacity == 1.0 else blend(frame, colour, opacity)
        drawing.outline_classes(panel, ids)
        if names:
            text, labels = 0.5 if size[0] >= 400 else 0.42, get_label_set(result.label_set)
            places = drawing.place_names(result.data, labels, size, text, self._places, corner)
            drawing.write_names(panel, places, text)
        return panel

    def _strip(
        self,
        results: list[Result | None],
        rects: list[Rect],
        width: int,
        settings: ViewSettings,
    ) -> np.ndarray:
        """Legend or depth scale below every result."""
        strip = np.full((drawing.STRIP_HEIGHT, width, 3), drawing.BACKGROUND, np.uint8)
        for result, rect in zip(results, rects, strict=True):
            if result is None:
                continue
            if is_depth(result.kind):
                value = drawing.value_at(result.data, settings.point) / 1000
                part = drawing.depth_bar(rect.width, self.scale, value=value)
            else:
                part = drawing.legend(result.data, result.label_set, rect.width)
            strip[:, rect.left : rect.left + rect.width] = part
        return strip


def fitted(frame: np.ndarray, height: int) -> np.ndarray:
    """The frame at a height, aspect kept; bilinear where that does not flicker, for speed."""
    factor = height / frame.shape[0]
    if not 0.5 < factor < 1.0:
        return drawing.fit(frame, height)
    size = 2 * round(frame.shape[1] * factor / 2), height
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)


def relief(frame: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """Depth colours with the fine structure of the frame in them.

    A blend would wash out the lightness, which is what carries distance in a
    perceptual map. Only what differs from the surroundings in the frame's
    brightness is added, so that the colours are right on average; they fade
    towards the grey frame for small opacities.
    """
    share = opacity**0.5
    gain = _DETAIL * (1.0 - opacity) * share
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    around = cv2.blur(grey, (_AROUND, _AROUND))
    # (1 - share) * grey + gain * (grey - around), shifted to have room below zero.
    shade = cv2.addWeighted(grey, 1.0 - share + gain, around, -gain, _ROOM)
    shade = cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(colour, share, shade, 1.0, -_ROOM)


def _joined(panels: list[np.ndarray]) -> tuple[np.ndarray, list[Rect]]:
    """Panels beside each other with a gap, and where they lie."""
    height = max(panel.shape[0] for panel in panels)
    rects, left = [], 0
    for panel in panels:
        rects.append(Rect(0, left, *panel.shape[:2]))
        left += panel.shape[1] + _GAP
    if len(panels) == 1:
        return panels[0], rects
    pixels = np.full((height, left - _GAP, 3), drawing.BACKGROUND, np.uint8)
    for panel, rect in zip(panels, rects, strict=True):
        pixels[: rect.height, rect.left : rect.left + rect.width] = panel
    return pixels, rects


def _classes(shots: Mapping[str, Shot]) -> tuple[tuple[tuple[int, float], ...], str]:
    for shot in shots.values():
        if not is_depth(shot.result.kind):
            found = classes_in_view(shot.result.data, drawing.LEAST_SHARE)
            return tuple(found), shot.result.label_set
    return (), ""


def read_out(result: Result, point: tuple[float, float]) -> Reading:
    """What a result says at a point, (y, x) from 0 to 1."""
    value = drawing.value_at(result.data, point)
    if is_depth(result.kind):
        return Reading(result.task, drawing.distance_text(value), value / 1000 or None)
    return Reading(result.task, get_label_set(result.label_set).class_name(value))
