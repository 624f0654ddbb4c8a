# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live notebook while it runs: server, page, kernel, and what it must show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from expected_pictures import specified
from failures import keep, watched
from jupyter_process import ROOT
from kernel_client import Kernel
from lab_server import LabServer
from live_page import LivePage
from playwright.sync_api import Browser

from m3vit_pynq.package import Package
from m3vit_pynq.sources import open_source

SHIPPED = ROOT / "m3vit_pynq" / "weights" / "small.m3vit"

#: A source that never changes, and how the notebook names it.
STILL = "still.png"

#: The view of the notebook, whatever its name is there; outputs have names like ``_2``.
VIEW = (
    "[value for name, value in list(globals().items()) "
    "if type(value).__name__ == 'LiveView' and not name.startswith('_')][0]"
)


@dataclass
class Live:
    """The notebook while it runs.

    Attributes
    ----------
    expected : dict
        What the specification makes of the picture `STILL`.
    """

    server: LabServer
    page: LivePage
    kernel: Kernel | None
    package: Package
    expected: dict[str, np.ndarray]

    def show(self, source: str) -> None:
        """Change the source, as a program does."""
        self.kernel.run(f"{VIEW}.source = {source!r}")

    def results(self) -> int:
        """How many results the kernel has had shown, whoever looked."""
        return int(self.kernel.ask(f"{VIEW}.session.moment.number"))


def _still(package: Package, folder: Path) -> np.ndarray:
    """A picture of the model's size, also written to a file."""
    height, width = package.config.image_size
    with open_source("synthetic") as source:
        frame = cv2.resize(next(source), (width, height), interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(folder / STILL), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return frame


@contextmanager
def open_notebook(browser: Browser, folder: Path, file: Path | None) -> Iterator[Live]:
    """Run the live notebook and show the still."""
    package = Package.load(file or SHIPPED)
    with LabServer(folder, file) as lab:
        expected = specified(package, _still(package, lab.notebooks))
        page = LivePage(browser, lab)
        live = Live(lab, page, None, package, expected)
        try:
            with watched(live):
                _run(live)
                yield live
        finally:
            live.page.page.close()
            if live.kernel is not None:
                live.kernel.close()


def _run(live: Live) -> None:
    """Run the notebook until its view shows the still."""
    try:
        live.page.run_all_but_last()
        live.page.wait_for_picture()
    except Exception as error:
        kept = "\n".join(keep("start"))
        raise AssertionError(f"the notebook shows no live picture: {error}\n{kept}") from error
    live.kernel = Kernel(live.server.connection_file())
    live.show(STILL)
