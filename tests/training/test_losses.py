# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Weights of the classes and of the terms of the losses, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.training.dataset import Frames, count_classes
from m3vit_pynq.training.losses import (
    class_weights,
    depth_loss,
    segmentation_loss,
    task_losses,
)


def test_class_weights_by_hand():
    """Shares 0.8 and 0.2, power 0.5: 1/sqrt of them, scaled to a mean of one over pixels."""
    weights = class_weights(torch.tensor([80, 20, 0]), 0.5)
    raw = [0.8**-0.5, 0.2**-0.5, 0.2**-0.5]  # no pixel: as the rarest that has one
    mean = 0.8 * raw[0] + 0.2 * raw[1]
    assert weights.tolist() == pytest.approx([value / mean for value in raw], rel=1e-6)
    assert class_weights(torch.tensor([80, 20]), 0.0).tolist() == [1.0, 1.0]
    assert class_weights(torch.tensor([0, 0]), 0.5).isfinite().all()


def test_classes_are_counted_where_they_are():
    labels = np.full((2, 480, 640), 255, np.uint8)
    labels[0, :240] = 3
    labels[1] = 4
    frames = Frames(("a", "b"), np.empty((2, 480, 640, 3), np.uint8), labels, labels)
    assert count_classes(frames, [0], 6).tolist() == [0, 0, 0, 240 * 640 // 16, 0, 0]
    assert count_classes(frames, [1], 6).tolist() == [0, 0, 0, 0, 480 * 640 // 16, 0]


def test_weighted_cross_entropy_by_hand():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
    labels = [0, 2]
    weights = [0.5, 1.0, 4.0]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(0.5 * log_p[0, 0] + 4.0 * log_p[1, 2]) / 2  # over pixels, not over weights
    image = torch.tensor(logits.T, dtype=torch.float32).view(1, 3, 1, 2)
    found = segmentation_loss(image, torch.tensor([[labels]]), torch.tensor(weights))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_squared_depth_by_hand():
    """Prediction 2 m, truth 5 m: |log 0.4| + 0.3 * 3 + 0.1 * 9; an unknown pixel adds nothing."""
    log_depth = torch.log(torch.tensor([[[[2.0, 7.0]]]]))
    metres = torch.tensor([[[5.0, 0.0]]])
    expected = math.log(2.5) + 0.9
    assert depth_loss(log_depth, metres).item() == pytest.approx(expected, rel=1e-5)
    assert depth_loss(log_depth, metres, 0.1).item() == pytest.approx(expected + 0.9, rel=1e-5)


def test_settings_reach_the_losses(micro):
    outputs = {"segmentation": torch.randn(1, 13, 2, 3), "depth": torch.randn(1, 1, 2, 3)}
    labels, metres = torch.zeros(1, 2, 3, dtype=torch.int64), torch.full((1, 2, 3), 2.0)
    weights = torch.linspace(2, 3, 13)
    found = task_losses(micro, outputs, labels, metres, weights, 0.5)
    plain = task_losses(micro, outputs, labels, metres)
    assert found["segmentation"].item() == pytest.approx(2 * plain["segmentation"].item(), rel=1e-5)
    error = outputs["depth"].clamp(max=3.5).exp() - 2.0
    more = 0.5 * error.square().mean()
    assert (found["depth"] - plain["depth"]).item() == pytest.approx(more.item(), rel=1e-4)
