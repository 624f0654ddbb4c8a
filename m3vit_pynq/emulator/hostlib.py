# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator's own sources, compiled for this computer, as an object."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

from m3vit_pynq.abi.isa import INSTRUCTION_BYTES, BankLayout, Instruction
from m3vit_pynq.abi.registers import ARGUMENTS
from m3vit_pynq.emulator.hostbuild import BuildError, build

__all__ = ["BuildError", "HostLibrary", "Slots", "build"]

_POINTERS = [a.name for a in ARGUMENTS if a.kind == "pointer"]
_SIZES = [a.name for a in ARGUMENTS if a.kind == "in"][2:]
_OUTPUTS = [a.name for a in ARGUMENTS if a.kind == "out"]


class Slots(ctypes.Structure):
    """Slots that EXPERTS_DOWN wrote and no LAYERNORM has added yet; at first none."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("count", "line", "rows", "channels")]


class HostLibrary:
    """The accelerator without a bus: its top function, and single instructions.

    It keeps nothing between calls; calls release the interpreter lock.

    Parameters
    ----------
    path : Path
        A library made by `build`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        library = ctypes.CDLL(str(self.path))
        word, address = ctypes.c_uint32, ctypes.c_void_p
        self._accel = library.m3vit_host_accel
        self._accel.restype = None
        self._accel.argtypes = [word, word, address, address, address]
        self._step = library.m3vit_host_step
        self._step.restype = word
        self._step.argtypes = [
            ctypes.c_char_p, address, address, address, word, address, word, address, word,
        ]  # fmt: skip

    def accel(self, **registers: int) -> dict[str, int]:
        """The top function.

        Parameters
        ----------
        **registers : int
            Inputs by their names in `m3vit_pynq.abi.registers`, 0 if left out. Pointers
            are addresses in this process; a port reads whole beats, up to the end
            of the line in which a buffer ends.

        Returns
        -------
        dict
            Every output register by its name.
        """
        unknown = set(registers) - {a.name for a in ARGUMENTS if a.kind != "out"}
        if unknown:
            raise TypeError(f"no input register {', '.join(sorted(unknown))}")
        pointers = (ctypes.c_void_p * len(_POINTERS))(*(registers.get(n, 0) for n in _POINTERS))
        sizes = (ctypes.c_uint32 * len(_SIZES))(*(registers.get(n, 0) for n in _SIZES))
        outputs = (ctypes.c_uint32 * len(_OUTPUTS))()
        command, task = registers.get("run_command", 0), registers.get("run_task", 0)
        self._accel(command, task, pointers, sizes, outputs)
        return dict(zip(_OUTPUTS, outputs, strict=True))

    def check(
        self,
        instruction: Instruction | bytes,
        layout: BankLayout,
        frame_bytes: int,
        result_bytes: int,
        slots: Slots | None = None,
    ) -> int:
        """The code with which an instruction is refused, or 0; nothing is executed."""
        return self._run(instruction, 0, layout, (0, frame_bytes, 0, result_bytes), slots, True)

    def step(
        self,
        instruction: Instruction | bytes,
        bank: np.ndarray,
        layout: BankLayout,
        frame: np.ndarray | None = None,
        result: np.ndarray | None = None,
        slots: Slots | None = None,
    ) -> int:
        """Check one instruction and, unless it is refused, execute it.

        Parameters
        ----------
        instruction : Instruction or bytes
            64 bytes may hold anything.
        bank : uint8 [bytes]
            Changed in place.
        layout : BankLayout
            Sections of the bank.
        frame, result : uint8 [bytes], optional
            C contiguous, readable (writable) to the end of their last lines.
        slots : Slots, optional
            What is pending; becomes what is pending behind the instruction.

        Returns
        -------
        int
            An `m3vit_pynq.abi.errors.ErrorCode`.
        """
        buffers = [(0, 0) if a is None else (a.ctypes.data, a.nbytes) for a in (frame, result)]
        places = (*buffers[0], *buffers[1])
        return self._run(instruction, bank.ctypes.data, layout, places, slots, False)

    def _run(
        self,
        instruction: Instruction | bytes,
        bank: int,
        layout: BankLayout,
        buffers: tuple[int, int, int, int],
        slots: Slots | None,
        only_check: bool,
    ) -> int:
        words = instruction if isinstance(instruction, bytes) else instruction.encode()
        if len(words) != INSTRUCTION_BYTES:
            raise ValueError(f"an instruction has {INSTRUCTION_BYTES} bytes, not {len(words)}")
        sections = (ctypes.c_uint32 * 4)(
            layout.weights_line, layout.part_lines, layout.workspace_line, layout.workspace_lines
        )
        pending = ctypes.byref(Slots() if slots is None else slots)
        return self._step(words, bank, sections, *buffers, pending, int(only_check))
