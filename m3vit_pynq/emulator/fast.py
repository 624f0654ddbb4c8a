# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The fast engine of the emulated board, see ``docs/fast-engine.md``."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.footprint import CAPACITIES, capacities_of
from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.emulator.fastbuild import build, load

#: Memory that the engine works on: anything with a writable buffer of whole bytes.
Memory = np.ndarray | memoryview | bytearray | None

_NO_MEMORY, _BAD_ARGUMENT = 1000, 1001
_MAX_THREADS = 256


class _Layout(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in BankLayout.__dataclass_fields__]


class _Pending(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("count", "dst", "rows", "cols_out")]


class _Capacity(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("half_lines", "tokens", "map_lines")]


class _Memory(ctypes.Structure):
    _fields_ = [
        ("bank", ctypes.c_void_p), ("frame", ctypes.c_void_p), ("result", ctypes.c_void_p),
        ("bank_bytes", ctypes.c_uint32), ("frame_bytes", ctypes.c_uint32),
        ("result_bytes", ctypes.c_uint32), ("verify", ctypes.c_uint32),
    ]  # fmt: skip


class _RunArgs(ctypes.Structure):
    _fields_ = [
        ("command", ctypes.c_uint32), ("task", ctypes.c_uint32), ("misalignment", ctypes.c_uint32),
        ("memory", _Memory), ("capacity", _Capacity), ("pc", ctypes.c_uint32),
    ]  # fmt: skip


class _Profile(ctypes.Structure):
    _fields_ = [
        ("nanoseconds", ctypes.c_uint64 * 16), ("calling_thread", ctypes.c_uint64 * 16),
        ("executions", ctypes.c_uint64 * 16), ("products", ctypes.c_uint64 * 16),
        ("packing", ctypes.c_uint64), ("panels", ctypes.c_uint64),
    ]  # fmt: skip


@dataclass(frozen=True)
class OpcodeTime:
    """What the instructions of one opcode have taken.

    Attributes
    ----------
    seconds : float
    calling_thread : float
        Seconds of processor time that the calling thread spent in it.
    executions : int
    products : int
        Multiply-accumulates as `m3vit_pynq.abi.footprint` counts them.
    """

    seconds: float
    calling_thread: float
    executions: int
    products: int


@dataclass(frozen=True)
class Profile:
    """Times of an engine since it was made or its profile was cleared.

    Attributes
    ----------
    opcodes : dict
        `OpcodeTime` of every opcode that was executed.
    packing : float
        Seconds of all threads in packing weights; a part of the above.
    panels : int
        Panels of 64 output channels that were packed.
    """

    opcodes: dict[Opcode, OpcodeTime]
    packing: float
    panels: int


@dataclass
class Slots:
    """Slots that no LAYERNORM has added yet, for `FastEngine.step`."""

    count: int = 0
    dst: int = 0
    rows: int = 0
    cols_out: int = 0


@lru_cache(maxsize=8)
def _load(path: str) -> ctypes.CDLL:
    library = load(path)
    handle, number, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p
    point = ctypes.POINTER
    for name, result, arguments in (
        ("create", handle, [number, text]),
        ("destroy", None, [handle]),
        ("path", text, [handle]),
        ("available", text, [number]),
        ("run", number, [handle, point(_RunArgs)]),
        ("step", number, [
            handle, text, point(_Memory), point(_Layout), point(_Capacity), point(_Pending),
        ]),
        ("forget", None, [handle, handle, ctypes.c_uint64]),
        ("experts", number, [handle, point(number), number]),
        ("read_profile", None, [handle, point(_Profile), number]),
    ):  # fmt: skip
        function = getattr(library, f"m3vit_fast_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def available_paths() -> tuple[str, ...]:
    """Kinds of arithmetic that this processor has, the fastest first."""
    library, names = _load(str(build())), []
    while name := library.m3vit_fast_available(len(names)):
        names.append(name.decode())
    return tuple(names)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: int | None = None) -> int:
    """Threads to use: `threads`, ``$M3VIT_THREADS``, or the cores this process may use.

    Raises
    ------
    ValueError
        If it is not a number from 1 to 256.
    """
    source, value = "threads", threads
    if value is None:
        source, value = "M3VIT_THREADS", os.environ.get("M3VIT_THREADS") or None
    if value is None:
        return min(_MAX_THREADS, _cores())
    with contextlib.suppress(TypeError, ValueError):
        if not isinstance(value, (bool, float)) and 1 <= int(value) <= _MAX_THREADS:
            return int(value)
    raise ValueError(f"{source} = {value!r} is not a number of threads from 1 to {_MAX_THREADS}")


def _address(memory: Memory, writable: bool) -> tuple[int | None, int]:
    """Where memory lies, and its bytes."""
    if memory is None or not len(memory):
        return None, 0
    array = memory if isinstance(memory, np.ndarray) else np.frombuffer(memory, np.uint8)
    if not array.flags.c_contiguous or (writable and not array.flags.writeable):
        raise ValueError("the engine needs contiguous memory that it may write")
    if array.nbytes >= 1 << 32:
        raise ValueError(f"{array.nbytes} bytes exceed the 32 bits of a size register")
    return (array.ctypes.data, array.nbytes) if array.nbytes else (None, 0)


def _capacity(source: Board | Mapping[str, int]) -> _Capacity:
    if isinstance(source, Mapping):
        return _Capacity(**{name: int(source[name]) for name in CAPACITIES})
    return _Capacity(**capacities_of(source))


class FastEngine:
    """Executes programs on bank memory, bit for bit as the accelerator.

    Parameters
    ----------
    board : Board or mapping
        Buffers to enforce: a board, or ``half_lines``, ``tokens`` and ``map_lines``.
    threads : int, optional
        See `thread_count`.
    path : str, optional
        One of `available_paths`; default ``$M3VIT_FAST_PATH`` or the fastest.
    verify : bool
        Compare packed weights with the bank (a checksum) in every run. Otherwise
        they hold until `forget`.

    Raises
    ------
    ValueError
        If this processor does not have the path.

    Notes
    -----
    One call at a time runs; others wait. Calls release the interpreter lock. After
    a fork the child's engine starts threads of its own.
    """

    def __init__(
        self,
        board: Board | Mapping[str, int],
        threads: int | None = None,
        path: str | None = None,
        verify: bool = True,
    ) -> None:
        self._handle = None
        self._library = _load(str(build()))
        self.capacity = _capacity(board)
        self.threads = thread_count(threads)
        self.verify = verify
        wanted = path or os.environ.get("M3VIT_FAST_PATH") or ""
        if wanted and wanted not in available_paths():
            raise ValueError(
                f"this processor has no path {wanted!r}; it has {', '.join(available_paths())}"
            )
        self._handle = self._library.m3vit_fast_create(self.threads, wanted.encode())
        if not self._handle:
            raise MemoryError("no memory for the fast engine")
        #: Kind of arithmetic in use.
        self.path: str = self._library.m3vit_fast_path(self._handle).decode()

    def __del__(self) -> None:
        if self._handle:
            self._library.m3vit_fast_destroy(self._handle)
            self._handle = None

    def _memory(self, bank: Memory, frame: Memory, result: Memory) -> _Memory:
        (at_bank, bank_bytes), (at_frame, frame_bytes), (at_result, result_bytes) = (
            _address(bank, True), _address(frame, False), _address(result, True),
        )  # fmt: skip
        return _Memory(
            at_bank, at_frame, at_result, bank_bytes, frame_bytes, result_bytes, int(self.verify)
        )

    def _checked(self, code: int) -> int:
        if code == _NO_MEMORY:
            raise MemoryError("no memory for the fast engine; the bank's workspace is undefined")
        if code == _BAD_ARGUMENT:
            raise ValueError("bank and result must lie at multiples of 8 bytes in this process")
        return code

    def run(
        self,
        task: int,
        bank: Memory,
        frame: Memory,
        result: Memory,
        command: int = Command.RUN,
        misalignment: int = 0,
    ) -> tuple[int, int]:
        """Run a task of the program in a bank.

        Parameters
        ----------
        bank, result : writable buffers
        frame : buffer
        misalignment : int
            Device addresses of the three or-ed together; the low six bits count.

        Returns
        -------
        code, pc
            An `ErrorCode`, and the index of the refused instruction or 0.
        """
        args = _RunArgs(
            command, task, misalignment & 63, self._memory(bank, frame, result), self.capacity, 0
        )
        code = self._library.m3vit_fast_run(self._handle, ctypes.byref(args))
        return self._checked(code), args.pc

    def step(
        self,
        instruction: Instruction | bytes | Sequence[int],
        bank: Memory,
        layout: BankLayout,
        frame: Memory = None,
        result: Memory = None,
        slots: Slots | None = None,
    ) -> int:
        """Check and execute one instruction.

        Parameters
        ----------
        instruction : Instruction, 64 bytes or 16 words
        layout : BankLayout
            Sections of the bank; `ErrorCode.BANK_LAYOUT` if they do not fit it.
        slots : Slots, optional
            Pending slots, changed as the instruction changes them; default none.

        Returns
        -------
        int
            An `ErrorCode`.
        """
        if isinstance(instruction, Instruction):
            words = instruction.encode()
        elif isinstance(instruction, bytes):
            words = instruction
        else:
            words = np.asarray(instruction, "<u4").tobytes()
        if len(words) != 64:
            raise ValueError(f"an instruction has 64 bytes, not {len(words)}")
        memory = self._memory(bank, frame, result)
        sections = _Layout(**{name: getattr(layout, name) for name, _ in _Layout._fields_})
        slots = slots or Slots()
        pending = _Pending(slots.count, slots.dst, slots.rows, slots.cols_out)
        code = self._library.m3vit_fast_step(
            self._handle, words, ctypes.byref(memory), ctypes.byref(sections),
            ctypes.byref(self.capacity), ctypes.byref(pending),
        )  # fmt: skip
        for name, _ in _Pending._fields_:
            setattr(slots, name, getattr(pending, name))
        return self._checked(code)

    def forget(self, bank: Memory = None) -> None:
        """Drop packed weights before the next run: of every bank that `bank` touches, or of all.

        Returns at once, also while another thread runs a program.
        """
        if bank is None:
            self._library.m3vit_fast_forget(self._handle, None, 0)
            return
        address, size = _address(bank, False)
        if size:
            self._library.m3vit_fast_forget(self._handle, address, size)

    def experts_used(self) -> dict[int, int]:
        """Experts with tokens in every EXPERTS_UP of the last run, by its index."""
        pairs = (ctypes.c_uint32 * (2 * 4096))()
        count = self._library.m3vit_fast_experts(self._handle, pairs, 4096)
        return {pairs[2 * k]: pairs[2 * k + 1] for k in range(count)}

    def profile(self, clear: bool = False) -> Profile:
        """Times by opcode; cleared afterwards if asked for."""
        raw = _Profile()
        self._library.m3vit_fast_read_profile(self._handle, ctypes.byref(raw), int(clear))
        return Profile(
            {
                op: OpcodeTime(
                    raw.nanoseconds[op] * 1e-9,
                    raw.calling_thread[op] * 1e-9,
                    raw.executions[op],
                    raw.products[op],
                )
                for op in Opcode
                if raw.executions[op]
            },
            raw.packing * 1e-9,
            raw.panels,
        )
