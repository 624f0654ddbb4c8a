# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a live picture must look like, computed without the code that draws it.

Class ids and distances come from the specification in numpy. Colours of
distances are interpolated between nine published colours of the map; colours
of classes are those written down here, or those of the legend on the page.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from m3vit_pynq.package import Package
from m3vit_pynq.reference.machine import Machine

# magma(9) of viridisLite, dark to bright.
_MAGMA = np.array(
    [[int(text[i : i + 2], 16) for i in (0, 2, 4)] for text in (
        "000004", "1C1044", "4F127B", "812581", "B5367A", "E55064", "FB8761", "FEC287", "FCFDBF"
    )], float,
)  # fmt: skip
#: Metres at the bright and at the dark end, on a logarithmic scale.
_NEAR, _FAR = 0.7, 8.0

#: Colours that the label sets give to frequent classes.
KNOWN = {
    "nyud13": {"wall": "9fb3c8", "floor": "8c5a2b", "ceiling": "f2ead3", "furniture": "e69f00",
               "window": "2a8fd0"},
    "nyud39": {"wall": "9fb3c8", "floor": "8c5a2b", "ceiling": "f2ead3", "cabinet": "e69f00",
               "window": "2a8fd0"},
}  # fmt: skip

#: Distance of two colours (Euclidean, of 0..255) that JPEG leaves equal.
TOLERANCE = 36.0


def specified(package: Package, frame: np.ndarray) -> dict[str, np.ndarray]:
    """Results of all tasks: uint8 class ids or uint16 millimetres.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB, of the model's size.
    """
    machine = Machine()
    machine.load(package.program, package.weights)
    return {name: machine.run(i, frame) for i, name in enumerate(package.task_names)}


def depth_colours(millimetres: np.ndarray) -> np.ndarray:
    """float RGB of every distance: near is bright."""
    nearness = 1 - np.log(millimetres / 1000 / _NEAR) / np.log(_FAR / _NEAR)
    place = np.clip(nearness, 0, 1) * (len(_MAGMA) - 1)
    stops = np.arange(len(_MAGMA))
    return np.stack([np.interp(place, stops, channel) for channel in _MAGMA.T], axis=-1)


def depth_share(colours: np.ndarray) -> float:
    """Share of some colours, or of a picture's, that are those of a distance; not the cross."""
    colours = np.asarray(colours)
    if colours.ndim == 3:
        colours = cv2.resize(colours, (24, 16), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    ramp = depth_colours(np.geomspace(1000 * _NEAR, 1000 * _FAR, 256))
    away = np.linalg.norm(ramp[:, None] - colours, axis=-1).min(axis=0)
    return float((away < 25).mean())


def class_colours(ids: np.ndarray, colours: Mapping[int, tuple[int, int, int]]) -> np.ndarray:
    """float RGB of every class id; not-a-number where no colour is known."""
    table = np.full((256, 3), np.nan)
    for index, colour in colours.items():
        table[index] = colour
    return table[ids]


def sampled(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Colours of a picture at the middle of every result pixel, float RGB [h, w, 3].

    The median of a few pixels, so that noise of the JPEG counts little.
    """
    height, width = shape
    rows = ((np.arange(height) + 0.5) * pixels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * pixels.shape[1] / width).astype(int)
    reach = [-1, 0, 1]
    near = [
        pixels[np.clip(rows + dy, 0, pixels.shape[0] - 1)][
            :, np.clip(columns + dx, 0, pixels.shape[1] - 1)
        ]
        for dy in reach
        for dx in reach
    ]
    return np.median(np.stack(near).astype(float), axis=0)


def agreement(pixels: np.ndarray, expected: np.ndarray) -> float:
    """Share of the expected colours (those that are known) that a picture has in their place."""
    distance = np.linalg.norm(sampled(pixels, expected.shape[:2]) - expected, axis=-1)
    known = ~np.isnan(distance)
    assert known.any(), "nothing is known about this picture"
    return float((distance[known] <= TOLERANCE).mean())


def from_hex(text: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(text))
