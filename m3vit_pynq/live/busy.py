# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether the notebook's kernel is running a cell, during which it may read no messages."""

from __future__ import annotations

import contextlib


class CellWatch:
    """Follows the cells of the notebook; outside a notebook no cell ever runs.

    Attributes
    ----------
    busy : bool
        Whether a cell is being run now.
    """

    def __init__(self) -> None:
        self._events = _events()
        self.busy = self._events is not None  # made by a cell that is running
        if self._events is not None:
            self._events.register("pre_run_cell", self._begins)
            self._events.register("post_run_cell", self._ends)

    def _begins(self, *_: object) -> None:
        self.busy = True

    def _ends(self, *_: object) -> None:
        self.busy = False

    def close(self) -> None:
        """Follow no longer. Idempotent."""
        events, self._events = self._events, None
        if events is not None:
            with contextlib.suppress(ValueError):  # somebody cleared all callbacks
                events.unregister("pre_run_cell", self._begins)
                events.unregister("post_run_cell", self._ends)


def _events() -> object | None:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell.events if shell is not None and hasattr(shell, "kernel") else None
