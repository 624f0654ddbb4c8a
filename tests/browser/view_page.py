# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A page that shows live views, as a person sees and clicks them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, Locator, Page

#: Seconds for a page to be there, and for the emulated board to show a picture.
PAGE_TIMEOUT, PICTURE_TIMEOUT = 120.0, 150.0
#: Seconds for the widget to do what a click asks for.
TIMEOUT = 60.0

PICTURE = "canvas.m3vit-live-canvas, img.m3vit-live-picture, .m3vit-live-picture img"

# Remembers the serial number of every picture that the canvas shows, and its
# pixels at the same few places; and how many there were at the last click.
_RECORDER = """
(canvas, places) => {
  const shown = (window.m3vitShown = []);
  const note = () => {
    const context = canvas.getContext("2d");
    const colours = places.map(([y, x]) =>
      Array.from(context.getImageData(
        Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data).slice(0, 3));
    shown.push([Number(canvas.dataset.serial), colours]);
  };
  new MutationObserver(note).observe(canvas, { attributeFilter: ["data-serial"] });
  const click = () => { window.m3vitClicked = shown.length; };
  document.addEventListener("click", click, { capture: true });
}
"""


def until(condition: Callable[[], object], what: str, timeout: float = TIMEOUT) -> object:
    """Wait for a condition; its value, or `AssertionError` that says what did not happen."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.15)


class ViewPage:
    """A page; its view is the first or another one on it."""

    def __init__(self, browser: Browser, size: tuple[int, int] = (1400, 1150)) -> None:
        self.console: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1e3 * TIMEOUT)
        self.page.on("console", lambda message: self.console.append(_line(message)))
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    # The widget.

    def part(self, name: str, view: int = 0) -> Locator:
        """A control by the name of its CSS class."""
        return self.page.locator(".m3vit-live").nth(view).locator(f".m3vit-live-{name}").first

    def picture(self, view: int = 0) -> Locator:
        return self.page.locator(".m3vit-live").nth(view).locator(PICTURE).first

    def click(self, name: str, view: int = 0) -> None:
        self.part(name, view).click()

    def choose_task(self, task: str, view: int = 0) -> None:
        self.part("task", view).get_by_role("button", name=task, exact=True).click()

    def choose(self, control: str, label: str, view: int = 0) -> None:
        self.part(control, view).locator("select").select_option(label=label)

    def text(self, name: str, view: int = 0) -> str:
        part = self.part(name, view)
        # Not inner_text: it is empty where JupyterLab skips what is scrolled away.
        return (part.text_content() or "") if part.count() else ""

    def state(self, view: int = 0) -> str:
        """What the message line says that the view is doing."""
        marked = self.part("message", view).locator("[data-state]")
        return (marked.get_attribute("data-state") or "") if marked.count() else ""

    def serial(self, view: int = 0) -> int:
        """Number of the picture on the screen; -1 before the first."""
        picture = self.picture(view)
        text = picture.get_attribute("data-serial") if picture.count() else None
        return int(text) if text else -1

    def legend(self) -> dict[str, tuple[int, int, int]]:
        """Class names with the colours of their chips, as the browser computes them."""
        pairs = (
            self.part("legend")
            .locator(".m3vit-chip")
            .evaluate_all(
                "chips => chips.map(c => [c.textContent, "
                "getComputedStyle(c.querySelector('i')).backgroundColor])"
            )
        )
        found = {}
        for text, colour in pairs:
            name = re.sub(r"\s*\d+\s*%\s*$", "", text).strip()
            found[name] = tuple(int(part) for part in re.findall(r"\d+", colour)[:3])
        return found

    def pixels(self, view: int = 0) -> np.ndarray:
        """The picture as the browser shows it, uint8 RGB."""
        png = np.frombuffer(self.picture(view).screenshot(timeout=1e3 * TIMEOUT), np.uint8)
        return cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def record(self, places: list[tuple[float, float]]) -> None:
        """Begin to note every picture of the first view; see `shown`."""
        self.picture().evaluate(_RECORDER, places)

    def shown(self) -> list[tuple[int, list[list[int]]]]:
        """(serial, colours at the places) of every picture since `record`."""
        return self.page.evaluate("window.m3vitShown")

    def shown_at_click(self) -> int:
        """How many of `shown` had come when the page was last clicked."""
        return self.page.evaluate("window.m3vitClicked")

    @contextmanager
    def slowed(self, factor: float) -> Iterator[None]:
        """Give the page so much less of the processor for a while."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": factor})
        try:
            yield
        finally:
            session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
            session.detach()

    def wait_for_picture(self, view: int = 0) -> None:
        """Wait for the first live picture."""

        def there() -> bool:
            return self.state(view) in ("running", "frozen") and self.picture(view).is_visible()

        until(there, "the live picture", PICTURE_TIMEOUT)
        until(lambda: self.pixels(view).std() > 1, "a picture with something in it")

    # What is kept after a failure.

    def keep(self, base: Path) -> list[Path]:
        """Write screenshot and console; the files."""
        base.parent.mkdir(parents=True, exist_ok=True)
        console = base.with_suffix(".console.txt")
        console.write_text("\n".join(self.console) + "\n")
        if self.page.is_closed():
            return [console]
        screenshot = base.with_suffix(".png")
        self.page.screenshot(path=screenshot)
        return [screenshot, console]


def _line(message: object) -> str:
    return f"{message.type}: {message.text}"
