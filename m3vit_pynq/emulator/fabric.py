# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The programmable logic of the emulated board: registers in front, a kernel behind.

The kernel is a callable, one of the engines of `m3vit_pynq.emulator.kernel`. It runs
in a worker thread, so the processor side goes on as it would on a board.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from m3vit_pynq.abi import registers as reg
from m3vit_pynq.emulator.interrupts import EmulatedUio, InterruptController
from m3vit_pynq.emulator.memory import BusError, DeviceMemory
from m3vit_pynq.emulator.registerfile import RegisterFile

logger = logging.getLogger(__name__)


class Kernel(Protocol):
    """What runs in the fabric."""

    def __call__(
        self, arguments: Mapping[str, int], memories: Mapping[str, memoryview]
    ) -> Mapping[str, int]:
        """Execute one start.

        Parameters
        ----------
        arguments : mapping
            Input registers by name; pointers as 64-bit addresses.
        memories : mapping
            The device memory behind every pointer, by name; empty for
            commands that touch no memory.

        Returns
        -------
        mapping
            Output registers by name.
        """


@dataclass
class Faults:
    """Defects to emulate, for tests of what a driver does about them.

    Attributes
    ----------
    stall : set of int
        Commands that the kernel starts and never finishes.
    delay : float
        Seconds by which every run takes longer.
    outputs : dict
        Output registers that show these values whatever the kernel wrote.
    lost_interrupts : bool
        The interrupt line is not connected.
    """

    stall: AbstractSet[int] = frozenset()
    delay: float = 0.0
    outputs: dict[str, int] = field(default_factory=dict)
    lost_interrupts: bool = False


class Fabric:
    """The accelerator and its interrupt controller, as one bitstream holds them.

    Parameters
    ----------
    kernel : Kernel
        Executes a start.
    memory : DeviceMemory
        What the AXI masters reach.
    faults : Faults, optional
        Defects; may be changed while the fabric lives.

    Attributes
    ----------
    failure : str
        Why the accelerator hangs, when the emulation knows.
    runs : int
        Completed starts.
    """

    def __init__(self, kernel: Kernel, memory: DeviceMemory, faults: Faults | None = None) -> None:
        self.kernel = kernel
        self.memory = memory
        self.faults = faults or Faults()
        self.failure = ""
        self.runs = 0
        self._stopped = threading.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="m3vit-fabric")
        self._running: Future | None = None
        self.registers = RegisterFile(self._start, self._interrupt_changed)
        self.intc = InterruptController(self._interrupt_level, self._output_changed)
        self.uio = EmulatedUio(lambda: self.intc.output)

    def _interrupt_level(self) -> bool:
        return self.registers.interrupt and not self.faults.lost_interrupts

    def _interrupt_changed(self) -> None:
        self.intc.input_changed()

    def _output_changed(self) -> None:
        self.uio.line_changed()

    def _start(self) -> None:
        try:
            self._running = self._worker.submit(self._execute)
        except RuntimeError:
            logger.debug("start ignored: the fabric was replaced")

    def _execute(self) -> None:
        arguments = self.registers.arguments()
        try:
            memories = self._memories(arguments)
            outputs = dict(self.kernel(arguments, memories))
        except BusError as error:
            self._hang(f"bus error: {error}")
            return
        except Exception as error:  # a defect of the emulation must not pass for a result
            logger.exception("the emulated accelerator failed")
            self._hang(f"the emulation failed: {error!r}")
            return
        if arguments["run_command"] in self.faults.stall:
            self._hang("stalled on request")
            return
        if self.faults.delay and self._stopped.wait(self.faults.delay):
            return
        outputs.update(self.faults.outputs)
        self.runs += 1
        self.registers.complete(outputs)

    def _memories(self, arguments: Mapping[str, int]) -> dict[str, memoryview]:
        if arguments["run_command"] != reg.Command.RUN:
            return {}
        memories = {}
        for pointer, size in reg.SIZE_OF.items():
            try:
                memories[pointer] = self.memory.view(arguments[pointer], arguments[size])
            except BusError as error:
                raise BusError(f"{pointer}: {error}") from None
        return memories

    def _hang(self, reason: str) -> None:
        self.failure = reason
        logger.warning("the emulated accelerator hangs: %s", reason)

    def stop(self, timeout: float = 60.0) -> None:
        """Wait for a kernel that still runs, then accept no more starts."""
        self._stopped.set()
        if self._running is not None and wait([self._running], timeout).not_done:
            logger.warning("a kernel still runs in the replaced fabric after %.0f s", timeout)
        self._worker.shutdown(wait=False)
