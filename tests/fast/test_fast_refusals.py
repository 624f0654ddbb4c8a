# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hostile instructions: the machine's code, nothing written, or the machine's result."""

from collections import Counter

import numpy as np
import pytest
from fast_cases import CASES
from fast_pair import LAYOUT, PATHS, Pair, aligned, engine

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import FIELDS, OPERANDS, BankLayout, Instruction, Opcode
from m3vit_pynq.abi.limits import within_limits

#: Values that lie at the limits of some field.
EDGES = (
    0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 255, 256, 257, 448, 449, 1024,
    1025, 2047, 2048, 2049, 4096, 4097, 8192, 8193, 32768, 65535, 65536, 65537, 2**31, 2**32 - 1,
)  # fmt: skip
_LINES = ("src", "dst", "records", "slot_base")
_IMAGE = ("weights", "table")


def hostile(rng, instruction):
    """An accepted instruction with one to three operands replaced."""
    operands = dict(instruction.operands)
    names = OPERANDS[instruction.opcode]
    for name in rng.choice(names, min(len(names), int(rng.integers(1, 4))), replace=False):
        field = FIELDS[name]
        low = -(1 << (field.bits - 1)) if field.signed else 0
        high = 1 << (field.bits - field.signed)
        kind = rng.random()
        if name in _LINES and kind < 0.6:
            first = LAYOUT.workspace_line
            value = first + int(rng.integers(-3, LAYOUT.workspace_lines + 3))
        elif name in _IMAGE and kind < 0.6:
            value = LAYOUT.weights_line + int(rng.integers(-3, LAYOUT.part_lines + 3))
        elif kind < 0.8:
            value = int(rng.choice(EDGES))
        elif kind < 0.9:
            value = int(operands.get(name, 0)) + int(rng.choice([-1, 1]))
        else:
            value = int(rng.integers(low, high))
        operands[str(name)] = min(max(value, low), high - 1)
    return Instruction(instruction.opcode, **operands)


def affordable(instruction):
    """Whether the machine refuses it or can execute it quickly."""
    i = instruction
    return not within_limits(i) or (
        max(i.rows, i.height * i.width) * max(1, i.cols_in) * max(1, i.cols_out) < 1 << 24
        and i.factor**2 * i.height * i.width * max(1, i.cols_in) < 1 << 22
        and i.rows**2 * i.heads < 1 << 20
    )


@pytest.mark.parametrize("opcode", [op for op in Opcode if OPERANDS[op]], ids=lambda op: op.name)
def test_hostile_instructions(opcode):
    rng = np.random.default_rng(2000 + opcode)
    codes = Counter()
    for turn in range(25):
        engines = [engine(PATHS[turn % len(PATHS)], 2)]
        pair, instruction = CASES[opcode](rng, engines)
        for _ in range(8):
            wrong = hostile(rng, instruction)
            if affordable(wrong):
                codes[pair.step(wrong)] += 1
    assert codes[ErrorCode.SHAPE] and sum(codes.values()) > 120
    assert len(codes) >= 3, codes


def test_unknown_opcodes():
    each = engine(PATHS[0], 1)
    pair = Pair(np.random.default_rng(1), [])
    before = pair.bank.copy()
    words = np.random.default_rng(2).integers(0, 2**32, 16, np.uint32)
    for opcode in range(256):
        words[0] = words[0] >> 8 << 8 | opcode
        code = each.step(words, pair.bank, LAYOUT)
        assert (code == ErrorCode.BAD_OPCODE) == (opcode > max(Opcode))
        if code:
            assert np.array_equal(pair.bank, before)
        pair.bank[:] = before


def test_slots_left_taken_twice_or_not_matching():
    rng = np.random.default_rng(6)
    seen = Counter()
    for _ in range(60):
        pair, down = CASES[Opcode.EXPERTS_DOWN](rng, [engine(PATHS[0], 2)])
        pair.step(down)
        end = Instruction(Opcode.END)
        seen[pair.step(end)] += 1
        seen[pair.step(down)] += 1  # its first slot is taken now
        norm = {
            "rows": down.rows, "cols_in": down.cols_out, "src": down.src, "dst": down.dst + 600,
            "src_stride": isa.lines(2 * down.cols_out), "dst_stride": 16,
            "slots": pair.slots().count, "slot_base": down.dst, "table": 8, "shift_a": 20,
            "eps_low": 1,
        }  # fmt: skip
        name = rng.choice(["rows", "cols_in", "slots", "slot_base", ""])
        if name:
            seen[pair.step(Instruction(Opcode.LAYERNORM, **{**norm, name: norm[name] + 1}))] += 1
        seen[pair.step(Instruction(Opcode.LAYERNORM, **norm))] += 1
    assert seen[ErrorCode.SLOTS] > 60


def test_sections_that_do_not_fit_the_bank():
    bank = aligned(np.zeros(64 * 100, np.uint8))
    each = engine(PATHS[0], 1)
    for layout in (
        BankLayout(0, 10, 39, 10), BankLayout(0, 10, 40, 61), BankLayout(2**60, 1, 2**61, 1),
        BankLayout(0, 2**62, 40, 60), BankLayout(0, 1, 40, 2**58),
    ):  # fmt: skip
        assert each.step(Instruction(Opcode.END), bank, layout) == ErrorCode.BANK_LAYOUT
    assert each.step(Instruction(Opcode.END), bank, BankLayout(0, 10, 40, 60)) == ErrorCode.OK
