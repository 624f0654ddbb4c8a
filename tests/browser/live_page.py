# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live notebook on a page of JupyterLab."""

from __future__ import annotations

from lab_server import LabServer
from playwright.sync_api import Browser
from view_page import PAGE_TIMEOUT, PICTURE_TIMEOUT, ViewPage, until

# How cells begin that tests add to the notebook.
_ADDED = "# added by a test"


class LivePage(ViewPage):
    """A page with the notebook, as soon as commands to its kernel are heard."""

    def __init__(
        self, browser: Browser, lab: LabServer, size: tuple[int, int] = (1400, 1150)
    ) -> None:
        super().__init__(browser, size)
        self._address = lab.address("live")
        self.load()

    def load(self) -> None:
        """Load the page, or load it again."""
        self.page.goto(self._address, timeout=1e3 * PAGE_TIMEOUT)
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

    # From the notebook's model: cells that are scrolled away may not be on the page.

    def waiting_cells(self) -> int:
        """Cells that run or wait for their turn, or were never run."""
        return self.page.evaluate(
            f"() => {_NOTEBOOK}.widgets.filter(cell => cell.model.type === 'code' "
            "&& cell.model.executionCount === null).length"
        )

    def errors_of_cells(self) -> list[str]:
        """Names and texts of the exceptions that ended cells."""
        return self.page.evaluate(_ERRORS)

    def wait_for_picture(self, view: int = 0) -> None:
        """Wait for the end of all cells as well; `AssertionError` at once if one failed."""

        def ended() -> bool:
            assert not self.errors_of_cells(), self.errors_of_cells()
            return self.picture(view).count() > 0 and not self.waiting_cells()

        until(ended, "the end of all cells", PICTURE_TIMEOUT)
        super().wait_for_picture(view)


_APP = "(window.jupyterapp || window.jupyterlab)"
_NOTEBOOK = f"{_APP}.shell.currentWidget.content"
_ERRORS = f"""
() => {_NOTEBOOK}.widgets.filter(cell => cell.model.type === "code")
  .flatMap(cell => cell.model.outputs.toJSON())
  .filter(output => output.output_type === "error")
  .map(output => [output.ename, output.evalue].filter(Boolean).join(": "))
"""
_KERNEL_IS_IDLE = f"""
() => {{
  const panel = {_APP} && {_APP}.shell.currentWidget;
  const session = panel && panel.sessionContext && panel.sessionContext.session;
  return Boolean(session && session.kernel && session.kernel.status === "idle");
}}
"""
