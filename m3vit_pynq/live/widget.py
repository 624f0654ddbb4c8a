# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""`LiveView`: the live widget of a notebook."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import snapshot
from m3vit_pynq.live.busy import CellWatch
from m3vit_pynq.live.controls import BROWSER, Controls, close_all
from m3vit_pynq.live.moment import Moment
from m3vit_pynq.live.pacing import Pacer
from m3vit_pynq.live.painter import Painted, make_painter
from m3vit_pynq.live.plain import make_picture
from m3vit_pynq.live.pump import Pump
from m3vit_pynq.live.routing import let_pages_choose
from m3vit_pynq.live.settings import ViewSettings
from m3vit_pynq.live.status import Status
from m3vit_pynq.live.texts import Texts, in_words
from m3vit_pynq.sources import Source

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay

#: Seconds without a click after which a picture that nobody acknowledges stops.
IDLE = 300.0
#: How far an arrow key moves the point.
_STEP = 0.02


class LiveView(ipywidgets.VBox):
    """Live frames with their results, and what to do with them.

    It works in threads of its own: the cell that makes it ends at once, and
    other cells can run meanwhile (but not use the same overlay until `stop`).

    Parameters
    ----------
    overlay : M3ViTOverlay
        With a model loaded, or a shipped one at hand.
    source : str, int, path
        As for `m3vit_pynq.sources.open_source`, or ``"browser"``: the camera of
        the computer that shows the notebook.
    task : str or sequence of str, optional
        Task to begin with, or ``"both"``; default: the first of the model.
    mode : str
        ``"overlay"``, ``"side by side"`` or ``"result"``.
    opacity : float
        Of the result over the frame.
    rate : float
        Pictures per second at most; the accelerator is not held back by it.
    height : int
        Pixels of the picture.
    folder : str or path
        Where snapshots go.
    acknowledged : bool, optional
        Whether the browser answers for every picture, which takes `anywidget`
        (``pip install 'm3vit-pynq[live]'``); default: if it is installed.
    idle : float
        Without acknowledgement, seconds without a click after which the view
        stops, because nobody may be looking.
    loop : bool
        Whether a clip starts again at its end.
    start : bool
        Whether to begin at once.

    Attributes
    ----------
    session : LiveSession
        The engine: tasks, source, results, figures.
    painter : Painter
        Makes the pictures.

    Raises
    ------
    ValueError
        For a task, mode or number that does not exist.

    Examples
    --------
    >>> view = overlay.live(task="depth")
    """

    _closed = True  # until there is something to close

    def __init__(
        self,
        overlay: M3ViTOverlay,
        source: object = "auto",
        *,
        task: str | Sequence[str] | None = None,
        mode: str = "overlay",
        opacity: float = 0.6,
        rate: float = 20.0,
        height: int = 480,
        folder: str | Path = "m3vit_snapshots",
        acknowledged: bool | None = None,
        idle: float = IDLE,
        loop: bool = True,
        start: bool = True,
    ) -> None:
        settings = ViewSettings(mode=mode, opacity=opacity, height=height, strips=False)
        Pacer(rate)  # refuses a rate that is none before anything is made
        self.painter = make_painter(overlay, "auto", task, settings, loop)
        self.session = self.painter.session
        self.folder = Path(folder)
        self.idle = idle
        self._picture = make_picture(acknowledged)
        self._controls = Controls(
            self.session.task_names, self.session.task, settings, self._picture.acknowledged
        )
        self._texts = Texts(self._controls, self.painter)
        self._cells = CellWatch()
        self._pump = Pump(
            self.painter, self._picture, rate, self._refresh, lambda: self._cells.busy
        )
        self._touched = time.monotonic()
        # Clicks of several pages, and cells, may come in threads of their own: one after the other.
        self._turn = threading.RLock()
        self._following = False
        super().__init__(self._controls.rows(self._picture))
        self.add_class("m3vit-live")
        let_pages_choose(self)
        self._closed = False
        self._connect()
        try:
            self.source = source
            self.start() if start else self._pump.once()
        except BaseException:
            self.close()
            raise

    # What a program may do; the controls do the same.

    @property
    def task(self) -> str:
        """The task that is shown, or ``"both"``; `ValueError` for an unknown one."""
        return self.session.task

    @task.setter
    def task(self, task: str | Sequence[str]) -> None:
        self.session.task = task
        self._follow()

    @property
    def mode(self) -> str:
        """``"overlay"``, ``"side by side"`` or ``"result"``."""
        return self.painter.settings.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._change(mode=mode)

    @property
    def opacity(self) -> float:
        """Of the result over the frame, 0 to 1."""
        return self.painter.settings.opacity

    @opacity.setter
    def opacity(self, opacity: float) -> None:
        self._change(opacity=opacity)

    @property
    def point(self) -> tuple[float, float]:
        """(y, x) from 0 to 1: where class and distance are read."""
        return self.painter.settings.point

    @point.setter
    def point(self, point: tuple[float, float]) -> None:
        self._change(point=tuple(float(p) for p in point))

    @property
    def frozen(self) -> bool:
        """Whether the frame is kept; its task can still be changed."""
        return self.session.frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self.session.frozen = frozen
        self._follow()
        self._repaint()

    @property
    def source(self) -> object:
        """The source that is wanted; assigning changes it while frames go on."""
        return self._source

    @source.setter
    def source(self, source: object) -> None:
        if source == BROWSER and not self._picture.acknowledged:
            raise ValueError(
                "the camera of the browser takes anywidget: pip install 'm3vit-pynq[live]'"
            )
        self._source = source
        self.session.source = self._browser_camera if source == BROWSER else source
        self._follow()

    @property
    def running(self) -> bool:
        """Whether frames are being computed."""
        return self.session.running

    @property
    def status(self) -> Status:
        """What goes on."""
        return self.session.status

    def start(self) -> None:
        """Begin, or go on after `stop`; another live view of the overlay is stopped."""
        self._touched = time.monotonic()
        with self._turn:
            self.session.start()
            self._pump.start()

    def stop(self) -> None:
        """Let source and accelerator go; the last picture stays. Idempotent."""
        with self._turn:
            self.session.stop()
            self._pump.stop()
            if not self._closed:
                self._pump.once()

    def close(self) -> None:
        """Stop, and remove the widget. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.stop()
        finally:
            self._cells.close()
            self.session.close()
            close_all(self)

    def __repr__(self) -> str:
        if self._closed:
            return "<LiveView, closed>"
        source = self.session.open_source
        return (
            f"<LiveView, {self.status.state}: {self.task} of {source.name if source else 'none'}>"
        )

    def _repr_mimebundle_(self, **arguments: object) -> dict[str, object]:
        """The widget, and the picture of now for readers that show no widgets (ipywidgets 8)."""
        bundle = super()._repr_mimebundle_(**arguments)
        if bundle and self.session.moment is not None:
            bundle["image/jpeg"] = base64.b64encode(self.painter.with_strips().jpeg).decode()
        return bundle

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def wait(self, frames: int = 1, timeout: float = 60.0) -> Moment:
        """Block until so many more results were shown, or all of a frozen frame; for scripts.

        Raises
        ------
        M3ViTError
            If they do not come in time; the message says what is going on.
        """
        moment, deadline = self.session.moment, time.monotonic() + timeout
        number = moment.number if moment is not None else 0
        target = number + frames
        while number < target and not self.session.settled:
            moment = self.session.wait(number, max(0.0, deadline - time.monotonic()))
            if moment is None:
                status = self.session.status
                raise M3ViTError(f"no new picture: {status.state}. {status.text}".rstrip(". "))
            number = moment.number
        return self.session.moment

    def picture(self) -> np.ndarray:
        """What is shown now, with legend and scale, as uint8 RGB [height, width, 3]."""
        return self.painter.with_strips().composed.pixels

    def snapshot(self) -> snapshot.Snapshot:
        """Save picture and arrays to `folder`; see `m3vit_pynq.live.snapshot.Snapshot`.

        Raises
        ------
        M3ViTError
            If there is nothing to save yet, or the folder cannot be written.
        """
        return snapshot.take(self.painter, self.folder)

    # Between controls and session.

    def _connect(self) -> None:
        controls, picture = self._controls, self._picture
        controls.start.on_click(self._told(lambda _: self.start()))
        controls.stop.on_click(self._told(lambda _: self.stop()))
        controls.snapshot.on_click(self._told(lambda _: self._texts.offer(self.snapshot())))
        self._observe(controls.task, lambda value: setattr(self, "task", value))
        self._observe(controls.freeze, lambda value: setattr(self, "frozen", value))
        self._observe(controls.source, self._choose_source)
        self._observe(controls.mode, lambda value: self._change(mode=value))
        self._observe(controls.opacity, lambda value: self._change(opacity=value))
        self._observe(controls.point_x, lambda value: self._change(point=(self.point[0], value)))
        self._observe(controls.point_y, lambda value: self._change(point=(value, self.point[1])))
        picture.handle("shown", self._pump.answered)
        picture.handle("hello", self._greeted)
        picture.handle("point", self._clicked)
        picture.handle("step", self._stepped)

    def _observe(self, control: ipywidgets.Widget, act: Callable[[object], None]) -> None:
        told = self._told(act)

        def changed(change: dict) -> None:
            with self._turn:
                if not self._following:
                    told(change["new"])

        control.observe(changed, "value")

    def _told(self, act: Callable[[object], None]) -> Callable[[object], None]:
        """An action whose errors are shown in the widget instead of a log nobody reads."""

        def act_and_tell(argument: object) -> None:
            self._touched = time.monotonic()
            if self._closed:
                return
            try:
                with self._turn:
                    act(argument)
            except (M3ViTError, ValueError, OSError) as error:
                self._texts.complain(str(error))

        return act_and_tell

    def _choose_source(self, source: object) -> None:
        self.source = source
        self.start()

    def _change(self, **values: object) -> None:
        self.painter.change(**values)
        self._follow()
        self._repaint()

    def _repaint(self) -> None:
        """Show a change although no thread is at work."""
        if not self._pump.running and not self._closed:
            self._pump.once()

    def _follow(self) -> None:
        """Let the controls show what is so."""
        with self._turn:
            self._following = True
            try:
                self._show_what_is_so()
            finally:
                self._following = False

    def _show_what_is_so(self) -> None:
        controls, settings = self._controls, self.painter.settings
        controls.task.value = self.session.task
        controls.freeze.value = self.session.frozen
        controls.mode.value = settings.mode
        controls.opacity.value = settings.opacity
        controls.point_y.value, controls.point_x.value = settings.point
        choices = controls.choices(self._source)
        if list(controls.source.options) != choices:
            controls.source.options = choices
        controls.source.value = self._source

    # What the browser says.

    def _greeted(self) -> None:
        source = self.session.open_source
        if source is not None and source.kind == "browser":
            source.greet()
        self._pump.greeted()

    def _clicked(self, x: float, y: float) -> None:
        self._touched = time.monotonic()
        point = self.painter.newest().composed.point_at(y, x)
        if point is not None:
            self._change(point=point)

    def _stepped(self, x: float, y: float) -> None:
        old = self.painter.settings.point
        moved = (old[0] + _STEP * np.sign(y), old[1] + _STEP * np.sign(x))
        self._change(point=tuple(float(np.clip(p, 0.0, 1.0)) for p in moved))

    def _browser_camera(self) -> Source:
        from m3vit_pynq.live.browser_camera import BrowserCamera

        return BrowserCamera(self._picture)

    def _refresh(self, painted: Painted | None) -> None:
        """Bring the texts up to date; called a few times per second while somebody looks."""
        self._texts.refresh(painted)
        if self._picture.acknowledged:
            if painted is not None:
                self._picture.label = in_words(painted)
        elif time.monotonic() - self._touched > self.idle and self.session.running:
            self.session.stop(
                f"stopped after {self.idle / 60:g} minutes without a click, because without "
                "anywidget nobody can tell whether the page is still open; Start goes on "
                "(pip install 'm3vit-pynq[live]' does without this)"
            )
