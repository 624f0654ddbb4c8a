# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Colours as the live view shows them: laid over a picture, and as a scale of depth."""

import numpy as np
import pytest
from test_palette import SETS, VIENOT, lab_as_seen

from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import depth_colours

#: The default opacity of the view, and a dark, a middle and a light surface below.
OPACITY, SURFACES = 0.6, (40, 128, 215)


@pytest.mark.parametrize("labels", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize(("sight", "least"), [("normal", 18), ("protanopia", 11),
                                              ("deuteranopia", 11)])  # fmt: skip
def test_neighbouring_classes_look_different_over_a_picture(labels, sight, least):
    colours = palette(labels.name)[: len(labels)]
    for surface in SURFACES:
        mixed = np.rint(OPACITY * colours + (1 - OPACITY) * surface).astype(np.uint8)
        lab = lab_as_seen(mixed, sight)
        close = {
            (labels.classes[a], labels.classes[b]): round(float(np.linalg.norm(lab[a] - lab[b])), 1)
            for a, b in labels.neighbours
            if np.linalg.norm(lab[a] - lab[b]) < least
        }
        assert not close, surface


@pytest.mark.parametrize("sight", VIENOT)
def test_every_step_of_the_depth_map_is_lighter_for_every_eye(sight):
    lightness = lab_as_seen(depth_colours()[1:], sight)[:, 0]  # far, dark, to near, light
    steps = np.diff(lightness)
    assert steps.min() > -0.05 and lightness[-1] - lightness[0] > 90
    # Perceptually even: no tenth of the map holds more than a fifth of the lightness.
    tenths = np.add.reduceat(steps, np.arange(0, len(steps), len(steps) // 10 + 1))
    assert tenths.max() < 0.2 * (lightness[-1] - lightness[0])
