# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every opcode on every path of this processor: bit for bit the integer machine."""

import numpy as np
import pytest
from fast_cases import CASES
from fast_pair import GENEROUS, PATHS, Pair, at, engine

from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import MAX_TOKENS, BankLayout, Instruction, Opcode
from m3vit_pynq.emulator.fast import FastEngine
from m3vit_pynq.reference.machine import Machine

THREADS = (1, 2, 3, 7)


@pytest.mark.parametrize("opcode", Opcode, ids=lambda op: op.name)
def test_made_up_instructions(opcode):
    rng = np.random.default_rng(1000 + opcode)
    accepted = 0
    for turn in range(60):
        engines = [engine(path, THREADS[(turn + n) % 4]) for n, path in enumerate(PATHS)]
        pair, instruction = CASES[opcode](rng, engines)
        accepted += pair.step(instruction) == ErrorCode.OK
    assert accepted >= 50


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("passes", (1, 2))
def test_the_longest_rows_of_attention(path, passes):
    """2048 keys of the largest products: sums and mixed values at their limits."""
    rng = np.random.default_rng(passes)
    layout = BankLayout(1, 1, 5, 4 * MAX_TOKENS)
    bank = rng.choice(np.array([0x80, 0x7F], np.uint8), 64 * layout.lines)
    bank[: 64 * (5 + MAX_TOKENS)] = 0  # queries: every score is 0, every probability the largest
    machine = Machine(GENEROUS)
    machine.attach(bank, layout)
    instruction = Instruction(
        Opcode.ATTENTION, rows=MAX_TOKENS, heads=1, head_dim=16, src=5, src_stride=MAX_TOKENS,
        k_offset=1, v_offset=2, dst=5 + 3 * MAX_TOKENS, dst_stride=1, passes=passes,
        mult_a=40000, shift_a=20, mult_b=60000, shift_b=16,
    )  # fmt: skip
    mine = bank.copy()
    machine.execute(instruction)
    assert engine(path, 2).step(instruction, mine, layout) == ErrorCode.OK
    assert np.array_equal(mine, bank)


@pytest.mark.parametrize("path", PATHS)
def test_many_rows_in_several_chunks(path):
    """More packed rows than are multiplied at a time."""
    rng = np.random.default_rng(3)
    rows, outputs = 5000, 8
    layout = BankLayout(1, 130, 521, 64 + rows)
    bank = rng.integers(0, 256, 64 * layout.lines, np.uint8)
    machine = Machine(GENEROUS)
    machine.attach(bank, layout)
    instruction = Instruction(
        Opcode.LINEAR, rows=rows, cols_in=4096, cols_out=outputs, src=521, src_stride=0,
        dst=521 + 64, dst_stride=1, weights=1,
    )  # fmt: skip
    mine = bank.copy()
    machine.execute(instruction)
    assert engine(path, 3).step(instruction, mine, layout) == ErrorCode.OK
    assert np.array_equal(mine, bank)


def test_bits_outside_the_operands_are_ignored():
    rng = np.random.default_rng(4)
    pair, instruction = CASES[Opcode.LAYERNORM](rng, [engine(PATHS[0], 1)])
    clean = pair.bank.copy()
    words = np.frombuffer(instruction.encode(), "<u4").copy()
    words[0] |= 0xFFFFFF00
    words[[8, 10, 13, 15]] |= np.array([0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF], np.uint32)
    words[9] |= 0xFF00FFFF
    words[11] |= 0xFFFF0000
    dirty, slots = pair.bank.copy(), pair.slots()
    first = engine(PATHS[0], 1).step(instruction, clean, pair.machine.layout, slots=pair.slots())
    assert engine(PATHS[0], 1).step(words, dirty, pair.machine.layout, slots=slots) == first
    assert np.array_equal(clean, dirty)


def test_capacities_of_the_board_are_enforced():
    small = {"half_lines": 64, "tokens": 64, "map_lines": 8}
    each = FastEngine(small, threads=1)
    pair = Pair(np.random.default_rng(5), [each], capacity=small)
    gate = {"experts": 2, "top_k": 1, "src": at(100), "src_stride": 0, "dst": at(0)}
    assert pair.step(Instruction(Opcode.GATE, rows=64, **gate)) == ErrorCode.OK
    assert pair.step(Instruction(Opcode.GATE, rows=65, **gate)) == ErrorCode.CAPACITY
    linear = {"rows": 1, "cols_out": 1, "src": at(0), "dst": at(100), "dst_stride": 1, "weights": 8}
    assert pair.step(Instruction(Opcode.LINEAR, cols_in=128, **linear)) == ErrorCode.OK
    assert pair.step(Instruction(Opcode.LINEAR, cols_in=129, **linear)) == ErrorCode.CAPACITY
    upsample = {"height": 1, "cols_in": 64, "src": at(0), "dst": at(100), "dst_stride": 1}
    assert pair.step(Instruction(Opcode.UPSAMPLE2X, width=4, **upsample)) == ErrorCode.OK
    assert pair.step(Instruction(Opcode.UPSAMPLE2X, width=5, **upsample)) == ErrorCode.CAPACITY
