# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The mapping to 13 classes against the published one, and against plain words."""

import numpy as np
from small_dataset import MAP_40_TO_13

from m3vit_pynq.evaluation.classes13 import MEMBERS, NYUD39_TO_13, to_13_classes
from m3vit_pynq.labels import NYUD13, NYUD39


def test_every_class_is_where_scenenet_puts_it():
    assert NYUD39_TO_13.shape == (256,)
    assert (NYUD39_TO_13[:39] + 1).tolist() == list(MAP_40_TO_13[:39])
    assert np.all(NYUD39_TO_13[39:] == 255)


def test_some_entries_by_name():
    def coarse(name):
        return NYUD13.classes[NYUD39_TO_13[NYUD39.classes.index(name)]]

    assert coarse("desk") == "table"
    assert coarse("door") == "wall"
    assert coarse("blinds") == "window"
    assert coarse("shower curtain") == "objects"
    assert coarse("night stand") == "furniture"
    assert coarse("floor mat") == "floor"


def test_each_class_is_listed_once_and_each_of_the_13_is_reached():
    names = [name for members in MEMBERS.values() for name in members]
    assert sorted(names) == sorted(NYUD39.classes)
    assert tuple(MEMBERS) == NYUD13.classes


def test_ignored_pixels_stay_ignored():
    ids = np.array([[0, 255], [38, 24]], np.uint8)
    mapped = to_13_classes(ids)
    assert mapped.dtype == np.uint8
    assert mapped.tolist() == [[11, 255], [5, 10]]
