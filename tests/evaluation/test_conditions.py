# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Conditions: what they do to a frame, its labels and its depth."""

import numpy as np
import pytest

from m3vit_pynq.evaluation.conditions import CONDITIONS
from m3vit_pynq.evaluation.dataset import LabelledFrame

GEOMETRIC = ("mirrored", "turned-left", "turned-right", "nearer", "farther")
PHOTOMETRIC = tuple(name for name in CONDITIONS if name not in GEOMETRIC)


def frame_of(label, image=None, metres=2.0, name="0007"):
    if image is None:
        image = np.repeat((label[:, :, None] * 200).astype(np.uint8), 3, axis=2)
    depth = np.full(label.shape, metres, np.float32)
    return LabelledFrame(name, image, label, depth, label13=(label * 2).astype(np.uint8))


def box(rows, columns):
    label = np.zeros((480, 640), np.uint8)
    label[rows, columns] = 1
    return label


def centre_of(mask):
    rows, columns = np.nonzero(mask)
    return rows.mean(), columns.mean()


def test_the_issues_conditions_are_there():
    assert set(GEOMETRIC) < set(CONDITIONS)
    assert {"dark-50", "dark-25", "noise-10", "noise-20", "blurred"} < set(PHOTOMETRIC)


@pytest.mark.parametrize("name", CONDITIONS)
def test_labels_stay_on_their_pixels_and_nothing_is_changed_in_place(name):
    """The image shows its own labels, so whatever moves must move together."""
    before = frame_of(box(slice(100, 300), slice(150, 420)))
    kept = before.image.copy(), before.label.copy(), before.metres.copy()
    after = CONDITIONS[name].apply(before)
    for array, copy in zip((before.image, before.label, before.metres), kept, strict=True):
        assert np.array_equal(array, copy)
    assert after.image.shape == (480, 640, 3) and after.image.dtype == np.uint8
    assert after.label.shape == after.metres.shape == after.label13.shape == (480, 640)
    known = after.label != 255
    shown = after.image[:, :, 0] > int(after.image.max()) / 2
    agree = shown == (after.label == 1)
    assert agree[known].mean() > (0.93 if name in ("noise-20", "dark-noisy") else 0.99)
    assert np.array_equal(after.label13[known], after.label[known] * 2)
    assert np.array_equal(after.label13 == 255, ~known)
    assert np.array_equal(after.metres > 0, known)
    assert after.metres.dtype == np.float32


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_same_frame_gives_the_same_frame(name):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (480, 640, 3), np.uint8)
    first, again = (
        CONDITIONS[name].apply(frame_of(box(slice(9), slice(9)), image)) for _ in range(2)
    )
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label, again.label)


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_light_and_noise_leave_labels_and_depth_alone(name):
    before = frame_of(box(slice(50, 90), slice(60, 200)))
    after = CONDITIONS[name].apply(before)
    assert after.label is before.label and after.metres is before.metres
    assert after.label13 is before.label13
    assert not np.array_equal(after.image, before.image)


def test_mirrored_is_its_own_inverse_and_moves_the_left_to_the_right():
    before = frame_of(box(slice(0, 480), slice(0, 100)))
    after = CONDITIONS["mirrored"].apply(before)
    assert centre_of(after.label == 1)[1] == pytest.approx(639 - centre_of(before.label == 1)[1])
    assert np.array_equal(CONDITIONS["mirrored"].apply(after).image, before.image)


def test_gain_and_gamma_by_hand():
    image = np.full((480, 640, 3), 100, np.uint8)
    label = box(slice(9), slice(9))
    values = {
        name: int(CONDITIONS[name].apply(frame_of(label, image)).image[5, 5, 1])
        for name in ("dark-50", "dark-25", "gamma")
    }
    assert values == {"dark-50": 50, "dark-25": 25, "gamma": round(255 * (100 / 255) ** 1.8)}


@pytest.mark.parametrize("sigma", [10, 20])
def test_noise_has_the_size_it_says_and_follows_the_name(sigma):
    image = np.full((480, 640, 3), 128, np.uint8)
    label = box(slice(9), slice(9))
    noisy = [
        CONDITIONS[f"noise-{sigma}"].apply(frame_of(label, image, name=name)).image.astype(int)
        for name in ("0001", "0002")
    ]
    for picture in noisy:
        assert np.std(picture - 128) == pytest.approx(sigma, rel=0.02)
        assert np.mean(picture) == pytest.approx(128, abs=0.1)
    assert not np.array_equal(*noisy)


@pytest.mark.parametrize(("name", "degrees"), [("turned-left", 5.0), ("turned-right", -5.0)])
def test_turns_are_about_the_middle_and_counter_clockwise(name, degrees):
    spot = box(slice(230, 250), slice(560, 580))  # right of the middle, at its height
    after = CONDITIONS[name].apply(frame_of(spot))
    y, x = centre_of(after.label == 1)
    angle = np.degrees(np.arctan2(239.5 - y, x - 319.5))  # y points down
    assert angle == pytest.approx(degrees, abs=0.2)
    assert np.hypot(239.5 - y, x - 319.5) == pytest.approx(250, abs=1.0)
    assert after.metres.max() == 2.0
    # The corners come from outside: made-up pixels, no label, no depth.
    assert after.label[0, 0] == 255 and after.label[0, -1] == 255
    assert after.metres[-1, 0] == 0.0


def test_nearer_enlarges_the_middle_and_the_depth_shrinks_with_it():
    spot = box(slice(210, 270), slice(280, 360))
    after = CONDITIONS["nearer"].apply(frame_of(spot, metres=4.0))
    rows, columns = np.nonzero(after.label == 1)
    assert rows.max() - rows.min() + 1 == pytest.approx(60 / 0.75, abs=1)
    assert columns.max() - columns.min() + 1 == pytest.approx(80 / 0.75, abs=1)
    assert np.all(after.label != 255)
    assert np.allclose(after.metres, 3.0)


def test_farther_shrinks_the_frame_and_leaves_a_margin_without_labels():
    spot = box(slice(200, 280), slice(240, 400))
    after = CONDITIONS["farther"].apply(frame_of(spot, metres=4.0))
    rows, columns = np.nonzero(after.label == 1)
    assert rows.max() - rows.min() + 1 == pytest.approx(80 * 0.8, abs=1)
    assert columns.max() - columns.min() + 1 == pytest.approx(160 * 0.8, abs=1)
    known = after.label != 255
    # 460 x 620 pixels without the white margin, at four fifths.
    assert known.sum() == pytest.approx(460 * 620 * 0.64, rel=0.01)
    assert np.allclose(after.metres[known], 5.0)
    assert np.all(after.metres[~known] == 0)
    assert after.image[0].max() < 255


def test_frames_without_labels_pass_through():
    depth = np.full((480, 640), 2.0, np.float32)
    for condition in CONDITIONS.values():
        after = condition.apply(LabelledFrame("1", np.zeros((480, 640, 3), np.uint8), None, depth))
        assert after.label is None and after.label13 is None
