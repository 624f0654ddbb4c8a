# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Colours of the views, smaller views at first, shares of a batch, frames held out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from m3vit_pynq.training.augment import AugmentConfig, jitter_colour
from m3vit_pynq.training.dataset import Batch, Batches, DatasetError, Stage
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.split import select, training_rows

STILL = AugmentConfig(
    brightness=0, gamma=0, saturation=0, white_balance=0, noise=0, blur=0, darker=1
)


def _views(config, image, count=200, seed=0):
    rng = np.random.default_rng(seed)
    return [jitter_colour(image, rng, config) for _ in range(count)]


def test_nothing_changes_without_jitter():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for view in _views(STILL, image, 20):
        assert np.abs(view.astype(int) - image).max() <= 1


def test_dark_views_go_further_down_than_up():
    """Gains within exp(+-0.3), and a quarter of the draws down to exp(-0.9)."""
    image = np.full((4, 4, 3), 100, np.uint8)
    config = dataclasses.replace(STILL, brightness=0.3, darker=3.0)
    gains = np.array([view.mean() / 100 for view in _views(config, image, 2000)])
    assert np.exp(-0.9) - 0.01 < gains.min() < np.exp(-0.8)
    assert np.exp(0.25) < gains.max() < np.exp(0.3) + 0.01
    # Below exp(-0.3): a quarter of the views have a range of 1.2, of which half lies there.
    assert np.mean(gains < np.exp(-0.3)) == pytest.approx(0.25 * 0.5, abs=0.03)


def test_white_balance_tints_each_channel_by_itself():
    image = np.full((4, 4, 3), 100, np.uint8)
    config = dataclasses.replace(STILL, white_balance=0.1)
    means = np.array([view.mean((0, 1)) for view in _views(config, image)])
    assert 89 <= means.min() < 92
    assert 108 < means.max() <= 111
    assert np.abs(np.corrcoef(means.T)[np.triu_indices(3, 1)]).max() < 0.25


def test_noise_is_in_a_third_of_the_views_and_no_larger_than_asked():
    image = np.full((40, 40, 3), 128, np.uint8)
    config = dataclasses.replace(STILL, noise=12.0)
    deviations = np.array([view.std() for view in _views(config, image, 400)])
    assert np.mean(deviations > 0.1) == pytest.approx(1 / 3, abs=0.08)
    assert 9 < deviations.max() < 13
    means = np.array([view.mean() for view in _views(config, image, 400)])
    assert np.abs(means - 128).max() < 1.0  # rounding must not shift the level


def test_blur_keeps_the_mean_and_softens_edges():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 200
    config = dataclasses.replace(STILL, blur=1.0)
    for view in _views(config, image, 20):
        steps = np.abs(np.diff(view[:, :, 0].astype(int), axis=1)).max()
        assert 60 < steps < 200
        assert view.mean() == pytest.approx(100, abs=1.5)


def test_stages_have_sizes_of_their_own(frames):
    stages = (Stage(2, (16, 24), (8, 12)), Stage(1, (24, 32), (12, 16)))
    batches = Batches(frames, range(8), (32, 48), (16, 24), 4, 0, AugmentConfig(), stages)
    wanted = {0: (16, 24), 1: (16, 24), 2: (24, 32), 3: (32, 48), 9: (32, 48)}
    for epoch, size in wanted.items():
        target = (size[0] // 2, size[1] // 2)
        batch = next(batches.epoch(epoch))
        assert batch.images.shape == (4, 3, *size)
        assert batch.labels.shape == batch.metres.shape == (4, *target)


def test_a_model_takes_other_sizes_with_resampled_positions(micro_dense):
    """On a grid of half the size a bilinear resample is the mean of two by two."""
    model = M3ViT(micro_dense).eval()
    rows, columns = micro_dense.grid
    found = model.backbone.positions((rows // 2, columns // 2))
    own = model.backbone.pos_embed[0].detach().numpy()
    means = own[1:].reshape(rows // 2, 2, columns // 2, 2, -1).mean((1, 3))
    assert np.allclose(found[0, 0].detach(), own[0])
    assert np.allclose(found[0, 1:].detach(), means.reshape(-1, means.shape[-1]), atol=1e-6)
    assert model.backbone.positions(micro_dense.grid) is model.backbone.pos_embed
    images = torch.zeros(1, 3, 16, 24, dtype=torch.uint8)
    assert model(images)["depth"].shape == (1, 1, 4, 6)


@pytest.mark.parametrize("augment", [None, AugmentConfig()])
def test_processes_have_disjoint_shares_of_the_same_batch(frames, augment):
    def make(index, count):
        batches = Batches(frames, range(8), (32, 48), (16, 24), 4, 7, augment, share=(index, count))
        return list(batches.epoch(1))

    whole, parts = make(0, 1), [make(index, 2) for index in range(2)]
    for step, batch in enumerate(whole):
        for name in ("images", "labels", "metres"):
            together = torch.cat([getattr(part[step], name) for part in parts])
            assert torch.equal(together, getattr(batch, name))


def test_a_batch_that_cannot_be_shared_is_refused(frames):
    with pytest.raises(DatasetError, match="a batch of 4 cannot be shared by 3 processes"):
        Batches(frames, range(8), (32, 48), (16, 24), 4, 0, None, share=(0, 3))
    with pytest.raises(DatasetError, match="8 frames are fewer than one batch of 9"):
        Batches(frames, range(8), (32, 48), (16, 24), 9, 0, None)


def test_batches_go_to_a_device_and_into_parts():
    batch = Batch(torch.zeros(4, 3, 2, 2), torch.zeros(4, 2, 2), torch.arange(4.0).view(4, 1, 1))
    moved = batch.to(torch.device("meta"))
    assert {t.device.type for t in (moved.images, moved.labels, moved.metres)} == {"meta"}
    assert [part.metres.flatten().tolist() for part in batch.split(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="a batch of 4 cannot be cut into 3 parts"):
        batch.split(3)


@pytest.mark.parametrize(
    ("count", "held"), [(795, 120), (795, 100), (795, 1), (10, 7), (10, 9), (8, 6)]
)
def test_held_out_frames_are_runs_of_neighbours(count, held):
    rows, kept_back = training_rows(range(count), held)
    assert len(kept_back) == held
    assert sorted([*rows, *kept_back]) == list(range(count))
    runs = 1 + int((np.diff(np.sort(kept_back)) > 1).sum())
    assert runs <= 5
    if held >= 100:
        assert runs == 5
        assert {kept_back.min(), kept_back.max()} == {0, count - 1}


def test_holding_out_everything_is_refused(frames):
    assert len(training_rows(frames, 0)[1]) == 0
    with pytest.raises(DatasetError, match="cannot hold out 8 of 8 frames"):
        training_rows(frames, 8)


def test_selected_frames_keep_their_parts_together(frames):
    chosen = select(frames, np.array([5, 2]))
    assert chosen.ids == (frames.ids[5], frames.ids[2])
    assert np.array_equal(chosen.images[1], frames.images[2])
    assert np.array_equal(chosen.labels[0], frames.labels[5])
    assert np.array_equal(chosen.metres(0), frames.metres(5))
