# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Expert choices against the float model, and against the accelerator's result."""

import numpy as np
import pytest

from m3vit_pynq.compiler.build import compile_checkpoint, random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import FrameError
from m3vit_pynq.inspection import draw_choices, expert_choices
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]


@pytest.fixture(scope="module")
def trained_like():
    """A package and the float model of the same weights."""
    checkpoint = random_checkpoint(CONFIG, 3)
    package = compile_checkpoint(CONFIG, checkpoint, [FRAME], progress=False)
    return package, FloatModel(CONFIG, checkpoint)


@pytest.mark.parametrize("task", CONFIG.task_names)
def test_choices_are_those_of_the_float_model(trained_like, task):
    package, model = trained_like
    inspection = expert_choices(package, FRAME, task)
    routing = model.run(FRAME, task).routing
    assert [choice.layer for choice in inspection.choices] == [f"blocks.{b}" for b in routing]
    for choice, expected in zip(inspection.choices, routing.values(), strict=True):
        order = np.argsort(choice.experts, axis=1)
        experts = np.take_along_axis(choice.experts, order, axis=1)
        same = np.all(experts == expected.experts, axis=1)
        assert same.mean() > 0.9  # the rest are near ties
        gates = np.take_along_axis(choice.gates, order, axis=1)
        np.testing.assert_allclose(gates[same], expected.gates[same], atol=0.03)


def test_the_bookkeeping_of_choices(package):
    inspection = expert_choices(package, FRAME, "segmentation")
    rows, columns = CONFIG.grid
    for choice in inspection.choices:
        assert choice.experts.shape == choice.gates.shape == (CONFIG.tokens, CONFIG.top_k)
        assert choice.first_choice().shape == (rows, columns)
        assert choice.first_choice()[1, 2] == choice.experts[1 + columns + 2, 0]
        assert choice.load().sum() == CONFIG.tokens * CONFIG.top_k
        assert np.all(np.diff(choice.gates, axis=1) <= 0)
        assert all(len(set(row)) == CONFIG.top_k for row in choice.experts.tolist())


def test_the_result_is_the_accelerators(package):
    image = np.random.default_rng(0).integers(0, 255, (75, 91, 3), dtype=np.uint8)
    with M3ViTOverlay(package) as overlay:
        results = overlay.run(image)
    for task, result in results.items():
        np.testing.assert_array_equal(expert_choices(package, image, task).data, result.data)


def test_the_picture_has_a_row_for_each_task(package):
    inspections = [expert_choices(package, FRAME, task) for task in package.task_names]
    one, both = draw_choices(inspections[:1]), draw_choices(inspections)
    assert both.shape[0] == 2 * one.shape[0]
    np.testing.assert_array_equal(both[: one.shape[0]], one)


def test_bad_input(package):
    with pytest.raises(ValueError, match="segmentation, depth"):
        expert_choices(package, FRAME, "normals")
    with pytest.raises(FrameError):
        expert_choices(package, FRAME.astype(np.float32), "depth")
