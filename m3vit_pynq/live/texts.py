# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps what stands around the live picture up to date: legend, scale, figures, messages."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from m3vit_pynq.demo.runner import scene_warning
from m3vit_pynq.live import markup, status
from m3vit_pynq.live.painter import Painted, Painter
from m3vit_pynq.live.status import Status

if TYPE_CHECKING:
    from m3vit_pynq.live.controls import Controls
    from m3vit_pynq.live.snapshot import Snapshot


class Texts:
    """Writes into the text controls of a live view.

    Parameters
    ----------
    controls : Controls
        Where to write.
    painter : Painter
        Whose pictures and session the texts are about.
    """

    def __init__(self, controls: Controls, painter: Painter) -> None:
        self._controls = controls
        self._painter = painter

    def refresh(self, painted: Painted | None) -> None:
        """Bring all texts up to date with a picture that was sent."""
        controls, session = self._controls, self._painter.session
        if painted is not None and painted.moment is not None:
            composed = painted.composed
            controls.legend.value = markup.legend(composed.classes, composed.label_set)
            controls.readout.value = markup.readout(composed.readings)
            controls.scale.value = markup.scale_of(painted, self._painter.scale)
        overlay = session.overlay
        line = session.figures.line(overlay.emulated, overlay.board.title, session.frozen)
        controls.figures.value = markup.figures(line)
        controls.message.value = markup.message(session.status, self._warning())

    def complain(self, text: str) -> None:
        """Say what went wrong with something that somebody asked for."""
        self._controls.message.value = markup.message(Status(status.FAILED, text))

    def offer(self, saved: Snapshot) -> None:
        """Offer a snapshot for download from wherever the browser is."""
        data = base64.b64encode(saved.picture.read_bytes()).decode()
        name = escape(saved.picture.name)
        self._controls.link.value = (
            f'saved <a download="{name}" href="data:image/png;base64,{data}">{name}</a> and '
            f"{escape(saved.arrays.name)} in {escape(str(saved.picture.parent))}"
        )

    def _warning(self) -> str:
        session = self._painter.session
        source = session.open_source
        return scene_warning(session.overlay.package, source) if source is not None else ""


def in_words(painted: Painted) -> str:
    """What a picture shows, for screen readers."""
    moment = painted.moment
    return (
        f"{' and '.join(moment.shots)} of {moment.source}" if moment is not None else "no picture"
    )
