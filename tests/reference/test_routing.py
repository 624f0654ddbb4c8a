# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""GATE and EXPERTS against unbounded integers, and gate weights against float."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, GateMode, Instruction, Opcode
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.routing import expert_update

COLS, HIDDEN, OUTPUTS = 20, 70, 30
SCORES, RECORDS, SOURCE, HIDDEN_ROWS, SLOTS = 0, 300, 400, 500, 1000


def gate(made, logits, top_k, mode=GateMode.SOFTMAX_ALL, per_image=0, rows=None, stride=None):
    """Write logits and execute GATE."""
    experts = logits.shape[1]
    stride = stride or -(-experts // 16)
    if stride * (len(logits) - 1):
        spec_image.put(made, SCORES, stride, logits, "<i4")
    else:
        spec_image.put(made, SCORES, 1, logits[:1], "<i4")
    made.execute(
        Instruction(
            Opcode.GATE, rows=rows or len(logits), experts=experts, top_k=top_k, gate_mode=mode,
            per_image=per_image, src=spec_image.at(SCORES), src_stride=stride,
            dst=spec_image.at(RECORDS),
        )
    )  # fmt: skip


def records(made, rows, top_k):
    """Entries of every record: lists of (expert, gate), best first."""
    space = spec_image.workspace_of(made)[RECORDS : RECORDS + rows]
    words = np.ascontiguousarray(space).view("<u2").reshape(rows, 8, 4)
    assert not words[:, :, 2:].any() and not words[:, top_k:].any()
    return [[(int(e), int(g)) for e, g in row[:top_k, :2]] for row in words]


def expected_records(logits, top_k, mode):
    return [spec.route(row, top_k, mode == GateMode.SOFTMAX_SELECTED) for row in logits]


LOGITS = {
    "typical": lambda rng, shape: rng.integers(-(10 << 16), 10 << 16, shape),
    "close": lambda rng, shape: rng.integers(-300, 300, shape),
    "ties": lambda rng, shape: rng.integers(0, 2, shape) << 16,
    "equal": lambda rng, shape: np.full(shape, -5),
    "extreme": lambda rng, shape: rng.choice([-(2**31), 0, 2**31 - 1], shape),
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(LOGITS)),
    rows=st.integers(1, 30),
    experts=st.sampled_from([1, 2, 7, 16, 64]),
    top_k=st.integers(1, 8),
    mode=st.sampled_from(GateMode),
    seed=st.integers(0, 2**32 - 1),
)
def test_gate(kind, rows, experts, top_k, mode, seed):
    logits = LOGITS[kind](np.random.default_rng(seed), (rows, experts))
    made = spec_image.machine()
    top_k = min(top_k, experts)
    gate(made, logits, top_k, mode, stride=-(-experts // 16) + seed % 3)
    assert records(made, rows, top_k) == expected_records(logits.tolist(), top_k, mode)


def test_ties_go_to_the_lower_index():
    made = spec_image.machine()
    gate(made, np.array([[3, 9, 9, 9, 1]]), 2)
    assert [e for e, _ in records(made, 1, 2)[0]] == [1, 2]


def test_one_decision_for_the_whole_image():
    rng = np.random.default_rng(1)
    logits = LOGITS["typical"](rng, (5, 8))
    made = spec_image.machine()
    gate(made, logits, 3, per_image=1)
    expected = expected_records([logits[0].tolist()] * 5, 3, GateMode.SOFTMAX_ALL)
    assert records(made, 5, 3) == expected


def test_a_single_expert_takes_all():
    made = spec_image.machine()
    gate(made, np.array([[12345], [-7]]), 1)
    assert records(made, 2, 1) == [[(0, 65535)], [(0, 65535)]]


@settings(max_examples=40, deadline=None)
@given(
    experts=st.integers(1, 32),
    spread=st.floats(0.01, 12),
    mode=st.sampled_from(GateMode),
    seed=st.integers(0, 2**32 - 1),
)
def test_gate_weights_are_close_to_softmax(experts, spread, mode, seed):
    """Half of 1/256 octave in numerator and denominator (0.14 % each), and per expert one
    unit of 2**-16 from the table and its shift."""
    rng = np.random.default_rng(seed)
    natural = rng.normal(0, spread, (20, experts))
    logits = np.round(natural / np.log(2) * 65536).astype(np.int64)
    top_k = min(3, experts)
    made = spec_image.machine()
    gate(made, logits, top_k, mode)
    powers = np.exp2((logits - logits.max(axis=1, keepdims=True)) / 65536)
    for token, entries in enumerate(records(made, 20, top_k)):
        best = np.argsort(-logits[token], kind="stable")[:top_k]
        among = slice(None) if mode == GateMode.SOFTMAX_ALL else best
        for expert, weight in entries:
            exact = powers[token, expert] / powers[token, among].sum()
            bound = 2 * (2 ** (1 / 512) - 1) * exact + (experts + 2) / 65536
            assert abs(weight / 65536 - exact) <= bound


def expert_image(rng, experts, extreme=False, shift=17):
    """Image and Python layers of some experts, not packed tightly."""
    image = spec_image.Image()
    gelu = rng.integers(-128, 128, (experts, 256)).astype(np.int8)
    table = image.table(gelu.tobytes())
    pairs, first_at, second_at = [], [], []
    for _ in range(experts):
        first = spec_image.random_layer(rng, HIDDEN, COLS, extreme)
        second = spec_image.random_layer(rng, OUTPUTS, HIDDEN, extreme)
        if not extreme:
            second = [(w, b, m, shift) for w, b, m, _ in second]
        first_at.append(image.layer(first))
        second_at.append(image.layer(second))
        image.table(bytes(16))
        pairs.append((first, [(w, b, m, s % 64) for w, b, m, s in second]))
    step = first_at[1] - first_at[0] if experts > 1 else 0
    return image, pairs, gelu.tolist(), (first_at[0], second_at[0], step, table)


def up(where, rows, experts, top_k, **changes):
    first, _, step, table = where
    operands = {
        "rows": rows, "experts": experts, "top_k": top_k, "cols_in": COLS, "cols_out": HIDDEN,
        "src": spec_image.at(SOURCE), "src_stride": 2, "dst": spec_image.at(HIDDEN_ROWS),
        "weights": first, "expert_lines": step, "activation": Activation.GELU, "table": table,
        "records": spec_image.at(RECORDS),
    }  # fmt: skip
    return Instruction(Opcode.EXPERTS_UP, **{**operands, **changes})


def down(where, rows, experts, top_k, **changes):
    _, second, step, _ = where
    operands = {
        "rows": rows, "experts": experts, "top_k": top_k, "cols_in": HIDDEN, "cols_out": OUTPUTS,
        "src": spec_image.at(HIDDEN_ROWS), "dst": spec_image.at(SLOTS), "weights": second,
        "expert_lines": step, "records": spec_image.at(RECORDS),
    }  # fmt: skip
    return Instruction(Opcode.EXPERTS_DOWN, **{**operands, **changes})


def check_experts(made, where, pairs, gelu, entries, top_k):
    """Run both instructions on records `entries` and compare all that they write."""
    rows, experts = len(entries), len(pairs)
    rng = np.random.default_rng(rows)
    x = rng.integers(-128, 128, (rows, COLS)).tolist()
    spec_image.put(made, SOURCE, 2, x)
    before = spec_image.workspace_of(made).copy()
    made.execute(up(where, rows, experts, top_k))
    made.execute(down(where, rows, experts, top_k))
    position, written = 0, set()
    for expert in range(experts):
        for token, entry in enumerate(entries):
            match = [i for i, (e, _) in enumerate(entry) if e == expert]
            if not match:
                continue
            i = match[0]
            slot = sum(e < expert for e, _ in entry) + sum(e == expert for e, _ in entry[:i])
            hidden, update = spec.expert(x[token], entry[i][1], *pairs[expert], gelu[expert])
            got = spec_image.get(made, HIDDEN_ROWS + 2 * position, 2, 1, HIDDEN)
            assert got == [hidden]
            line = SLOTS + slot * rows + token
            assert spec_image.get(made, line, 1, 1, OUTPUTS, "<i2") == [update]
            written.add((line, line + 1))
            position += 1
    hidden_range = (HIDDEN_ROWS, HIDDEN_ROWS + 2 * position)
    assert spec_image.untouched(made, before, hidden_range, *written)


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(sorted(LOGITS)),
    rows=st.integers(1, 8),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_experts(kind, rows, extreme, seed):
    rng = np.random.default_rng(seed)
    image, pairs, gelu, where = expert_image(rng, 4, extreme)
    made = spec_image.machine(image, seed)
    gate(made, LOGITS[kind](rng, (rows, 4)), 2)
    check_experts(made, where, pairs, gelu, records(made, rows, 2), 2)


@settings(max_examples=12, deadline=None)
@given(
    entries=st.lists(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 2, 3, 4, 255, 256, 65535]), st.integers(0, 65535)),
            min_size=3, max_size=3,
        ),
        min_size=1, max_size=6,
    ),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_records_are_data(entries, seed):
    """Experts out of range and named twice, as a damaged memory may hold them."""
    rng = np.random.default_rng(seed)
    image, pairs, gelu, where = expert_image(rng, 4)
    made = spec_image.machine(image, seed)
    lines = rng.integers(0, 65536, (len(entries), 32))
    for row, entry in zip(lines, entries, strict=True):
        for i, (expert, weight) in enumerate(entry):
            row[4 * i : 4 * i + 2] = expert, weight
    spec_image.put(made, RECORDS, 1, lines, "<u2")
    check_experts(made, where, pairs, gelu, entries, 3)


@pytest.mark.parametrize("favourite", [0, 3])
def test_all_tokens_to_one_expert_and_none_to_the_others(favourite):
    rng = np.random.default_rng(2)
    image, pairs, gelu, where = expert_image(rng, 4)
    made = spec_image.machine(image)
    logits = np.zeros((6, 4), int)
    logits[:, favourite] = 40 << 16
    gate(made, logits, 1)
    check_experts(made, where, pairs, gelu, records(made, 6, 1), 1)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_products_are_saturated_before_a_small_gate(gates, seed):
    rng = np.random.default_rng(seed)
    layer = spec_image.random_layer(rng, 6, 5, extreme=True)
    hidden = rng.choice([-128, 127], (len(gates), 5)).astype(np.int8)
    rows = WeightRows(
        np.array([w for w, *_ in layer], np.int8), *np.array([r[1:] for r in layer]).T
    )
    got = expert_update(hidden, np.array(gates), rows)
    for token, gate_weight in enumerate(gates):
        assert got[token].tolist() == spec.gated(hidden[token].tolist(), gate_weight, layer)


@pytest.mark.parametrize("shift", [0, 3, 7, 8, 9, 71])
def test_small_second_shifts_are_taken_modulo_64(shift):
    rng = np.random.default_rng(8)
    image, pairs, gelu, where = expert_image(rng, 1, shift=shift)
    made = spec_image.machine(image)
    gate(made, np.array([[5]]), 1)
    check_experts(made, where, pairs, gelu, records(made, 1, 1), 1)


def test_slots_are_written_in_order_and_added_once():
    rng = np.random.default_rng(9)
    image, _, _, where = expert_image(rng, 4)
    norm = image.norm([1] * OUTPUTS, [0] * OUTPUTS)
    made = spec_image.machine(image)
    gate(made, rng.integers(0, 9, (5, 4)), 2)

    def add(slots, base=SLOTS, rows=5, channels=OUTPUTS):
        return Instruction(
            Opcode.LAYERNORM, rows=rows, cols_in=channels, src=spec_image.at(1500), src_stride=2,
            dst=spec_image.at(1600), dst_stride=1, table=norm, shift_a=9, eps_low=1, slots=slots,
            slot_base=spec_image.at(base),
        )  # fmt: skip

    def refused(instruction):
        before = spec_image.workspace_of(made).copy()
        with pytest.raises(AcceleratorError) as caught:
            made.execute(instruction)
        assert (spec_image.workspace_of(made) == before).all()
        return caught.value.code

    slots = ErrorCode.SLOTS
    assert refused(add(2)) == slots, "nothing was written yet"
    assert refused(down(where, 5, 4, 2, first_slot=2)) == slots
    made.execute(down(where, 5, 4, 2))
    assert refused(down(where, 5, 4, 2)) == slots, "they would be written twice"
    assert refused(down(where, 5, 4, 2, first_slot=2, dst=spec_image.at(SLOTS + 1))) == slots
    assert refused(down(where, 5, 4, 2, first_slot=2, cols_out=OUTPUTS - 1)) == slots
    made.execute(down(where, 5, 4, 2, first_slot=2))
    wrong = [add(0), add(2), add(4, SLOTS + 1), add(4, rows=4), add(4, channels=OUTPUTS - 1)]
    assert [refused(i) for i in wrong] == [slots] * 5
    assert refused(Instruction(Opcode.END)) == slots
    made.execute(add(4))
    made.execute(add(0))
    made.execute(Instruction(Opcode.END))
    assert refused(add(4)) == slots
