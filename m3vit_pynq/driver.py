# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Driver of the accelerator's AXI4-Lite registers.

PYNQ binds it to the IP ``m3vit_accel`` of any overlay. It identifies the
bitstream, starts runs, waits for them with a timeout and turns error codes
into exceptions. The same code runs on a board and on the emulated board.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pynq import DefaultIP
from pynq.interrupt import Interrupt

from m3vit_pynq import buffers, interrupt_line
from m3vit_pynq.abi import registers as reg
from m3vit_pynq.diagnosis import describe_hang, describe_instruction
from m3vit_pynq.errors import AcceleratorError, AcceleratorTimeout, BitstreamError
from m3vit_pynq.identification import Identification, remedy
from m3vit_pynq.register_port import RegisterPort

if TYPE_CHECKING:
    from pynq.buffer import PynqBuffer

    from m3vit_pynq.banks import Bank

logger = logging.getLogger(__name__)

_ARGUMENT = {argument.name: argument for argument in reg.ARGUMENTS}
#: Seconds after which the status is looked at even though no interrupt came.
INTERRUPT_CHECK = 0.25
#: Seconds that an interrupt may come later than the done bit before it counts as lost.
INTERRUPT_GRACE = 0.02
#: Seconds that IDENTIFY may take; it touches no memory.
IDENTIFY_TIMEOUT = 5.0


@dataclass(frozen=True)
class Completion:
    """How a run ended.

    Attributes
    ----------
    seconds : float
        From start until the driver saw the end.
    waited : float
        Seconds of those in which the caller had to wait.
    cycles : int or None
        Cycles that a counter beside the accelerator counted; None where there is none.
    """

    seconds: float
    waited: float
    cycles: int | None


class M3ViTDriver(DefaultIP):
    """Driver of one accelerator.

    Attributes
    ----------
    port : RegisterPort
        Counted access to the registers.
    timeout : float
        Seconds that a run may take.
    use_interrupt : bool
        Wait for the interrupt where one is wired; otherwise the status is polled.
    """

    bindto: ClassVar[list[str]] = [reg.VLNV]

    def __init__(self, description: dict) -> None:
        try:
            super().__init__(description)
        except RuntimeError as error:
            # PYNQ ties interrupts to an event loop, which this thread may not have.
            logger.warning("no awaitable interrupt: %s", error)
            super().__init__({**description, "interrupts": {}})
            self._interrupts = description["interrupts"]
        self.port = RegisterPort(self.mmio)
        self.timeout = 5.0
        self.use_interrupt = True
        self._line: interrupt_line.InterruptLine | None = None
        self._line_wanted = True
        self._awaitable: tuple[asyncio.AbstractEventLoop, Interrupt] | None = None
        self._identification: Identification | None = None
        self._started: float | None = None
        self._task = 0
        self._bank: Bank | None = None
        self._expected = 0.0  # smoothed seconds of a run, for polling
        self._unusable = ""
        self._loaded = getattr(self.device, "timestamp", None)

    # Identification

    @property
    def identification(self) -> Identification:
        """What the bitstream says of itself, asked once after each download."""
        if self._identification is None:
            self._identification = self.identify()
        return self._identification

    def identify(self) -> Identification:
        """Ask the bitstream who it is, and refuse anything this driver cannot drive.

        Raises
        ------
        BitstreamError
            If it is not this accelerator or of another ABI version.
        """
        self._check_usable()
        bitfile = getattr(self.device, "bitfile_name", None) or "m3vit.bit"
        self.port.set(reg.OFFSETS["run_command"], reg.Command.IDENTIFY)
        self._launch()
        try:
            self._finish(IDENTIFY_TIMEOUT)
        except AcceleratorTimeout as error:
            raise BitstreamError(
                "the IP does not answer IDENTIFY: the loaded bitstream is not m3vit_accel or its "
                f".hwh belongs to another build. {remedy(bitfile)}"
            ) from error
        found = Identification.read(self.port.read)
        found.check(bitfile)
        return found

    # Runs

    @property
    def busy(self) -> bool:
        """Whether a run was started and not yet waited for."""
        return self._started is not None

    def start(self, task: int, frame: PynqBuffer, output: PynqBuffer, bank: Bank) -> None:
        """Start one frame; returns at once.

        Parameters
        ----------
        task : int
            Index into the task directory of the program.
        frame : PynqBuffer
            uint8 [height, width, 3], flushed.
        output : PynqBuffer
            uint8, whole lines of 64 bytes, at least as large as the task's output.
        bank : Bank
            Weight bank with the program.

        Raises
        ------
        DeviceBufferError
            If a buffer is not live, contiguous device memory of this device.
        BitstreamError
            If another overlay has been loaded since.
        """
        self._check_usable()
        if self.busy:
            raise RuntimeError("a run is in progress; wait for it first")
        buffers.check(frame, "frame", self.device, "uint8")
        buffers.check(output, "output", self.device, "uint8")
        if bank.package is None:
            raise RuntimeError(f"weight bank {bank.name} holds no package")
        port = self.port
        port.set(reg.OFFSETS["run_command"], reg.Command.RUN)
        port.set(reg.OFFSETS["run_task"], int(task))
        self._set_region(("frame_pixels",), frame)
        self._set_region(("result_pixels",), output)
        self._set_region(reg.BANK_MASTERS, bank.buffer)
        self._task = int(task)
        self._bank = bank
        bank.in_flight = True
        self._launch()

    def _set_region(self, pointers: Iterable[str], buffer: PynqBuffer) -> None:
        """Tell AXI masters where a buffer lies, and the accelerator how long it is."""
        address = buffers.device_address(buffer)
        size = None
        for pointer in pointers:
            self.port.set_address(_ARGUMENT[pointer], address)
            size = reg.SIZE_OF[pointer]
        self.port.set(reg.OFFSETS[size], buffer.nbytes)

    def wait(self, timeout: float | None = None) -> Completion:
        """Wait for the run that was started.

        Raises
        ------
        AcceleratorTimeout
            If it takes longer than `timeout` (default: the attribute). The
            driver refuses further work until the bitstream is loaded again
            (`M3ViTOverlay.recover`).
        AcceleratorError
            If the accelerator refused the program; it is idle again.
        """
        completion = self._finish(self.timeout if timeout is None else timeout)
        self._check_error()
        return completion

    async def wait_async(self, timeout: float | None = None) -> Completion:
        """`wait` for use with ``await``, on PYNQ's own interrupt object."""
        self._check_started()
        began = time.perf_counter()
        deadline = began + (self.timeout if timeout is None else timeout)
        while not _ended(self.port.status()):
            remaining = deadline - time.perf_counter()
            if remaining <= 0:
                raise self._timed_out(time.perf_counter() - self._started)
            await self._interrupt_or_pause(min(remaining, INTERRUPT_CHECK))
        completion = self._completed(began)
        self._check_error()
        return completion

    async def _interrupt_or_pause(self, seconds: float) -> None:
        interrupt = self._pynq_interrupt()
        if interrupt is None:
            await asyncio.sleep(min(seconds, 0.001))
            return
        try:
            await asyncio.wait_for(interrupt.wait(), seconds)
        except asyncio.TimeoutError:
            return  # the status decides
        except RuntimeError:  # PYNQ drops its controllers when another overlay is loaded
            await asyncio.sleep(min(seconds, 0.001))

    def _pynq_interrupt(self) -> Interrupt | None:
        """An interrupt object of the running event loop, or None."""
        if self._interrupt_line() is None:
            return None
        loop = asyncio.get_running_loop()
        if self._awaitable is None or self._awaitable[0] is not loop:
            try:
                self._awaitable = loop, Interrupt(self._interrupts["interrupt"]["fullpath"])
            except ValueError:  # the pin is not in the active overlay
                return None
        return self._awaitable[1]

    # Below the runs: start bit, interrupt, status.

    def _launch(self) -> None:
        line = self._interrupt_line()
        if line is not None:
            self.port.set(reg.GIER, 1)
            self.port.set(reg.IER, reg.IRQ_DONE)
        else:
            self.port.set(reg.GIER, 0)
        self._started = time.perf_counter()
        self.port.write(reg.CTRL, reg.AP_START)

    def _finish(self, timeout: float) -> Completion:
        self._check_started()
        began = time.perf_counter()
        line = self._interrupt_line()
        if line is None:
            self._poll(timeout)
        else:
            self._await_interrupt(line, timeout)
        return self._completed(began)

    def _check_started(self) -> None:
        if self._started is None:
            raise RuntimeError("no run was started")

    def _completed(self, began: float) -> Completion:
        """Acknowledge the interrupt and collect what is the same after every run."""
        line = self._interrupt_line()
        if line is not None:
            self.port.write(reg.ISR, reg.IRQ_DONE)
            line.acknowledge()
        ended = time.perf_counter()
        seconds, self._started = ended - self._started, None
        self._release_bank()
        return Completion(seconds, ended - began, None)

    def _await_interrupt(self, line: interrupt_line.InterruptLine, timeout: float) -> None:
        deadline = time.perf_counter() + timeout
        lost = False
        while True:
            remaining = deadline - time.perf_counter()
            arrived = line.wait(max(0.0, min(remaining, INTERRUPT_CHECK)))
            if _ended(self.port.status()):
                if lost and not arrived and not line.wait(INTERRUPT_GRACE):
                    logger.warning("the run ended without an interrupt; polling from now on")
                    self.use_interrupt = False
                return
            if remaining <= 0:
                raise self._timed_out(time.perf_counter() - self._started)
            lost = not arrived
            if lost:
                line.enable()  # an ``await`` on PYNQ's interrupt may have disabled it

    def _poll(self, timeout: float) -> None:
        deadline = time.perf_counter() + timeout
        early = self._started + 0.8 * self._expected  # most of a run like the last ones
        time.sleep(max(0.0, min(early, deadline) - time.perf_counter()))
        pause, due = 50e-6, None
        looked = time.perf_counter()
        while not _ended(self.port.status()):
            if looked > deadline:
                raise self._timed_out(looked - self._started)
            due = looked + pause  # of the next look
            time.sleep(pause)
            pause = min(1.5 * pause, 2e-3)
            looked = time.perf_counter()
        self._learn(due)

    def _learn(self, due: float | None) -> None:
        """Correct the expected length of a run by one that was just seen to end.

        The host may have stopped at any moment, for seconds, and that time is
        not the accelerator's. A run that was over at the first look (`due` is
        None) says only that the wait was too long; one that was seen busy ended
        after that, and as far as anybody knows before the next look was due.
        """
        if due is None:
            self._expected *= 0.5
            return
        took = due - self._started
        self._expected = took if not self._expected else 0.5 * (took + self._expected)

    def _check_error(self) -> None:
        code = self.port.read(reg.OFFSETS["run_error"])
        if code:
            pc = self.port.read(reg.OFFSETS["run_pc"])
            package = self._bank.package if self._bank is not None else None
            raise AcceleratorError(code, pc, describe_instruction(package, pc))

    def _timed_out(self, seconds: float) -> AcceleratorTimeout:
        """The exception for a run that does not end; reloading makes the driver usable."""
        self._unusable = f"a run did not end within {seconds:.2f} s"
        self._started = None
        self._release_bank()
        return AcceleratorTimeout(describe_hang(self.port, self.device, self._task, seconds))

    def _release_bank(self) -> None:
        if self._bank is not None:
            self._bank.in_flight = False

    def _interrupt_line(self) -> interrupt_line.InterruptLine | None:
        if not self.use_interrupt:
            return None
        if self._line is None and self._line_wanted:
            self._line_wanted = False
            pin = self._interrupts.get("interrupt")
            if pin is not None:
                self._line = interrupt_line.connect(self.device, pin, pin["fullpath"])
            if self._line is not None:
                self._clear_old_interrupt(self._line)
        return self._line

    def _clear_old_interrupt(self, line: interrupt_line.InterruptLine) -> None:
        """A program that died may have left its interrupt pending."""
        pending = self.port.read(reg.ISR)
        if pending:
            self.port.write(reg.ISR, pending)
            line.acknowledge()

    # Life

    @property
    def stale(self) -> bool:
        """Whether another overlay was loaded onto the device since."""
        return getattr(self.device, "timestamp", None) != self._loaded

    def _check_usable(self) -> None:
        if self.stale:
            raise BitstreamError(
                "another overlay was loaded onto the device after this driver was made; "
                "use the driver of the overlay that is loaded now, or load this one again"
            )
        if self._unusable:
            raise AcceleratorTimeout(
                f"{self._unusable}; load the bitstream again with overlay.recover()"
            )

    def reloaded(self) -> None:
        """Tell the driver that its bitstream has just been downloaded again."""
        self._disconnect()
        self._line_wanted = True
        self.port.forget()
        self._identification = None
        self._started = None
        self._release_bank()
        self._unusable = ""
        self._expected = 0.0
        self._loaded = getattr(self.device, "timestamp", None)

    def _disconnect(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def close(self) -> None:
        """Wait for a run in progress, then give the interrupt back."""
        try:
            if self.busy and not self.stale:
                self._finish(self.timeout)
        except AcceleratorTimeout as error:
            warnings.warn(f"closed while a run did not end: {error}", stacklevel=2)
        finally:
            self._line_wanted = False
            self._disconnect()


def _ended(status: int) -> bool:
    """Whether a started run is over.

    The done bit is cleared by whoever reads it first, and printing PYNQ's
    ``register_map`` reads it. The start bit stays set until the end, so idle
    without start tells the same.
    """
    return bool(status & reg.AP_DONE or (status & reg.AP_IDLE and not status & reg.AP_START))
