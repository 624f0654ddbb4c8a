# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Refused instructions: the codes of the specification, and nothing is touched.

The accelerator's check is written from docs/numerics.md, the specification's from
`m3vit_pynq.abi`; random, hostile and edge instructions must get the same code from both.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from hls_pair import Pair, examples, fresh_pair, library_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BOARDS, LINE
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import FIELDS, OPERANDS, BankLayout, Instruction, Opcode
from m3vit_pynq.emulator.hostlib import Slots
from m3vit_pynq.reference.refusals import Buffers, Capacity, Pending, check

BOARD = "pynq-z2"
OPCODES = [op for op in Opcode if op != Opcode.END]

#: A bank whose sections the plausible values below hit, miss and straddle.
LAYOUT = BankLayout(weights_line=9, part_lines=400, workspace_line=1612, workspace_lines=2000)

#: Values that shapes and addresses often have.
PLAUSIBLE = {
    "rows": (1, 2, 9, 64, 65), "src": (1612, 1613, 2000), "dst": (2400, 2600, 3000, 1700),
    "src_stride": (0, 1, 2, 9), "dst_stride": (1, 2, 3, 40, 64), "cols_in": (1, 16, 60, 64, 65),
    "cols_out": (1, 4, 9, 64, 65), "weights": (9, 12, 390), "table": (9, 14, 405),
    "height": (1, 2, 8), "width": (1, 2, 8), "store": (0, 1, 2, 3), "activation": (0, 0, 1, 2),
    "mult_a": (0, 1, 40000), "shift_a": (1, 20, 47), "mult_b": (1, 40000), "shift_b": (1, 30, 47),
    "heads": (1, 2), "head_dim": (16, 32, 64), "k_offset": (0, 1, 2), "v_offset": (0, 2, 4),
    "experts": (1, 2, 8), "top_k": (1, 2), "slots": (0, 0, 0, 2), "slot_base": (3000, 3100),
    "first_slot": (0, 0, 1, 2), "records": (3400, 3410), "expert_lines": (0, 1, 20),
    "patch": (1, 2, 4, 8), "factor": (1, 2, 4), "eps_low": (1, 9999), "eps_high": (0, 5),
    "wide": (0, 1), "pad": (-128, 0, 7), "gate_mode": (0, 1), "per_image": (0, 1),
    "planar": (0, 0, 0, 1), "passes": (1, 2), "weight_bits": (8,), "expert_kind": (0,),
    "top_p": (0,),
}  # fmt: skip


def random_instruction(pick: random.Random, hostility: float) -> Instruction:
    """An instruction of plausible operands, a share of them hostile."""
    opcode = pick.choice(OPCODES)
    operands = {}
    for name in OPERANDS[opcode]:
        bits = FIELDS[name].bits
        low, high = (-128, 127) if FIELDS[name].signed else (0, (1 << bits) - 1)
        if pick.random() >= hostility:
            operands[name] = pick.choice(PLAUSIBLE[name])
        elif pick.random() < 0.4:
            operands[name] = pick.choice([low, 0, 1, high, high // 2, high // 2 + 1])
        else:
            operands[name] = pick.randint(low, min(high, pick.choice([3, 70, 5000, 70000, high])))
    return Instruction(opcode, **operands)


def both_codes(
    board: str,
    instruction: Instruction,
    layout: BankLayout,
    buffers: Buffers,
    pending: Pending | None,
) -> tuple[ErrorCode, ErrorCode]:
    """The accelerator's code and the specification's; nothing is executed."""
    slots = Slots() if pending is None else Slots(
        pending.slots, pending.base, pending.rows, pending.channels
    )  # fmt: skip
    code = library_of(board).check(
        instruction, layout, buffers.frame_bytes, buffers.result_bytes, slots
    )
    wanted = check(instruction, Capacity.of(BOARDS[board]), buffers, layout, pending)
    return ErrorCode(code), wanted


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("hostility", [0.0, 0.04, 0.15, 0.6])
def test_same_code(board, hostility):
    pick = random.Random(f"{board} {hostility}")
    seen = set()
    for _ in range(examples(2000)):
        pending = None
        if pick.random() < 0.4:
            pending = Pending(
                pick.choice([1, 2, 2, 15, 16]),
                pick.choice([3000, 3100, 2400]),
                pick.choice([1, 2, 9]),
                pick.choice([1, 16, 64]),
            )
        buffers = Buffers(pick.choice([0, 191, 192, 1 << 20]), pick.choice([0, 64, 128, 1 << 16]))
        layout = LAYOUT
        if pick.random() < 0.2:  # sections at the end of what 32 bits express
            layout = BankLayout(
                9,
                pick.choice([0, 5, (1 << 30) - 100]),
                pick.choice([0, 1612, (1 << 32) - 300]),
                pick.choice([0, 250, (1 << 32) - 1]),
            )
        instruction = random_instruction(pick, hostility)
        code, wanted = both_codes(board, instruction, layout, buffers, pending)
        assert code == wanted, (instruction, layout, buffers, pending)
        seen.add(wanted)
    assert len(seen) > 4


def one_of_each() -> dict[Opcode, Instruction]:
    """An accepted instruction per opcode for the bank of `prepared`."""
    w = 1612
    return {
        i.opcode: i
        for i in (
            Instruction(Opcode.LOAD_PATCHES, height=8, width=8, patch=4, dst=w, dst_stride=1),
            Instruction(
                Opcode.LOAD_RESIDUAL, rows=4, cols_out=8, table=9, dst=w + 5, dst_stride=1
            ),
            Instruction(
                Opcode.LAYERNORM, rows=4, cols_in=8, src=w, src_stride=1, dst=w + 4, dst_stride=1,
                table=9, shift_a=9, eps_low=1,
            ),
            Instruction(
                Opcode.LINEAR, rows=4, cols_in=8, cols_out=8, src=w, src_stride=1, dst=w + 10,
                dst_stride=1, weights=9, store=0, activation=2, table=9,
            ),
            Instruction(
                Opcode.ATTENTION, rows=4, heads=1, head_dim=16, src=w, src_stride=4, k_offset=1,
                v_offset=2, dst=w + 12, dst_stride=1, mult_a=9, shift_a=9, mult_b=9, shift_b=9,
            ),
            Instruction(
                Opcode.GATE, rows=4, experts=2, top_k=1, src=w, src_stride=1, dst=w + 20
            ),
            Instruction(
                Opcode.EXPERTS_UP, rows=4, experts=2, top_k=1, cols_in=8, cols_out=8, src=w,
                src_stride=1, dst=w + 30, weights=9, expert_lines=20, records=w + 20,
                activation=2, table=9,
            ),
            Instruction(
                Opcode.EXPERTS_DOWN, rows=4, experts=2, top_k=1, cols_in=8, cols_out=8, src=w,
                dst=w + 30, weights=9, expert_lines=20, records=w + 20, first_slot=0,
            ),
            Instruction(
                Opcode.CONV3X3, height=2, width=2, cols_in=8, cols_out=8, src=w, src_stride=1,
                dst=w + 10, dst_stride=1, weights=9, store=0, activation=0, table=9, pad=0,
            ),
            Instruction(
                Opcode.UPSAMPLE2X, height=2, width=2, cols_in=8, src=w, src_stride=1, dst=w + 10,
                dst_stride=1,
            ),
            Instruction(
                Opcode.OUTPUT_CLASSES, height=2, width=2, cols_in=8, src=w, src_stride=1, factor=2
            ),
            Instruction(Opcode.OUTPUT_DEPTH, height=2, width=2, src=w, src_stride=1, factor=2),
        )
    }  # fmt: skip


def prepared() -> Pair:
    pair = fresh_pair(BOARD, 1, part_lines=400, workspace_lines=2000)
    assert pair.line == LAYOUT.workspace_line
    noise = np.random.default_rng(1).integers(0, 256, 4 * 400 * LINE)
    pair.bank[9 * LINE : (9 + 1600) * LINE] = noise
    pair.equalise()
    pair.frame = np.zeros(8 * 8 * 3, dtype=np.uint8)
    pair.result_bytes = 64
    return pair


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_one_of_each_is_accepted(opcode):
    assert prepared().execute(one_of_each()[opcode]) == ErrorCode.OK


FIRST, LAST = LAYOUT.workspace_line, LAYOUT.workspace_line + LAYOUT.workspace_lines
MOST = (1 << 32) - 1

#: (opcode, what changes, code): the edges of the rules.
EDGES = [
    (Opcode.LOAD_PATCHES, {"patch": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"patch": 3}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"patch": 33, "width": 33, "height": 33}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"height": 12}, ErrorCode.FRAME_RANGE),
    (Opcode.LOAD_PATCHES, {"dst": LAST - 3}, ErrorCode.WRITE_RANGE),
    (Opcode.LOAD_PATCHES, {"dst": LAST - 4}, ErrorCode.OK),
    (Opcode.LOAD_PATCHES, {"dst": FIRST - 1}, ErrorCode.WRITE_RANGE),
    (Opcode.LOAD_PATCHES, {"dst_stride": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"height": 32, "width": 342, "patch": 1}, ErrorCode.FRAME_RANGE),
    (Opcode.LOAD_PATCHES, {"height": 18, "width": 612, "patch": 18, "dst_stride": 16},
     ErrorCode.SHAPE),
    (Opcode.LOAD_RESIDUAL, {"rows": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_RESIDUAL, {"dst": MOST}, ErrorCode.WRITE_RANGE),
    (Opcode.LOAD_RESIDUAL, {"table": MOST}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LOAD_RESIDUAL, {"table": 405}, ErrorCode.OK),
    (Opcode.LOAD_RESIDUAL, {"table": 406}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LOAD_RESIDUAL, {"table": 8}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LAYERNORM, {"eps_low": 0}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"eps_high": 1 << 31}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"shift_a": 32}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"cols_in": 1025}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"dst": FIRST + 3}, ErrorCode.OVERLAP),
    (Opcode.LAYERNORM, {"slots": 1, "slot_base": FIRST + 9}, ErrorCode.SLOTS),
    (Opcode.LAYERNORM, {"slots": 1, "slot_base": FIRST + 7}, ErrorCode.OVERLAP),
    (Opcode.LAYERNORM, {"slots": 17, "slot_base": FIRST + 9}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"slots": 1, "src_stride": 0, "slot_base": FIRST + 9}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"store": 4}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"store": 1}, ErrorCode.SHAPE),  # with an activation
    (Opcode.LINEAR, {"dst": FIRST + 3}, ErrorCode.OVERLAP),
    (Opcode.LINEAR, {"dst": FIRST + 4}, ErrorCode.OK),
    (Opcode.LINEAR, {"planar": 1}, ErrorCode.SHAPE),  # planes of one line
    (Opcode.LINEAR, {"planar": 1, "dst_stride": 4}, ErrorCode.OK),
    (Opcode.LINEAR, {"cols_in": 4097, "src_stride": 0}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"cols_in": 1537, "src_stride": 0, "dst": FIRST + 99}, ErrorCode.CAPACITY),
    (Opcode.LINEAR, {"cols_in": 1536, "src_stride": 0, "dst": FIRST + 99}, ErrorCode.OK),
    (Opcode.LINEAR, {"weights": 407}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LINEAR, {"weights": 406}, ErrorCode.OK),
    (Opcode.LINEAR, {"table": 406}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LINEAR, {"rows": 65537}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"src": MOST, "src_stride": 65535}, ErrorCode.READ_RANGE),
    (Opcode.LINEAR, {"weight_bits": 4}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"head_dim": 48}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"passes": 0}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"passes": 3}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"shift_b": 48}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"heads": 33}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"rows": 2049}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"rows": 769, "src_stride": 0, "dst": FIRST + 800}, ErrorCode.CAPACITY),
    (Opcode.ATTENTION, {"v_offset": 3}, ErrorCode.OVERLAP),
    (Opcode.ATTENTION, {"v_offset": 65535}, ErrorCode.READ_RANGE),
    (Opcode.GATE, {"top_k": 3}, ErrorCode.SHAPE),
    (Opcode.GATE, {"top_k": 0}, ErrorCode.SHAPE),
    (Opcode.GATE, {"experts": 65, "top_k": 2}, ErrorCode.SHAPE),
    (Opcode.GATE, {"top_p": 1}, ErrorCode.SHAPE),
    (Opcode.GATE, {"gate_mode": 2}, ErrorCode.SHAPE),
    (Opcode.GATE, {"rows": 769, "src_stride": 0}, ErrorCode.CAPACITY),
    (Opcode.GATE, {"dst": FIRST + 3}, ErrorCode.OVERLAP),
    (Opcode.GATE, {"dst": FIRST + 3, "per_image": 1}, ErrorCode.OK),
    (Opcode.EXPERTS_UP, {"expert_kind": 1}, ErrorCode.SHAPE),
    (Opcode.EXPERTS_UP, {"records": FIRST + 27}, ErrorCode.OVERLAP),
    (Opcode.EXPERTS_UP, {"expert_lines": MOST}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.EXPERTS_UP, {"expert_lines": 397}, ErrorCode.OK),
    (Opcode.EXPERTS_UP, {"expert_lines": 398}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.EXPERTS_UP, {"table": 402}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.EXPERTS_DOWN, {"first_slot": 16}, ErrorCode.SHAPE),
    (Opcode.EXPERTS_DOWN, {"first_slot": 1}, ErrorCode.SLOTS),
    (Opcode.EXPERTS_DOWN, {"dst": LAST - 3}, ErrorCode.WRITE_RANGE),
    (Opcode.CONV3X3, {"store": 2}, ErrorCode.SHAPE),
    (Opcode.CONV3X3, {"cols_in": 449}, ErrorCode.SHAPE),
    (Opcode.CONV3X3, {"cols_in": 129, "dst": FIRST + 99}, ErrorCode.CAPACITY),
    (Opcode.CONV3X3, {"height": 2049}, ErrorCode.SHAPE),
    (Opcode.CONV3X3, {"width": 97, "src_stride": 0, "dst": FIRST + 99}, ErrorCode.CAPACITY),
    (Opcode.UPSAMPLE2X, {"height": 1025, "width": 1}, ErrorCode.SHAPE),
    (Opcode.UPSAMPLE2X, {"dst": FIRST + 3}, ErrorCode.OVERLAP),
    (Opcode.UPSAMPLE2X, {"width": 97, "src_stride": 0, "dst": FIRST + 99}, ErrorCode.CAPACITY),
    (Opcode.OUTPUT_CLASSES, {"factor": 3}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_CLASSES, {"factor": 4}, ErrorCode.OK),
    (Opcode.OUTPUT_CLASSES, {"factor": 4, "height": 3}, ErrorCode.RESULT_RANGE),
    (Opcode.OUTPUT_CLASSES, {"cols_in": 257}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_DEPTH, {"factor": 0}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_DEPTH, {"factor": 4}, ErrorCode.RESULT_RANGE),
    (Opcode.OUTPUT_DEPTH, {"src": LAST}, ErrorCode.READ_RANGE),
]  # fmt: skip


@pytest.mark.parametrize(
    "opcode, changes, code", EDGES, ids=[f"{o.name}-{'-'.join(c)}-{e.name}" for o, c, e in EDGES]
)
def test_edges(opcode, changes, code):
    changed = Instruction(opcode, **{**one_of_each()[opcode].operands, **changes})
    assert prepared().execute(changed) == code


@pytest.mark.parametrize("hostility", [0.0, 0.05, 0.3])
@settings(
    max_examples=examples(30), deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(seed=st.integers(0, 2**32 - 1))
def test_same_code_or_same_result(hostility, seed):
    """On damaged weight images, six instructions in a row: the slots go on between them."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    pair = prepared()
    pair.bank[9 * LINE : 1609 * LINE] = rng.integers(0, 256, 1600 * LINE)
    pair.equalise()
    pair.frame = rng.integers(0, 256, pick.choice([0, 192, 600])).astype(np.uint8)
    pair.result_bytes = 64 * pick.choice([0, 1, 4, 40])
    for _ in range(6):
        pair.execute(random_instruction(pick, hostility))


def test_unknown_opcodes():
    pair = prepared()
    before = pair.bank.copy()
    for opcode in range(max(Opcode) + 1, 256):
        words = bytes([opcode]) + bytes(isa.INSTRUCTION_BYTES - 1)
        assert pair.step(words)[0] == ErrorCode.BAD_OPCODE
    np.testing.assert_array_equal(pair.bank, before)


def _with_noise(instruction: Instruction) -> bytes:
    """The instruction with all bits outside its operands random."""
    words = np.frombuffer(instruction.encode(), dtype="<u4").astype(np.uint64)
    used = np.zeros(isa.INSTRUCTION_WORDS, dtype=np.uint64)
    for name in ("opcode", *OPERANDS[instruction.opcode]):
        field = FIELDS[name]
        used[field.word] |= np.uint64(((1 << field.bits) - 1) << field.shift)
    noise = np.random.default_rng(2).integers(0, 1 << 32, used.size, dtype=np.uint64)
    return (words | (noise & ~used & np.uint64(0xFFFFFFFF))).astype("<u4").tobytes()


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda o: o.name)
def test_bits_outside_the_operands_are_ignored(opcode):
    pair = prepared()
    instruction = one_of_each()[opcode]
    pair.machine.frame = pair.frame
    pair.machine.result = np.full(64, 0x5A, dtype=np.uint8)
    pair.machine.execute(instruction)
    code, result = pair.step(_with_noise(instruction))
    assert code == ErrorCode.OK
    pair.compare(instruction, result)
