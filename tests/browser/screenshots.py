# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Make the pictures of the live view for README and docs.

    python tests/browser/screenshots.py [FOLDER]

Runs the live notebook with the shipped model in the JupyterLab of this
environment, in the light and in the dark theme, and saves ``live.png`` and
``live-dark.png`` (default folder: docs/images).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from chromium import chromium
from jupyter_process import ROOT
from lab_server import LabServer
from live_page import LivePage
from playwright.sync_api import Browser
from view_page import until

#: Width and height of the page, in CSS pixels.
SIZE = (1400, 1400)
#: Photographs of rooms, where `m3vit-pynq[demo]` is installed.
STILLS = "photographs of rooms"
#: Room around the widget, in pixels.
_MARGIN = 4


def take(browser: Browser, file: Path, dark: bool) -> None:
    """One picture of the widget: both tasks of one frame beside each other."""
    with (
        tempfile.TemporaryDirectory(prefix="m3vit-screenshots-") as folder,
        LabServer(Path(folder), dark=dark) as lab,
    ):
        live = LivePage(browser, lab, SIZE)
        try:
            live.run_all_but_last()
            live.wait_for_picture()
            _arrange(live)
            file.parent.mkdir(parents=True, exist_ok=True)
            live.page.screenshot(path=file, clip=_place(live))
        finally:
            live.page.close()


def _arrange(live: LivePage) -> None:
    """Both tasks laid over a photograph, and the figures of a steady stream."""
    options = live.part("source").locator("option").all_inner_texts()
    if STILLS in options:
        live.choose("source", STILLS)
    live.choose("mode", "overlay")
    if live.state() == "frozen":
        live.click("freeze")
    live.choose_task("both")
    start = live.serial()
    until(lambda: live.serial() >= start + 12, "a steady stream", 120.0)
    until(lambda: live.legend() and live.text("scale").strip(), "legend and scale")
    live.part("start").scroll_into_view_if_needed()
    live.page.mouse.move(5, 5)
    live.part("figures").click()  # nothing keeps the focus ring


def _place(live: LivePage) -> dict[str, float]:
    """Where the widget is, with a little around it."""
    top = live.part("start").bounding_box()
    bottom = live.part("figures").bounding_box()
    view = live.page.locator(".m3vit-live").first.bounding_box()
    first = top["y"] - _MARGIN
    return {
        "x": view["x"] - _MARGIN,
        "y": first,
        "width": min(view["width"] + 2 * _MARGIN, SIZE[0] - view["x"] + _MARGIN),
        "height": bottom["y"] + bottom["height"] + _MARGIN - first,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args().folder
    with chromium() as browser:
        for name, dark in (("live.png", False), ("live-dark.png", True)):
            take(browser, folder / name, dark)
            print(folder / name)


if __name__ == "__main__":
    main()
