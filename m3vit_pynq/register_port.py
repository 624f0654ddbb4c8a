# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Counted access to the accelerator's registers.

``M3VIT_DEBUG=registers`` in the environment shows every access, on a board and
on the emulated board alike::

    m3vit write frame[31:0]  0x018 <- 0x10000000
    m3vit read  CTRL         0x000 -> 0x0000000e
"""

from __future__ import annotations

import logging
import os
from typing import Protocol

from m3vit_pynq.abi import registers as reg

logger = logging.getLogger("m3vit_pynq.registers")

_NAMES = {reg.CTRL: "CTRL", reg.GIER: "GIER", reg.IER: "IER", reg.ISR: "ISR"}
for _argument in reg.ARGUMENTS:
    _NAMES[_argument.offset] = _argument.name
    if _argument.kind == "pointer":
        _NAMES[_argument.offset] = f"{_argument.name}[31:0]"
        _NAMES[_argument.offset_high] = f"{_argument.name}[63:32]"


class MMIO(Protocol):
    """The part of `pynq.MMIO` that is used."""

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...


def debug_registers() -> bool:
    """Whether ``M3VIT_DEBUG`` asks for register accesses; makes them visible."""
    wanted = "registers" in os.environ.get("M3VIT_DEBUG", "").split(",")
    if wanted and not logger.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.DEBUG)
        if not logger.hasHandlers():
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("m3vit %(message)s"))
            logger.addHandler(handler)
    return wanted


class RegisterPort:
    """Registers of one accelerator.

    Inputs are shadowed: writing the value that a register holds costs nothing.

    Parameters
    ----------
    mmio : pynq.MMIO
        Window on the register file.

    Attributes
    ----------
    accesses : int
        Reads and writes so far, without status polls.
    polls : int
        Reads of CTRL.
    """

    def __init__(self, mmio: MMIO) -> None:
        self._mmio = mmio
        self._shadow: dict[int, int] = {}
        self._debug = debug_registers()
        self.accesses = 0
        self.polls = 0

    def forget(self) -> None:
        """Write every register again when it is next set, as after a download."""
        self._shadow.clear()

    def status(self) -> int:
        """CTRL, read once; reading clears its done and ready bits."""
        self.polls += 1
        value = int(self._mmio.read(reg.CTRL))
        if self._debug:
            self._log("read ", reg.CTRL, "->", value)
        return value

    def read(self, offset: int) -> int:
        """A register other than CTRL."""
        self.accesses += 1
        value = int(self._mmio.read(offset))
        if self._debug:
            self._log("read ", offset, "->", value)
        return value

    def write(self, offset: int, value: int) -> None:
        """Write unconditionally. `value` becomes a plain int of 32 bits."""
        value = int(value)
        if not 0 <= value < 1 << 32:
            raise ValueError(f"register {offset:#x}: {value:#x} does not fit 32 bits")
        self.accesses += 1
        if self._debug:
            self._log("write", offset, "<-", value)
        self._mmio.write(offset, value)

    def set(self, offset: int, value: int) -> None:
        """Write an input register unless it holds `value` already."""
        if self._shadow.get(offset) != value:
            self.write(offset, value)
            self._shadow[offset] = value

    def set_address(self, argument: reg.Argument, address: int) -> None:
        """Write a 64-bit device address as two words."""
        address = int(address)
        self.set(argument.offset, address & 0xFFFFFFFF)
        self.set(argument.offset_high, address >> 32)

    def _log(self, kind: str, offset: int, arrow: str, value: int) -> None:
        name = _NAMES.get(offset, "reserved")
        logger.debug("%s %-16s 0x%03x %s 0x%08x", kind, name, offset, arrow, value)
