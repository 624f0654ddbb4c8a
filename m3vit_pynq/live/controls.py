# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The buttons and texts around a live picture; ipywidgets 7.7 and 8."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from m3vit_pynq.live.markup import STYLE
from m3vit_pynq.live.session import BOTH
from m3vit_pynq.live.settings import MODES, ViewSettings
from m3vit_pynq.sources import source_choices

#: Word for the camera of the browser, in the list of sources.
BROWSER = "browser"


class Controls:
    """All controls of a live view, by name; what they do is decided elsewhere.

    Every control has a CSS class ``m3vit-live-<name>`` of its own, which tests
    and style sheets may rely on.

    Parameters
    ----------
    tasks : sequence of str
        Tasks of the model.
    task : str
        The one that is chosen.
    settings : ViewSettings
        What the other controls show at first.
    clickable : bool
        Whether the picture itself can be clicked; without, there are sliders
        for the point and no camera of the browser.
    """

    def __init__(
        self, tasks: Sequence[str], task: str, settings: ViewSettings, clickable: bool
    ) -> None:
        self._clickable = clickable
        self.start = _button("start", "Start", "play", "Begin, or go on")
        self.stop = _button("stop", "Stop", "stop", "Let camera and accelerator go")
        self.snapshot = _button("snapshot", "Snapshot", "camera", "Save picture and arrays")
        self.freeze = _button(
            "freeze", "Freeze", "pause", "Keep this frame; the task can still be changed",
            widgets.ToggleButton,
        )  # fmt: skip
        names = [*tasks, BOTH] if len(tasks) > 1 else list(tasks)
        self.task = widgets.ToggleButtons(
            options=names, value=task, tooltips=[_explained(name) for name in names]
        )
        self.task.style.button_width = "auto"
        _named("task", self.task)
        self.source = _list("source", "Source", self.choices(), 310)
        self.mode = _list("mode", "View", list(MODES), 230)
        self.mode.value = settings.mode
        self.opacity = _slider("opacity", "Opacity", settings.opacity, 290)
        self.point_y = _slider("point-y", "Point down", settings.point[0], 230)
        self.point_x = _slider("point-x", "across", settings.point[1], 230)
        self.message = _named("message", widgets.HTML())
        self.readout = _named("readout", widgets.HTML())
        self.legend = _named("legend", widgets.HTML())
        self.scale = _named("scale", widgets.HTML())
        self.figures = _named("figures", widgets.HTML())
        self.link = _named("link", widgets.HTML())

    def choices(self, current: object = "auto") -> list[tuple[str, object]]:
        """Sources to choose from, `current` among them."""
        choices: list[tuple[str, object]] = list(source_choices())
        if self._clickable:
            choices.insert(-1, ("camera of this browser", BROWSER))
        if current not in [value for _, value in choices]:
            choices.append((str(current), current))
        return choices

    def rows(self, picture: widgets.DOMWidget) -> list[widgets.Widget]:
        """Everything, in the order from top to bottom."""
        points = (self.point_y, self.point_x)
        for point in points:  # a picture that can be clicked needs none
            point.layout.display = "none" if self._clickable else None
        style = widgets.HTML(f"<style>{STYLE}</style>")
        style.layout.display = "none"
        return [
            style,
            _row(self.start, self.stop, self.task, self.freeze, self.snapshot),
            _row(self.source, self.mode, self.opacity, *points),
            self.message,
            picture,
            self.readout,
            self.legend,
            self.scale,
            self.figures,
            self.link,
        ]


def _named(name: str, widget: widgets.DOMWidget) -> widgets.DOMWidget:
    widget.add_class(f"m3vit-live-{name}")
    return widget


def _button(
    name: str, text: str, icon: str, tooltip: str, kind: type = widgets.Button
) -> widgets.DOMWidget:
    button = kind(description=text, icon=icon, tooltip=tooltip)
    button.layout.width = "auto"
    return _named(name, button)


def _list(name: str, text: str, options: list, width: int) -> widgets.Dropdown:
    chooser = widgets.Dropdown(description=text, options=options)
    chooser.layout.width = f"{width}px"
    return _named(name, chooser)


def _slider(name: str, text: str, value: float, width: int) -> widgets.FloatSlider:
    slider = widgets.FloatSlider(description=text, min=0.0, max=1.0, step=0.01, value=value)
    slider.layout.width = f"{width}px"
    return _named(name, slider)


def _row(*members: widgets.Widget) -> widgets.HBox:
    row = widgets.HBox(members)
    row.layout.flex_flow, row.layout.align_items = "row wrap", "center"
    return row


def _explained(task: str) -> str:
    return "All tasks, frame by frame in turn" if task == BOTH else f"Show {task}"


def close_all(widget: widgets.Widget) -> None:
    """Close a widget with everything in it, so that the kernel forgets all of them."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for part in ("layout", "style"):
        owned = getattr(widget, part, None)
        if isinstance(owned, widgets.Widget):
            owned.close()
    widgets.Widget.close(widget)
