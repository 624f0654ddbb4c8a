# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Metrics and losses against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.training.evaluate import evaluate
from m3vit_pynq.training.losses import (
    balance_loss,
    depth_loss,
    margin_loss,
    relative_gap,
    segmentation_loss,
)
from m3vit_pynq.training.model import M3ViT, RouterRecord


def test_a_perfect_model_scores_perfectly(micro, frames):
    class Perfect(M3ViT):
        def forward(self, images, task=None):
            row, self.row = self.row, self.row + len(images)
            labels = torch.from_numpy(frames.labels[row : self.row].astype(np.int64))
            labels[labels == 255] = 0
            logits = torch.nn.functional.one_hot(labels, 13).permute(0, 3, 1, 2).float()
            metres = np.stack([frames.metres(i) for i in range(row, self.row)])
            return {"segmentation": logits, "depth": torch.from_numpy(metres).log().unsqueeze(1)}

    model = Perfect(micro)
    model.row = 0
    result = evaluate(model, frames, batch=3, progress=lambda x: x)
    assert result["segmentation"] == {"miou": 1.0, "pixel_accuracy": 1.0}
    assert result["depth"]["rmse"] < 1e-5
    assert result["depth"]["delta1"] == 1.0


def test_segmentation_loss_leaves_unknown_pixels_out():
    logits = torch.randn(1, 3, 2, 2)
    labels = torch.tensor([[[0, 255], [2, 255]]])
    log_p = logits.log_softmax(1)
    expected = -(log_p[0, 0, 0, 0] + log_p[0, 2, 1, 0]) / 2
    assert segmentation_loss(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    assert segmentation_loss(logits, torch.full((1, 2, 2), 255)).item() == 0.0


def test_depth_loss_leaves_unknown_pixels_out():
    log_depth = torch.log(torch.tensor([[[[2.0, 5.0], [1.0, 3.0]]]]))
    metres = torch.tensor([[[4.0, 0.0], [1.0, 3.0]]])
    expected = (math.log(2) + 0.3 * 2.0) / 3
    assert depth_loss(log_depth, metres).item() == pytest.approx(expected, rel=1e-5)
    assert depth_loss(log_depth, torch.zeros(1, 2, 2)).item() == 0.0


def _record(logits, k):
    return RouterRecord(0, logits, logits.softmax(1), logits.topk(k, dim=1).indices)


def test_relative_gap_is_the_gap_over_the_spread():
    logits = torch.tensor([[4.0, 3.0, 1.0, 0.0]])
    expected = 2.0 / np.std([4, 3, 1, 0], ddof=1)
    assert relative_gap(logits, 2).item() == pytest.approx(expected)
    assert relative_gap(10 * logits, 2).item() == pytest.approx(expected)
    assert torch.isinf(relative_gap(logits, 4)).all()
    assert margin_loss(_record(logits, 2), 2.0).item() == pytest.approx(2.0 - expected, abs=1e-6)


def test_balance_loss_prefers_even_use():
    even = torch.eye(4).repeat(5, 1) * 3.0
    uneven = torch.eye(4)[[0] * 17 + [1, 2, 3]] * 3.0
    assert balance_loss(_record(even, 1), 0.05).item() == pytest.approx(0.0, abs=1e-6)
    assert balance_loss(_record(uneven, 1), 0.05).item() > 0.5
