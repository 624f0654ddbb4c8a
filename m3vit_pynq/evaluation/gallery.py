# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A picture of good, middling and bad predictions beside what was labelled.

The score of a frame is the mean, over its tasks, of the share of its labelled
pixels that are right: for segmentation those with the right class, for depth
those on the Eigen crop within a quarter of the truth (δ < 1.25).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.config import ModelConfig
from m3vit_pynq.drawing import (
    BACKGROUND,
    FAINT,
    depth_bar,
    fit,
    mark_depth,
    put_text,
    result_panel,
    text_size,
)
from m3vit_pynq.evaluation.dataset import LabelledFrame
from m3vit_pynq.evaluation.scoring import EvaluationError, make_scorers
from m3vit_pynq.labels import IGNORE, get_label_set
from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import INDOOR_SCALE, DepthScale, classes_in_view, colourise

#: Endings of picture files that can be written.
SUFFIXES = (".jpg", ".jpeg", ".png")
GROUPS = ("best", "median", "worst")

#: Height of one picture of the gallery, and at which it is drawn before it is reduced.
_HEIGHT, _DRAWN = 220, 330
_GAP, _HEAD = 6, 30

_SCORE = "score: mean of the shares of pixels with the right class, and with depth within 25 %"


@dataclass(frozen=True)
class Judged:
    """A frame's results, small, with what they are worth.

    Attributes
    ----------
    name : str
        Of the frame.
    score : float
        0 to 1, see the module.
    caption : str
        Its metrics.
    results : mapping of str to ndarray
        The accelerator's arrays by task.
    """

    name: str
    score: float
    caption: str
    results: Mapping[str, np.ndarray]


class GalleryCollector:
    """Judges every frame; an observer for `m3vit_pynq.evaluation.runner.evaluate`.

    Parameters
    ----------
    config : ModelConfig
        The tasks.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.judged: list[Judged] = []

    def __call__(self, frame: LabelledFrame, results: Mapping[str, np.ndarray]) -> None:
        """Keep one frame's results; a frame without any label is passed over."""
        scores, captions = [], []
        for name, scorer in make_scorers(self.config).items():
            scorer.add(results[name], frame)
            figures = scorer.figures(per_class=False)
            if "rmse" in figures:
                score, text = figures["delta1"], "RMSE {rmse:.2f} m, within 25 % {delta1:.0%}"
            else:
                score, text = figures["pixel_accuracy"], "pixels right {pixel_accuracy:.0%}"
            if score is not None:
                scores.append(score)
                captions.append(text.format(**figures))
        if scores:
            score = sum(scores) / len(scores)
            kept = {name: np.array(data) for name, data in results.items()}
            self.judged.append(Judged(frame.name, score, ", ".join(captions), kept))

    def chosen(self, rows: int) -> dict[str, list[Judged]]:
        """Up to ``rows`` frames of each group, no frame twice.

        Raises
        ------
        EvaluationError
            If no frame was judged.
        """
        order = sorted(self.judged, key=lambda j: (-j.score, j.name))
        if not order:
            raise EvaluationError("no frame has a label: there is nothing to show")
        rows = max(1, min(rows, len(order) // len(GROUPS)))
        middle = max(0, (len(order) - rows) // 2)
        groups = {
            "best": order[:rows],
            "median": order[middle : middle + rows] if len(order) > 2 else [],
            "worst": order[-rows:] if len(order) > 1 else [],
        }
        return {name: group for name, group in groups.items() if group}


def check_suffix(path: Path) -> None:
    """Raise `EvaluationError` if no picture can be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise EvaluationError(f"{path}: a picture's name ends in {', '.join(SUFFIXES)}")


def draw_gallery(
    collector: GalleryCollector,
    read: Callable[[str], LabelledFrame],
    rows: int = 2,
    title: str = "",
    scale: DepthScale = INDOOR_SCALE,
) -> np.ndarray:
    """The best, the median and the worst frames, a row each.

    A row has the frame, and for each task what was labelled and what was
    predicted. All depth is on one scale; grey is unknown depth, nearly black a
    pixel without a class.

    Parameters
    ----------
    read : callable
        Gives a frame by its name.
    rows : int
        Rows in each of the three groups.

    Returns
    -------
    ndarray
        uint8 RGB.
    """
    groups = collector.chosen(rows)
    lines, seen = [], []
    for group, members in groups.items():
        for judged in members:
            frame = read(judged.name)
            pictures = _pictures(collector.config, frame, judged.results, scale)
            caption = f"{group}, frame {judged.name}: score {judged.score:.2f}, {judged.caption}"
            lines.append(_row(pictures, caption))
            seen += _ids(collector.config, frame, judged.results)
    width = lines[0].shape[1]
    head = [_title(title, width)] if title else []
    sheet = [*head, _names(_columns(collector.config), width), *lines]
    return np.vstack([*sheet, *_keys(collector.config, seen, width, scale)])


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB as JPEG or PNG.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix.lower() != ".png" else []
    done, data = cv2.imencode(path.suffix.lower(), picture[:, :, ::-1], options)
    if not done:
        raise OSError(f"{path}: the picture cannot be encoded")
    path.write_bytes(data.tobytes())


def _columns(config: ModelConfig) -> list[str]:
    names = ["frame"]
    for task in config.tasks:
        what = "measured" if task.kind == "depth" else "labelled"
        names += [f"{task.name}, {what}", f"{task.name}, predicted"]
    return names


def _pictures(
    config: ModelConfig, frame: LabelledFrame, results: Mapping[str, np.ndarray], scale: DepthScale
) -> list[np.ndarray]:
    picture = fit(frame.image, _DRAWN)
    pictures = [picture.copy()]
    for task in config.tasks:
        if task.kind == "depth":
            truth = np.rint(frame.metres * 1000).astype(np.uint16)
            for millimetres in (truth, results[task.name]):
                pictures.append(_depth_picture(millimetres, picture.shape[:2], scale))
        else:
            for ids in (frame.label, results[task.name]):
                pictures.append(result_panel(picture, ids, "segmentation", task.label_set))
    return pictures


def _depth_picture(millimetres: np.ndarray, size: tuple[int, int], scale: DepthScale) -> np.ndarray:
    """Depth in colours; unknown pixels stay unknown instead of blurring into others."""
    near = cv2.resize(millimetres, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    smooth = cv2.resize(millimetres, size[::-1], interpolation=cv2.INTER_LINEAR)
    shown = np.where(near == 0, near, smooth)
    picture = colourise(shown, "depth", scale=scale)
    mark_depth(picture, shown, (0.5, 0.5))
    return picture


def _ids(
    config: ModelConfig, frame: LabelledFrame, results: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Class ids of all segmentation pictures of a row, for the legend."""
    found = []
    for task in config.tasks:
        if task.kind != "depth":
            found += [frame.label[::4, ::4].ravel(), results[task.name].ravel()]
    return found


def _row(pictures: list[np.ndarray], caption: str) -> np.ndarray:
    small = [fit(picture, _HEIGHT) for picture in pictures]
    gap = np.full((small[0].shape[0], _GAP, 3), BACKGROUND, np.uint8)
    line = np.hstack([part for picture in small for part in (picture, gap)][:-1])
    bar = np.full((_HEAD, line.shape[1], 3), BACKGROUND, np.uint8)
    put_text(bar, caption, 8, _HEAD - 10)
    return np.vstack([bar, line])


def _title(text: str, width: int) -> np.ndarray:
    """The title, and what the score is."""
    bar = np.full((2 * _HEAD, width, 3), BACKGROUND, np.uint8)
    put_text(bar, text, 8, 22, scale=min(0.6, 0.6 * (width - 16) / max(1, text_size(text, 0.6)[1])))
    put_text(bar, _SCORE, 8, 48, FAINT)
    return bar


def _names(names: list[str], width: int) -> np.ndarray:
    bar = np.full((_HEAD, width, 3), BACKGROUND, np.uint8)
    cell = (width + _GAP) // len(names)
    for index, name in enumerate(names):
        put_text(bar, name, index * cell + 8, _HEAD - 9, FAINT)
    return bar


def _keys(
    config: ModelConfig, seen: list[np.ndarray], width: int, scale: DepthScale
) -> list[np.ndarray]:
    """What the colours mean: classes in view, and the depth scale."""
    keys = []
    labelled = next((task for task in config.tasks if task.kind != "depth"), None)
    if labelled is not None:
        keys.append(_class_key(np.concatenate(seen), labelled.label_set, width))
    if any(task.kind == "depth" for task in config.tasks):
        keys.append(depth_bar(width, scale))
    return keys


def _class_key(ids: np.ndarray, label_set: str, width: int) -> np.ndarray:
    """Colour and name of every class in view, the most frequent first, in lines."""
    labels, colours = get_label_set(label_set), palette(label_set)
    entries = [
        (colours[index], labels.class_name(index))
        for index, _ in classes_in_view(ids)
        if index < len(labels)
    ]
    entries.append((colours[IGNORE], "no class"))
    lines = [np.full((_GAP, width, 3), BACKGROUND, np.uint8)]
    left = width
    for colour, name in entries:
        wide = 24 + text_size(name)[1] + 18
        if left + wide > width:
            lines.append(np.full((_HEAD, width, 3), BACKGROUND, np.uint8))
            left = 8
        swatch = tuple(int(c) for c in colour)
        cv2.rectangle(lines[-1], (left, 6), (left + 16, 22), swatch, cv2.FILLED)
        cv2.rectangle(lines[-1], (left, 6), (left + 16, 22), FAINT, 1)
        put_text(lines[-1], name, left + 23, 20)
        left += wide
    return np.vstack(lines)
