# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The contact sheet: some frames with the result of every task beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from m3vit_pynq.drawing import BACKGROUND, fit, put_text, result_panel, scale_strip
from m3vit_pynq.tasks import INDOOR_SCALE, DepthScale, is_depth

#: Height of one picture of the sheet.
PANEL_HEIGHT = 300
_GAP = 6
_HEAD = 30


@dataclass(frozen=True)
class Row:
    """One frame of the sheet.

    Attributes
    ----------
    frame : ndarray
        uint8 RGB.
    results : mapping of str to ndarray
        Result array of every task.
    """

    frame: np.ndarray
    results: Mapping[str, np.ndarray]


def contact_sheet(
    rows: Sequence[Row],
    tasks: Mapping[str, tuple[str | int, str]],
    scale: DepthScale = INDOOR_SCALE,
    warning: str = "",
) -> np.ndarray:
    """A row per frame: the frame, then the result of every task.

    Parameters
    ----------
    rows : sequence of Row
        Frames of one size.
    tasks : mapping
        Kind and label set by task name, in the order of the columns.
    scale : DepthScale
        Of depth tasks; its bar stands below.
    warning : str
        Written above the pictures.

    Returns
    -------
    ndarray
        uint8 RGB.
    """
    lines = [_pictures(row, tasks, scale) for row in rows]
    width = max(line.shape[1] for line in lines)
    cell = (width + _GAP) // (len(tasks) + 1)
    sheet = [_titles(["frame", *tasks], cell, width), *_padded(lines, width)]
    if warning:
        sheet.insert(0, _line(warning, width))
    if any(is_depth(kind) for kind, _ in tasks.values()):
        sheet.append(_scale_line(tasks, cell, width, scale))
    return np.vstack(sheet)


def _pictures(row: Row, tasks: Mapping[str, tuple[str | int, str]], scale: DepthScale):
    frame = fit(row.frame, PANEL_HEIGHT)
    panels = [frame]
    for name, (kind, label_set) in tasks.items():
        # Drawn at twice the height, so that names of small regions fit, then reduced.
        large = result_panel(
            fit(row.frame, 3 * PANEL_HEIGHT // 2), row.results[name], kind, label_set, scale=scale
        )
        panels.append(cv2.resize(large, frame.shape[1::-1], interpolation=cv2.INTER_AREA))
    gap = np.full((frame.shape[0], _GAP, 3), BACKGROUND, np.uint8)
    spaced = [part for panel in panels for part in (panel, gap)]
    return np.hstack(spaced[:-1])


def _padded(lines: list[np.ndarray], width: int) -> list[np.ndarray]:
    return [
        cv2.copyMakeBorder(
            line, 0, _GAP, 0, width - line.shape[1], cv2.BORDER_CONSTANT, value=BACKGROUND
        )
        for line in lines
    ]


def _titles(names: list[str], cell: int, width: int) -> np.ndarray:
    bar = np.full((_HEAD, width, 3), BACKGROUND, np.uint8)
    for index, name in enumerate(names):
        put_text(bar, name, index * cell + 8, 20)
    return bar


def _line(text: str, width: int) -> np.ndarray:
    bar = np.full((_HEAD, width, 3), BACKGROUND, np.uint8)
    put_text(bar, text, 8, 20, (255, 190, 70))
    return bar


def _scale_line(tasks, cell: int, width: int, scale: DepthScale) -> np.ndarray:
    """The depth scale below its column."""
    column = 1 + [is_depth(kind) for kind, _ in tasks.values()].index(True)
    bar = scale_strip(np.zeros((1, 1), np.uint16), "depth", "", cell - _GAP, scale)
    line = np.full((bar.shape[0], width, 3), BACKGROUND, np.uint8)
    left = min(column * cell, width - bar.shape[1])
    line[:, left : left + bar.shape[1]] = bar
    return line
