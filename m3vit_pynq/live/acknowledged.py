# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A picture in the notebook that answers for every frame it has shown (needs `anywidget`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

log = logging.getLogger(__name__)

_HERE = Path(__file__).resolve().parent


class AcknowledgedPicture(anywidget.AnyWidget):
    """A canvas that draws JPEGs, tells when it has, and where it is clicked.

    Attributes
    ----------
    label : str
        What the picture shows, for screen readers.
    """

    _esm = (_HERE / "acknowledged.js").read_text(encoding="utf-8")
    _css = (_HERE / "acknowledged.css").read_text(encoding="utf-8")

    label = traitlets.Unicode("live picture").tag(sync=True)

    #: Whether pictures are answered.
    acknowledged = True

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)
        self.add_class("m3vit-live-picture")
        self._handlers: dict[str, Callable[..., None]] = {}
        self.on_msg(self._received)

    def handle(self, kind: str, handler: Callable[..., None]) -> None:
        """Have a function called for messages from the browser.

        Parameters
        ----------
        kind : str
            ``"shown"`` (serial), ``"hello"``, ``"point"`` (x, y from 0 to 1),
            ``"step"`` (x, y, of an arrow key) or ``"camera"`` (content, buffers).
        handler : callable
            Called in the thread that reads messages.
        """
        self._handlers[kind] = handler

    def show(self, serial: int, jpeg: bytes) -> None:
        """Send a picture."""
        self.send({"type": "frame", "serial": serial}, buffers=[jpeg])

    def ask(self, serial: int) -> None:
        """Ask whether anybody is there."""
        self.send({"type": "question", "serial": serial})

    def _received(self, widget: object, content: object, buffers: list) -> None:
        """A message from the browser, which may be anything."""
        try:
            kind = content["type"]
            handler = self._handlers.get(kind)
            if handler is None:
                return
            if kind == "shown":
                handler(int(content["serial"]))
            elif kind in ("point", "step"):
                handler(float(content["x"]), float(content["y"]))
            elif kind == "camera":
                handler(content, buffers)
            else:
                handler()
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a message from the browser was not understood: %r", error)
