# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of a page and its server after a failure."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from jupyter_process import ROOT, JupyterProcess
from view_page import ViewPage

#: Where it goes, for this JupyterLab.
FAILURES = Path(os.environ.get("M3VIT_BROWSER_OUT", ROOT / "build" / "browser")) / (
    f"lab-{version('jupyterlab')}"
)


class Opened(Protocol):
    """A page of a server; the page may be replaced by another."""

    page: ViewPage
    server: JupyterProcess


_OPENED: list[Opened] = []


@contextmanager
def watched(opened: Opened) -> Iterator[None]:
    """Keep what is open meanwhile if a test fails."""
    _OPENED.append(opened)
    try:
        yield
    finally:
        _OPENED.remove(opened)


def keep(name: str) -> list[str]:
    """Keep screenshots, consoles and logs of all that is open; names of the files."""
    return [file for opened in _OPENED for file in _keep(opened, name)]


def _keep(opened: Opened, name: str) -> list[str]:
    base = FAILURES / re.sub(r"\W+", "-", name).strip("-")
    try:
        kept = opened.page.keep(base)
    except Exception as error:  # whatever the browser's state is, the report goes on
        kept = [f"no screenshot: {error}"]
    log = base.with_suffix(".server.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(opened.server.log, log)
    return [str(path) for path in (*kept, log)]
