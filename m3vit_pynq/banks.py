# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weight banks: packages resident in device memory, and moving one in meanwhile.

A bank holds one package: its program and the four parts of its weight image.
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
from m3vit_pynq.abi import registers as reg
from m3vit_pynq.errors import M3ViTError

if TYPE_CHECKING:
    from pynq.buffer import PynqBuffer

    from m3vit_pynq.package import Package

#: AXI bursts do not cross 4 KiB; parts that start at such a border keep them whole.
PART_ALIGNMENT = 4096
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
    regions : dict
        Device address and bytes of the program and of each weight part.
    """

    def __init__(self, device: object, name: str) -> None:
        self.name = name
        self.package: Package | None = None
        self.used = 0
        self.in_flight = False
        self.regions: dict[str, tuple[int, int]] = {}
        self._device = device
        self._program: PynqBuffer | None = None
        self._weights: PynqBuffer | None = None
        self._program_bytes = 0
        self._weights_bytes = 0

    def reserve(self, program_bytes: int, weights_bytes: int) -> None:
        """Have room for a package; buffers that are large enough are kept.

        Raises
        ------
        DeviceMemoryError
            If device memory is exhausted; the bank is empty then.
        """
        self.package = None
        stride = -(-weights_bytes // PART_ALIGNMENT) * PART_ALIGNMENT
        if self._program is None or self._program.size < program_bytes:
            buffers.free(self._program)
            self._program = None
            self._program = buffers.allocate(
                program_bytes, np.uint8, self._device, f"the program of weight bank {self.name}"
            )
        if self._weights is None or self._weights.shape[1] < stride:
            buffers.free(self._weights)
            self._weights = None
            try:
                self._weights = buffers.allocate(
                    (reg.WEIGHT_PORTS, stride), np.uint8, self._device,
                    f"the weights of bank {self.name}",
                )  # fmt: skip
            except Exception:
                self.release()
                raise
        self._program_bytes = program_bytes
        self._weights_bytes = weights_bytes
        # Worked out once: making views costs more than starting a frame.
        views = {"program": self.program}
        views.update((f"weights{port}", self.part(port)) for port in range(reg.WEIGHT_PORTS))
        self.regions = {
            name: (buffers.device_address(view), view.nbytes) for name, view in views.items()
        }

    def release(self) -> None:
        """Return the buffers."""
        self.package = None
        buffers.free(self._program, self._weights)
        self._program = self._weights = None

    @property
    def program(self) -> PynqBuffer:
        """uint8 [program_bytes], a view of device memory."""
        return self._program[: self._program_bytes]

    def part(self, port: int) -> PynqBuffer:
        """uint8 [weights_bytes], the weights that one port reads."""
        return self._weights[port, : self._weights_bytes]

    def flush(self) -> None:
        """Write caches back, so that the accelerator sees what was copied."""
        self._program.flush()
        self._weights.flush()


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
        program = len(self.package.program)
        if self.moved < program:
            self.bank.program[:] = np.frombuffer(self.package.program, np.uint8)
            self.moved = program
        length = self.package.weights.shape[1]
        while limit > 0 and self.moved < self.total:
            port, column = divmod(self.moved - program, length)
            count = min(limit, length - column)
            source = self.package.weights[port, column : column + count]
            np.asarray(self.bank.part(port))[column : column + count] = source
            self.moved += count
            limit -= count
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
            bank.reserve(len(package.program), package.weights.shape[1])
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
