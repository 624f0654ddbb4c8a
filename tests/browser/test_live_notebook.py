# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live notebook, run and clicked in a real browser."""

from __future__ import annotations

import base64
import time

import cv2
import numpy as np
import pytest
from expected_pictures import KNOWN, agreement, class_colours, depth_colours, from_hex
from live_notebook import STILL, VIEW, Live
from live_page import LivePage, until

from m3vit_pynq.labels import get_label_set

#: Without the shipped model, which is slow on an emulated board.
quick = pytest.mark.parametrize("live", ["made_up"], indirect=True, scope="module")

#: Pictures of the old task that may still be drawn after a click.
LATE = 10

#: Seconds for which a picture that must not change is watched.
WATCH = 1.5

#: Threads of live views: of the package's, all but that of the emulated board.
THREADS = (
    "sorted(t.name for t in __import__('threading').enumerate() "
    "if t.name.startswith('m3vit') and not t.name.startswith('m3vit-fabric'))"
)


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


def show_alone(live: Live, task: str, source: str = STILL) -> None:
    """Bring the page into a known state: running, results without the frame."""
    page = live.page
    live.show(source)  # this also ends freezing
    if page.state() not in ("running", "frozen"):
        page.click("start")
    page.choose("mode", "result")
    page.choose_task(task)
    until(lambda: page.state() == "running", "running")


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
    places = [(y, x) for y in (0.15, 0.3, 0.7, 0.85) for x in (0.15, 0.3, 0.7, 0.85)]
    page.record(places)
    until(lambda: len(page.shown()) > 5, "pictures")
    number = len(page.shown())
    page.choose_task("depth")
    until(lambda: len(page.shown()) > number + 2 * LATE, "pictures after the click")
    shown = page.shown()
    serials = [serial for serial, _ in shown]
    assert serials == sorted(set(serials)), "pictures came twice or out of order"
    # The cross and its label may cover some of the places.
    deep = [np.mean([is_magma(colour) for colour in colours]) for _, colours in shown]
    assert max(deep[:number]) < 0.5, "distances before the click"
    assert min(deep[number + LATE :]) > 0.7, "classes long after the click"


def is_magma(colour: list[int]) -> bool:
    """Whether a colour is one of the depth map, for any distance."""
    ramp = depth_colours(np.geomspace(700, 8000, 256))
    return bool(np.linalg.norm(ramp - colour, axis=1).min() < 25)


def constant(page: LivePage, view: int = 0) -> bool:
    """Whether the picture is the same for a while."""
    serial, before = page.serial(view), page.pixels(view)
    time.sleep(WATCH)
    return page.serial(view) == serial and np.array_equal(page.pixels(view), before)


def goes_on(page: LivePage, view: int = 0) -> None:
    """Wait until the picture has changed twice."""
    for _ in range(2):
        before = page.pixels(view)
        until(lambda old=before: not np.array_equal(page.pixels(view), old), "another picture")


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
    until(lambda: is_magma_everywhere(page.pixels()), "distances of the frozen frame")
    until(lambda: constant(page), "a picture that stays")
    page.choose_task("segmentation")
    until(lambda: np.array_equal(page.pixels(), classes), "the same classes as before")
    page.click("freeze")
    until(lambda: page.state() == "running", "running again")
    goes_on(page)


def is_magma_everywhere(pixels: np.ndarray) -> bool:
    """Whether nearly all colours are those of the depth map; the cross is not."""
    small = cv2.resize(pixels, (24, 16), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    return np.mean([is_magma(colour) for colour in small]) > 0.9


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
    files = list(live.lab.notebooks.rglob(name))
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
            text = page.text("readout").partition(":")[2].split("m")[0]
            return text.strip() != "" and low - 0.05 <= float(text) <= high + 0.05

        until(reads, f"a distance of {around.min():.2f} to {around.max():.2f} m")


@quick
def test_a_second_view_takes_over_and_says_so(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(page)
    page.run_new_cell(
        f"second = {VIEW}.session.overlay.live('synthetic', acknowledged=False)\nsecond"
    )
    page.wait_for_picture(view=1)
    until(lambda: page.state(0) == "stopped", "the first view stops")
    until(lambda: "another live view" in page.text("message", 0).lower(), "a message why")
    goes_on(page, view=1)
    assert constant(page, view=0)
    page.choose_task("depth", view=1)  # the plain picture follows its toggle as well
    page.choose("mode", "result", view=1)
    until(lambda: is_magma_everywhere(page.pixels(1)), "distances in the second view")

    page.click("start", view=0)
    until(lambda: page.state(1) == "stopped", "the second view stops")
    goes_on(page, view=0)
    live.kernel.run("second.close()")
    until(lambda: page.page.locator(".m3vit-live").count() == 1, "the second view goes")


@quick
def test_a_closed_tab_neither_ends_the_kernel_nor_gets_pictures(live: Live, browser) -> None:
    show_alone(live, "segmentation", "synthetic")
    goes_on(live.page)
    until(lambda: live.kernel.pictures_sent(WATCH) > 0, "pictures")
    live.page.save()
    live.page.page.close()
    until(lambda: live.kernel.pictures_sent(WATCH) == 0, "no more pictures")
    assert live.kernel.ask("6 * 7") == "42"
    live.page = LivePage(browser, live.lab)
    until(lambda: live.page.serial() > 0, "the picture on a new page")
    goes_on(live.page)
    live.page.choose_task("depth")
    until(lambda: is_magma_everywhere(live.page.pixels()), "distances on the new page")
    live.page.choose_task("segmentation")


def test_closing_removes_the_view_and_its_threads(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    page.run_last()
    until(lambda: page.page.locator(".m3vit-live").count() == 0, "the view goes")
    until(lambda: live.kernel.ask(THREADS) == "[]", "the threads end")
    assert live.kernel.ask(f"{VIEW}.running") == "False"
    assert not page.errors_of_cells()
