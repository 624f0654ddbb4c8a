# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live app, which is a notebook under Voilà, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
from expected_pictures import depth_share
from failures import watched
from playwright.sync_api import Browser
from view_page import PAGE_TIMEOUT, ViewPage, until
from voila_server import VoilaServer
from watching import constant, goes_on

from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config


@dataclass
class App:
    """A page for the app, and its server."""

    server: VoilaServer
    page: ViewPage


@pytest.fixture
def app(browser: Browser, tmp_path: Path) -> Iterator[App]:
    file = random_package(get_config("micro"), seed=4).save(tmp_path / "micro.m3vit")
    with VoilaServer(tmp_path, file) as server:
        page = ViewPage(browser)
        app = App(server, page)
        with watched(app):
            yield app
        page.page.close()


def test_the_app_shows_the_view_and_no_code(app: App) -> None:
    page = app.page
    page.page.goto(app.server.address, timeout=1e3 * PAGE_TIMEOUT)
    page.wait_for_picture()
    assert "overlay.live" not in page.page.locator("body").inner_text()
    # Before 0.4, Voilà takes the module of the other picture from the internet.
    old = version("voila").startswith("0.3.")
    assert page.picture().evaluate("picture => picture.tagName") == ("IMG" if old else "CANVAS")

    page.choose("mode", "result")
    page.choose_task("depth")
    until(lambda: depth_share(page.pixels()) > 0.9, "distances")
    page.choose_task("segmentation")
    until(lambda: depth_share(page.pixels()) < 0.5 and page.legend(), "classes")
    page.choose_task("both")

    def both() -> bool:
        pixels = page.pixels()
        left, right = pixels[:, : pixels.shape[1] // 2], pixels[:, pixels.shape[1] // 2 :]
        return depth_share(left) < 0.5 and depth_share(right) > 0.8

    until(both, "both tasks beside each other")
    page.click("stop")
    until(lambda: page.state() == "stopped", "stopped")
    until(lambda: constant(page), "a picture that stays")
    page.click("start")
    goes_on(page)
