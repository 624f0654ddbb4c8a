# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The traced accelerator of a board as an object: one instruction, and its time."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import BankLayout
from m3vit_pynq.emulator.hostlib import Slots
from m3vit_pynq.emulator.trace.build import build
from m3vit_pynq.emulator.trace.depths import depths_of
from m3vit_pynq.emulator.trace.machine import Machine
from m3vit_pynq.errors import M3ViTError

#: Entries of a pass's trace, 16 bytes each.
TRACE_LIMIT = 48 << 20
_TOO_LONG = 1000
#: Added to a depth: the style of all loops, whatever their pragmas say.
_STYLES = {"stated": 0, "all": 1 << 31, "none": 1 << 30}
#: A library keeps what it traces in globals.
_LOCK = threading.Lock()


class TraceError(M3ViTError):
    """The cycles of an instruction cannot be counted."""


def configure(
    library: ctypes.CDLL, machine: Machine, depths: Sequence[int], limit: int = TRACE_LIMIT
) -> None:
    """Hand settings and depths (by the number of a loop) to a traced library."""
    real = (ctypes.c_double * 2)(machine.interval, machine.dram_interval)
    whole = (ctypes.c_uint32 * 3)(machine.beat_bytes, machine.request, machine.answer)
    ports = (ctypes.c_uint32 * len(machine.ports))(*machine.ports)
    known = (ctypes.c_uint32 * max(len(depths), 1))(*depths)
    library.m3vit_trace_configure.restype = None
    library.m3vit_trace_configure(
        real, whole, ports, ctypes.c_uint32(len(machine.ports)), known,
        ctypes.c_uint32(len(depths)), ctypes.c_uint64(limit),
    )  # fmt: skip


class TraceLibrary:
    """Runs instructions as the accelerator does and counts their cycles.

    Parameters
    ----------
    board : Board
    progress : callable, optional
        Called with a line of text before a compilation, which takes a minute.
    limit : int
        Entries that the trace of one pass may have.
    flushed : str
        Which pipelines are flushed: ``"stated"`` those whose pragmas say so, ``"all"``, or
        ``"none"``, as if the tool ignored ``style = flp``.

    Raises
    ------
    BuildError
        If it cannot be compiled.
    TraceError
        If ``depths.json`` does not know a loop of the sources.
    """

    def __init__(
        self,
        board: Board,
        progress: Callable[[str], None] | None = None,
        limit: int = TRACE_LIMIT,
        flushed: str = "stated",
    ) -> None:
        path, loops, self.key = build(board, progress)
        self.path, self.machine, self.limit = Path(path), Machine.of(board), limit
        depths = depths_of(board.name)
        unknown = sorted(set(loops) - set(depths))
        if unknown:
            raise TraceError(
                f"no depth of {', '.join(unknown)}: run python -m m3vit_pynq.emulator.trace.depths"
            )
        self.depths = [depths[loop] + _STYLES[flushed] for loop in loops]
        self._library = ctypes.CDLL(str(path))
        self._library.m3vit_trace_report.restype = ctypes.c_char_p
        self._step = self._library.m3vit_trace_step
        self._step.restype = ctypes.c_uint32

    def step(
        self,
        pc: int,
        bank: np.ndarray,
        layout: BankLayout,
        frame: np.ndarray,
        result: np.ndarray,
        slots: Slots,
    ) -> dict[str, Any]:
        """Fetch, check and execute an instruction of the bank's program.

        Parameters
        ----------
        pc : int
            Index of the instruction.
        bank, frame, result : uint8 [bytes]
            Start on a line; `bank` and `result` change.
        slots : Slots
            What is pending; becomes what is pending behind the instruction.

        Returns
        -------
        dict
            ``top`` and, except of END, ``region``: cycles, problem, processes, beats.

        Raises
        ------
        TraceError
            If it is refused, the trace becomes too long, or processes wait for each other
            for ever; the message says which.
        """
        sections = (ctypes.c_uint32 * 4)(
            layout.weights_line, layout.part_lines, layout.workspace_line, layout.workspace_lines
        )
        with _LOCK:
            configure(self._library, self.machine, self.depths, self.limit)
            code = self._step(
                ctypes.c_uint32(pc), ctypes.c_void_p(bank.ctypes.data), sections,
                ctypes.c_void_p(frame.ctypes.data), ctypes.c_uint32(frame.nbytes),
                ctypes.c_void_p(result.ctypes.data), ctypes.c_uint32(result.nbytes),
                ctypes.byref(slots),
            )  # fmt: skip
            report = self._library.m3vit_trace_report()
        if code == _TOO_LONG:
            raise TraceError(
                f"instruction {pc}: its trace has more than {self.limit:,} entries "
                f"({16 * self.limit >> 20} MB); count a smaller layer"
            )
        if code != ErrorCode.OK:
            raise TraceError(
                f"instruction {pc} is refused by the accelerator: {ErrorCode(code).name}"
            )
        found = json.loads(report)
        for part in found.values():
            if part["problem"]:
                raise TraceError(f"instruction {pc} never ends: {part['problem']}")
        return found
