# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The engines of the emulated board: what stands for the accelerator in the fabric.

``fast``
    C++ written for this computer; executes programs bit for bit as the accelerator.
``hls``
    The accelerator's own sources, compiled with g++: slow, process by process.

`engine_name` chooses; ``$M3VIT_ENGINE`` names one for all that do not ask for another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.abi import registers as reg
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.footprint import capacities_of
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.emulator.memory import BusError

if TYPE_CHECKING:
    from m3vit_pynq.emulator.fast import FastEngine

ENGINES = ("fast", "hls")


def engine_name(wanted: str | None = None) -> str:
    """The engine to use: the one asked for, ``$M3VIT_ENGINE``, or the fast one.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    name = wanted or os.environ.get("M3VIT_ENGINE") or ENGINES[0]
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r} of the emulated board; use {' or '.join(ENGINES)}")
    return name


def make_kernel(board: Board, engine: str | None = None) -> FastKernel | HlsKernel:
    """A kernel for `EmulatedDevice`; what it runs is compiled the first time: seconds."""
    return FastKernel(board) if engine_name(engine) == "fast" else HlsKernel(board)


def identification(board: Board) -> dict[str, int]:
    """Outputs that tell a driver what the bitstream is."""
    found = capacities_of(board)
    return {
        "id_magic": MAGIC, "id_abi": ABI_VERSION, "id_shape": board.shape_word,
        **{register: found[name] for name, register in reg.CAPACITY_REGISTERS.items()},
    }  # fmt: skip


def _host_address(name: str, view: memoryview) -> int:
    """Where device memory lies in this process."""
    if not len(view):
        raise BusError(f"{name}: no memory")
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def _misaligned(arguments: Mapping[str, int]) -> bool:
    """Whether an AXI master was given an address that its port cannot express."""
    return any(arguments[pointer] % LINE for pointer in reg.SIZE_OF)


class HlsKernel:
    """Runs ``m3vit_accel``, compiled from ``hls_src``, on the emulated device memory."""

    def __init__(self, board: Board) -> None:
        from m3vit_pynq.emulator.hostbuild import announce
        from m3vit_pynq.emulator.hostlib import HostLibrary, build

        self.library = HostLibrary(build(board, progress=announce))

    def __call__(
        self, arguments: Mapping[str, int], memories: Mapping[str, memoryview]
    ) -> dict[str, int]:
        """Execute one start; see `m3vit_pynq.emulator.fabric.Kernel`."""
        values = dict(arguments)
        if memories and _misaligned(arguments):
            outputs = self.library.accel(**{**values, "run_command": Command.IDENTIFY})
            return {**outputs, "run_error": ErrorCode.ALIGNMENT, "run_pc": 0}
        values.update({name: _host_address(name, view) for name, view in memories.items()})
        return self.library.accel(**values)


class FastKernel:
    """Runs the fast engine on the emulated device memory.

    The engine is made, and compiled if need be, when the host has first written to
    device memory, in the thread of the host, where errors reach whoever asked. What
    only asks the board who it is needs no engine.

    Parameters
    ----------
    board : Board
        Whose identification and buffers it has.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._fixed = identification(board)
        self._engine: FastEngine | None = None
        self._making = threading.Lock()

    @property
    def engine(self) -> FastEngine:
        """The engine; made at the first use."""
        with self._making:
            if self._engine is None:
                from m3vit_pynq.emulator.fast import FastEngine

                self._engine = FastEngine(self.board, verify=False)
            return self._engine

    def __call__(
        self, arguments: Mapping[str, int], memories: Mapping[str, memoryview]
    ) -> dict[str, int]:
        """Execute one start; see `m3vit_pynq.emulator.fabric.Kernel`."""
        command = arguments["run_command"]
        if command == Command.IDENTIFY:
            return {**self._fixed, "run_error": ErrorCode.OK, "run_pc": 0}
        if command != Command.RUN:
            return {**self._fixed, "run_error": ErrorCode.BAD_COMMAND, "run_pc": 0}
        if _misaligned(arguments):
            return {**self._fixed, "run_error": ErrorCode.ALIGNMENT, "run_pc": 0}
        banks = {arguments[name] for name in reg.BANK_MASTERS}
        if len(banks) != 1:
            raise BusError(f"the bank masters were given different addresses: {sorted(banks)}")
        code, pc = self.engine.run(
            arguments["run_task"],
            memories["bank_program"], memories["frame_pixels"], memories["result_pixels"],
        )  # fmt: skip
        return {**self._fixed, "run_error": code, "run_pc": pc}

    def memory_changed(self, view: memoryview) -> None:
        """The host wrote to device memory and flushed its caches: repacked weights are stale."""
        self.engine.forget(view)

    def experts_used(self) -> dict[int, int]:
        """Experts with tokens in every EXPERTS_UP of the last run, by its index."""
        return self.engine.experts_used()
