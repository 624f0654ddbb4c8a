# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live notebook on a page of JupyterLab, as a person works with it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from lab_server import LabServer
from playwright.sync_api import Browser, Locator, Page

#: Seconds for JupyterLab to show the notebook, and for the emulated board to show a picture.
PAGE_TIMEOUT, PICTURE_TIMEOUT = 120.0, 150.0
#: Seconds for the widget to do what a click asks for.
TIMEOUT = 60.0

PICTURE = "canvas.m3vit-live-canvas, img.m3vit-live-picture, .m3vit-live-picture img"

# How cells begin that tests add to the notebook.
_ADDED = "# added by a test"

# Remembers the serial number of every picture that the canvas shows, and its
# pixels at the same few places.
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


class LivePage:
    """A page with the notebook; its widget is the first or another on the page."""

    def __init__(
        self, browser: Browser, lab: LabServer, size: tuple[int, int] = (1400, 1150)
    ) -> None:
        self.console: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1e3 * TIMEOUT)
        self.page.on("console", lambda message: self.console.append(_line(message)))
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        self.page.goto(lab.address("live"), timeout=1e3 * PAGE_TIMEOUT)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=1e3 * PAGE_TIMEOUT)
        # Idle, and not only "connecting": commands before that are lost.
        self.page.wait_for_function(_KERNEL_IS_IDLE, timeout=1e3 * PAGE_TIMEOUT)

    # The notebook.

    def command(self, name: str) -> None:
        """A command of JupyterLab, as its menus run it; does not wait for cells."""
        self.page.evaluate(f"name => {{ {_APP}.commands.execute(name); }}", name)

    def run_all_but_last(self) -> None:
        """Run the notebook up to its last cell, the one that closes the view."""
        self._select(self._code_cells(added=False)[-1])
        self.command("notebook:run-all-above")

    def run_last(self) -> None:
        """Run the notebook's last cell, but for those that `run_new_cell` added."""
        self._select(self._code_cells(added=False)[-1])
        self.command("notebook:run-cell")

    def run_new_cell(self, code: str) -> None:
        """Type a cell at the end of the notebook and run it."""
        cells = self._code_cells()
        self._select(cells[-1])
        self.command("notebook:insert-cell-below")
        until(lambda: len(self._code_cells()) > len(cells), "a new cell")
        self.command("notebook:enter-edit-mode")
        self.page.wait_for_selector(".jp-Notebook.jp-mod-editMode")
        self.page.keyboard.insert_text(f"{_ADDED}\n{code}")
        self.page.keyboard.press("Control+Enter")

    def _code_cells(self, added: bool = True) -> list[int]:
        """Indices of the cells with code, with or without those that tests added."""
        sources = self.page.evaluate(
            f"() => {_NOTEBOOK}.widgets.map(cell => cell.model.type === 'code' "
            "? [cell.model.toJSON().source].flat().join('') : null)"
        )
        return [
            index for index, source in enumerate(sources)
            if source is not None and (added or not source.startswith(_ADDED))
        ]  # fmt: skip

    def _select(self, cell: int) -> None:
        self.page.evaluate(f"cell => {{ {_NOTEBOOK}.activeCellIndex = cell; }}", cell)

    def save(self) -> None:
        """Save the notebook, so that a new page finds the outputs of its cells."""
        self.command("docmanager:save")
        self.page.wait_for_function(f"() => !{_APP}.shell.currentWidget.context.model.dirty")

    def waiting_cells(self) -> int:
        """Cells that run or wait for their turn."""
        return self.page.locator(".jp-InputPrompt", has_text="[*]").count()

    def errors_of_cells(self) -> list[str]:
        """Texts of the errors that stand below cells."""
        selector = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]'
        return self.page.locator(selector).all_text_contents()

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

    def wait_for_picture(self, view: int = 0) -> None:
        """Wait for the first live picture; `AssertionError` at once if a cell failed."""

        def there() -> bool:
            assert not self.errors_of_cells(), self.errors_of_cells()
            shown = self.state(view) in ("running", "frozen") and self.picture(view).is_visible()
            return shown and not self.waiting_cells()

        until(there, "the live picture and the end of all cells", PICTURE_TIMEOUT)
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


_APP = "(window.jupyterapp || window.jupyterlab)"
_NOTEBOOK = f"{_APP}.shell.currentWidget.content"
_KERNEL_IS_IDLE = f"""
() => {{
  const panel = {_APP} && {_APP}.shell.currentWidget;
  const session = panel && panel.sessionContext && panel.sessionContext.session;
  return Boolean(session && session.kernel && session.kernel.status === "idle");
}}
"""


def _line(message: object) -> str:
    return f"{message.type}: {message.text}"
