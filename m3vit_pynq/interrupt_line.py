# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Blocking wait for the accelerator's interrupt, with a timeout.

`pynq.Interrupt` waits in an asyncio event loop. That suits ``await`` in a
notebook, but a loop over frames is plain Python, often in a thread of its own,
and PYNQ's wait has no timeout. This module waits on the same UIO device with
``poll``.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Mapping
from typing import Protocol

logger = logging.getLogger(__name__)

# Registers of the AXI interrupt controller (PG099).
_IAR, _SIE, _MER = 0x0C, 0x10, 0x1C


class Uio(Protocol):
    """A UIO device."""

    def arm(self) -> None:
        """Enable one event."""

    def wait(self, timeout: float) -> bool:
        """Wait for the event, at most `timeout` seconds."""

    def close(self) -> None:
        """Release the device."""


class LinuxUio:
    """``/dev/uioN``, opened apart from PYNQ's own handle."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def arm(self) -> None:
        os.write(self._fd, (1).to_bytes(4, "little"))

    def wait(self, timeout: float) -> bool:
        if not self._poll.poll(timeout * 1e3):
            return False
        os.read(self._fd, 4)
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_uio(device: object, raw_irq: int) -> Uio:
    """The UIO device of an interrupt of the processing system.

    Raises
    ------
    OSError
        If there is none or it cannot be opened.
    """
    if hasattr(device, "open_uio"):
        return device.open_uio(raw_irq)
    from pynq.interrupt import get_uio_irq

    path = get_uio_irq(raw_irq)
    if path is None:
        raise OSError(f"no UIO device for interrupt {raw_irq}")
    return LinuxUio(path)


class InterruptLine:
    """One input of the AXI interrupt controller.

    Parameters
    ----------
    uio : Uio
        Device behind the controller's output.
    intc : pynq.MMIO
        Registers of the controller.
    index : int
        Input of the controller.

    Attributes
    ----------
    accesses : int
        Accesses to the controller so far.
    """

    def __init__(self, uio: Uio, intc: object, index: int) -> None:
        self._uio = uio
        self._intc = intc
        self._mask = 1 << index
        self.accesses = 0
        self.enable()

    def _write(self, offset: int, value: int) -> None:
        self.accesses += 1
        self._intc.write(offset, value)

    def enable(self) -> None:
        """Let the input through; PYNQ's own wait disables it after each event."""
        self._write(_MER, 3)
        self._write(_SIE, self._mask)

    def acknowledge(self) -> None:
        """Clear the latched input, after the accelerator's own status."""
        self._write(_IAR, self._mask)

    def wait(self, timeout: float) -> bool:
        """Wait for an interrupt; it may be an old one, so look at the status after."""
        self._uio.arm()
        return self._uio.wait(timeout)

    def close(self) -> None:
        """Release the UIO device."""
        self._uio.close()


def connect(device: object, pin: Mapping[str, object], fullpath: str) -> InterruptLine | None:
    """The line of an interrupt pin, or None where interrupts cannot be used.

    Parameters
    ----------
    device : pynq.Device
        Device with a loaded overlay.
    pin : mapping
        Entry of the pin in the IP's ``interrupts``: controller and index.
    fullpath : str
        Name for messages.
    """
    from pynq import MMIO

    name = pin["controller"]
    try:
        raw_irq = device.interrupt_controllers[name]["raw_irq"]
        base = device.ip_dict[name]["phys_addr"]
        return InterruptLine(open_uio(device, raw_irq), MMIO(base, 32, device=device), pin["index"])
    except (KeyError, OSError) as error:
        logger.warning("%s: no interrupt (%s); the status is polled instead", fullpath, error)
        return None
