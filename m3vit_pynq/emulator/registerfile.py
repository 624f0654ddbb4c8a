# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The AXI4-Lite slave that Vitis HLS generates, as a state machine (UG1399).

=======  ==================================================================
CTRL     start (kept until the kernel is ready, or set again by auto
         restart), done and ready (cleared by reading), idle, auto restart,
         interrupt
GIER     global interrupt enable
IER      interrupt enables: done, ready
ISR      interrupt status, bits *toggle* where ones are written
input    reads back what was written
output   value, and beside it a valid flag cleared by reading it
else     reads zero, writes are ignored
=======  ==================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from m3vit_pynq.abi import registers as reg

_WORD = 0xFFFFFFFF


class Access(NamedTuple):
    """One register access."""

    kind: str  # "read" or "write"
    offset: int
    value: int


class RegisterFile:
    """Registers of one accelerator.

    Parameters
    ----------
    on_start : callable, optional
        Called without arguments, outside the lock, when the kernel starts.
    on_interrupt : callable, optional
        Called without arguments, outside the lock, when `interrupt` changed.

    Notes
    -----
    `read` and `write` are the bus side, `arguments` and `complete` the kernel
    side; they may be called from different threads.
    """

    def __init__(
        self,
        on_start: Callable[[], None] | None = None,
        on_interrupt: Callable[[], None] | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._on_start = on_start or (lambda: None)
        self._on_interrupt = on_interrupt or (lambda: None)
        self._inputs: dict[int, int] = {}
        self._outputs: dict[int, str] = {}
        for argument in reg.ARGUMENTS:
            if argument.kind == "out":
                self._outputs[argument.offset] = argument.name
            else:
                self._inputs[argument.offset] = 0
            if argument.kind == "pointer":
                self._inputs[argument.offset_high] = 0
        self._values = dict.fromkeys(self._outputs.values(), 0)
        self._valid = dict.fromkeys(self._outputs.values(), False)
        self._start = self._done = self._ready = self._restart = False
        self._busy = False
        self._gier = self._ier = self._isr = 0
        self._line = False

    # The bus side.

    def read(self, offset: int) -> int:
        """Word at a byte offset, with the side effects of reading it."""
        with self._lock:
            return self._read(offset)

    def write(self, offset: int, value: int) -> None:
        """Write a word at a byte offset."""
        value &= _WORD
        with self._lock:
            was_busy = self._busy
            self._write(offset, value)
            started = self._busy and not was_busy
            edge = self._update_line()
        self._notify(edge, started)

    def _read(self, offset: int) -> int:
        if offset == reg.CTRL:
            return self._read_control()
        if offset == reg.GIER:
            return self._gier
        if offset == reg.IER:
            return self._ier
        if offset == reg.ISR:
            return self._isr
        if offset in self._inputs:
            return self._inputs[offset]
        if offset in self._outputs:
            return self._values[self._outputs[offset]]
        if offset - 4 in self._outputs:
            name = self._outputs[offset - 4]
            valid, self._valid[name] = self._valid[name], False
            return int(valid)
        return 0

    def _read_control(self) -> int:
        value = (
            reg.AP_START * self._start
            | reg.AP_DONE * self._done
            | reg.AP_IDLE * (not self._busy)
            | reg.AP_READY * self._ready
            | reg.AUTO_RESTART * self._restart
            | reg.INTERRUPT * self._line
        )
        self._done = self._ready = False
        return value

    def _write(self, offset: int, value: int) -> None:
        if offset == reg.CTRL:
            self._restart = bool(value & reg.AUTO_RESTART)
            if value & reg.AP_START:
                self._start = self._busy = True
        elif offset == reg.GIER:
            self._gier = value & 1
        elif offset == reg.IER:
            self._ier = value & (reg.IRQ_DONE | reg.IRQ_READY)
        elif offset == reg.ISR:
            self._isr ^= value & (reg.IRQ_DONE | reg.IRQ_READY)
        elif offset in self._inputs:
            self._inputs[offset] = value

    # The kernel side.

    @property
    def busy(self) -> bool:
        """Whether the kernel runs."""
        return self._busy

    @property
    def interrupt(self) -> bool:
        """Level of the interrupt line."""
        return self._line

    def arguments(self) -> dict[str, int]:
        """Input arguments by name; pointers as 64-bit addresses."""
        with self._lock:
            values = {}
            for argument in reg.ARGUMENTS:
                if argument.kind == "in":
                    values[argument.name] = self._inputs[argument.offset]
                elif argument.kind == "pointer":
                    low = self._inputs[argument.offset]
                    values[argument.name] = low | self._inputs[argument.offset_high] << 32
            return values

    def complete(self, outputs: Mapping[str, int]) -> None:
        """The kernel is done and ready; `outputs` are the values it wrote."""
        with self._lock:
            for name, value in outputs.items():
                self._values[name] = int(value) & _WORD
                self._valid[name] = True
            self._done = self._ready = True
            self._isr |= self._ier
            self._start = self._busy = self._restart
            restarted = self._busy
            edge = self._update_line()
        self._notify(edge, restarted)

    def _update_line(self) -> bool:
        before, self._line = self._line, bool(self._gier and self._isr)
        return self._line != before

    def _notify(self, edge: bool, started: bool) -> None:
        if edge:
            self._on_interrupt()
        if started:
            self._on_start()
