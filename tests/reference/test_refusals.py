# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the machine refuses, with which code, and that nothing has changed then."""

import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.refusals import Capacity

CAPACITY = {
    "act_lines": 1000, "residual_elements": 5000, "weight_tile_beats": 100, "queue_entries": 64,
    "score_elements": 700, "strip_bytes": 1024,
}  # fmt: skip
FRAME, OUTPUT, BEATS = 3 * 32 * 48, 400, 2000
E, O = ErrorCode, Opcode  # noqa: E741


def ops(**operands):
    return operands


# One acceptable instruction of every opcode ...
GOOD = {
    O.LOAD_PATCHES: ops(height=32, width=32, patch=8, dst=10, dst_stride=3),
    O.LOAD_RESIDUAL: ops(rows=10, cols_out=20, table=100, dst=7, dst_stride=20),
    O.LAYERNORM: ops(
        rows=10, cols_in=70, src=5, src_stride=70, dst=9, dst_stride=2, table=50, shift_a=17,
        eps_low=1,
    ),
    O.LINEAR: ops(
        rows=10, cols_in=70, cols_out=90, src=0, src_stride=2, dst=20, dst_stride=2, weights=16,
        table=0, activation=Activation.GELU,
    ),
    O.ATTENTION: ops(
        rows=10, heads=4, head_dim=32, src=0, src_stride=6, k_offset=128, v_offset=256, dst=60,
        dst_stride=2, mult_a=1, shift_a=20, mult_b=1, shift_b=20,
    ),
    O.GATE: ops(rows=10, experts=8, top_k=2, src=3, src_stride=8),
    O.EXPERTS: ops(
        rows=10, experts=8, top_k=2, cols_in=64, hidden=100, cols_out=64, src=0, src_stride=1,
        dst=0, dst_stride=64, scratch=10, scratch_stride=2, weights=128, expert_beats=200, table=0,
    ),
    O.CONV3X3: ops(
        height=4, width=5, cols_in=64, cols_out=9, src=0, src_stride=1, dst=20, dst_stride=1,
        weights=0,
    ),
    O.UPSAMPLE2X: ops(height=4, width=5, cols_in=64, src=0, src_stride=1, dst=20, dst_stride=1),
    O.OUTPUT_CLASSES: ops(height=4, width=5, cols_in=13, src=0, src_stride=1, factor=4),
    O.OUTPUT_DEPTH: ops(height=4, width=5, src=0, src_stride=1, factor=2),
}  # fmt: skip

ACT = ops(store=Store.ACT16, activation=Activation.NONE)
RES = ops(store=Store.RESIDUAL, activation=Activation.NONE, dst_stride=90)
SCO = ops(store=Store.SCORES, activation=Activation.NONE, dst_stride=90, rows=2)

# ... and changes to it, each with what the document says about the result.
CASES = [
    # LOAD_PATCHES
    (O.LOAD_PATCHES, ops(height=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(width=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(patch=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(patch=33, height=33, width=33, dst_stride=52), E.SHAPE),
    (O.LOAD_PATCHES, ops(height=30), E.SHAPE),
    (O.LOAD_PATCHES, ops(width=33), E.SHAPE),
    (O.LOAD_PATCHES, ops(dst_stride=2), E.SHAPE),
    (O.LOAD_PATCHES, ops(height=2056), E.SHAPE),
    (O.LOAD_PATCHES, ops(width=48), E.SHAPE),  # 3 * 8 * 48 bytes of strip
    (O.LOAD_PATCHES, ops(width=40, height=32), E.OK),
    (O.LOAD_PATCHES, ops(height=48), E.OK),
    (O.LOAD_PATCHES, ops(height=56), E.FRAME_RANGE),
    (O.LOAD_PATCHES, ops(dst=1000 - 48), E.OK),
    (O.LOAD_PATCHES, ops(dst=1000 - 47), E.ACT_RANGE),
    (O.LOAD_PATCHES, ops(dst=2**32 - 1), E.ACT_RANGE),
    # LOAD_RESIDUAL
    (O.LOAD_RESIDUAL, ops(rows=0), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(cols_out=0), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(dst_stride=19), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(rows=65537, dst_stride=65535), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(cols_out=8193, dst_stride=8193), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(dst=4800), E.OK),
    (O.LOAD_RESIDUAL, ops(dst=4801), E.RESIDUAL_RANGE),
    (O.LOAD_RESIDUAL, ops(rows=65536, dst_stride=65535, dst=2**32 - 1), E.RESIDUAL_RANGE),
    (O.LOAD_RESIDUAL, ops(table=2000 - 25), E.OK),
    (O.LOAD_RESIDUAL, ops(table=2000 - 24), E.WEIGHTS_RANGE),
    (O.LOAD_RESIDUAL, ops(table=2**32 - 1), E.WEIGHTS_RANGE),
    # LAYERNORM
    (O.LAYERNORM, ops(rows=0), E.SHAPE),
    (O.LAYERNORM, ops(rows=65537), E.SHAPE),
    (O.LAYERNORM, ops(cols_in=0), E.SHAPE),
    (O.LAYERNORM, ops(cols_in=1025, dst_stride=17), E.SHAPE),
    (O.LAYERNORM, ops(dst_stride=1), E.SHAPE),
    (O.LAYERNORM, ops(shift_a=0), E.SHAPE),
    (O.LAYERNORM, ops(shift_a=31), E.OK),
    (O.LAYERNORM, ops(shift_a=32), E.SHAPE),
    (O.LAYERNORM, ops(eps_low=0), E.SHAPE),
    (O.LAYERNORM, ops(eps_low=0, eps_high=1), E.OK),
    (O.LAYERNORM, ops(eps_low=2**32 - 1, eps_high=2**31 - 1), E.OK),
    (O.LAYERNORM, ops(eps_low=0, eps_high=2**31), E.SHAPE),
    (O.LAYERNORM, ops(src=5000 - 700), E.OK),
    (O.LAYERNORM, ops(src=5000 - 699), E.RESIDUAL_RANGE),
    (O.LAYERNORM, ops(src_stride=0), E.OK),
    (O.LAYERNORM, ops(dst=980), E.OK),
    (O.LAYERNORM, ops(dst=981), E.ACT_RANGE),
    (O.LAYERNORM, ops(src=5000, dst=981), E.RESIDUAL_RANGE),
    (O.LAYERNORM, ops(table=2000 - 35), E.OK),
    (O.LAYERNORM, ops(table=2000 - 34), E.WEIGHTS_RANGE),
    # LINEAR: 9 lines of K would be 37 beats; rows of 70 channels are 9 beats, 23 rows a part
    (O.LINEAR, ops(rows=0), E.SHAPE),
    (O.LINEAR, ops(rows=65537), E.SHAPE),
    (O.LINEAR, ops(cols_in=0), E.SHAPE),
    (O.LINEAR, ops(cols_in=8193), E.SHAPE),
    (O.LINEAR, ops(cols_out=0), E.SHAPE),
    (O.LINEAR, ops(cols_out=8193, dst_stride=129), E.SHAPE),
    (O.LINEAR, ops(dst_stride=1), E.SHAPE),
    (O.LINEAR, ops(store=4, activation=0), E.SHAPE),
    (O.LINEAR, ops(activation=3), E.SHAPE),
    (O.LINEAR, ACT | ops(activation=Activation.RELU, dst_stride=3), E.SHAPE),
    (O.LINEAR, RES | ops(activation=Activation.RELU), E.SHAPE),
    (O.LINEAR, SCO | ops(activation=Activation.GELU), E.SHAPE),
    (O.LINEAR, ACT | ops(dst_stride=2), E.SHAPE),
    (O.LINEAR, ACT | ops(dst_stride=3), E.OK),
    (O.LINEAR, RES | ops(dst_stride=89), E.SHAPE),
    (O.LINEAR, SCO | ops(dst_stride=89), E.SHAPE),
    (O.LINEAR, ops(src=980, dst=0), E.OK),
    (O.LINEAR, ops(src=981, dst=0), E.ACT_RANGE),
    (O.LINEAR, ops(src=2**32 - 1), E.ACT_RANGE),
    (O.LINEAR, ops(src_stride=65535), E.ACT_RANGE),
    (O.LINEAR, ops(dst=980), E.OK),
    (O.LINEAR, ops(dst=981), E.ACT_RANGE),
    (O.LINEAR, ops(dst=19), E.ACT_RANGE),  # last source line
    (O.LINEAR, ops(dst=0), E.ACT_RANGE),
    (O.LINEAR, ops(src=20, dst=0), E.OK),
    (O.LINEAR, ops(src=19, dst=0), E.ACT_RANGE),
    (O.LINEAR, ops(src=0, src_stride=4, dst=2, dst_stride=4), E.ACT_RANGE),  # interleaved
    (O.LINEAR, RES | ops(dst=4100), E.OK),
    (O.LINEAR, RES | ops(dst=4101), E.RESIDUAL_RANGE),
    (O.LINEAR, RES | ops(dst=0), E.OK),  # another memory than the source
    (O.LINEAR, SCO | ops(dst=520), E.OK),
    (O.LINEAR, SCO | ops(dst=521), E.SCORES_RANGE),
    (O.LINEAR, ops(weights=2000 - 207), E.OK),
    (O.LINEAR, ops(weights=2000 - 206), E.WEIGHTS_RANGE),
    (O.LINEAR, ops(table=2000 - 16), E.OK),
    (O.LINEAR, ops(table=2000 - 15), E.WEIGHTS_RANGE),
    (O.LINEAR, ops(table=2000 - 15, activation=Activation.RELU), E.OK),
    (O.LINEAR, ops(cols_in=24 * 64, cols_out=4, src_stride=0, dst=30), E.OK),  # 97 beats
    (O.LINEAR, ops(cols_in=24 * 64 + 1, cols_out=4, src_stride=0, dst=30), E.WEIGHT_TILE),
    # ATTENTION
    (O.ATTENTION, ops(rows=0), E.SHAPE),
    (O.ATTENTION, ops(rows=2049), E.SHAPE),
    (O.ATTENTION, ops(heads=0), E.SHAPE),
    (O.ATTENTION, ops(heads=33, dst_stride=17), E.SHAPE),
    (O.ATTENTION, ops(head_dim=0), E.SHAPE),
    (O.ATTENTION, ops(head_dim=48), E.SHAPE),
    (O.ATTENTION, ops(head_dim=128), E.SHAPE),
    (O.ATTENTION, ops(k_offset=144), E.SHAPE),
    (O.ATTENTION, ops(v_offset=16), E.SHAPE),
    (O.ATTENTION, ops(shift_a=0), E.SHAPE),
    (O.ATTENTION, ops(shift_a=48), E.SHAPE),
    (O.ATTENTION, ops(shift_b=0), E.SHAPE),
    (O.ATTENTION, ops(shift_b=47), E.OK),
    (O.ATTENTION, ops(shift_b=48), E.SHAPE),
    (O.ATTENTION, ops(dst_stride=1), E.SHAPE),
    (O.ATTENTION, ops(src=940, dst=0), E.OK),
    (O.ATTENTION, ops(src=941, dst=0), E.ACT_RANGE),
    (O.ATTENTION, ops(src=940, dst=0, k_offset=288), E.ACT_RANGE),
    (O.ATTENTION, ops(dst=980), E.OK),
    (O.ATTENTION, ops(dst=981), E.ACT_RANGE),
    (O.ATTENTION, ops(dst=59), E.ACT_RANGE),
    # GATE
    (O.GATE, ops(rows=0), E.SHAPE),
    (O.GATE, ops(rows=2049), E.SHAPE),
    (O.GATE, ops(experts=0, top_k=0), E.SHAPE),
    (O.GATE, ops(experts=65), E.SHAPE),
    (O.GATE, ops(top_k=0), E.SHAPE),
    (O.GATE, ops(top_k=9), E.SHAPE),
    (O.GATE, ops(experts=2, top_k=3), E.SHAPE),
    (O.GATE, ops(gate_mode=2), E.SHAPE),
    (O.GATE, ops(src=620), E.OK),
    (O.GATE, ops(src=621), E.SCORES_RANGE),
    (O.GATE, ops(src=692, per_image=1), E.OK),
    (O.GATE, ops(src=693, per_image=1), E.SCORES_RANGE),
    (O.GATE, ops(rows=32), E.OK),
    (O.GATE, ops(rows=33), E.QUEUE),
    (O.GATE, ops(rows=33, per_image=1), E.QUEUE),
    (O.GATE, ops(rows=33, src=693), E.SCORES_RANGE),
    # EXPERTS: an expert is 25 * 5 + 16 * 9 = 269 beats
    (O.EXPERTS, ops(rows=0), E.SHAPE),
    (O.EXPERTS, ops(top_k=0), E.SHAPE),
    (O.EXPERTS, ops(top_k=9, experts=16), E.SHAPE),
    (O.EXPERTS, ops(experts=65), E.SHAPE),
    (O.EXPERTS, ops(hidden=0), E.SHAPE),
    (O.EXPERTS, ops(hidden=8193, scratch_stride=129), E.SHAPE),
    (O.EXPERTS, ops(cols_in=0), E.SHAPE),
    (O.EXPERTS, ops(cols_in=8193), E.SHAPE),
    (O.EXPERTS, ops(cols_out=0), E.SHAPE),
    (O.EXPERTS, ops(dst_stride=63), E.SHAPE),
    (O.EXPERTS, ops(scratch_stride=1), E.SHAPE),
    (O.EXPERTS, ops(src=990, scratch=100), E.OK),
    (O.EXPERTS, ops(src=991, scratch=100), E.ACT_RANGE),
    (O.EXPERTS, ops(dst=5000 - 640), E.OK),
    (O.EXPERTS, ops(dst=5000 - 639), E.RESIDUAL_RANGE),
    (O.EXPERTS, ops(scratch=980), E.OK),
    (O.EXPERTS, ops(scratch=981), E.ACT_RANGE),
    (O.EXPERTS, ops(scratch=9), E.ACT_RANGE),
    (O.EXPERTS, ops(dst=5000, scratch=9), E.RESIDUAL_RANGE),
    (O.EXPERTS, ops(weights=2000 - 1669), E.OK),
    (O.EXPERTS, ops(weights=2000 - 1668), E.WEIGHTS_RANGE),
    (O.EXPERTS, ops(expert_beats=2**32 - 1), E.WEIGHTS_RANGE),
    (O.EXPERTS, ops(table=2000 - 128), E.OK),
    (O.EXPERTS, ops(table=2000 - 127), E.WEIGHTS_RANGE),
    (
        O.EXPERTS,
        ops(hidden=25 * 64, scratch_stride=25, expert_beats=0, cols_out=4, weights=0, rows=9),
        E.WEIGHTS_RANGE,
    ),
    (
        O.EXPERTS,
        ops(cols_in=25 * 64, hidden=4, expert_beats=0, cols_out=4, src_stride=0, scratch=25),
        E.WEIGHT_TILE,
    ),
    (O.EXPERTS, ops(rows=9), E.QUEUE),
    (O.EXPERTS, ops(experts=7), E.QUEUE),
    (O.EXPERTS, ops(top_k=1), E.QUEUE),
    # CONV3X3: K = 576, a row is 37 beats, 3 rows a part
    (O.CONV3X3, ops(height=0), E.SHAPE),
    (O.CONV3X3, ops(width=0), E.SHAPE),
    (O.CONV3X3, ops(height=2049), E.SHAPE),
    (O.CONV3X3, ops(height=256, width=257), E.SHAPE),
    (O.CONV3X3, ops(cols_in=0), E.SHAPE),
    (O.CONV3X3, ops(cols_in=897), E.SHAPE),
    (O.CONV3X3, ops(cols_out=0), E.SHAPE),
    (O.CONV3X3, ops(cols_out=8193, dst_stride=129), E.SHAPE),
    (O.CONV3X3, ops(store=Store.RESIDUAL, dst_stride=9), E.SHAPE),
    (O.CONV3X3, ops(store=Store.ACT16, activation=Activation.RELU), E.SHAPE),
    (O.CONV3X3, ops(store=Store.ACT16), E.OK),
    (O.CONV3X3, ops(dst_stride=0), E.SHAPE),
    (O.CONV3X3, ops(src=980, dst=0), E.OK),
    (O.CONV3X3, ops(src=981, dst=0), E.ACT_RANGE),
    (O.CONV3X3, ops(dst=981), E.ACT_RANGE),
    (O.CONV3X3, ops(dst=19), E.ACT_RANGE),
    (O.CONV3X3, ops(weights=2000 - 111), E.OK),
    (O.CONV3X3, ops(weights=2000 - 110), E.WEIGHTS_RANGE),
    (O.CONV3X3, ops(cols_in=129, cols_out=4, src_stride=0, dst=3), E.WEIGHT_TILE),
    # UPSAMPLE2X
    (O.UPSAMPLE2X, ops(height=0), E.SHAPE),
    (O.UPSAMPLE2X, ops(width=1025, height=1), E.SHAPE),
    (O.UPSAMPLE2X, ops(width=128, height=129), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=0), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=8193, dst_stride=129), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=65), E.SHAPE),
    (O.UPSAMPLE2X, ops(src=980, dst=0), E.OK),
    (O.UPSAMPLE2X, ops(src=981, dst=0), E.ACT_RANGE),
    (O.UPSAMPLE2X, ops(dst=920), E.OK),
    (O.UPSAMPLE2X, ops(dst=921), E.ACT_RANGE),
    (O.UPSAMPLE2X, ops(dst=19), E.ACT_RANGE),
    # OUTPUT_CLASSES: 16 * 20 bytes
    (O.OUTPUT_CLASSES, ops(height=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(width=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(cols_in=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(cols_in=257, src_stride=5), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(factor=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(factor=3), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(height=513), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(src=980), E.OK),
    (O.OUTPUT_CLASSES, ops(src=981), E.ACT_RANGE),
    (O.OUTPUT_CLASSES, ops(src=980, cols_in=33, wide=1), E.ACT_RANGE),
    (O.OUTPUT_CLASSES, ops(height=5), E.OK),
    (O.OUTPUT_CLASSES, ops(height=6), E.OUTPUT_RANGE),
    (O.OUTPUT_CLASSES, ops(height=6, src=1000), E.ACT_RANGE),
    # OUTPUT_DEPTH: 2 * 4 * 20 bytes
    (O.OUTPUT_DEPTH, ops(factor=0), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(factor=8), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(width=1025, height=1), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(src=981), E.ACT_RANGE),
    (O.OUTPUT_DEPTH, ops(height=10), E.OK),
    (O.OUTPUT_DEPTH, ops(height=11), E.OUTPUT_RANGE),
    (O.OUTPUT_DEPTH, ops(factor=4), E.OUTPUT_RANGE),
]


def made_machine():
    made = spec_image.machine(**CAPACITY)
    rng = np.random.default_rng(0)
    made.load(b"", rng.integers(0, 256, (4, 16 * BEATS), dtype=np.uint8))
    made.frame = np.zeros(FRAME, np.uint8)
    made.output = np.zeros(OUTPUT, np.uint8)
    made.execute(Instruction(O.GATE, **GOOD[O.GATE]))
    return made


def snapshot(made):
    memories = (made.act, made.residual, made.scores, made.output, *made.queues.tokens)
    return b"".join(m.tobytes() for m in memories)


def outcome(made, opcode, operands):
    try:
        made.execute(Instruction(opcode, **operands), pc=77)
    except AcceleratorError as error:
        assert error.pc == 77
        return error.code
    return E.OK


@pytest.mark.parametrize("opcode", GOOD, ids=lambda o: o.name)
def test_the_good_instruction_is_accepted_and_does_something(opcode):
    made = made_machine()
    before = snapshot(made)
    if opcode == O.GATE:
        made.scores[3:83] = np.arange(80)
    assert outcome(made, opcode, GOOD[opcode]) == E.OK
    assert snapshot(made) != before


@pytest.mark.parametrize(
    ("opcode", "changes", "code"),
    CASES,
    ids=[f"{o.name}-{'-'.join(f'{k}={int(v)}' for k, v in c.items())}" for o, c, _ in CASES],
)
def test_refusal(opcode, changes, code):
    made = made_machine()
    before = snapshot(made)
    assert outcome(made, opcode, GOOD[opcode] | changes) == code
    if code != E.OK:
        assert snapshot(made) == before


def test_every_opcode_has_cases_of_every_kind_it_can_raise():
    raised = {opcode: {c for o, _, c in CASES if o == opcode} for opcode in GOOD}
    assert all(E.OK in codes and E.SHAPE in codes for codes in raised.values())
    assert {c for codes in raised.values() for c in codes} == {
        E.OK, E.SHAPE, E.FRAME_RANGE, E.ACT_RANGE, E.RESIDUAL_RANGE, E.SCORES_RANGE,
        E.OUTPUT_RANGE, E.WEIGHTS_RANGE, E.WEIGHT_TILE, E.QUEUE,
    }  # fmt: skip


def test_checks_come_in_the_documented_order():
    """Everything is wrong at first; repairing the reported fault reveals the next."""
    made = made_machine()
    faults = [
        ({"scratch_stride": 1}, {"scratch_stride": 25}, E.SHAPE),
        ({"src": 1000}, {"src": 0}, E.ACT_RANGE),
        ({"dst": 5000}, {"dst": 0}, E.RESIDUAL_RANGE),
        ({"scratch": 1000}, {"scratch": 8}, E.ACT_RANGE),
        ({}, {"scratch": 10}, E.ACT_RANGE),
        ({"weights": 2000}, {"weights": 0}, E.WEIGHTS_RANGE),
        ({"hidden": 1600}, {"hidden": 100}, E.WEIGHT_TILE),
        ({"rows": 9}, {"rows": 10}, E.QUEUE),
    ]
    operands = GOOD[O.EXPERTS] | {"expert_beats": 0, "cols_out": 1, "cols_in": 1}
    operands["dst_stride"] = 64
    for wrong, _, _ in faults:
        operands.update(wrong)
    # 1600 hidden rows of 5 beats in four parts and one output row of 101 need 2101 beats.
    made.load(b"", np.zeros((4, 16 * 2101), np.uint8))
    for _, repair, code in faults:
        assert outcome(made, O.EXPERTS, operands) == code
        operands.update(repair)
    assert outcome(made, O.EXPERTS, operands) == E.OK


def test_experts_without_a_gate_are_refused():
    made = spec_image.machine(**CAPACITY)
    made.load(b"", np.zeros((4, 16 * BEATS), np.uint8))
    assert outcome(made, O.EXPERTS, GOOD[O.EXPERTS]) == E.QUEUE


def test_error_says_what_and_where():
    made = made_machine()
    with pytest.raises(AcceleratorError, match=r"SHAPE at instruction 5: .*LAYERNORM.*'rows': 0"):
        made.execute(Instruction(O.LAYERNORM, **GOOD[O.LAYERNORM] | {"rows": 0}), pc=5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_accepted_stays_inside_the_memories(data):
    """A wrong acceptance would end in an IndexError or a ValueError of numpy."""
    opcode = data.draw(st.sampled_from(sorted(GOOD)))
    operands = dict(GOOD[opcode])
    for name in data.draw(st.lists(st.sampled_from(isa.OPERANDS[opcode]), min_size=1, max_size=3)):
        field = isa.FIELDS[name]
        top = (1 << field.bits) - 1
        if field.signed:
            operands[name] = data.draw(st.integers(-128, 127))
            continue
        near = st.integers(0, min(top, 2 * operands.get(name, 0) + 3))
        operands[name] = data.draw(near | st.integers(0, top) | st.just(top))
    made = made_machine()
    before = snapshot(made)
    if outcome(made, opcode, operands) != E.OK:
        assert snapshot(made) == before


def test_capacity_comes_from_a_board_a_mapping_or_nothing():
    board = get_board("pynq-z2")
    assert Capacity.of(board).act_lines == board.act_lines
    partial = Capacity.of({"act_lines": 5, "strip_bytes": 6, "name": "x"})
    assert (partial.act_lines, partial.strip_bytes) == (5, 6)
    assert partial.queue_entries == Capacity().queue_entries
    assert Capacity.of(None) == Capacity.of(Capacity()) == Capacity()
