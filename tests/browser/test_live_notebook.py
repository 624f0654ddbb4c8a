# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live notebook, run and clicked in a real browser."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest
from expected_pictures import (
    KNOWN,
    agreement,
    class_colours,
    depth_colours,
    depth_share,
    from_hex,
)
from live_notebook import VIEW, Live
from view_page import until
from watching import LATE, PLACES, THREADS, constant, goes_on, show_alone

from m3vit_pynq.labels import get_label_set

#: Without the shipped model, which is slow on an emulated board.
quick = pytest.mark.parametrize("live", ["made_up"], indirect=True, scope="module")


def segmentation(live: Live) -> np.ndarray:
    """Colours that the still's classes must have; the legend on the page says which."""
    config = next(t for t in live.package.config.tasks if t.name == "segmentation")
    names, ids = get_label_set(config.label_set).classes, live.expected["segmentation"]
    present = {names[i] for i in np.unique(ids)}
    common = {names[i] for i in np.unique(ids) if (ids == i).mean() > 0.03}

    def legend() -> dict[str, tuple[int, int, int]]:
        found = live.page.legend()
        return found if common <= set(found) <= present else {}

    colours = until(legend, f"a legend that explains {common}, and at most {present}")
    known = {name: from_hex(text) for name, text in KNOWN[config.label_set].items()}
    assert {n: c for n, c in colours.items() if n in known}.items() <= known.items()
    assert len(set(colours.values())) == len(colours), f"two classes look the same: {colours}"
    return class_colours(ids, {i: colours[n] for i, n in enumerate(names) if n in colours})


def distances(live: Live) -> np.ndarray:
    return depth_colours(live.expected["depth"])


def halves(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = pixels.shape[1] // 2
    return pixels[:, : middle - 2], pixels[:, middle + 2 :]


def test_each_task_shows_what_the_specification_says(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation")
    classes = segmentation(live)
    until(lambda: agreement(page.pixels(), classes) > 0.7, "the classes of the still")
    before = page.pixels()

    page.choose_task("depth")
    until(lambda: agreement(page.pixels(), distances(live)) > 0.9, "the distances of the still")
    after = page.pixels()
    assert agreement(after, classes) < 0.3
    assert agreement(before, distances(live)) < 0.3

    page.choose_task("both")

    def both() -> bool:
        left, right = halves(page.pixels())
        return agreement(left, classes) > 0.6 and agreement(right, distances(live)) > 0.8

    until(both, "both tasks beside each other")
    page.choose_task("segmentation")
    until(lambda: agreement(page.pixels(), classes) > 0.7, "the classes again")


@quick
def test_a_click_changes_the_task_within_a_few_pictures(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    until(lambda: page.legend() and not page.text("scale").strip(), "classes")
    page.record(PLACES)
    until(lambda: len(page.shown()) > 5, "pictures")
    page.choose_task("depth")
    number = page.shown_at_click()
    until(lambda: len(page.shown()) > number + 2 * LATE, "pictures after the click")
    shown = page.shown()
    serials = [serial for serial, _ in shown]
    assert serials == sorted(set(serials)), "pictures came twice or out of order"
    deep = [depth_share(colours) for _, colours in shown]
    assert max(deep[:number]) < 0.5, "distances before the click"
    assert min(deep[number + LATE :]) > 0.7, "classes long after the click"


def test_stop_and_start(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(page)
    for _ in range(2):
        page.click("stop")
        until(lambda: page.state() == "stopped", "stopped")
        until(lambda: live.kernel.ask(THREADS) == "[]", "the threads end")
        until(lambda: constant(page), "a picture that stays")
        page.click("stop")  # once more does no harm
        page.click("start")
        until(lambda: page.state() == "running", "running again")
        goes_on(page)


@quick
def test_a_frozen_frame_can_change_its_task(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(page)
    page.click("freeze")
    until(lambda: page.state() == "frozen", "frozen")
    until(lambda: constant(page), "a picture that stays")
    classes = page.pixels()
    page.choose_task("depth")
    until(lambda: depth_share(page.pixels()) > 0.9, "distances of the frozen frame")
    until(lambda: constant(page), "a picture that stays")
    page.choose_task("segmentation")
    until(lambda: np.array_equal(page.pixels(), classes), "the same classes as before")
    page.click("freeze")
    until(lambda: page.state() == "running", "running again")
    goes_on(page)


@quick
def test_a_snapshot_holds_what_is_on_the_screen(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation")
    until(lambda: agreement(page.pixels(), segmentation(live)) > 0.7, "classes")
    page.click("snapshot")
    link = page.part("link").locator("a[download]")
    until(lambda: link.count() == 1, "a link")
    address, name = link.get_attribute("href"), link.get_attribute("download")
    data = np.frombuffer(base64.b64decode(address.partition("base64,")[2]), np.uint8)
    picture = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    height, width = live.package.config.image_size
    panel = picture[: picture.shape[1] * height // width]  # without the legend below it
    assert agreement(panel, segmentation(live)) > 0.7
    files = list(live.server.notebooks.rglob(name))
    assert [file.read_bytes() for file in files] == [data.tobytes()]
    with np.load(files[0].with_suffix(".npz"), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["segmentation"], live.expected["segmentation"])


@quick
def test_a_click_on_the_picture_reads_the_distance_there(live: Live) -> None:
    page = live.page
    show_alone(live, "depth")
    until(lambda: agreement(page.pixels(), distances(live)) > 0.9, "distances")
    depth = live.expected["depth"]
    for y, x in ((0.25, 0.2), (0.8, 0.75)):
        box = page.picture().bounding_box()
        page.picture().click(position={"x": x * box["width"], "y": y * box["height"]})
        row, column = int(y * depth.shape[0]), int(x * depth.shape[1])
        around = depth[row - 1 : row + 2, column - 1 : column + 2] / 1000

        def reads(low: float = around.min(), high: float = around.max()) -> bool:
            # Right after the change of task it may still name the class there.
            found = re.search(r": *(\d+\.\d+) *m\b", page.text("readout"))
            return found is not None and low - 0.05 <= float(found[1]) <= high + 0.05

        until(reads, f"a distance of {around.min():.2f} to {around.max():.2f} m")


@quick
def test_the_camera_of_this_browser(live: Live) -> None:
    """Chromium's synthetic camera: a green picture with a clock."""
    page = live.page
    show_alone(live, "depth", "synthetic")
    page.choose("mode", "side by side")
    page.choose("source", "camera of this browser")

    def green() -> float:
        frame = halves(page.pixels())[0].reshape(-1, 3).astype(int)
        return (frame[:, 1] > frame[:, [0, 2]].max(axis=1) + 40).mean()

    until(lambda: green() > 0.5, "frames of the camera")
    goes_on(page)
    page.choose("mode", "result")
    page.choose_task("segmentation")
    until(lambda: page.legend() and not page.text("scale").strip(), "classes of its frames")
    goes_on(page)
    live.show("synthetic")
    page.choose("mode", "side by side")
    until(lambda: green() < 0.1, "other frames")


def test_closing_removes_the_view_and_its_threads(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    page.run_last()
    until(lambda: page.page.locator(".m3vit-live").count() == 0, "the view goes")
    until(lambda: live.kernel.ask(THREADS) == "[]", "the threads end")
    assert live.kernel.ask(f"{VIEW}.running") == "False"
    assert not page.errors_of_cells()
