# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The compiled accelerator next to the integer specification, on equal banks."""

from __future__ import annotations

import functools
import os

import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE, Board, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import BankLayout, Instruction, lines
from m3vit_pynq.abi.registers import BANK_MASTERS, Command
from m3vit_pynq.emulator.hostlib import HostLibrary, Slots, build
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.machine import Machine

#: Whether the instrumented library is under test (test_build.py).
SANITIZE = bool(os.environ.get("M3VIT_TEST_SANITIZE"))

#: Value of bytes that nobody is meant to write.
GUARD = 0x5A

#: First line of the weight image, behind a program of a few instructions.
WEIGHTS_LINE = 9


def aligned(size: int, value: int = 0) -> np.ndarray:
    """uint8 [size] that starts on a line, with memory to the end of its last line and one more."""
    raw = np.full(LINE * (lines(size) + 2), value, dtype=np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size]


def aligned_copy(data: np.ndarray) -> np.ndarray:
    """The same bytes, starting on a line."""
    copy = aligned(data.nbytes)
    copy[:] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return copy


def pack_layer(
    weights: np.ndarray, bias: np.ndarray, mult: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """One layer as a weight image: uint8 [4, whole lines], written from the text of isa.py.

    Parameters
    ----------
    weights : int8 [outputs, K]
    bias, mult, shift : int [outputs]
    """
    outputs, cols = weights.shape
    groups = -(-outputs // 4)
    rows = np.zeros((groups * 4, BEAT + lines(cols) * LINE), dtype=np.uint8)
    rows[:outputs, 0:4] = bias.astype("<i4").reshape(-1, 1).view(np.uint8)
    rows[:outputs, 4:6] = mult.astype("<u2").reshape(-1, 1).view(np.uint8)
    rows[:outputs, 6] = shift
    rows[:outputs, BEAT : BEAT + cols] = weights.view(np.uint8)
    parts = rows.reshape(groups, 4, -1).swapaxes(0, 1).reshape(4, -1)
    return np.pad(parts, ((0, 0), (0, -parts.shape[1] % LINE)))


def table_part(data: np.ndarray) -> np.ndarray:
    """A table in part 0, the other parts filled with noise that must not matter."""
    raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
    image = np.full((4, LINE * lines(raw.size)), GUARD, dtype=np.uint8)
    image[0, : raw.size] = raw
    return image


class Pair:
    """One board's accelerator and the specification with that board's capacity.

    Parameters
    ----------
    part_lines, workspace_lines : int
        Sections of the bank.
    """

    def __init__(
        self, board: Board | str, library: HostLibrary, part_lines: int, workspace_lines: int
    ) -> None:
        self.board = get_board(board) if isinstance(board, str) else board
        self.library = library
        workspace = WEIGHTS_LINE + 4 * part_lines + 3
        self.layout = BankLayout(WEIGHTS_LINE, part_lines, workspace, workspace_lines)
        self.bank = aligned(LINE * self.layout.lines)
        self.machine = Machine(self.board)
        self.machine.attach(self.bank.copy(), self.layout)
        self.slots = Slots()
        self.frame = np.zeros(0, dtype=np.uint8)
        self.result_bytes = 0
        self._used = 0

    @property
    def workspace(self) -> np.ndarray:
        """The accelerator's workspace, uint8 [lines, 64]; call `equalise` after a change."""
        return self.bank[LINE * self.layout.workspace_line :].reshape(-1, LINE)

    @property
    def line(self) -> int:
        """First line of the workspace."""
        return self.layout.workspace_line

    def equalise(self) -> None:
        """Make the specification's bank that of the accelerator."""
        self.machine.bank[:] = self.bank

    def fill(self, rng: np.random.Generator, scale: int = 128) -> None:
        """Random bytes in the workspace, as int8 within +-scale."""
        noise = rng.integers(-scale, scale, self.workspace.shape)
        self.workspace[:] = np.clip(noise, -128, 127).astype(np.int8).view(np.uint8)
        self.equalise()

    def append(self, image: np.ndarray) -> int:
        """Add to the weight image, uint8 [4, whole lines]; returns the first line in part 0."""
        first, count = self._used, image.shape[1] // LINE
        assert first + count <= self.layout.part_lines, "the weight image of this test is too small"
        for part in range(4):
            start = self.layout.weights_line + part * self.layout.part_lines + first
            self.bank[LINE * start : LINE * (start + count)] = image[part]
        self.equalise()
        self._used += count
        return self.layout.weights_line + first

    def execute(self, instruction: Instruction) -> ErrorCode:
        """Run on both; equal codes, banks and results, or the test fails."""
        self.machine.frame = self.frame.reshape(-1)
        self.machine.result = np.full(self.result_bytes, GUARD, dtype=np.uint8)
        try:
            self.machine.execute(instruction)
            expected = ErrorCode.OK
        except AcceleratorError as error:
            expected = ErrorCode(error.code)
        code, result = self.step(instruction)
        assert code == expected, f"{instruction}: {code!r} instead of {expected!r}"
        self.compare(instruction, result)
        return expected

    def step(self, instruction: Instruction | bytes) -> tuple[ErrorCode, np.ndarray]:
        """Run on the accelerator only: its code and its result, with a line of guard behind."""
        result = aligned(self.result_bytes + LINE, GUARD)
        code = self.library.step(
            instruction, self.bank, self.layout, aligned_copy(self.frame),
            result[: self.result_bytes], self.slots,
        )  # fmt: skip
        return ErrorCode(code), result

    def compare(self, instruction: Instruction, result: np.ndarray) -> None:
        """Equal banks and results after an instruction."""
        if not np.array_equal(self.bank, self.machine.bank):
            different = np.flatnonzero(self.bank != self.machine.bank)
            line, byte = divmod(int(different[0]), LINE)
            raise AssertionError(
                f"{instruction}: {different.size} bytes of the bank differ, first line {line} "
                f"(workspace {line - self.line}), byte {byte}: {self.bank[different[0]]} instead "
                f"of {self.machine.bank[different[0]]}"
            )
        np.testing.assert_array_equal(result[: self.result_bytes], self.machine.result)
        assert (result[self.result_bytes :] == GUARD).all(), "wrote behind the result buffer"
        pending = self.machine.pending
        theirs = (0,) if pending is None else (pending.slots, pending.base, pending.rows)
        ours = (self.slots.count, self.slots.line, self.slots.rows)
        assert ours[: len(theirs)] == theirs


@functools.cache
def library_of(board: str) -> HostLibrary:
    """The compiled accelerator of a board, loaded once.

    With `SANITIZE` it is the one with sanitizers, which a process can only
    load if it was started for that.
    """
    return HostLibrary(build(board, sanitize=SANITIZE))


def run_bank(
    library: HostLibrary,
    bank: np.ndarray,
    task: int,
    frame: np.ndarray,
    result_bytes: int,
    command: Command = Command.RUN,
) -> tuple[dict[str, int], np.ndarray]:
    """The top function on a bank, which it changes: output registers and result."""
    pixels, result = aligned_copy(frame), aligned(result_bytes, GUARD)
    addresses = {  # numpy gives an empty array any address
        "frame_pixels": pixels.ctypes.data if pixels.size else 0,
        "result_pixels": result.ctypes.data if result.size else 0,
    }
    registers = library.accel(
        run_command=command, run_task=task, **dict.fromkeys(BANK_MASTERS, bank.ctypes.data),
        **addresses, bank_bytes=bank.nbytes, frame_bytes=pixels.nbytes,
        result_bytes=result.nbytes,
    )  # fmt: skip
    return registers, result


def examples(count: int) -> int:
    """How many random examples a test takes: fewer where each is slow."""
    return max(2, count // 4) if SANITIZE else count


def fresh_pair(
    board: str, seed: int, scale: int = 128, part_lines: int = 600, workspace_lines: int = 4000
) -> Pair:
    """A pair with random memories."""
    pair = Pair(board, library_of(board), part_lines, workspace_lines)
    pair.fill(np.random.default_rng(seed), scale)
    return pair
