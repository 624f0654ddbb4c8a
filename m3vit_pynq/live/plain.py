# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live picture with nothing but ipywidgets: rate cap, no answers, no clicks."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable

import ipywidgets

from m3vit_pynq.errors import M3ViTError

log = logging.getLogger(__name__)


class PlainPicture(ipywidgets.Image):
    """An image widget that takes JPEGs one after the other."""

    #: Whether pictures are answered.
    acknowledged = False

    def __init__(self, **arguments: object) -> None:
        super().__init__(format="jpeg", **arguments)
        self.layout.max_width = "100%"
        self.layout.height = "auto"
        self.layout.object_fit = "contain"
        self.layout.align_self = "flex-start"
        self.add_class("m3vit-live-picture")

    def handle(self, kind: str, handler: Callable[..., None]) -> None:
        """Nothing comes from the browser."""

    def show(self, serial: int, jpeg: bytes) -> None:
        """Send a picture."""
        self.value = jpeg

    def ask(self, serial: int) -> None:
        """Nobody would answer."""


def make_picture(acknowledged: bool | None) -> ipywidgets.DOMWidget:
    """The picture that answers, or the plain one where that cannot be.

    Parameters
    ----------
    acknowledged : bool, optional
        True or False to insist on one of them.

    Raises
    ------
    M3ViTError
        If a picture that answers is insisted on and `anywidget` is missing.
    """
    if acknowledged is False or (acknowledged is None and _in_old_voila()):
        return PlainPicture()
    try:
        from m3vit_pynq.live.acknowledged import AcknowledgedPicture
    except ImportError as error:
        if acknowledged:
            raise M3ViTError(
                f"an acknowledged view takes anywidget ({error}): pip install 'm3vit-pynq[live]'"
            ) from None
        log.info("anywidget is not installed: pictures are not acknowledged")
        return PlainPicture()
    return AcknowledgedPicture()


def _in_old_voila() -> bool:
    """Whether the page is from a Voila that fetches other people's widgets from the internet.

    From 0.4 on it has the extensions of Lab, which are installed with them.
    """
    found = re.match(r"voila/0\.(\d+)", os.environ.get("SERVER_SOFTWARE", ""))
    return found is not None and int(found[1]) < 4
