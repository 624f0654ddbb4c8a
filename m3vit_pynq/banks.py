# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weight banks: packages resident in device memory, and moving one in meanwhile.

A bank is one allocation that holds all that a package needs: its program, its
weight image and the workspace of its activations (`m3vit_pynq.abi.isa`).
There are two, so that a package can be copied into one while frames are
computed from the other; the flip is a matter of which addresses the next frame
is started with.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq import buffers
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.errors import M3ViTError

if TYPE_CHECKING:
    from pynq.buffer import PynqBuffer

    from m3vit_pynq.package import Package

#: Bytes copied by one `Transfer.step` unless told otherwise.
CHUNK = 1 << 20


class Bank:
    """Device memory for one package.

    Attributes
    ----------
    package : Package or None
        What is resident; None while empty or being filled.
    used : int
        Sequence number of the last use, for replacing the least recent.
    in_flight : bool
        Whether the accelerator is working on a frame with it.
    buffer : PynqBuffer or None
        uint8 [bank_bytes], what the AXI masters are pointed at.
    """

    def __init__(self, device: object, name: str) -> None:
        self.name = name
        self.package: Package | None = None
        self.used = 0
        self.in_flight = False
        self.buffer: PynqBuffer | None = None
        self._device = device
        self._memory: PynqBuffer | None = None

    def reserve(self, bank_bytes: int) -> None:
        """Have room for a package; a buffer that is large enough is kept.

        Raises
        ------
        DeviceMemoryError
            If device memory is exhausted; the bank is empty then.
        """
        self.package = self.buffer = None
        if self._memory is None or self._memory.size < bank_bytes:
            buffers.free(self._memory)
            self._memory = None
            self._memory = buffers.allocate(
                bank_bytes, np.uint8, self._device, f"weight bank {self.name}"
            )
        # Made once: a view costs more than starting a frame.
        self.buffer = self._memory[:bank_bytes]

    def release(self) -> None:
        """Return the buffer."""
        self.package = self.buffer = None
        buffers.free(self._memory)
        self._memory = None

    def flush(self) -> None:
        """Write caches back, so that the accelerator sees what was copied."""
        self._memory.flush()


@dataclass
class Transfer:
    """A package on its way into a bank.

    Attributes
    ----------
    bank : Bank
        Destination; `bank.package` is set when the last byte has arrived.
    moved : int
        Bytes copied so far.
    seconds : float
        Time spent copying.
    """

    bank: Bank
    package: Package
    moved: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Bytes to copy in all."""
        return len(self.package.program) + self.package.weights.size

    @property
    def done(self) -> bool:
        """Whether the package is resident."""
        return self.bank.package is self.package

    def step(self, limit: int = CHUNK) -> bool:
        """Copy at most `limit` bytes more; True when the package is resident."""
        if self.done:
            return True
        began = time.perf_counter()
        bank = np.asarray(self.bank.buffer)
        program = len(self.package.program)
        if self.moved < program:
            bank[:program] = np.frombuffer(self.package.program, np.uint8)
            self.moved = program
        count = min(limit, self.total - self.moved)
        if count > 0:
            first = self.moved - program
            start = LINE * self.package.layout.weights_line + first
            bank[start : start + count] = self.package.weights.reshape(-1)[first : first + count]
            self.moved += count
        if self.moved >= self.total:
            self.bank.flush()
            self.bank.package = self.package
        self.seconds += time.perf_counter() - began
        return self.done


class WeightBanks:
    """The banks of one accelerator.

    Parameters
    ----------
    device : pynq.Device
        Where to allocate.
    count : int
        Number of banks; two are enough to stream one package in while another works.

    Attributes
    ----------
    bytes_moved : int
        Bytes of packages copied to device memory so far.
    """

    def __init__(self, device: object, count: int = 2) -> None:
        self._banks = [Bank(device, "AB"[i] if count <= 2 else str(i)) for i in range(count)]
        self._lock = threading.RLock()
        self._clock = 0
        self._pending: Transfer | None = None
        self.bytes_moved = 0

    def __iter__(self):
        return iter(self._banks)

    def find(self, package: Package) -> Bank | None:
        """The bank in which a package is resident."""
        return next((bank for bank in self._banks if bank.package is package), None)

    def touch(self, bank: Bank) -> None:
        """Note that a bank is used now."""
        self._clock += 1
        bank.used = self._clock

    def begin(self, package: Package, keep: Bank | None = None) -> Transfer:
        """Start moving a package into the least recently used bank.

        Parameters
        ----------
        keep : Bank, optional
            A bank that must not be replaced, besides those in use by the accelerator.

        Raises
        ------
        DeviceMemoryError
            If device memory is exhausted.
        """
        with self._lock:
            resident = self.find(package)
            if resident is not None:
                return Transfer(resident, package)
            if self._pending is not None and self._pending.package is package:
                return self._pending
            free = [bank for bank in self._banks if not bank.in_flight and bank is not keep]
            bank = min(free, key=lambda bank: bank.used)
            bank.reserve(package.bank_bytes)
            self._pending = Transfer(bank, package)
            return self._pending

    def step(self, transfer: Transfer, limit: int = CHUNK) -> bool:
        """One `Transfer.step`; True when the package is resident."""
        with self._lock:
            if transfer.done:
                return True
            if transfer is not self._pending:
                raise M3ViTError(
                    "another package was loaded into the bank meanwhile; load this one again"
                )
            before = transfer.moved
            done = transfer.step(limit)
            self.bytes_moved += transfer.moved - before
            if done:
                self._pending = None
                self.touch(transfer.bank)
            return done

    def load(self, package: Package, keep: Bank | None = None) -> Bank:
        """Move a package in at once; nothing is moved when it is resident."""
        transfer = self.begin(package, keep)
        while not self.step(transfer):
            pass
        return transfer.bank

    def release(self) -> None:
        """Return all buffers."""
        with self._lock:
            self._pending = None
            for bank in self._banks:
                bank.release()
