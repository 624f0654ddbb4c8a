# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the row pass reads and writes through its ports, and its switches."""

from __future__ import annotations

import front_bench
import numpy as np
import pytest

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.isa import Instruction, Opcode, lines

SOURCE = "row_processes.cpp"
EMPTY = np.zeros(0, np.uint8)


@pytest.fixture(params=["zcu104", "pynq-z2"])
def board(request):
    return BOARDS[request.param]


def ask(board, name: str, instruction: Instruction, *inputs: np.ndarray) -> list[np.ndarray]:
    bench = front_bench.bench(SOURCE, board.name)
    return bench.ask(name.encode(), instruction.encode(), *inputs)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape).astype(np.uint8)


def layernorm(rows: int, n: int, slots: int, gap: int, dst_gap: int | None = None) -> Instruction:
    return Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=3, src_stride=lines(2 * n) + gap, dst=1,
        dst_stride=lines(n) + (gap if dst_gap is None else dst_gap), shift_a=9, eps_low=1,
        slots=slots, slot_base=5, table=7,
    )  # fmt: skip


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("rows, n", [(1, 1), (16, 40), (17, 33), (33, 192), (70, 100)])
@pytest.mark.parametrize("slots", [0, 1, 4, 6, 16])
def test_read_rows(board, rows, n, slots, gap):
    """Rows, the slots of each port, the table; without slots two ports read rows in turn."""
    width = lines(2 * n)
    bank = noise(8 + (slots + 2) * rows * (width + gap) + 200, 64)
    found = ask(board, "read_rows", layernorm(rows, n, slots, gap), bank)

    def at(line: int, count: int) -> np.ndarray:
        return bank[line : line + count].reshape(-1)

    source = [at(3 + r * (width + gap), width) for r in range(rows)]
    own = source if slots else source[::2]
    np.testing.assert_array_equal(found[0], np.concatenate(own))
    for port in range(4):
        parts = (
            source[1::2]
            if slots == 0 and port == 0
            else [
                at(5 + (slot * rows + r) * width, width)
                for r in range(rows)
                for slot in range(port, slots, 4)
            ]
        )
        np.testing.assert_array_equal(found[1 + port], np.concatenate(parts) if parts else EMPTY)
    np.testing.assert_array_equal(found[5], at(7, lines(8 * n)))


def turn_rows(board, n: int, *gaps: int) -> int:
    """Rows of a turn: their normalised beats wait in a stream of 512, and without a gap
    they are one run; with a gap, their bursts of 16 beats are half of what is under way."""
    most = 32
    for size, gap in zip((2 * n, n), gaps, strict=True):
        beats = 64 * lines(size) // board.port_bytes
        most = min(most, max(1, 8 // -(-beats // 16))) if gap else most
    rows = 1
    while 2 * rows <= most and 2 * rows * beats <= 512:
        rows *= 2
    return rows


@pytest.mark.parametrize("gap, dst_gap", [(0, 0), (1, 1), (0, 3), (2, 0)])
@pytest.mark.parametrize("rows, n", [(1, 1), (16, 40), (17, 33), (33, 192), (100, 70), (20, 1024)])
@pytest.mark.parametrize("slots", [0, 2])
def test_collect_and_write(board, rows, n, slots, gap, dst_gap):
    """With slots, residual and normalised rows take turns."""
    instruction = layernorm(rows, n, slots, gap, dst_gap)
    wide, narrow = lines(2 * n), lines(n)
    updated = noise(rows, 64 * wide) if slots else EMPTY
    normalised = noise(rows, 64 * narrow, 1)
    (stored,) = ask(board, "collect", instruction, updated, normalised, *[EMPTY] * 4)
    group = turn_rows(board, n, gap, dst_gap)
    turns = []
    for first in range(0, rows, group):
        if slots:
            turns.append(updated[first : first + group].reshape(-1))
        turns.append(normalised[first : first + group].reshape(-1))
    np.testing.assert_array_equal(stored, np.concatenate(turns))

    # Both tensors start on different lines of banks of their own here.
    bank = np.full((4 + rows * (wide + narrow + gap + dst_gap) + 9, 64), 0x5A, np.uint8)
    apart = 2 + rows * (narrow + dst_gap)
    instruction = Instruction(Opcode.LAYERNORM, **{**instruction.operands, "src": apart, "dst": 1})
    (found,) = ask(board, "write_tensors", instruction, bank, stored)
    expected = bank.copy()
    for r in range(rows):
        start = 1 + r * (narrow + dst_gap)
        expected[start : start + narrow] = normalised[r].reshape(-1, 64)
        if slots:
            start = apart + r * (wide + gap)
            expected[start : start + wide] = updated[r].reshape(-1, 64)
    np.testing.assert_array_equal(found.reshape(-1, 64), expected)


MAP = {"height": 2, "width": 3, "src": 0, "src_stride": 1}
INSTRUCTIONS = {
    "copy": Instruction(Opcode.LOAD_RESIDUAL, rows=3, cols_out=40, table=0, dst=0, dst_stride=2),
    "norm": layernorm(2, 64, 0, 0),
    "gate": Instruction(Opcode.GATE, rows=5, experts=4, top_k=2, src=0, src_stride=1, dst=0),
    "upsample": Instruction(Opcode.UPSAMPLE2X, **MAP, cols_in=9, dst=0, dst_stride=1),
    "classes": Instruction(Opcode.OUTPUT_CLASSES, **MAP, cols_in=9, factor=1),
    "depth": Instruction(Opcode.OUTPUT_DEPTH, **MAP, factor=1),
    "patches": Instruction(Opcode.LOAD_PATCHES, height=8, width=8, patch=4, dst=0, dst_stride=1),
}
#: What each instruction reads by rows (lines, stream), by table, and writes (lines, stream).
DEALT = {
    "copy": ((0, 0), (6, 1), (6, 5)), "norm": ((2, 0), (8, 0), (2, 1)),
    "gate": ((5, 1), (0, 0), (5, 2)), "upsample": ((6, 2), (0, 0), (24, 3)),
    "classes": ((6, 2), (0, 0), (0, 0)), "depth": ((6, 2), (0, 0), (0, 0)),
    "patches": ((0, 0), (0, 0), (4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_switches(board, name):
    instruction = INSTRUCTIONS[name]
    rows, table, written = DEALT[name]
    for process, (count, place) in (("deal_rows", rows), ("deal_table", table)):
        data = noise(count, 64)
        found = ask(board, process, instruction, data)
        np.testing.assert_array_equal(found[place], data.reshape(-1))
        assert sum(out.size for out in found) == data.size
    count, place = written
    sources = [EMPTY] * 6
    sources[place] = noise(count, 64)
    (stored,) = ask(board, "collect", instruction, *sources)
    np.testing.assert_array_equal(stored, sources[place].reshape(-1))
