# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""`M3ViTOverlay`: the accelerator on a board, or on the emulated board elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pynq import Overlay
from pynq.pl_server.device import Device

from m3vit_pynq import locate, result
from m3vit_pynq.abi import registers
from m3vit_pynq.abi.boards import Board
from m3vit_pynq.banks import Bank, WeightBanks
from m3vit_pynq.diagnosis import clock_mhz
from m3vit_pynq.driver import Completion, M3ViTDriver
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import AcceleratorTimeout, BitstreamError, M3ViTError
from m3vit_pynq.frame_buffers import FrameBuffer, PingPong
from m3vit_pynq.handoff import check_registers
from m3vit_pynq.package import Package, PackageTask, default_name
from m3vit_pynq.result import ArrayPool, Result
from m3vit_pynq.stream import Stream, StreamStatistics

if TYPE_CHECKING:
    from m3vit_pynq.live.widget import LiveView

logger = logging.getLogger(__name__)

#: Seconds that a frame may take. The emulated board computes it on this computer.
BOARD_TIMEOUT, EMULATED_TIMEOUT = 5.0, 300.0


class M3ViTOverlay(Overlay):
    """The accelerator with its driver, device memory and loaded model.

    Parameters
    ----------
    package : Package, str or path, optional
        Model to load at once. Without one, the first run loads the shipped
        model, if `load` was not called before.
    board : str or Board, optional
        Bitstream configuration; default ``$M3VIT_BOARD``, then the board this is.
    device : pynq.Device, optional
        Where to load. Default: the board; without one, a new emulated board.
        ``M3VIT_EMULATE=1`` asks for the emulated board, ``0`` for a real one.
    bitfile : str or path, optional
        Bitstream to load instead of the installed one.
    engine : str, optional
        What computes on the emulated board: ``"fast"`` or ``"hls"`` (the accelerator's
        own sources, slow); default ``$M3VIT_ENGINE``, then the fast one.

    Attributes
    ----------
    board : Board
        Configuration of the bitstream.
    driver : M3ViTDriver
        The accelerator's registers.
    package : Package or None
        The model that `run` and `stream` use.
    emulated : bool
        Whether the device is the emulated board.

    Raises
    ------
    BitstreamError
        If there is no bitstream, or it is not this accelerator or of another version.
    CapacityError
        If the package needs more than the bitstream has.

    Examples
    --------
    >>> with M3ViTOverlay("small") as overlay:
    ...     depth = overlay.run(image, task="depth").metres
    """

    # Overlay.__getattr__ looks unknown names up in the bitstream, so every
    # attribute exists before the constructor of the base class runs.
    timestamp = ""
    driver: M3ViTDriver | None = None
    package: Package | None = None
    board: Board | None = None
    emulated = False
    _stream: Stream | None = None
    _banks: WeightBanks | None = None
    _live = None  # the live session that streams now
    _closed = False

    def __init__(
        self,
        package: Package | str | Path | None = None,
        board: str | Board | None = None,
        device: Device | None = None,
        bitfile: str | Path | None = None,
        engine: str | None = None,
    ) -> None:
        device, board = _choose_device(device, board, engine)
        emulated = isinstance(device, EmulatedDevice)
        if emulated and bitfile is None:
            path = locate.emulated_bitfile(board)
        else:
            path = locate.find_bitfile(board, bitfile)
        # Interrupts and `pynq.allocate` use the active device, not an argument.
        Device.active_device = device
        with _bitstream_errors(path):
            super().__init__(str(path.resolve()), device=device)
        self.board = board
        self.emulated = emulated
        try:
            self.driver = self._find_driver()
            self.driver.timeout = EMULATED_TIMEOUT if emulated else BOARD_TIMEOUT
            self.identification = self.driver.identification
            self._check_configuration()
            self._banks = WeightBanks(device)
            self._frames = PingPong(device)
            self._pool = ArrayPool()
            self._frame_index = 0
            if package is not None:
                self.load(package)
        except BaseException:
            self.close()
            raise

    def _find_driver(self) -> M3ViTDriver:
        driver = getattr(self, registers.INSTANCE, None)
        if not isinstance(driver, M3ViTDriver):
            raise BitstreamError(
                f"{self.bitfile_name}: its .hwh has no IP {registers.VLNV} named "
                f"{registers.INSTANCE}; use the bitstream and .hwh built from overlays/"
            )
        check_registers(self.ip_dict[registers.INSTANCE]["registers"], str(self.bitfile_name))
        return driver

    def _check_configuration(self) -> None:
        """The capacities that count are the bitstream's; say so when the table differs."""
        found = self.identification.board_name
        if found != self.board.name:
            logger.warning(
                "the bitstream is configured as %s, not as %s; its own capacities are used",
                found or "no board of this version", self.board.name,
            )  # fmt: skip

    # Models

    def load(self, package: Package | str | Path) -> Package:
        """Make a model resident in a weight bank and use it from now on.

        A package that is resident already is not moved again. While a stream
        runs, the package is copied into the idle bank in the caller's thread;
        give it to the stream with ``stream.package = package``.

        Raises
        ------
        PackageError, CapacityError, DeviceMemoryError
            The device is unchanged then, except that the idle bank may be empty.
        """
        self._check_open()
        if not isinstance(package, Package):
            package = Package.load(package)
        self.check_fits(package)
        bank = self._bank_of(self.package) if self.package is not None else None
        self._banks.load(package, keep=bank)
        if self._stream is None:
            self.package = package
        return package

    def check_fits(self, package: Package) -> None:
        """Refuse a package that needs more than the loaded bitstream has.

        Raises
        ------
        CapacityError
            Naming the capacity and both numbers.
        """
        package.check_fits(self.identification.capacities)

    def _bank_of(self, package: Package | None) -> Bank | None:
        return self._banks.find(package) if package is not None else None

    @property
    def resident(self) -> tuple[Package, ...]:
        """Packages whose weights are in device memory."""
        return tuple(bank.package for bank in self._banks if bank.package is not None)

    # Runs

    def run(
        self, image: np.ndarray, task: str | Sequence[str] | None = None
    ) -> Result | dict[str, Result]:
        """Compute one image.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 RGB [h, w, 3] of any size; grey and RGBA are converted.
        task : str or sequence of str, optional
            One task, or several; default: all tasks of the package.

        Returns
        -------
        Result or dict
            One result, or for several tasks results by name.

        Raises
        ------
        FrameError
            If the array cannot be an image.
        AcceleratorError, AcceleratorTimeout
            The accelerator is idle again in both cases.
        """
        package = self._ready_package()
        names = (task,) if isinstance(task, str) else tuple(task or package.task_names)
        chosen = [package.task(name) for name in names]
        self._frames.fit(package)
        pair = self._frames[0]
        pair.fill(image)
        index, self._frame_index = self._frame_index, self._frame_index + 1
        results = {
            item.name: self._collect(item, pair, index, self._run_once(item, pair, package))
            for item in chosen
        }
        return results[task] if isinstance(task, str) else results

    def _ready_package(self) -> Package:
        self._check_open()
        if self._stream is not None:
            raise RuntimeError("a stream is open; close it, or take its results")
        if self.package is None:
            name = default_name()
            if name is None:
                raise RuntimeError(
                    "no model is loaded and none is shipped; call overlay.load(package) first"
                )
            self.load(name)
        if self._banks.find(self.package) is None:
            self._banks.load(self.package)
        return self.package

    def _run_once(self, task: PackageTask, pair: FrameBuffer, package: Package) -> Completion:
        self._start(task, pair, package)
        try:
            return self._wait()
        finally:
            self._settle()

    def _start(self, task: PackageTask, pair: FrameBuffer, package: Package) -> None:
        """Start a frame; the package must be resident."""
        bank = self._banks.find(package)
        self._banks.touch(bank)
        self.driver.start(task.index, pair.frame, pair.output, bank)

    def _wait(self) -> Completion:
        """Wait for the frame; after a timeout the bitstream is loaded again."""
        try:
            return self.driver.wait()
        except AcceleratorTimeout:
            self.recover()
            raise

    def _settle(self) -> None:
        """Wait for a frame that nobody waits for any more, as after Ctrl-C."""
        if self.driver.busy:
            try:
                self._wait()
            except M3ViTError as error:
                logger.warning("the last frame failed: %s", error)

    def _collect(
        self, task: PackageTask, pair: FrameBuffer, index: int, completion: Completion
    ) -> Result:
        data = self._pool.take(task.output_shape, task.dtype)
        pair.read(task, data)
        return result.make(task, data, index, completion.seconds, completion.cycles)

    def stream(
        self,
        source: Iterable[np.ndarray],
        task: str | Sequence[str] | None = None,
        package: Package | None = None,
    ) -> Stream:
        """Compute frames one after the other; see `m3vit_pynq.stream.Stream`.

        Parameters
        ----------
        source : iterable of numpy.ndarray
            Frames, uint8 RGB of any size.
        task : str or sequence of str, optional
            Task to begin with; several alternate frame by frame. Default: the first.
        package : Package, optional
            Model to begin with; default: the loaded one.
        """
        if package is not None:
            self.load(package)
        self._ready_package()
        self._stream = Stream(self, source, task)
        return self._stream

    def live(self, source: object = "auto", **options: object) -> LiveView:
        """Show live frames with their results in a notebook; see `m3vit_pynq.live.LiveView`.

        Parameters
        ----------
        source : str, int or path
            ``"auto"``, a camera index, a path or word as for `m3vit_pynq.sources.open_source`.
        **options
            ``task``, ``mode``, ``opacity``, ``rate``, ``folder`` ...: see `LiveView`.

        Returns
        -------
        LiveView
            A widget that runs in the background until ``stop()`` or ``close()``.
        """
        from m3vit_pynq.live.widget import LiveView

        return LiveView(self, source, **options)

    def throughput_test(
        self, image: np.ndarray | None = None, frames: int = 20, task: str | None = None
    ) -> StreamStatistics:
        """Stream one image again and again and say where the time goes.

        Returns
        -------
        StreamStatistics
            ``.stages_ms`` milliseconds per frame and stage, ``.fps`` frames per
            second, ``.registers_per_frame`` accesses.
        """
        package = self._ready_package()
        if image is None:
            height, width = package.config.image_size
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        with self.stream((image for _ in range(frames)), task) as stream:
            for _ in stream:
                pass
        return stream.statistics

    # State

    @property
    def clock_mhz(self) -> float | None:
        """Clock of the programmable logic, read back from the device."""
        return clock_mhz(self.device)

    def recover(self) -> None:
        """Load the bitstream again, after a timeout; device memory keeps its contents.

        Raises
        ------
        BitstreamError
            If the bitstream cannot be loaded or does not answer.
        """
        self._check_open()
        with _bitstream_errors(Path(self.bitfile_name)):
            self.download()
        self.driver.reloaded()
        self.identification = self.driver.identification

    def _check_open(self) -> None:
        if self._closed:
            raise M3ViTError("the overlay is closed; make a new M3ViTOverlay")

    def close(self) -> None:
        """Wait for a running frame and return all device memory. Idempotent."""
        if self._closed:
            return
        if self._live is not None:
            self._live.stop("the overlay was closed")
        self._closed = True
        try:
            if self._stream is not None:
                self._stream.close()
            if self.driver is not None:
                self.driver.close()
        finally:
            if self._banks is not None:
                self._banks.release()
                self._frames.release()
            if self.emulated and self.is_loaded():
                self.device.stop()

    def __enter__(self) -> M3ViTOverlay:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _choose_device(
    device: Device | None, board: str | Board | None, engine: str | None
) -> tuple[Device, Board]:
    """The device to load on, and the bitstream configuration for it."""
    if engine is not None and device is not None:
        raise ValueError("an engine is chosen for a new emulated board; give it to EmulatedDevice")
    if isinstance(device, EmulatedDevice):
        return device, device.board if board is None else locate.choose_board(board, True)
    if device is not None:
        return device, locate.choose_board(board, False)
    wanted = locate.wants_emulation()
    devices = [] if wanted else locate.real_devices()
    if devices:
        return devices[0], locate.choose_board(board, False)
    machine = locate.name_of_this_machine()
    if wanted is False or (wanted is None and machine):
        raise BitstreamError(
            f"this is {machine or 'no known board'} and PYNQ found no device. On a board, run as "
            "root with the environment of the image (sudo -i, or the Jupyter server); XILINX_XRT "
            "must be set. For the emulated board: M3VIT_EMULATE=1"
        )
    chosen = locate.choose_board(board, True)
    return EmulatedDevice(chosen, engine=engine), chosen


@contextmanager
def _bitstream_errors(path: Path):
    """Failures of a download as `BitstreamError`."""
    try:
        yield
    except M3ViTError:
        raise
    except Exception as error:  # PYNQ's parser raises whatever a damaged .hwh provokes
        raise BitstreamError(f"{path} cannot be loaded: {error}") from error
