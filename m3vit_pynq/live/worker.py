# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A thread that can be waited for, also when Ctrl-C interrupts the waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs a function in a daemon thread.

    `threading.Thread.join` marks a running thread as ended when it is
    interrupted (Python up to 3.12), so the end is an event here.

    Parameters
    ----------
    work : callable
        Without arguments; must not raise.
    name : str
        Of the thread.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait for the end; True if it has come. Returns at once in the thread itself."""
        if self._thread is threading.current_thread():
            return False
        return self._ended.wait(timeout)
