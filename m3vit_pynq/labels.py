# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Class names of the label sets, and which classes touch each other in pictures."""

from __future__ import annotations

from dataclasses import dataclass

#: Label value without a class (unlabelled pixels of a data set).
IGNORE = 255


@dataclass(frozen=True)
class LabelSet:
    """The classes of a segmentation task.

    Attributes
    ----------
    name : str
        As in `m3vit_pynq.config.TaskConfig.label_set`.
    classes : tuple of str
        Class names; the index is the class id.
    scene : str
        ``"indoor"``, ``"street"`` or ``"unknown"``: what the classes describe.
    neighbours : tuple of (int, int)
        Pairs of classes that often share a boundary and must therefore look
        different at a glance.
    anchors : mapping of int to str
        Colours given by hand to the classes that cover most of a picture, as
        ``"#rrggbb"``; the rest are chosen by `m3vit_pynq.palette`.
    """

    name: str
    classes: tuple[str, ...]
    scene: str = "unknown"
    neighbours: tuple[tuple[int, int], ...] = ()
    anchors: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def class_name(self, index: int) -> str:
        """Name of a class id; ``"class 41"`` for an id without one."""
        return self.classes[index] if 0 <= index < len(self.classes) else f"class {index}"


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


# The neighbour pairs of the two NYUD sets are those that make up 80 % of all
# class boundaries in the 795 training images, by length, and for the 39 classes
# also the pairs of furniture and openings that fill most of a picture.
NYUD39 = LabelSet(
    "nyud39",
    _split(
        "wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, "
        "counter, blinds, desk, shelves, curtain, dresser, pillow, mirror, floor mat, clothes, "
        "ceiling, books, refrigerator, tv, paper, towel, shower curtain, box, whiteboard, "
        "person, night stand, toilet, sink, lamp, bathtub, bag, other structure, "
        "other furniture"
    ),
    "indoor",
    (
        (0, 10), (1, 4), (9, 22), (4, 6), (0, 8), (0, 2), (0, 37), (0, 4), (5, 17), (21, 37),
        (0, 21), (3, 17), (0, 38), (0, 7), (0, 14), (2, 11), (11, 33), (0, 34), (0, 1), (1, 38),
        (1, 19), (1, 2), (1, 6), (0, 12), (0, 18), (0, 36), (0, 26), (0, 3), (10, 14), (2, 37),
        (0, 6), (1, 3), (2, 38), (1, 5), (6, 25), (0, 25), (4, 13), (2, 4), (0, 24), (0, 15),
        (2, 22), (14, 28), (11, 25), (0, 9), (0, 5), (0, 11), (0, 16), (13, 25), (6, 22), (11, 37),
        (14, 22), (8, 15), (2, 10), (3, 20), (14, 20), (9, 10), (0, 29), (0, 27), (3, 31), (0, 32),
        (1, 13), (17, 38), (0, 13), (1, 7), (2, 14), (2, 24), (0, 20), (0, 28), (1, 16), (2, 23),
        (8, 12), (4, 37), (4, 8), (5, 6), (4, 7), (10, 23), (2, 25), (0, 22), (2, 21), (1, 21),
        (4, 5), (3, 5), (6, 13), (3, 4), (5, 10), (3, 10), (4, 10), (8, 10), (5, 8), (3, 8),
        (6, 8), (6, 10), (2, 5), (2, 3), (2, 8), (3, 6), (7, 8), (2, 7), (9, 14), (2, 9),
    ),
    ((0, "#9fb3c8"), (1, "#8c5a2b"), (21, "#f2ead3"), (2, "#e69f00"), (8, "#2a8fd0"),
     (3, "#5a12a5"), (4, "#86f394"), (5, "#d02670"), (10, "#14532d")),
)  # fmt: skip

NYUD13 = LabelSet(
    "nyud13",
    _split(
        "bed, books, ceiling, chair, floor, furniture, objects, picture, sofa, table, tv, "
        "wall, window"
    ),
    "indoor",
    (
        (7, 11), (6, 11), (5, 6), (5, 11), (1, 5), (3, 4), (11, 12), (3, 9), (4, 5), (6, 8),
        (3, 11), (0, 6), (2, 6), (2, 11), (5, 7), (6, 9), (4, 11), (2, 4),
    ),
    ((11, "#9fb3c8"), (4, "#8c5a2b"), (2, "#f2ead3"), (5, "#e69f00"), (12, "#2a8fd0")),
)  # fmt: skip

CITYSCAPES19 = LabelSet(
    "cityscapes19",
    _split(
        "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, "
        "terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle"
    ),
    "street",
    (
        (0, 1), (0, 13), (1, 2), (2, 8), (2, 10), (8, 10), (0, 9), (1, 9), (8, 9), (2, 5), (5, 8),
        (2, 13), (8, 13), (1, 11), (2, 11), (0, 11), (11, 12), (12, 18), (12, 17), (11, 18),
        (1, 5), (5, 6), (5, 7), (2, 7), (2, 6), (7, 8), (6, 8), (2, 3), (3, 4), (4, 8), (1, 4),
        (13, 14), (13, 15), (2, 15), (2, 14), (0, 15), (0, 14), (15, 16), (2, 16), (1, 13),
        (1, 18), (0, 18), (17, 18), (0, 17), (1, 3), (5, 10), (0, 2), (0, 10),
    ),
    ((0, "#6b5b73"), (1, "#d9a8c0"), (8, "#3f7d3a"), (10, "#a9dcf7"), (13, "#1f4fa8")),
)  # fmt: skip

_REGISTRY: dict[str, LabelSet] = {s.name: s for s in (NYUD39, NYUD13, CITYSCAPES19)}


def register_label_set(labels: LabelSet) -> LabelSet:
    """Make a label set known by its name, for checkpoints with other classes.

    Raises
    ------
    ValueError
        If the name is taken by a set with other classes, or there are more
        than 255 classes.
    """
    if len(labels) > IGNORE:
        raise ValueError(f"{labels.name}: {len(labels)} classes; at most {IGNORE} fit a class id")
    if _REGISTRY.get(labels.name, labels) != labels:
        raise ValueError(f"label set {labels.name!r} is already registered with other classes")
    _REGISTRY[labels.name] = labels
    return labels


def get_label_set(name: str | LabelSet) -> LabelSet:
    """Look a label set up.

    An empty name is a set without names: every id is shown as ``class N``.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if isinstance(name, LabelSet):
        return name
    if not name:
        return LabelSet("", ())
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ValueError(f"unknown label set {name!r}; known: {', '.join(_REGISTRY)}") from None
