# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The PyTorch side of the benchmark does the same work as the accelerator."""

import numpy as np
import pytest

from m3vit_pynq.bench.competitors import TORCH, torch_runner
from m3vit_pynq.bench.speed import compare
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.overlay import M3ViTOverlay

CONFIG = get_config("micro")
FRAME = np.random.default_rng(0).integers(0, 255, (*CONFIG.image_size, 3), dtype=np.uint8)


def test_torch_gives_results_of_the_same_shape_and_kind():
    package = random_package(CONFIG)
    run = torch_runner(CONFIG)
    for task in CONFIG.task_names:
        result = run(FRAME, task)
        assert result.shape == package.task(task).output_shape
        assert result.dtype == (np.uint8 if task == "segmentation" else np.float32)
    np.testing.assert_array_equal(run(FRAME, "depth"), run(FRAME, "depth"))


def test_both_are_timed_in_turn(monkeypatch):
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    with M3ViTOverlay(random_package(CONFIG)) as overlay:
        found = compare(overlay, FRAME, 3, {TORCH: torch_runner(CONFIG, 1)})
    assert set(found) == set(CONFIG.task_names)
    for comparison in found.values():
        assert (
            len(comparison.emulated.milliseconds) == len(comparison.others[TORCH].milliseconds) == 3
        )
        ratios = [
            a / b
            for a, b in zip(
                comparison.others[TORCH].milliseconds,
                comparison.emulated.milliseconds,
                strict=True,
            )
        ]
        assert comparison.ratio_torch == pytest.approx(sorted(ratios)[1])
