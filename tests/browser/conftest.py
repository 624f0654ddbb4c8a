# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""JupyterLab of this environment with the live notebook in Chromium.

`make test-browser` runs these tests in two environments: the current
JupyterLab, and the one of the boards' images. After a failure the screenshot,
the browser's console and the server's log lie below `build/browser`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from chromium import chromium
from failures import keep
from live_notebook import Live, open_notebook
from playwright.sync_api import Browser

from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config

#: Seconds for a test with its fixtures: more than the limits of what it waits for, on a busy
#: computer, and an end in any case.
TIMEOUT = 900

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def pytest_report_header() -> str:
    return f"JupyterLab {version('jupyterlab')}, ipywidgets {version('ipywidgets')}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=["made_up", "shipped"])
def live(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """The notebook with a small model of random weights, which is fast, and with the shipped one.

    All tests with one of them run before those with the other.
    """
    folder, file = tmp_path_factory.mktemp(request.param), None
    if request.param == "made_up":
        file = random_package(get_config("micro"), seed=4).save(folder / "micro.m3vit")
    with open_notebook(browser, folder, file) as live:
        yield live


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections.append(("what the browser showed", "\n".join(keep(item.name))))
    return report
