# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the live notebook do and look at again and again."""

from __future__ import annotations

import time

import numpy as np
from live_notebook import STILL, Live
from view_page import ViewPage, until

#: Pictures of the old task that may still be drawn after a click.
LATE = 10

#: Seconds for which a picture that must not change is watched.
WATCH = 1.5

#: Places in a picture at which `ViewPage.record` looks; the cross and its label may cover some.
PLACES = [(y, x) for y in (0.15, 0.3, 0.7, 0.85) for x in (0.15, 0.3, 0.7, 0.85)]

#: Expression for the threads of live views: of the package's, all but that of the emulated board.
THREADS = (
    "sorted(t.name for t in __import__('threading').enumerate() "
    "if t.name.startswith('m3vit') and not t.name.startswith('m3vit-fabric'))"
)


def show_alone(live: Live, task: str, source: str = STILL) -> None:
    """Bring the page into a known state: running, results without the frame."""
    page = live.page
    live.show(source)  # this also ends freezing
    if page.state() not in ("running", "frozen"):
        page.click("start")
    page.choose("mode", "result")
    page.choose_task(task)
    until(lambda: page.state() == "running", "running")


def constant(page: ViewPage, view: int = 0) -> bool:
    """Whether the picture is the same for a while."""
    serial, before = page.serial(view), page.pixels(view)
    time.sleep(WATCH)
    return page.serial(view) == serial and np.array_equal(page.pixels(view), before)


def goes_on(page: ViewPage, view: int = 0) -> None:
    """Wait until the picture has changed twice."""
    for _ in range(2):
        before = page.pixels(view)
        until(lambda old=before: not np.array_equal(page.pixels(view), old), "another picture")
