# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The three backends: what they predict, and what they know about the experts."""

import numpy as np
import pytest

from m3vit_pynq.compiler import compile_checkpoint
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.evaluation.predictors import BoardPredictor, FloatPredictor, IntegerPredictor
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.sources.frames import resized


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(4)
    return rng.integers(0, 256, (480, 640, 3), np.uint8)


@pytest.mark.parametrize("changes", [{}, {"shared_hidden": 64}, {"moe_blocks": ()}])
def test_board_and_specification_agree_on_results_and_on_experts(image, changes):
    config = get_config("micro", **changes)
    package = compile_checkpoint(
        config, random_checkpoint(config, 1), random_frames(config, 2), progress=False
    )
    integer = IntegerPredictor(package)
    with M3ViTOverlay(package=package) as overlay:
        board = BoardPredictor(overlay)
        assert board.backend == "emulated zcu104"
        for task in config.task_names:
            assert np.array_equal(board(image, task), integer(image, task))
            assert board.experts_used == integer.experts_used
            assert set(board.experts_used) == {f"blocks.{b}" for b in config.moe_blocks}


def test_experts_of_a_package_in_parts(image):
    config = get_config("micro", expert_hidden=128)
    package = compile_checkpoint(
        config, random_checkpoint(config, 2), random_frames(config, 2), progress=False,
        split_experts=True,
    )  # fmt: skip
    integer = IntegerPredictor(package)
    integer(image, "depth")
    with M3ViTOverlay(package=package) as overlay:
        board = BoardPredictor(overlay)
        board(image, "depth")
    assert board.experts_used == integer.experts_used
    assert set(integer.experts_used) == {"blocks.1", "blocks.3"}


def test_float_predictions_are_the_float_models(image):
    config = get_config("micro")
    checkpoint = random_checkpoint(config, 5)
    predict, model = FloatPredictor(config, checkpoint), FloatModel(config, checkpoint)
    frame = resized(image, config.image_size)
    classes = predict(image, "segmentation")
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, model.run(frame, "segmentation").classes())
    depth = predict(image, "depth")
    exact = model.run(frame, "depth")
    assert depth.dtype == np.uint16
    assert np.abs(depth / 1000 - exact.metres()).max() <= 0.0005 + 1e-6
    chosen = {f"blocks.{b}": set(r.experts.ravel()) for b, r in exact.routing.items()}
    assert predict.experts_used == {block: len(experts) for block, experts in chosen.items()}


def test_integers_use_the_experts_that_their_float_model_uses(image):
    """A random checkpoint routes decisively, so hardly any token changes its experts."""
    config = get_config("micro")
    checkpoint = random_checkpoint(config, 5)
    package = compile_checkpoint(config, checkpoint, random_frames(config, 4), progress=False)
    exact, integer = FloatPredictor(config, checkpoint), IntegerPredictor(package)
    for task in config.task_names:
        same = np.mean(exact(image, task) == integer(image, task))
        assert integer.experts_used.keys() == exact.experts_used.keys()
        for block, count in exact.experts_used.items():
            assert abs(integer.experts_used[block] - count) <= 1
        if task == "segmentation":
            assert same > 0.8
