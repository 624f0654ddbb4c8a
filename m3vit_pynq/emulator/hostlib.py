# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The compiled accelerator as an object: its top function, memories and cycles."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BEAT, LINE
from m3vit_pynq.abi.isa import Instruction
from m3vit_pynq.abi.registers import ARGUMENTS, WEIGHT_PORTS
from m3vit_pynq.emulator.cycle_records import (
    CycleRecord,
    Passage,
    PassageLog,
    RawPassage,
    RawRecord,
)
from m3vit_pynq.emulator.hostbuild import BuildError, build

__all__ = [
    "BuildError",
    "CycleRecord",
    "HostLibrary",
    "Passage",
    "PassageLog",
    "QueueView",
    "build",
]


@dataclass(frozen=True)
class QueueView:
    """Expert queues: shape of the GATE that filled them, tokens and weights per expert."""

    rows: int
    experts: int
    top_k: int
    tokens: tuple[np.ndarray, ...]
    gates: tuple[np.ndarray, ...]


class HostLibrary:
    """One instance of the accelerator with memories of its own.

    Parameters
    ----------
    path : Path
        A library made by `build`.

    Notes
    -----
    Each instance loads a private copy of the library, so that several emulated
    boards do not share their on-chip memories. An instance runs one call at a
    time; calls release the interpreter lock.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with tempfile.TemporaryDirectory(prefix="m3vit-") as scratch:
            private = Path(scratch) / self.path.name
            shutil.copyfile(self.path, private)
            self._library = ctypes.CDLL(str(private))
        self._top = self._library.m3vit_accel
        self._top.restype = None
        kinds = {"in": ctypes.c_uint32, "pointer": ctypes.c_void_p}
        self._top.argtypes = [kinds.get(a.kind, ctypes.POINTER(ctypes.c_uint32)) for a in ARGUMENTS]
        self._outputs = {a.name: ctypes.c_uint32() for a in ARGUMENTS if a.kind == "out"}
        self._output_pointers = [ctypes.pointer(value) for value in self._outputs.values()]
        self._step = self._library.m3vit_host_step
        self._step.restype = ctypes.c_uint32
        self._step.argtypes = [
            ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32,
            *[ctypes.c_void_p] * WEIGHT_PORTS, ctypes.c_uint32,
        ]  # fmt: skip
        self._library.m3vit_host_records.restype = ctypes.POINTER(RawRecord)
        self._library.m3vit_host_passages.restype = ctypes.POINTER(RawPassage)
        self._map_memories()

    def _map_memories(self) -> None:
        sizes = self.accel(0, 0, 0, 0, 0, (0, 0, 0, 0), 0, 0, 0, 0)
        addresses = (ctypes.c_void_p * 7)()
        self._library.m3vit_host_memories(addresses)

        def view(index: int, kind: type, count: int) -> np.ndarray:
            kinds = (kind * count).from_address(addresses[index])
            return np.ctypeslib.as_array(kinds)

        #: Activation memory, int8 [lines, 64].
        self.act = view(0, ctypes.c_int8, sizes["act_lines"] * LINE).reshape(-1, LINE)
        #: Residual memory, int16 [elements].
        self.residual = view(1, ctypes.c_int16, sizes["residual_elements"])
        #: Router scores, int32 [elements].
        self.scores = view(2, ctypes.c_int32, sizes["score_elements"])
        self._shape = view(3, ctypes.c_uint32, 3)
        self._first = view(4, ctypes.c_uint16, isa.MAX_EXPERTS + 1)
        self._token = view(5, ctypes.c_uint16, sizes["queue_entries"])
        self._gate = view(6, ctypes.c_uint16, sizes["queue_entries"])

    @property
    def queues(self) -> QueueView:
        """A copy of the expert queues."""
        rows, experts, top_k = map(int, self._shape)
        if not rows:
            return QueueView(0, 0, 0, (), ())
        spans = [slice(self._first[e], self._first[e + 1]) for e in range(experts)]
        return QueueView(
            rows, experts, top_k,
            tuple(self._token[s].copy() for s in spans), tuple(self._gate[s].copy() for s in spans),
        )  # fmt: skip

    def accel(
        self,
        command: int,
        task: int,
        frame_addr: int,
        output_addr: int,
        program_addr: int,
        weights_addrs: Sequence[int],
        frame_bytes: int,
        output_bytes: int,
        program_bytes: int,
        weights_bytes: int,
    ) -> dict[str, int]:
        """The top function; addresses are those of this process.

        Returns
        -------
        dict
            Every output register by its name in `m3vit_pynq.abi.registers`.
        """
        self._top(
            command, task, frame_addr, output_addr, program_addr, *weights_addrs,
            frame_bytes, output_bytes, program_bytes, weights_bytes, *self._output_pointers,
        )  # fmt: skip
        return {name: value.value for name, value in self._outputs.items()}

    def step(
        self,
        instruction: Instruction | bytes,
        weights: np.ndarray | None = None,
        frame: np.ndarray | None = None,
        output: np.ndarray | None = None,
    ) -> int:
        """Check and execute one instruction on the memories as they are.

        Parameters
        ----------
        weights : uint8 [4, n], optional
            Weight image, n a multiple of 16.
        frame : uint8, optional
            C contiguous.
        output : uint8 or uint16, optional
            C contiguous and writable.

        Returns
        -------
        int
            An `m3vit_pynq.abi.errors.ErrorCode`.
        """
        words = instruction if isinstance(instruction, bytes) else instruction.encode()
        parts = [0] * WEIGHT_PORTS if weights is None else [row.ctypes.data for row in weights]
        size = 0 if weights is None else weights.shape[1] // BEAT * BEAT

        def buffer(array: np.ndarray | None) -> tuple[int, int]:
            return (0, 0) if array is None else (array.ctypes.data, array.nbytes)

        return self._step(words, *buffer(frame), *buffer(output), *parts, size)

    def matrix_group(self, tokens: np.ndarray, weights: np.ndarray, lanes: bool) -> np.ndarray:
        """The matrix engine alone, for the test that its two forms agree.

        Parameters
        ----------
        tokens : uint8 [tokens_par, n]
            Values + 128; n a multiple of 64.
        weights : int8 [4, n]
        lanes : bool
            The form that is synthesised rather than the one made for a computer.

        Returns
        -------
        int32 [tokens_par, 4]
        """
        acc = np.zeros((len(tokens), WEIGHT_PORTS), dtype=np.int32)
        self._library.m3vit_host_matrix_group(
            ctypes.c_void_p(tokens.ctypes.data), ctypes.c_void_p(weights.ctypes.data),
            tokens.shape[1] // LINE, int(lanes), ctypes.c_void_p(acc.ctypes.data),
        )  # fmt: skip
        return acc

    def clear(self) -> None:
        """On-chip memories as after configuration of the device: zero."""
        self._library.m3vit_host_clear()

    def cycles(self) -> list[CycleRecord]:
        """Modelled cycles of every instruction of the last run or step."""
        length = ctypes.c_uint32()
        records = self._library.m3vit_host_records(ctypes.byref(length))
        return [CycleRecord.of(records[i]) for i in range(length.value)]

    def passages(self) -> PassageLog:
        """How every chunk of weights of the last run or step passed through the ping-pong."""
        length, dropped = ctypes.c_uint32(), ctypes.c_uint32()
        records = self._library.m3vit_host_passages(ctypes.byref(length), ctypes.byref(dropped))
        return PassageLog(tuple(Passage.of(records[i]) for i in range(length.value)), dropped.value)
