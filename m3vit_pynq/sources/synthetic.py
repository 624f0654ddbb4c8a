# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Generated frames, for machines without camera or pictures."""

from __future__ import annotations

import cv2
import numpy as np

from m3vit_pynq.sources.base import Source


class Synthetic(Source):
    """A drawn room with a ball that moves; endless and always the same.

    It shows that frames flow. Nothing can be learned about accuracy from it.

    Parameters
    ----------
    size : tuple of int
        (height, width) of the frames.
    """

    kind = "synthetic"

    def __init__(self, size: tuple[int, int] = (480, 640)) -> None:
        super().__init__("generated frames", fps=25.0)
        self.size = size
        self._index = 0
        self._room = _draw_room(*size)

    def _next_frame(self) -> np.ndarray:
        height, width = self.size
        frame = self._room.copy()
        phase = 2 * np.pi * self._index / 75
        centre = (
            int(width * (0.5 + 0.32 * np.cos(phase))),
            int(height * (0.62 + 0.18 * np.sin(2 * phase))),
        )
        radius = int(height * (0.08 + 0.03 * np.sin(phase)))
        cv2.circle(frame, centre, radius, (196, 62, 48), cv2.FILLED, cv2.LINE_AA)
        glint = (centre[0] - radius // 3, centre[1] - radius // 3)
        cv2.circle(frame, glint, radius // 4, (240, 180, 170), cv2.FILLED, cv2.LINE_AA)
        self._index += 1
        return frame


def _draw_room(height: int, width: int) -> np.ndarray:
    """A box-shaped room seen from its open side, with texture of a fixed seed."""
    room = np.empty((height, width, 3), np.uint8)
    inner = [(0.28, 0.22), (0.72, 0.22), (0.72, 0.62), (0.28, 0.62)]
    outer = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    colours = [(232, 230, 222), (168, 180, 190), (142, 104, 70), (180, 190, 198)]

    def points(corners: list[tuple[float, float]]) -> np.ndarray:
        return np.array([(x * width, y * height) for x, y in corners], np.int32)

    for i, colour in enumerate(colours):  # ceiling, right wall, floor, left wall
        j = (i + 1) % 4
        cv2.fillPoly(room, [points([outer[i], outer[j], inner[j], inner[i]])], colour)
    cv2.fillPoly(room, [points(inner)], (206, 212, 216))
    cv2.fillPoly(room, [points([(0.42, 0.3), (0.58, 0.3), (0.58, 0.46), (0.42, 0.46)])],
                 (150, 200, 235))  # fmt: skip
    noise = np.random.default_rng(7).normal(0, 4, room.shape)
    return np.clip(room + noise, 0, 255).astype(np.uint8)
