# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's Chromium under Playwright."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

#: Environment variable with the path of a browser to use.
VARIABLE = "CHROMIUM"

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
    # A synthetic camera, which may be used without asking.
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip

#: Seconds for the browser to start.
START_TIMEOUT = 120.0


def find_chromium() -> str:
    """Path of the browser; `FileNotFoundError` says how to get one."""
    wanted = os.environ.get(VARIABLE, "")
    found = next(filter(None, map(shutil.which, [wanted] if wanted else _NAMES)), None)
    if found is None:
        raise FileNotFoundError(
            f"no Chromium ({wanted or ', '.join(_NAMES)}): apt-get install chromium, "
            f"or give the path of one in {VARIABLE}"
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    # The sandbox of Chromium refuses to work for root, which is what CI runs as.
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=flags, timeout=1e3 * START_TIMEOUT
        )
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    try:
        print(find_chromium())
    except FileNotFoundError as error:
        sys.exit(str(error))
