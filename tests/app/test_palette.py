# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Class colours, judged by another model of colour blindness than the one that chose them."""

import cv2
import numpy as np
import pytest

from m3vit_pynq.labels import (
    CITYSCAPES19,
    IGNORE,
    NYUD13,
    NYUD39,
    LabelSet,
    get_label_set,
    register_label_set,
)
from m3vit_pynq.palette import palette

SETS = (NYUD39, NYUD13, CITYSCAPES19)

# Viénot, Brettel, Mollon 1999, as matrices on linear RGB.
VIENOT = {
    "normal": np.eye(3),
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def lab_as_seen(colours: np.ndarray, sight: str) -> np.ndarray:
    linear = (colours.astype(np.float64) / 255) ** 2.2
    seen = np.clip(linear @ np.asarray(VIENOT[sight]).T, 0, 1) ** (1 / 2.2)
    return cv2.cvtColor(seen.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


def distance(colours: np.ndarray, a: int, b: int, sight: str) -> float:
    lab = lab_as_seen(colours, sight)
    return float(np.linalg.norm(lab[a] - lab[b]))


@pytest.mark.parametrize("labels", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize(("sight", "least"), [("normal", 30), ("protanopia", 12),
                                              ("deuteranopia", 12)])  # fmt: skip
def test_neighbouring_classes_look_different(labels, sight, least):
    colours = palette(labels.name)
    close = {
        (labels.classes[a], labels.classes[b]): round(distance(colours, a, b, sight), 1)
        for a, b in labels.neighbours
        if distance(colours, a, b, sight) < least
    }
    assert not close


@pytest.mark.parametrize("labels", SETS, ids=lambda s: s.name)
def test_no_two_classes_share_a_colour(labels):
    colours = palette(labels.name)
    lab = lab_as_seen(colours[: len(labels)], "normal")
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert apart[~np.eye(len(labels), dtype=bool)].min() > 8


@pytest.mark.parametrize("sight", VIENOT)
def test_wall_floor_and_ceiling_are_far_apart(sight):
    colours = palette("nyud39")
    wall, floor, ceiling = (NYUD39.classes.index(c) for c in ("wall", "floor", "ceiling"))
    for a, b in ((wall, floor), (wall, ceiling), (floor, ceiling)):
        assert distance(colours, a, b, sight) > 25


def test_a_palette_is_the_same_every_time_and_read_only():
    first = palette("nyud39").copy()
    from m3vit_pynq import palette as module

    module._palette.cache_clear()
    np.testing.assert_array_equal(palette("nyud39"), first)
    with pytest.raises(ValueError):
        palette("nyud39")[0] = 0


def test_names_are_those_of_the_data_sets():
    assert [len(s) for s in SETS] == [39, 13, 19]
    assert NYUD39.classes[:5] == ("wall", "floor", "cabinet", "bed", "chair")
    assert NYUD39.classes[21:23] == ("ceiling", "books")
    assert NYUD39.classes[37:] == ("other structure", "other furniture")
    assert NYUD13.classes == tuple(sorted(NYUD13.classes))
    assert CITYSCAPES19.classes[13] == "car"


def test_every_neighbour_and_anchor_is_a_class():
    for labels in SETS:
        pairs = [tuple(sorted(pair)) for pair in labels.neighbours]
        assert len(set(pairs)) == len(pairs)
        assert all(0 <= a < b < len(labels) for a, b in pairs)
        for index, text in labels.anchors:
            assert tuple(palette(labels.name)[index]) == tuple(bytes.fromhex(text[1:]))


def test_unknown_and_nameless_sets():
    with pytest.raises(ValueError, match="nyud39"):
        get_label_set("imagenet")
    assert get_label_set("").class_name(7) == "class 7"
    assert NYUD13.class_name(200) == "class 200"
    assert palette("").shape == (256, 3)


def test_registering_a_label_set():
    pets = LabelSet("pets-of-the-test", ("background", "cat", "dog"))
    register_label_set(pets)
    register_label_set(pets)
    assert get_label_set("pets-of-the-test") is pets
    assert tuple(palette("pets-of-the-test")[1]) != tuple(palette("pets-of-the-test")[2])
    with pytest.raises(ValueError, match="already registered"):
        register_label_set(LabelSet("pets-of-the-test", ("background",)))
    with pytest.raises(ValueError, match="255"):
        register_label_set(LabelSet("too many", tuple(map(str, range(256)))))


def test_ignored_pixels_are_dark():
    assert palette("nyud39")[IGNORE].max() < 40
