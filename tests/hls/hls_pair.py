# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The compiled accelerator next to the integer specification, on equal memories."""

from __future__ import annotations

import functools
import os

import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE, Board, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Instruction, Opcode, Store, lines
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.emulator.hostlib import HostLibrary, build
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.image import WeightImage
from m3vit_pynq.reference.machine import Machine

#: Whether the instrumented library is under test (test_build.py).
SANITIZE = bool(os.environ.get("M3VIT_TEST_SANITIZE"))

#: Value of bytes that nobody is meant to read.
GUARD = 0x5A


def pack_layer(
    weights: np.ndarray, bias: np.ndarray, mult: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """One layer as a weight image: uint8 [4, n], written from the text of isa.py.

    Parameters
    ----------
    weights : int8 [outputs, K]
    bias, mult, shift : int [outputs]
    """
    outputs, cols = weights.shape
    groups = -(-outputs // 4)
    padded = lines(cols) * LINE
    rows = np.zeros((groups * 4, BEAT + padded), dtype=np.uint8)
    rows[:outputs, 0:4] = bias.astype("<i4").reshape(-1, 1).view(np.uint8)
    rows[:outputs, 4:6] = mult.astype("<u2").reshape(-1, 1).view(np.uint8)
    rows[:outputs, 6] = shift
    rows[:outputs, BEAT : BEAT + cols] = weights.view(np.uint8)
    return rows.reshape(groups, 4, -1).swapaxes(0, 1).reshape(4, -1)


def table_part(data: np.ndarray) -> np.ndarray:
    """A table in part 0, the other parts filled with noise that must not matter."""
    raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
    beats = -(-raw.size // BEAT)
    image = np.full((4, beats * BEAT), GUARD, dtype=np.uint8)
    image[0, : raw.size] = raw
    return image


class Pair:
    """One board's accelerator and the specification with that board's capacity."""

    def __init__(self, board: Board | str, library: HostLibrary) -> None:
        self.board = get_board(board) if isinstance(board, str) else board
        self.library = library
        self.machine = Machine(self.board)
        self.weights = np.zeros((4, 0), dtype=np.uint8)
        self.frame = np.zeros(0, dtype=np.uint8)
        self.output = np.zeros(0, dtype=np.uint8)

    def fill(self, rng: np.random.Generator, scale: int = 128) -> None:
        """Equal random contents; activations within +-scale."""
        act = rng.integers(-scale, scale, self.machine.act.shape, dtype=np.int64)
        self.machine.act[:] = np.clip(act, -128, 127)
        self.machine.residual[:] = rng.integers(-32768, 32768, self.machine.residual.shape)
        self.machine.scores[:] = rng.integers(-(1 << 20), 1 << 20, self.machine.scores.shape)
        self.copy_memories()

    def copy_memories(self) -> None:
        """Make the accelerator's memories those of the specification."""
        self.library.act[:] = self.machine.act
        self.library.residual[:] = self.machine.residual
        self.library.scores[:] = self.machine.scores

    def append(self, image: np.ndarray) -> int:
        """Add to the weight image; returns the first beat."""
        first = self.weights.shape[1] // BEAT
        self.weights = np.concatenate([self.weights, image], axis=1)
        return first

    def execute(self, instruction: Instruction) -> ErrorCode:
        """Run on both; equal codes and equal memories, or the test fails.

        Bytes that are unspecified after the instruction are not compared, and
        are made equal afterwards.
        """
        self.machine.weights = WeightImage(self.weights)
        self.machine.frame = self.frame.reshape(-1)
        output = np.full(self.output.nbytes + BEAT, GUARD, dtype=np.uint8)
        self.machine.output = np.full(self.output.nbytes, GUARD, dtype=np.uint8)
        try:
            self.machine.execute(instruction)
            expected = ErrorCode.OK
        except AcceleratorError as error:
            expected = ErrorCode(error.code)
        code = self.library.step(
            instruction, self.weights, self.frame, output[: self.output.nbytes]
        )
        assert ErrorCode(code) == expected, f"{instruction}: {code} instead of {expected!r}"
        self.compare(instruction)
        np.testing.assert_array_equal(output[: self.output.nbytes], self.machine.output)
        assert (output[self.output.nbytes :] == GUARD).all(), "wrote behind the output buffer"
        return expected

    def compare(self, instruction: Instruction) -> None:
        """Equal memories after an instruction; then also where unspecified."""
        different = self.library.act != self.machine.act
        if different.any():
            different &= ~self.unspecified(instruction)
            assert not different.any(), (
                f"{instruction}: {different.sum()} bytes of activation memory differ, "
                f"first at (line, byte) {np.argwhere(different)[0]}"
            )
        np.testing.assert_array_equal(self.library.residual, self.machine.residual)
        np.testing.assert_array_equal(self.library.scores, self.machine.scores)
        ours, theirs = self.library.queues, self.machine.queues
        assert (ours.rows, ours.experts, ours.top_k) == (
            theirs.rows, theirs.experts, theirs.top_k,
        )  # fmt: skip
        for mine, yours in zip(ours.tokens + ours.gates, theirs.tokens + theirs.gates, strict=True):
            np.testing.assert_array_equal(mine, yours)
        self.library.act[:] = self.machine.act

    def unspecified(self, i: Instruction) -> np.ndarray:
        """Bytes behind the channels in the last line of every destination row: bool mask."""
        mask = np.zeros(self.machine.act.shape, dtype=bool)

        def tails(base: int, rows: int, stride: int, channels: int) -> None:
            if channels % LINE:
                last = base + stride * np.arange(rows) + channels // LINE
                mask[last, channels % LINE :] = True

        if i.opcode == Opcode.LOAD_PATCHES:
            rows = (i.height // i.patch) * (i.width // i.patch)
            tails(i.dst, rows, i.dst_stride, 3 * i.patch**2)
        elif i.opcode == Opcode.LAYERNORM:
            tails(i.dst, i.rows, i.dst_stride, i.cols_in)
        elif i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
            rows = i.rows if i.opcode == Opcode.LINEAR else i.height * i.width
            if i.store in (Store.ACT8, Store.ACT16):
                tails(i.dst, rows, i.dst_stride, i.cols_out << (i.store == Store.ACT16))
        elif i.opcode == Opcode.ATTENTION:
            tails(i.dst, i.rows, i.dst_stride, i.heads * i.head_dim)
        elif i.opcode == Opcode.UPSAMPLE2X:
            tails(i.dst, 4 * i.height * i.width, i.dst_stride, i.cols_in)
        elif i.opcode == Opcode.EXPERTS:
            tails(i.scratch, i.rows, i.scratch_stride, i.hidden)
        return mask


@functools.cache
def library_of(board: str) -> HostLibrary:
    """The compiled accelerator of a board, loaded once.

    With `SANITIZE` it is the one with sanitizers, which a process can only
    load if it was started for that.
    """
    return HostLibrary(build(board, sanitize=SANITIZE))


def run_program(
    library: HostLibrary,
    program: bytes,
    weights: np.ndarray,
    task: int,
    frame: np.ndarray,
    output_bytes: int,
    command: Command = Command.RUN,
) -> tuple[dict[str, int], np.ndarray]:
    """The top function on a program: output registers and output buffer."""
    code = np.frombuffer(program, dtype=np.uint8).copy()
    weights, frame = np.ascontiguousarray(weights), np.ascontiguousarray(frame)
    output = np.full(output_bytes, GUARD, dtype=np.uint8)
    registers = library.accel(
        command, task, frame.ctypes.data, output.ctypes.data, code.ctypes.data,
        [part.ctypes.data for part in weights], frame.nbytes, output.nbytes, code.nbytes,
        weights.shape[1],
    )  # fmt: skip
    return registers, output


def examples(count: int) -> int:
    """How many random examples a test takes: fewer where each is slow."""
    return max(2, count // 4) if SANITIZE else count


def fresh_pair(board: str, seed: int, scale: int = 128) -> Pair:
    """A pair with empty queues and random memories."""
    library = library_of(board)
    library.clear()
    pair = Pair(board, library)
    pair.fill(np.random.default_rng(seed), scale)
    return pair
