# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A live view as plain data: what a page may know, and what it may ask for."""

from __future__ import annotations

from m3vit_pynq.demo.runner import scene_warning
from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.labels import get_label_set
from m3vit_pynq.live import markup
from m3vit_pynq.live.painter import Painter
from m3vit_pynq.live.session import BOTH
from m3vit_pynq.live.settings import MODES
from m3vit_pynq.palette import palette
from m3vit_pynq.sources import source_choices


class RequestError(M3ViTError):
    """Something was asked for that does not exist; the message says what does."""


class Remote:
    """State out, wishes in.

    Parameters
    ----------
    painter : Painter
        What is shown, with its session.
    """

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._first_source = painter.session.source

    def choices(self) -> list[tuple[str, object]]:
        """Sources that may be asked for: a page does not name files."""
        choices: list[tuple[str, object]] = list(source_choices())
        if self._first_source not in [value for _, value in choices]:
            choices.append((str(self._first_source), self._first_source))
        return choices

    def state(self) -> dict[str, object]:
        """Everything that stands around the picture; plain JSON."""
        painter, session = self._painter, self._painter.session
        settings, overlay, status = painter.settings, session.overlay, session.status
        painted = painter.newest()
        source = session.open_source
        names = session.task_names
        return {
            "status": status.state,
            "text": status.text,
            "warning": scene_warning(overlay.package, source) if source is not None else "",
            "task": session.task,
            "tasks": [*names, BOTH] if len(names) > 1 else list(names),
            "mode": settings.mode,
            "modes": list(MODES),
            "opacity": settings.opacity,
            "frozen": session.frozen,
            "source": str(session.source),
            "sources": [[label, str(value)] for label, value in self.choices()],
            "figures": session.figures.line(overlay.emulated, overlay.board.title, session.frozen),
            "readings": [[r.task, r.text] for r in painted.composed.readings],
            "classes": _classes(painted.composed.classes, painted.composed.label_set),
            "scale": markup.scale_of(painted, painter.scale),
        }

    def apply(self, wish: object) -> None:
        """Do what a page asks for.

        Parameters
        ----------
        wish : dict
            Some of ``task``, ``mode``, ``opacity``, ``frozen``, ``source``,
            ``point`` ([y, x] of the picture, 0 to 1) and ``running``.

        Raises
        ------
        RequestError
            If it cannot be done; what comes before it in the list is done then.
        """
        if not isinstance(wish, dict) or not wish:
            raise RequestError("a request is an object with at least one wish")
        for name in wish:
            if name not in _WISHES:
                raise RequestError(f"unknown wish {name!r}; known: {', '.join(_WISHES)}")
        try:
            for name, act in _WISHES.items():
                if name in wish:
                    act(self, wish[name])
        except RequestError:
            raise
        except (M3ViTError, ValueError, TypeError) as error:
            raise RequestError(str(error)) from None

    def _task(self, task: str) -> None:
        self._painter.session.task = str(task)

    def _mode(self, mode: str) -> None:
        self._painter.change(mode=str(mode))

    def _opacity(self, opacity: float) -> None:
        self._painter.change(opacity=float(opacity))

    def _frozen(self, frozen: bool) -> None:
        self._painter.session.frozen = bool(frozen)

    def _source(self, source: str) -> None:
        for _, value in self.choices():
            if str(value) == str(source):
                self._painter.session.source = value
                return
        raise RequestError(f"unknown source {str(source)!r}")

    def _point(self, point: list[float]) -> None:
        y, x = (float(p) for p in point)
        found = self._painter.newest().composed.point_at(y, x)
        if found is not None:
            self._painter.change(point=found)

    def _running(self, running: bool) -> None:
        session = self._painter.session
        session.start() if running else session.stop()


_WISHES = {
    "task": Remote._task,
    "mode": Remote._mode,
    "opacity": Remote._opacity,
    "frozen": Remote._frozen,
    "source": Remote._source,
    "point": Remote._point,
    "running": Remote._running,
}


def _classes(classes: tuple[tuple[int, float], ...], label_set: str) -> list[list[object]]:
    labels, colours = get_label_set(label_set), palette(label_set)
    return [
        [labels.class_name(index), "#{:02x}{:02x}{:02x}".format(*colours[index].tolist()), share]
        for index, share in classes
    ]
