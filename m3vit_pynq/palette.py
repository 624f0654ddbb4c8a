# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Class colours that people with and without a colour deficiency tell apart.

Colours are picked one class at a time from a fixed grid in CIELAB. The
distance of two colours is the smallest of three: as seen by a person with
normal sight (counted by half, since more is to be had there), with protanopia
and with deuteranopia. Classes that touch each
other in pictures count fully, all other pairs by half, so the colours that
must differ most do. The choice is deterministic and takes a few milliseconds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from m3vit_pynq.labels import IGNORE, LabelSet, get_label_set

#: Colour of pixels without a class.
IGNORE_COLOUR = (24, 24, 24)

# Dichromatic sight in linear RGB: Machado, Oliveira, Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", 2009.
_PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
     [-0.003882, -0.048116, 1.051998]]
)  # fmt: skip
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
     [-0.011820, 0.042940, 0.968881]]
)  # fmt: skip
_SIGHTS = (np.eye(3), _PROTANOPIA, _DEUTERANOPIA)
#: How much a distance counts for each of them.
_SIGHT_WEIGHTS = np.array((0.5, 1.0, 1.0))[:, None]

_XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
_WHITE = _XYZ_FROM_RGB.sum(axis=1)

#: Weight of pairs that seldom touch against those that often do.
_FAR_PAIR_WEIGHT = 2.0


def _linear_from_srgb(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    return np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    )


def _lab_from_linear(linear: np.ndarray) -> np.ndarray:
    xyz = np.clip(linear, 0, 1) @ _XYZ_FROM_RGB.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        (116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])), axis=1
    )


def _linear_from_lab(lab: np.ndarray) -> np.ndarray:
    fy = (lab[:, 0] + 16) / 116
    f = np.stack((fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200), axis=1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * _WHITE
    return xyz @ np.linalg.inv(_XYZ_FROM_RGB).T


def _candidates() -> np.ndarray:
    """uint8 [n, 3]: colours that are neither too dark nor too pale, and no neon."""
    lightness, chroma, hue = np.meshgrid(
        np.arange(28, 95, 6.0), (14.0, 38.0, 62.0, 86.0), np.radians(np.arange(0, 360, 12.0))
    )
    lab = np.stack((lightness, chroma * np.cos(hue), chroma * np.sin(hue)), axis=-1).reshape(-1, 3)
    srgb = _srgb_from_linear(_linear_from_lab(lab))
    neon = (lab[:, 0] > 65) & (np.hypot(lab[:, 1], lab[:, 2]) > 70)
    inside = np.all((srgb >= 0) & (srgb <= 1), axis=1) & ~neon
    return np.rint(srgb[inside] * 255).astype(np.uint8)


def _seen(colours: np.ndarray) -> np.ndarray:
    """CIELAB as seen by each kind of sight, [3, n, 3]."""
    linear = _linear_from_srgb(np.asarray(colours, np.float64) / 255)
    return np.stack([_lab_from_linear(linear @ sight.T) for sight in _SIGHTS])


def _choose(labels: LabelSet, count: int) -> np.ndarray:
    fixed = {index: tuple(bytes.fromhex(text[1:])) for index, text in labels.anchors}
    neighbours: list[set[int]] = [set() for _ in range(count)]
    for a, b in labels.neighbours:
        neighbours[a].add(b)
        neighbours[b].add(a)
    candidates = _candidates()
    seen = _seen(candidates)
    colours = np.zeros((count, 3), np.uint8)
    score = np.full((count, len(candidates)), np.inf)

    def apart(colour: np.ndarray) -> np.ndarray:
        """Distance of every candidate from one colour, uint8 [1, 3]."""
        distances = np.linalg.norm(seen - _seen(colour), axis=2)
        return (_SIGHT_WEIGHTS * distances).min(axis=0)

    def place(index: int, colour: np.ndarray | tuple[int, ...]) -> None:
        """Give a class its colour and lower the score of what looks like it."""
        colours[index] = colour
        distance = apart(colours[index : index + 1])
        for other in range(count):
            weight = 1.0 if other in neighbours[index] else _FAR_PAIR_WEIGHT
            np.minimum(score[other], weight * distance, out=score[other])

    np.minimum(score, apart(np.array([IGNORE_COLOUR], np.uint8)), out=score)
    for index, colour in fixed.items():
        place(index, colour)
    # Classes with many neighbours are the hardest to place: first come, first served.
    for index in sorted(range(count), key=lambda i: (-len(neighbours[i]), i)):
        if index not in fixed:
            place(index, candidates[int(score[index].argmax())])
    return colours


@lru_cache(maxsize=8)
def _palette(labels: LabelSet) -> np.ndarray:
    table = np.empty((256, 3), np.uint8)
    count = len(labels) or 64
    chosen = _choose(labels, count)
    table[:] = chosen[np.arange(256) % count]
    table[IGNORE] = IGNORE_COLOUR
    table.flags.writeable = False
    return table


def palette(label_set: str | LabelSet) -> np.ndarray:
    """RGB colour of every class id.

    Returns
    -------
    ndarray
        uint8 ``[256, 3]``, read-only. Ids beyond the set's classes repeat its
        colours; 255 (ignore) is nearly black.

    Raises
    ------
    ValueError
        If the label set is unknown.
    """
    return _palette(get_label_set(label_set))
