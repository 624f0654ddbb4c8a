# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""From the 39 classes of NYU Depth v2 to the 13 coarse ones.

The 13 classes are those of Couprie, Farabet, Najman, LeCun, *Indoor Semantic
Segmentation using depth information* (ICLR 2013); how the 40 classes fall into
them is published with SceneNet (``map40to13``, Handa et al., 2016). The table is
written down by name and agrees with every pixel of the official 13-class labels
of the 1449 frames.

The fortieth class, *otherprop*, is no class of ours: in the 39-class labels its
pixels are ignored, in the official 13-class labels they are *objects*.
"""

from __future__ import annotations

import numpy as np

from m3vit_pynq.labels import IGNORE, NYUD13, NYUD39

#: The classes of the 39 that make up each of the 13.
MEMBERS: dict[str, tuple[str, ...]] = {
    "bed": ("bed",),
    "books": ("books",),
    "ceiling": ("ceiling",),
    "chair": ("chair",),
    "floor": ("floor", "floor mat"),
    "furniture": (
        "cabinet", "bookshelf", "counter", "shelves", "dresser", "refrigerator", "night stand",
        "other furniture",
    ),
    "objects": (
        "pillow", "mirror", "clothes", "paper", "towel", "shower curtain", "box", "whiteboard",
        "person", "toilet", "sink", "lamp", "bathtub", "bag", "other structure",
    ),
    "picture": ("picture",),
    "sofa": ("sofa",),
    "table": ("table", "desk"),
    "tv": ("tv",),
    "wall": ("wall", "door"),
    "window": ("window", "blinds", "curtain"),
}  # fmt: skip


def _table() -> np.ndarray:
    table = np.full(256, IGNORE, np.uint8)
    for coarse, fine in MEMBERS.items():
        for name in fine:
            table[NYUD39.classes.index(name)] = NYUD13.classes.index(coarse)
    table.flags.writeable = False
    return table


#: uint8 [256]: class of 39 to class of 13; 255 and unknown ids stay 255.
NYUD39_TO_13 = _table()


def to_13_classes(ids: np.ndarray) -> np.ndarray:
    """Class ids of 39 classes as ids of 13, uint8 of the same shape; 255 stays 255."""
    return NYUD39_TO_13[ids]
