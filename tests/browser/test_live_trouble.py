# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Slow browsers, closed tabs, interrupted kernels, and two views at once."""

from __future__ import annotations

import ast

import pytest
from expected_pictures import depth_share
from live_notebook import VIEW, Live
from live_page import LivePage
from playwright.sync_api import Browser
from view_page import until
from watching import LATE, PLACES, THREADS, WATCH, constant, goes_on, show_alone

pytestmark = pytest.mark.parametrize("live", ["made_up"], indirect=True, scope="module")

#: Pictures that may be under way to a page without an answer.
UNDER_WAY = 2

#: How much less of the processor the slow page gets.
SLOWNESS = 20
#: Seconds for a few pictures on it.
SLOW_TIMEOUT = 180.0

#: Code that notes in the kernel which pictures leave and which answers come.
NOTES = f"""
noted = []

def note(picture):
    show, answered = picture.show, picture._handlers["shown"]

    def sends(serial, jpeg):
        noted.append(("sent", serial))
        show(serial, jpeg)

    def hears(serial):
        noted.append(("answered", serial))
        answered(serial)

    picture.show = sends
    picture.handle("shown", hears)

note({VIEW}._picture)
"""


def most_under_way(noted: list[tuple[str, int]]) -> int:
    """How many pictures at most were sent and neither they nor later ones answered."""
    waiting: set[int] = set()
    most = 0
    for what, serial in noted:
        if what == "sent":
            waiting.add(serial)
        else:
            waiting = {other for other in waiting if other > serial}
        most = max(most, len(waiting))
    return most


def test_a_slow_browser_gets_fewer_pictures_and_holds_nobody_up(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(page)
    live.kernel.run(NOTES)
    page.record(PLACES)
    with page.slowed(SLOWNESS):
        until(lambda: len(page.shown()) > 2, "pictures on the slow page", SLOW_TIMEOUT)
        pictures, results = len(page.shown()), live.results()
        until(lambda: len(page.shown()) >= pictures + 10, "more pictures", SLOW_TIMEOUT)
        computed, drawn = live.results() - results, len(page.shown()) - pictures
        page.choose_task("depth")
        clicked = page.shown_at_click()
        until(lambda: len(page.shown()) > clicked + 2 * LATE, "pictures of depth", SLOW_TIMEOUT)
        shown = page.shown()
    assert computed > 2 * drawn, "the results wait for the page"
    assert min(depth_share(colours) for _, colours in shown[clicked + LATE :]) > 0.7
    goes_on(page)
    noted = ast.literal_eval(live.kernel.ask("noted"))
    assert {("answered", serial) for serial, _ in shown} <= set(noted), "the notes have gaps"
    assert most_under_way(noted) <= UNDER_WAY


def test_a_closed_tab_neither_ends_the_kernel_nor_gets_pictures(
    live: Live, browser: Browser
) -> None:
    show_alone(live, "segmentation", "synthetic")
    goes_on(live.page)
    until(lambda: live.kernel.pictures_sent(WATCH) > 0, "pictures")
    live.page.save()
    live.page.page.close()
    until(lambda: live.kernel.pictures_sent(WATCH) == 0, "no more pictures")
    results = live.results()
    assert live.kernel.pictures_sent(3 * WATCH) == 0
    until(lambda: live.results() > results + 5, "results that nobody looks at")
    live.page = LivePage(browser, live.server)
    until(lambda: live.page.serial() > 0, "the picture on a new page")
    goes_on(live.page)
    live.page.choose_task("depth")
    until(lambda: depth_share(live.page.pixels()) > 0.9, "distances on the new page")


def test_a_page_that_is_loaded_again_is_heard(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(page)
    page.save()
    for task in ("depth", "segmentation"):
        page.load()
        until(lambda: page.serial() > 0, "the picture on the new page")
        goes_on(page)
        page.choose_task(task)
        until(lambda depth=task == "depth": (depth_share(page.pixels()) > 0.9) == depth, task)
        page.save()


def test_two_tabs_show_the_same_view(live: Live, browser: Browser) -> None:
    first = live.page
    show_alone(live, "segmentation", "synthetic")
    goes_on(first)
    first.save()
    second = LivePage(browser, live.server)
    try:
        goes_on(second)
        goes_on(first)
        second.choose_task("depth")
        for page in (first, second):
            until(lambda page=page: depth_share(page.pixels()) > 0.9, "distances on both pages")
    finally:
        second.page.close()
    goes_on(first)


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
    until(lambda: depth_share(page.pixels(1)) > 0.9, "distances in the second view")

    page.click("start", view=0)
    until(lambda: page.state(1) == "stopped", "the second view stops")
    goes_on(page, view=0)
    live.kernel.run("second.close()")
    until(lambda: page.page.locator(".m3vit-live").count() == 1, "the second view goes")


def test_an_interrupted_cell_leaves_the_view_alone(live: Live) -> None:
    page = live.page
    show_alone(live, "segmentation", "synthetic")
    page.run_new_cell(f"{VIEW}.wait(10**6, timeout=900)")
    until(lambda: page.waiting_cells() == 1, "a cell that runs")
    goes_on(page)
    page.command("notebook:interrupt-kernel")
    until(lambda: page.waiting_cells() == 0, "the end of the cell")
    until(lambda: page.errors_of_cells() == ["KeyboardInterrupt"], "what ended it")
    page.command("notebook:interrupt-kernel")  # once more, while no cell runs
    page.choose_task("depth")
    until(lambda: depth_share(page.pixels()) > 0.9, "distances")
    goes_on(page)
    page.click("stop")
    until(lambda: page.state() == "stopped", "stopped")
    until(lambda: live.kernel.ask(THREADS) == "[]", "the threads end")
