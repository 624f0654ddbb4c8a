# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts of the emulated board: an AXI interrupt controller and a UIO device.

The controller has the registers of the AXI INTC (PG099) that PYNQ uses, for
level-sensitive inputs. Its output drives a UIO device as the Linux driver
``uio_pdrv_genirq`` offers it: enabling it arms one event.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

ISR, IPR, IER, IAR, SIE, CIE, IVR, MER = (4 * index for index in range(8))


class InterruptController:
    """Registers of an AXI INTC with one level-sensitive input.

    Parameters
    ----------
    source : callable
        Returns the level of the input.
    on_output : callable
        Called without arguments when the output may have changed.
    """

    def __init__(self, source: Callable[[], bool], on_output: Callable[[], None]) -> None:
        self._source = source
        self._on_output = on_output
        self._lock = threading.RLock()
        self._latched = 0  # an active level is held until it is acknowledged
        self._enabled = 0
        self._master = 0

    @property
    def output(self) -> bool:
        """Level of the line to the processor."""
        with self._lock:
            self._sample()
            return bool(self._master & 1 and self._latched & self._enabled)

    def _sample(self) -> None:
        if self._master & 2 and self._source():
            self._latched |= 1

    def read(self, offset: int) -> int:
        """Word at a byte offset."""
        with self._lock:
            self._sample()
            pending = self._latched & self._enabled
            registers = {ISR: self._latched, IPR: pending, IER: self._enabled, MER: self._master}
            if offset == IVR:
                return 0 if pending else 0xFFFFFFFF
            return registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a word at a byte offset."""
        with self._lock:
            if offset == IER:
                self._enabled = value & 1
            elif offset == IAR:
                self._latched &= ~value
            elif offset == SIE:
                self._enabled |= value & 1
            elif offset == CIE:
                self._enabled &= ~value
            elif offset == MER:
                # The hardware enable can be set only once.
                self._master = (value & 3) | (self._master & 2)
        self._on_output()

    def input_changed(self) -> None:
        """Tell the controller that its input may have changed."""
        self._on_output()


class EmulatedUio:
    """A UIO device for a level-sensitive line.

    It serves both sides that wait in this project: `add_event` is what
    `pynq.interrupt` calls, `arm` and `wait` what `m3vit_pynq.interrupt_line` calls.

    Parameters
    ----------
    level : callable
        Returns the level of the interrupt line.
    """

    def __init__(self, level: Callable[[], bool]) -> None:
        self._level = level
        self._changed = threading.Condition()
        self._events: list[tuple[asyncio.AbstractEventLoop, object]] = []

    def line_changed(self) -> None:
        """Wake everybody who waits if the line is active."""
        with self._changed:
            if not self._level():
                return
            events, self._events = self._events, []
            self._changed.notify_all()
        for loop, event in events:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop was closed: nobody waits, but bookkeeping goes on
                event.set()

    def add_event(self, event: object, number: int) -> None:
        """Call ``event.set()`` in the running event loop at the next interrupt."""
        with self._changed:
            self._events.append((asyncio.get_running_loop(), event))
        self.line_changed()

    def arm(self) -> None:
        """Enable the interrupt; a level-sensitive line needs no more here."""

    def wait(self, timeout: float) -> bool:
        """Wait until the line is active, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(
                self._level, timeout=max(0.0, deadline - time.monotonic())
            )

    def close(self) -> None:
        """Nothing is held open."""
