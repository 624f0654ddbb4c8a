# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Refused instructions: the codes of the specification, and nothing is touched.

`hls_pair.Pair.execute` compares code and all memories; what is random here are
instructions, including hostile ones, and damaged weight images.
"""

from __future__ import annotations

import numpy as np
import pytest
from hls_pair import examples, fresh_pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import FIELDS, OPERANDS, Instruction, Opcode

BOARD = "pynq-z2"

#: Values that shapes and addresses often have.
PLAUSIBLE = {
    "rows": (1, 2, 9, 64, 65), "src": (0, 1, 300), "dst": (0, 700, 1500), "src_stride": (1, 2, 64),
    "dst_stride": (1, 2, 3, 40, 64), "cols_in": (1, 16, 60, 64, 65), "cols_out": (1, 4, 9, 64, 65),
    "weights": (0, 3), "table": (0, 5), "height": (1, 2, 8), "width": (1, 2, 8),
    "store": (0, 1, 2, 3), "activation": (0, 1, 2), "mult_a": (0, 1, 40000), "shift_a": (1, 20, 47),
    "mult_b": (1, 40000), "shift_b": (1, 30, 47), "heads": (1, 2), "head_dim": (16, 32, 64),
    "k_offset": (0, 64, 128), "v_offset": (0, 64, 192), "experts": (1, 2, 8), "top_k": (1, 2),
    "hidden": (1, 8, 65), "scratch_stride": (1, 2), "scratch": (900,), "expert_beats": (0, 1, 20),
    "patch": (1, 2, 4, 8), "factor": (1, 2, 4), "eps_low": (1, 9999), "eps_high": (0, 5),
    "wide": (0, 1), "pad": (-128, 0, 7), "gate_mode": (0, 1), "per_image": (0, 1),
}  # fmt: skip


@st.composite
def instructions(draw, hostility: float):
    opcode = draw(st.sampled_from([op for op in Opcode if op != Opcode.END]))
    operands = {}
    for name in OPERANDS[opcode]:
        bits = FIELDS[name].bits
        low, high = (-128, 127) if FIELDS[name].signed else (0, (1 << bits) - 1)
        hostile = st.one_of(
            st.sampled_from([low, 0, 1, high, high // 2]),
            st.integers(low, min(high, 70000)),
            st.integers(low, high),
        )
        pick = draw(st.floats(0, 1)) < hostility
        operands[name] = draw(hostile if pick else st.sampled_from(PLAUSIBLE[name]))
    return Instruction(opcode, **operands)


@pytest.mark.parametrize("hostility", [0.0, 0.1, 0.6])
@settings(
    max_examples=examples(120), deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_same_code_or_same_result(hostility, data, seed):
    rng = np.random.default_rng(seed)
    pair = fresh_pair(BOARD, seed)
    pair.weights = rng.integers(0, 256, (4, 16 * int(rng.integers(0, 3000)))).astype(np.uint8)
    pair.frame = rng.integers(0, 256, int(rng.integers(0, 600))).astype(np.uint8)
    pair.output = np.zeros(int(rng.integers(0, 700)), dtype=np.uint8)
    for instruction in data.draw(st.lists(instructions(hostility), min_size=1, max_size=6)):
        pair.execute(instruction)


def one_of_each() -> dict[Opcode, Instruction]:
    """An accepted instruction per opcode for the buffers of `prepared`."""
    return {
        i.opcode: i
        for i in (
            Instruction(Opcode.LOAD_PATCHES, height=8, width=8, patch=4, dst=0, dst_stride=1),
            Instruction(Opcode.LOAD_RESIDUAL, rows=4, cols_out=8, table=0, dst=0, dst_stride=8),
            Instruction(
                Opcode.LAYERNORM, rows=4, cols_in=8, src=0, src_stride=8, dst=0, dst_stride=1,
                table=0, shift_a=9, eps_low=1,
            ),
            Instruction(
                Opcode.LINEAR, rows=4, cols_in=8, cols_out=8, src=0, src_stride=1, dst=10,
                dst_stride=1, weights=0, store=0, activation=2, table=0,
            ),
            Instruction(
                Opcode.ATTENTION, rows=4, heads=1, head_dim=16, src=0, src_stride=1, k_offset=16,
                v_offset=32, dst=10, dst_stride=1, mult_a=9, shift_a=9, mult_b=9, shift_b=9,
            ),
            Instruction(Opcode.GATE, rows=4, experts=2, top_k=1, src=0, src_stride=2),
            Instruction(
                Opcode.EXPERTS, rows=4, experts=2, top_k=1, cols_in=8, cols_out=8, hidden=8, src=0,
                src_stride=1, dst=0, dst_stride=8, scratch=10, scratch_stride=1, weights=0,
                expert_beats=20, table=0,
            ),
            Instruction(
                Opcode.CONV3X3, height=2, width=2, cols_in=8, cols_out=8, src=0, src_stride=1,
                dst=10, dst_stride=1, weights=0, store=0, activation=0, table=0, pad=0,
            ),
            Instruction(
                Opcode.UPSAMPLE2X, height=2, width=2, cols_in=8, src=0, src_stride=1, dst=10,
                dst_stride=1,
            ),
            Instruction(
                Opcode.OUTPUT_CLASSES, height=2, width=2, cols_in=8, src=0, src_stride=1, factor=2
            ),
            Instruction(Opcode.OUTPUT_DEPTH, height=2, width=2, src=0, src_stride=1, factor=2),
        )
    }  # fmt: skip


def prepared():
    pair = fresh_pair(BOARD, 1)
    pair.weights = np.random.default_rng(1).integers(0, 256, (4, 16 * 400)).astype(np.uint8)
    pair.frame = np.zeros(8 * 8 * 3, dtype=np.uint8)
    pair.output = np.zeros(32, dtype=np.uint8)
    assert pair.execute(one_of_each()[Opcode.GATE]) == ErrorCode.OK
    return pair


@pytest.mark.parametrize("opcode", [op for op in Opcode if op != Opcode.END], ids=lambda o: o.name)
def test_one_of_each_is_accepted(opcode):
    assert prepared().execute(one_of_each()[opcode]) == ErrorCode.OK


#: (opcode, what changes, code): the edges of every rule.
EDGES = [
    (Opcode.LOAD_PATCHES, {"patch": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"patch": 3}, ErrorCode.SHAPE),
    (Opcode.LOAD_PATCHES, {"height": 12}, ErrorCode.FRAME_RANGE),
    (Opcode.LOAD_PATCHES, {"dst": BOARDS[BOARD].act_lines - 3}, ErrorCode.ACT_RANGE),
    (Opcode.LOAD_PATCHES, {"dst_stride": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_RESIDUAL, {"rows": 0}, ErrorCode.SHAPE),
    (Opcode.LOAD_RESIDUAL, {"dst": (1 << 32) - 1}, ErrorCode.RESIDUAL_RANGE),
    (Opcode.LOAD_RESIDUAL, {"table": (1 << 32) - 1}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LAYERNORM, {"eps_low": 0}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"eps_high": 1 << 31}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"shift_a": 32}, ErrorCode.SHAPE),
    (Opcode.LAYERNORM, {"cols_in": 1025}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"store": 4}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"store": 1}, ErrorCode.SHAPE),  # with an activation
    (Opcode.LINEAR, {"dst": 3}, ErrorCode.ACT_RANGE),  # onto its source
    (Opcode.LINEAR, {"dst": 4}, ErrorCode.OK),
    (Opcode.LINEAR, {"cols_in": 8193}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"cols_in": 6200, "dst": 3000, "src_stride": 0}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LINEAR, {"weights": 391}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LINEAR, {"weights": 390}, ErrorCode.OK),
    (Opcode.LINEAR, {"table": 385}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.LINEAR, {"rows": 65537}, ErrorCode.SHAPE),
    (Opcode.LINEAR, {"src": (1 << 32) - 1, "src_stride": 65535}, ErrorCode.ACT_RANGE),
    (Opcode.LINEAR, {"cols_in": 6140, "cols_out": 1, "dst": 3000}, ErrorCode.WEIGHT_TILE),
    (Opcode.ATTENTION, {"head_dim": 48}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"k_offset": 8}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"shift_b": 48}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"heads": 33}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"rows": 2049}, ErrorCode.SHAPE),
    (Opcode.ATTENTION, {"v_offset": 65520}, ErrorCode.ACT_RANGE),  # onto its destination
    (Opcode.GATE, {"top_k": 3}, ErrorCode.SHAPE),
    (Opcode.GATE, {"experts": 65, "src_stride": 65}, ErrorCode.SHAPE),
    (Opcode.GATE, {"rows": 2048, "src_stride": 2}, ErrorCode.QUEUE),
    (Opcode.GATE, {"rows": 2048, "src_stride": 3}, ErrorCode.SCORES_RANGE),
    (Opcode.GATE, {"gate_mode": 2}, ErrorCode.SHAPE),
    (Opcode.EXPERTS, {"rows": 3}, ErrorCode.QUEUE),
    (Opcode.EXPERTS, {"top_k": 2}, ErrorCode.QUEUE),
    (Opcode.EXPERTS, {"scratch": 0}, ErrorCode.ACT_RANGE),
    (Opcode.EXPERTS, {"scratch_stride": 0}, ErrorCode.SHAPE),
    (Opcode.EXPERTS, {"expert_beats": (1 << 32) - 1}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.CONV3X3, {"store": 2}, ErrorCode.SHAPE),
    (Opcode.CONV3X3, {"cols_in": 1000}, ErrorCode.SHAPE),
    (Opcode.CONV3X3, {"cols_in": 640, "dst": 3000}, ErrorCode.WEIGHTS_RANGE),
    (Opcode.CONV3X3, {"height": 2049}, ErrorCode.SHAPE),
    (Opcode.UPSAMPLE2X, {"height": 1025, "width": 1}, ErrorCode.SHAPE),
    (Opcode.UPSAMPLE2X, {"dst": 3}, ErrorCode.ACT_RANGE),
    (Opcode.OUTPUT_CLASSES, {"factor": 3}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_CLASSES, {"factor": 4}, ErrorCode.OUTPUT_RANGE),
    (Opcode.OUTPUT_CLASSES, {"cols_in": 257}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_DEPTH, {"factor": 0}, ErrorCode.SHAPE),
    (Opcode.OUTPUT_DEPTH, {"height": 3}, ErrorCode.OUTPUT_RANGE),
    (Opcode.OUTPUT_DEPTH, {"src": BOARDS[BOARD].act_lines}, ErrorCode.ACT_RANGE),
]


@pytest.mark.parametrize(
    "opcode, changes, code", EDGES, ids=[f"{o.name}-{'-'.join(c)}-{e.name}" for o, c, e in EDGES]
)
def test_edges(opcode, changes, code):
    changed = Instruction(opcode, **{**one_of_each()[opcode].operands, **changes})
    assert prepared().execute(changed) == code


def test_experts_without_a_gate():
    pair = fresh_pair(BOARD, 1)
    pair.weights = np.zeros((4, 16 * 400), dtype=np.uint8)
    assert pair.execute(one_of_each()[Opcode.EXPERTS]) == ErrorCode.QUEUE


def test_unknown_opcodes():
    pair = prepared()
    for opcode in range(max(Opcode) + 1, 256):
        words = bytes([opcode]) + bytes(isa.INSTRUCTION_BYTES - 1)
        assert pair.library.step(words, pair.weights) == ErrorCode.BAD_OPCODE


def test_bits_outside_the_operands_are_ignored():
    pair = prepared()
    for instruction in one_of_each().values():
        words = np.frombuffer(instruction.encode(), dtype="<u4").copy()
        used = np.zeros(isa.INSTRUCTION_WORDS, dtype=np.uint64)
        for name in ("opcode", *OPERANDS[instruction.opcode]):
            field = FIELDS[name]
            used[field.word] |= np.uint64(((1 << field.bits) - 1) << field.shift)
        noise = np.random.default_rng(2).integers(0, 1 << 32, used.size, dtype=np.uint64)
        words |= (noise & ~used & np.uint64(0xFFFFFFFF)).astype("<u4")
        pair.machine.weights = pair.machine.weights.__class__(pair.weights)
        pair.machine.frame = pair.frame
        pair.machine.output = np.zeros(pair.output.nbytes, dtype=np.uint8)
        pair.machine.execute(instruction)
        output = np.zeros_like(pair.output)
        assert pair.library.step(words.tobytes(), pair.weights, pair.frame, output) == ErrorCode.OK
        np.testing.assert_array_equal(output, pair.machine.output)
        pair.compare(instruction)
