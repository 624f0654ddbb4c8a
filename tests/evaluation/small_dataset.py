# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A few frames in the layout of NYU Depth v2, with every class in them."""

from __future__ import annotations

import cv2
import numpy as np

NAMES = ("0001", "0002", "0003", "0004")

# Couprie's 13 classes (from 1) of the 40 classes (from 1), as SceneNet publishes them.
MAP_40_TO_13 = (
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5,
    7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip


def write_frame(root, name: str, shift: int) -> None:
    """Stripes of classes; one stripe is otherprop, the fortieth class; depth a ramp."""
    rng = np.random.default_rng(shift)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    forty = np.tile(((np.arange(640) // 32 + shift) % 40 + 1).astype(np.uint8), (480, 1))
    fine = np.where(forty == 40, 255, forty - 1).astype(np.uint8)
    coarse13 = (np.array((0, *MAP_40_TO_13))[forty] - 1).astype(np.uint8)
    fine[:8] = coarse13[:8] = 255
    depth = np.tile(np.linspace(20, 200, 640).astype(np.uint8), (480, 1))
    for folder, picture in (("label39", fine), ("label13", coarse13), ("depth", depth)):
        cv2.imwrite(str(root / folder / f"{name}.png"), picture)
    cv2.imwrite(str(root / "image" / f"{name}.jpg"), image)


def write_dataset(root) -> None:
    """Four frames, the test split."""
    for folder in ("image", "label39", "label13", "depth"):
        (root / folder).mkdir()
    for index, name in enumerate(NAMES):
        write_frame(root, name, 13 * index + 30)
    (root / "test.txt").write_text("\n".join(NAMES) + "\n")
