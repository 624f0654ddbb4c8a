# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of moments: what is where, and what colours mean."""

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from m3vit_pynq import drawing
from m3vit_pynq.labels import NYUD39
from m3vit_pynq.live.compose import Composed, Composer, Rect, fitted, read_out, relief
from m3vit_pynq.live.moment import Moment, Shot
from m3vit_pynq.live.settings import MODES, ViewSettings
from m3vit_pynq.palette import palette
from m3vit_pynq.result import Result
from m3vit_pynq.tasks import INDOOR_SCALE, DepthScale

FRAME = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
WALL, FLOOR, CHAIR = (NYUD39.classes.index(name) for name in ("wall", "floor", "chair"))


def classes() -> np.ndarray:
    """Wall above, floor below, a chair at the left of it."""
    ids = np.full((96, 128), WALL, np.uint8)
    ids[48:] = FLOOR
    ids[60:90, 8:60] = CHAIR
    return ids


def depths() -> np.ndarray:
    """1 m at the left to 5 m at the right."""
    return np.tile(np.linspace(1000, 5000, 128).astype(np.uint16), (96, 1))


def moment(*tasks: str, frame=FRAME) -> Moment:
    results = {
        "segmentation": Result("segmentation", classes(), 0, 0.0, 0, "segmentation", "nyud39"),
        "depth": Result("depth", depths(), 0, 0.0, 0, "depth"),
    }
    shots = {task: Shot(frame, results[task], 0.0) for task in tasks}
    return Moment(1, shots, shots[tasks[-1]], "camera 0")


def plain(**values) -> ViewSettings:
    return ViewSettings(names=False, strips=False, **values)


@pytest.mark.parametrize(
    ("tasks", "mode", "panels"),
    [
        (("segmentation",), "overlay", 1),
        (("depth",), "result", 1),
        (("depth",), "side by side", 2),
        (("segmentation", "depth"), "overlay", 2),
        (("segmentation", "depth"), "side by side", 3),
    ],
)
def test_panels_stand_beside_each_other_with_the_frames_aspect(tasks, mode, panels):
    composed = Composer().compose(moment(*tasks), plain(mode=mode))
    assert len(composed.panels) == panels
    assert composed.pixels.dtype == np.uint8 and composed.pixels.shape[2] == 3
    right = 0
    for panel in composed.panels:
        assert panel.left >= right and panel.top == 0
        assert panel.width / panel.height == pytest.approx(640 / 480, rel=0.01)
        right = panel.left + panel.width
    assert right == composed.pixels.shape[1]
    # All pictures cost about as much to code and to send.
    assert composed.pixels.size <= 1.4 * FRAME.size


def test_result_alone_has_the_colours_of_the_classes():
    pixels = Composer().compose(moment("segmentation"), plain(mode="result")).pixels
    colours = palette("nyud39")
    for (y, x), index in {(20, 20): WALL, (470, 600): FLOOR, (400, 150): CHAIR}.items():
        assert tuple(pixels[y, x]) == tuple(colours[index])


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.75, 1.0])
def test_opacity_mixes_frame_and_class_colour(opacity):
    pixels = Composer().compose(moment("segmentation"), plain(opacity=opacity)).pixels
    for (y, x), index in {(20, 20): WALL, (470, 600): FLOOR, (400, 150): CHAIR}.items():
        expected = (1 - opacity) * FRAME[y, x] + opacity * palette("nyud39")[index]
        assert np.abs(pixels[y, x] - expected).max() <= 1


def test_the_border_between_classes_is_darker_than_both_sides():
    pixels = Composer().compose(moment("segmentation"), plain(mode="result")).pixels
    column = pixels[200:280, 600].astype(int).sum(axis=1)
    inside = min(column[0], column[-1])
    assert column.min() < inside - 100
    assert (column < inside - 100).sum() <= 6


def test_depth_alone_gets_darker_with_distance_and_is_what_the_scale_says():
    pixels = Composer().compose(moment("depth"), plain(mode="result", point=(0, 0))).pixels
    row = cv2.cvtColor(pixels[300:301], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(row) <= 1).all() and row[10] - row[-10] > 80
    bar = drawing.depth_bar(640)
    for x in (100, 320, 600):
        metres = float(np.interp(x * 128 / 640, np.arange(128), np.linspace(1, 5, 128)))
        place = 14 + int(INDOOR_SCALE.position(metres) * (640 - 46 - 14 - 1))
        assert np.abs(pixels[300, x].astype(int) - bar[14, place].astype(int)).max() <= 6


def test_depth_over_the_frame_keeps_its_colour_on_average_and_shows_structure():
    stripes = np.repeat(np.where(np.arange(640) // 8 % 2, 150, 90)[None], 480, 0).astype(np.uint8)
    frame = np.dstack([stripes] * 3)
    colour = np.full_like(frame, (200, 60, 90))
    shown = relief(frame, colour, 0.6)
    share = 0.6**0.5
    expected = share * np.array((200, 60, 90)) + (1 - share) * 120
    assert np.abs(shown[100:380, 80:560].mean(axis=(0, 1)) - expected).max() < 3
    assert shown[240, 80:560, 1].std() > 10
    np.testing.assert_array_equal(relief(frame, colour, 1.0), colour)
    grey = relief(frame, colour, 0.0)
    assert np.abs(grey.astype(int) - frame).max() <= 1
    hue = colorsys.rgb_to_hsv(*shown[240, 320])[0]
    assert abs(hue - colorsys.rgb_to_hsv(200, 60, 90)[0]) < 0.03


def test_the_point_is_read_in_every_panel():
    settings = plain(mode="side by side", point=(0.25, 0.75))
    composed = Composer().compose(moment("segmentation", "depth"), settings)
    metres = depths()[24, 96] / 1000
    assert [reading.text for reading in composed.readings] == ["wall", f"{metres:.1f} m"]
    assert composed.readings[1].metres == pytest.approx(metres)
    for panel in composed.panels:
        y, x = panel.top + 0.25 * panel.height, panel.left + 0.75 * panel.width
        found = composed.point_at(y / composed.pixels.shape[0], x / composed.pixels.shape[1])
        assert found == pytest.approx((0.25, 0.75), abs=0.01)


def test_a_click_beside_the_panels_is_no_point():
    composed = Composed(np.zeros((100, 204, 3), np.uint8), (Rect(0, 0, 80, 100),
                                                            Rect(0, 104, 80, 100)))  # fmt: skip
    assert composed.point_at(0.9, 0.2) is None  # in the strip below
    assert composed.point_at(0.4, 102 / 204) is None  # in the gap
    assert composed.point_at(0.4, 154 / 204) == pytest.approx((0.5, 0.5))


def test_unknown_depth_is_said():
    far = Result("depth", np.zeros((4, 4), np.uint16), 0, 0.0, 0, "depth")
    assert read_out(far, (0.5, 0.5)).text == "unknown"
    assert read_out(far, (1.0, 1.0)).metres is None


def test_strips_hold_legend_and_scale_below_their_panels():
    both = moment("segmentation", "depth")
    bare = Composer().compose(both, plain()).pixels
    full = Composer().compose(both, replace(plain(), strips=True)).pixels
    assert full.shape[0] == bare.shape[0] + drawing.STRIP_HEIGHT
    np.testing.assert_array_equal(full[: bare.shape[0]], bare)
    below = full[bare.shape[0] :]
    half = below.shape[1] // 2
    swatches = {tuple(c) for c in below[:, :half].reshape(-1, 3)}
    assert {tuple(palette("nyud39")[i]) for i in (WALL, FLOOR, CHAIR)} <= swatches
    assert below[14, half + 30 : -60].std() > 20  # the ramp of the scale


def test_classes_in_view_with_their_shares():
    composed = Composer().compose(moment("segmentation", "depth"), plain())
    area = 30 * 52 / (96 * 128)
    assert composed.label_set == "nyud39"
    assert dict(composed.classes) == pytest.approx({WALL: 0.5, FLOOR: 0.5 - area, CHAIR: area})
    assert Composer().compose(moment("depth"), plain()).classes == ()


def test_names_stand_inside_their_regions_and_do_not_dance():
    ids, places = classes(), {}
    for _ in range(2):
        found = drawing.place_names(ids, NYUD39, (480, 640), places=places)
        assert {name for name, _, _ in found} == {"wall", "floor", "chair"}
        for name, left, base in found:
            high, wide = drawing.text_size(name)
            box = ids[
                int((base - high) / 5) : int(base / 5) + 1,
                int(left / 5) : int((left + wide) / 5) + 1,
            ]
            assert (box == NYUD39.classes.index(name)).all()
    before = dict(places)
    ids[:, 100:] = NYUD39.classes.index("door")  # the roomiest place moves, the old one still fits
    drawing.place_names(ids, NYUD39, (480, 640), places=places)
    assert all(places[i] == before[i] for i in before if ids[before[i]] == i)
    ids[60:90, 8:60] = FLOOR
    drawing.place_names(ids, NYUD39, (480, 640), places=places)
    assert CHAIR not in places


@pytest.mark.parametrize("shape", [(12, 16), (9, 13), (30, 41)])
def test_names_of_coarse_results_stay_inside_region_and_picture(shape):
    rng = np.random.default_rng(shape[0])
    for _ in range(20):
        blocks = rng.integers(0, 39, (3, 4), np.uint8)
        ids = cv2.resize(blocks, shape[::-1], interpolation=cv2.INTER_NEAREST)
        large = cv2.resize(ids, (640, 480), interpolation=cv2.INTER_NEAREST)
        for name, left, base in drawing.place_names(ids, NYUD39, (480, 640)):
            high, wide = drawing.text_size(name)
            assert left >= 0 and base - high >= 0 and left + wide <= 640 and base <= 480
            inside = large[base - high : base, left : left + wide]
            assert (inside == NYUD39.classes.index(name)).all(), name


def test_names_leave_the_corner_of_the_tag_free():
    ids = np.full((96, 128), FLOOR, np.uint8)
    ids[:12, :30] = WALL  # large enough for its name, were it not for the tag
    assert any(n == "wall" for n, _, _ in drawing.place_names(ids, NYUD39, (480, 640)))
    names = drawing.place_names(ids, NYUD39, (480, 640), corner=(40, 120))
    assert not any(name == "wall" for name, _, _ in names)


@pytest.mark.parametrize("shape", [(480, 640), (720, 1280), (1080, 1920), (90, 160), (33, 47)])
@pytest.mark.parametrize("mode", MODES)
def test_frames_of_any_size(shape, mode):
    frame = np.full((*shape, 3), 128, np.uint8)
    composed = Composer().compose(moment("segmentation", "depth", frame=frame), plain(mode=mode))
    panel = composed.panels[0]
    assert panel.width / panel.height == pytest.approx(shape[1] / shape[0], rel=0.02)


def test_a_caption_at_the_border_stays_in_the_picture():
    for point in ((0.0, 0.0), (0.0, 0.999), (0.999, 0.999), (0.999, 0.0)):
        picture = np.zeros((100, 200, 3), np.uint8)
        drawing.mark_point(picture, point, "12.5 m")
        high, wide = drawing.text_size("12.5 m")
        rows, columns = np.nonzero(picture.max(axis=2) > 128)
        assert np.ptp(columns) >= wide - 4 and np.ptp(rows) >= high - 2


def test_a_frame_is_only_made_smaller_as_far_as_needed():
    assert fitted(FRAME, 360).shape == (360, 480, 3)
    assert fitted(FRAME, 480).shape == (480, 640, 3)
    assert fitted(FRAME, 120).shape == (120, 160, 3)
    assert fitted(FRAME, 960).shape == (960, 1280, 3)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "sideways"}, {"opacity": 1.2}, {"opacity": float("nan")}, {"point": (0.5, 2.0)},
     {"point": (0.5,)}, {"height": 3}, {"quality": 0}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(ValueError):
        ViewSettings(**wrong)


def test_another_scale_of_depth():
    street = Composer(DepthScale(2.0, 100.0)).compose(moment("depth"), plain(mode="result")).pixels
    room = Composer().compose(moment("depth"), plain(mode="result")).pixels
    assert street.mean() > room.mean()  # 5 m are near in a street


def test_a_notice_says_its_text():
    empty = drawing.notice((480, 640), "")
    picture = drawing.notice((480, 640), "plug a camera in " * 12, "waiting")
    assert picture.shape == (480, 640, 3)
    changed = np.nonzero((picture != empty).any(axis=2))
    assert np.ptp(changed[0]) > 60 and changed[1].max() < 632
