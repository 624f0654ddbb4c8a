# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""From result arrays to pictures."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq import drawing, tasks
from m3vit_pynq.abi.isa import TaskKind
from m3vit_pynq.errors import FrameError
from m3vit_pynq.labels import NYUD13
from m3vit_pynq.palette import palette

RNG = np.random.default_rng(5)


def blobs(height, width, classes, seed=0):
    """Class ids in smooth regions."""
    noise = np.random.default_rng(seed).random((classes, height, width)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(n, (0, 0), 3) for n in noise]).argmax(0).astype(np.uint8)


def test_class_colours_pixel_by_pixel():
    ids = RNG.integers(0, 13, (6, 9), dtype=np.uint8)
    picture = tasks.colourise(ids, "segmentation", "nyud13")
    colours = palette("nyud13")
    for y in range(6):
        for x in range(9):
            assert tuple(picture[y, x]) == tuple(colours[ids[y, x]])


def test_depth_colours_pixel_by_pixel():
    scale = tasks.DepthScale(0.5, 8.0)
    depth = np.array([[0, 100, 500, 501], [1000, 2000, 7999, 65535]], np.uint16)
    picture = tasks.colourise(depth, TaskKind.DEPTH, scale=scale)
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_MAGMA)[:, 0, ::-1]
    for value, colour in zip(depth.ravel(), picture.reshape(-1, 3), strict=True):
        if value == 0:
            expected = tasks.UNKNOWN_DEPTH_COLOUR
        else:
            position = math.log(value / 1000 / 0.5) / math.log(8.0 / 0.5)
            expected = ramp[round(255 - 254 * min(1.0, max(0.0, position)))]
        assert tuple(colour) == tuple(expected)


def test_nearer_is_lighter():
    depth = np.linspace(600, 10000, 200).astype(np.uint16)[None]
    lightness = cv2.cvtColor(tasks.colourise(depth, "depth"), cv2.COLOR_RGB2LAB)[0, :, 0]
    assert (np.diff(lightness.astype(int)) <= 1).all()
    assert lightness[0] > lightness[-1] + 150


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000), height=st.integers(3, 20), width=st.integers(3, 20),
    up=st.floats(1.5, 5.0),
)  # fmt: skip
def test_enlarged_ids_follow_bilinear_masks(seed, height, width, up):
    """Against an argmax over float masks, wherever that is no near tie."""
    ids = np.random.default_rng(seed).integers(0, 5, (height, width), dtype=np.uint8)
    size = (int(height * up), int(width * up))
    enlarged = tasks.enlarge_ids(ids, size)
    side = math.exp(-0.5 / tasks.MASK_BLUR**2)
    taps = np.array([side, 1.0, side]) / (1 + 2 * side)
    masks = []
    for c in range(5):
        padded = np.pad((ids == c).astype(np.float64), 1, mode="edge")
        rows = sum(t * padded[k : k + height] for k, t in enumerate(taps))
        soft = sum(t * rows[:, k : k + width] for k, t in enumerate(taps))
        masks.append(cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR))
    masks = np.stack(masks)
    ranked = np.sort(masks, axis=0)
    clear = ranked[-1] - ranked[-2] > 0.03
    assert enlarged.shape == size
    np.testing.assert_array_equal(enlarged[clear], masks.argmax(0)[clear])


def test_enlarged_ids_at_the_same_size_and_smaller():
    ids = blobs(30, 40, 4)
    np.testing.assert_array_equal(tasks.enlarge_ids(ids, (30, 40)), ids)
    np.testing.assert_array_equal(tasks.enlarge_ids(ids, (15, 20)), ids[::2, ::2])


def test_depth_is_enlarged_bilinearly():
    depth = np.array([[1000, 3000]], np.uint16)
    enlarged = tasks.enlarge_depth(depth, (2, 8))
    # Sample points at pixel centres: output x is input (x + 0.5) / 4 - 0.5, clamped.
    places = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
    np.testing.assert_allclose(enlarged, np.tile(1000 + 2000 * places, (2, 1)), atol=1)


def test_classes_in_view_are_counted():
    ids = np.array([[3, 3, 3, 7], [3, 3, 7, 9]], np.uint8)
    assert tasks.classes_in_view(ids) == [(3, 0.625), (7, 0.25), (9, 0.125)]
    assert tasks.classes_in_view(ids, 0.2) == [(3, 0.625), (7, 0.25)]


def test_metres():
    data = np.array([[1, 2500, 65535]], np.uint16)
    metres = tasks.metres(data)
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, [[0.001, 2.5, 65.535]], rtol=1e-6)


def test_blend_mixes_and_resizes():
    frame = np.full((10, 20, 3), 200, np.uint8)
    colour = np.full((5, 10, 3), 100, np.uint8)
    assert np.all(tasks.blend(frame, colour, 0.25) == 175)
    np.testing.assert_array_equal(tasks.blend(frame, colour, 0.0), frame)
    with pytest.raises(ValueError, match="opacity"):
        tasks.blend(frame, colour, 1.5)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (np.zeros((4, 4), np.uint16), "segmentation"),
        (np.zeros((4, 4), np.uint8), "depth"),
        (np.zeros((4, 4, 3), np.uint8), "segmentation"),
        (np.zeros((0, 4), np.uint8), "segmentation"),
        (np.zeros((4, 4), np.float32), "depth"),
    ],
)
def test_wrong_arrays_are_refused(data, kind):
    with pytest.raises(FrameError, match="expected a uint"):
        tasks.colourise(data, kind, "nyud13")


def test_unknown_kind_and_scale():
    with pytest.raises(ValueError, match="segmentation, depth"):
        tasks.colourise(np.zeros((4, 4), np.uint8), "normals")
    with pytest.raises(ValueError, match="near < far"):
        tasks.DepthScale(5, 2)
    ticks = tasks.DepthScale(0.6, 10).ticks()
    assert ticks[0] >= 0.6
    assert ticks[-1] == 10
    assert list(ticks) == sorted(ticks)


def test_the_scale_follows_what_the_model_was_trained_on():
    assert tasks.depth_scale(["street"]).far > 50
    for scenes in ([], ["indoor"], ["indoor", "street"]):
        assert tasks.depth_scale(scenes) == tasks.INDOOR_SCALE


def test_names_lie_inside_their_regions():
    ids = np.zeros((60, 80), np.uint8)
    ids[5:30, 10:75] = 4
    ids[40:44, 2:5] = 9  # too small for its name
    size = (480, 640)
    placed = drawing.place_names(ids, NYUD13, size)
    assert {name for name, _, _ in placed} == {NYUD13.classes[0], NYUD13.classes[4]}
    for name, left, base in placed:
        high, wide = drawing.text_size(name)
        index = NYUD13.classes.index(name)
        region = ids[(base - high) // 8 : base // 8 + 1, left // 8 : (left + wide) // 8 + 1]
        assert np.all(region == index)


@pytest.mark.parametrize("kind", ["segmentation", "depth"])
@pytest.mark.parametrize("shape", [(480, 640), (271, 333), (90, 300), (300, 90)])
def test_annotated_pictures_have_even_sides_and_show_the_frame(kind, shape):
    frame = RNG.integers(0, 255, (*shape, 3), dtype=np.uint8)
    data = blobs(32, 44, 6)
    if kind == "depth":
        data = (data.astype(np.uint16) + 1) * 900
    picture = drawing.annotate(frame, data, kind, "nyud13", height=240, title="a title",
                               figures="12 ms", warning="not trained for this")  # fmt: skip
    assert picture.dtype == np.uint8
    assert picture.shape[0] % 2 == 0
    assert picture.shape[1] % 2 == 0
    half = picture.shape[1] // 2
    top = drawing.TITLE_HEIGHT
    np.testing.assert_array_equal(picture[top : top + 240, :half], drawing.fit(frame, 240))
    assert np.any(picture[top : top + 240, half:] != picture[top : top + 240, :half])


def test_the_legend_shows_each_class_in_its_colour_and_sums_up_the_rest():
    ids = np.repeat(np.arange(13, dtype=np.uint8), 20)[None]
    wide = drawing.legend(ids, "nyud13", 2400)
    narrow = drawing.legend(ids, "nyud13", 300)

    def shows(strip, colour):
        return np.any(np.all(strip == colour, axis=2))

    colours = palette("nyud13")
    assert all(shows(wide, colours[c]) for c in range(13))
    assert 0 < sum(shows(narrow, colours[c]) for c in range(13)) < 13


def test_the_depth_bar_runs_from_near_to_far():
    bar = drawing.depth_bar(640)
    ramp = tasks.depth_colours()
    assert tuple(bar[10, 14]) == tuple(ramp[255])
    assert tuple(bar[10, 640 - 47]) == tuple(ramp[1])
