# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board as a `pynq` device.

``pynq.Overlay(bitfile, device=EmulatedDevice())`` works as on a board: the
``.hwh`` is parsed, drivers are bound, `pynq.allocate` returns device memory and
registers answer. "Downloading" compiles an engine for this computer.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pynq.buffer import PynqBuffer
from pynq.interrupt import _InterruptController
from pynq.pl_server.device import Device

from m3vit_pynq.abi import hwh, registers
from m3vit_pynq.abi.boards import DEFAULT_BOARD, Board, get_board
from m3vit_pynq.emulator.fabric import Fabric, Faults, Kernel
from m3vit_pynq.emulator.interrupts import EmulatedUio
from m3vit_pynq.emulator.kernel import engine_name, make_kernel
from m3vit_pynq.emulator.memory import DeviceMemory
from m3vit_pynq.errors import M3ViTError

logger = logging.getLogger(__name__)

#: Size of the contiguous memory pool of the ZCU104 image.
DEFAULT_MEMORY = 512 << 20

_numbers = itertools.count()


class EmulatedMemory:
    """What `pynq.allocate` allocates from."""

    def __init__(self, device: EmulatedDevice, memory: DeviceMemory) -> None:
        self.device = device
        self.pool = memory

    def allocate(
        self, shape: int | tuple[int, ...], dtype: np.dtype | str, cacheable: int = 1, **_: object
    ) -> PynqBuffer:
        """A buffer in device memory; `MemoryError` when the pool is exhausted."""
        dtype = np.dtype(dtype)
        length = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address = self.pool.allocate(length)
        buffer = PynqBuffer(
            shape, dtype, buffer=self.pool.view(address, length), device=self.device,
            device_address=address, bo=address, coherent=False,
        )  # fmt: skip
        buffer.memory = self
        buffer.pointer = address
        buffer.return_to = self
        # On a board this attribute keeps the destructor from unmapping twice.
        buffer.freed = True
        self.device.allocations += 1
        return buffer

    def return_pointer(self, address: int) -> None:
        """Called by `PynqBuffer.freebuffer`."""
        self.pool.free(address)


class EmulatedDevice(Device):
    """A board without a board.

    Parameters
    ----------
    board : str or Board, optional
        Configuration of the bitstream; default ``$M3VIT_BOARD`` or the ZCU104.
    kernel : callable, optional
        What runs in the fabric, see `m3vit_pynq.emulator.fabric.Kernel`; or a
        callable that takes the board and returns one, called at download.
        Default: the engine that `engine` names.
    engine : str, optional
        ``"fast"`` or ``"hls"``, see `m3vit_pynq.emulator.kernel`.
    memory_bytes, memory_base : int
        Size and first address of device memory.

    Attributes
    ----------
    fabric : Fabric or None
        The loaded "bitstream".
    faults : Faults
        Defects to emulate, kept across downloads.
    accesses : collections.Counter
        Register accesses by (instance, ``"read"`` or ``"write"``, offset).
    allocations : int
        Buffers allocated so far.
    """

    _probe_priority_ = 19

    @classmethod
    def _probe_(cls) -> list[EmulatedDevice]:
        return [cls()] if os.environ.get("M3VIT_EMULATE") == "1" else []

    def __init__(
        self,
        board: str | Board | None = None,
        kernel: Callable[[Board], Kernel] | None = None,
        engine: str | None = None,
        memory_bytes: int = DEFAULT_MEMORY,
        memory_base: int = 0x1000_0000,
    ) -> None:
        super().__init__(f"emulated_m3vit_{next(_numbers)}")
        if not isinstance(board, Board):
            board = get_board(board or os.environ.get("M3VIT_BOARD") or DEFAULT_BOARD)
        self.board = board
        self.name = f"emulated {board.title}"
        self.capabilities = {"REGISTER_RW": True}
        self.memory = DeviceMemory(memory_bytes, memory_base)
        self.default_memory = EmulatedMemory(self, self.memory)
        self.faults = Faults()
        self.fabric: Fabric | None = None
        self.accesses: Counter[tuple[str, str, int]] = Counter()
        self.allocations = 0
        self.engine = "given" if kernel else engine_name(engine)
        self._process = os.getpid()
        self._make_kernel = kernel or (lambda board: make_kernel(board, self.engine))
        self._family = hwh.FAMILIES[board.family]

    @property
    def clock_mhz(self) -> float:
        """Frequency of the programmable logic's clock."""
        return hwh.pl_clock(self.board).megahertz

    # What pynq.Overlay asks of a device.

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> object:
        """Parse the ``.hwh`` beside a bitstream."""
        from pynqmetadata.frontends import Metadata

        try:
            from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
        except ImportError:
            from pynqmetadata.views.runtime.runtime_metadata_parser import RuntimeMetadataParser
        parser = RuntimeMetadataParser(Metadata(input=str(Path(bitfile_name).with_suffix(".hwh"))))
        # The clock registers of the processing system do not exist here.
        parser.clock_dict = {}
        return parser

    def download(self, bitstream: object, parser: object = None) -> None:
        """Load the fabric anew; device memory keeps its contents."""
        self.stop()
        self.fabric = Fabric(self._make_kernel(self.board), self.memory, self.faults)
        for controller in (parser or self.parser).interrupt_controllers.values():
            _InterruptController._uio_devices[controller["raw_irq"]] = self.fabric.uio
        self.post_download(bitstream, parser, self.name)

    def gen_cache(self, bitstream: object, parser: object = None) -> None:
        """Nothing is cached."""

    def read_registers(self, address: int, length: int) -> bytes:
        """Bus reads, word by word."""
        words = []
        for position in range(address, address + length, 4):
            instance, slave, offset = self._decode(position)
            self.accesses[instance, "read", offset] += 1
            words.append(slave.read(offset).to_bytes(4, "little"))
        return b"".join(words)

    def write_registers(self, address: int, data: bytes) -> None:
        """Bus writes, word by word."""
        data = bytes(data)
        for position in range(0, len(data), 4):
            instance, slave, offset = self._decode(address + position)
            self.accesses[instance, "write", offset] += 1
            slave.write(offset, int.from_bytes(data[position : position + 4], "little"))

    def flush(self, bo: object, offset: int, ptr: int, size: int) -> None:
        """Caches are coherent here; an engine that keeps copies of weights is told."""
        changed = getattr(self.fabric and self.fabric.kernel, "memory_changed", None)
        if changed is not None:
            changed(self.memory.view(bo + offset, size))

    def invalidate(self, bo: object, offset: int, ptr: int, size: int) -> None:
        """Caches are coherent here."""

    # What only this device offers.

    def open_uio(self, raw_irq: int) -> EmulatedUio:
        """The UIO device of an interrupt, for `m3vit_pynq.interrupt_line`."""
        if self.fabric is None:
            raise OSError("no bitstream is loaded")
        return self.fabric.uio

    @property
    def failure(self) -> str:
        """Why the accelerator hangs, when the emulation knows."""
        return self.fabric.failure if self.fabric else ""

    def stop(self) -> None:
        """Take the fabric out; a kernel that still runs is waited for."""
        if self.fabric is not None:
            self.fabric.stop()
            self.fabric = None

    def _decode(self, address: int) -> tuple[str, object, int]:
        if os.getpid() != self._process:
            raise M3ViTError(
                "this emulated board belongs to the process that made it: after a fork, make a "
                "new M3ViTOverlay in the child (or start processes with 'spawn')"
            )
        if self.fabric is None:
            raise RuntimeError("no bitstream is loaded on the emulated board")
        for instance, base, size, slave in (
            (
                registers.INSTANCE, self._family.accelerator, registers.ADDRESS_RANGE,
                self.fabric.registers,
            ),
            (hwh.INTC_INSTANCE, self._family.intc, hwh.INTC_RANGE, self.fabric.intc),
        ):  # fmt: skip
            if base <= address < base + size:
                return instance, slave, address - base
        raise RuntimeError(f"no register answers at address {address:#x}")
