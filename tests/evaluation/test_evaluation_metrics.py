# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Metrics against counts done pixel by pixel."""

import math

import numpy as np
import pytest

from m3vit_pynq.evaluation.metrics import DepthMetrics, SegmentationMetrics


def test_miou_and_accuracy_match_counting_by_hand():
    label = np.array([[0, 0, 1, 1], [2, 2, 255, 0]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [2, 0, 0, 0]], np.uint8)
    metrics = SegmentationMetrics(4)
    metrics.add(predicted, label)
    # class 0: hit 2, union 4; class 1: hit 2, union 3; class 2: hit 1, union 2; 3 never occurs
    assert metrics.iou[:3] == pytest.approx([2 / 4, 2 / 3, 1 / 2])
    assert math.isnan(metrics.iou[3])
    assert metrics.summary()["miou"] == pytest.approx((0.5 + 2 / 3 + 0.5) / 3)
    assert metrics.summary()["pixel_accuracy"] == pytest.approx(5 / 7)


def test_segmentation_over_two_frames_is_one_count():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 5, (2, 9, 7)).astype(np.uint8)
    predicted = rng.integers(0, 5, (2, 9, 7)).astype(np.uint8)
    metrics = SegmentationMetrics(5)
    for one, other in zip(predicted, label, strict=True):
        metrics.add(one, other)
    for c in range(5):
        both = int(((predicted == c) & (label == c)).sum())
        either = int(((predicted == c) | (label == c)).sum())
        assert metrics.iou[c] == pytest.approx(both / either)


def test_depth_errors_match_a_loop():
    truth = np.array([[1.0, 2.0], [0.0, 4.0]])
    predicted = np.array([[1.5, 2.0], [9.0, 3.0]])
    metrics = DepthMetrics()
    metrics.add(predicted, truth)
    pairs = [(1.5, 1.0), (2.0, 2.0), (3.0, 4.0)]
    summary = metrics.summary()
    assert summary["rmse"] == pytest.approx(math.sqrt(sum((p - t) ** 2 for p, t in pairs) / 3))
    assert summary["absrel"] == pytest.approx(sum(abs(p - t) / t for p, t in pairs) / 3)
    assert summary["log10"] == pytest.approx(sum(abs(math.log10(p / t)) for p, t in pairs) / 3)
    assert summary["delta1"] == pytest.approx(1 / 3)


def test_rmse_is_over_pixels_and_its_frame_mean_over_frames():
    metrics = DepthMetrics()
    metrics.add(np.array([[2.0]]), np.array([[1.0]]))
    metrics.add(np.array([[1.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 1.0]]))
    summary = metrics.summary()
    assert summary["rmse"] == pytest.approx(0.5)
    assert summary["rmse_frame_mean"] == pytest.approx(0.5)
    metrics.add(np.array([[3.0]]), np.array([[1.0]]))
    assert metrics.summary()["rmse"] == pytest.approx(1.0)
    assert metrics.summary()["rmse_frame_mean"] == pytest.approx(1.0)
