# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""GATE and EXPERTS against unbounded integers, and gate weights against float."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.isa import GateMode, Instruction, Opcode
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.routing import expert_update

COLS, HIDDEN, OUTPUTS = 20, 70, 30


def gate(made, logits, top_k, mode=GateMode.SOFTMAX_ALL, per_image=0, rows=None, stride=None):
    """Put logits into score memory and execute GATE."""
    experts = logits.shape[1]
    stride = stride or experts
    for r, row in enumerate(logits):
        made.scores[6 + r * stride : 6 + r * stride + experts] = row
    made.execute(
        Instruction(
            Opcode.GATE, rows=rows or len(logits), experts=experts, top_k=top_k, gate_mode=mode,
            per_image=per_image, src=6, src_stride=stride,
        )
    )  # fmt: skip


def queues(made):
    return [
        list(zip(t.tolist(), g.tolist(), strict=True))
        for t, g in zip(made.queues.tokens, made.queues.gates, strict=True)
    ]


def expected_queues(logits, top_k, mode):
    filled = [[] for _ in logits[0]]
    for token, row in enumerate(logits):
        for expert, weight in spec.route(row, top_k, mode == GateMode.SOFTMAX_SELECTED):
            filled[expert].append((token, weight))
    return filled


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
    gate(made, logits, top_k, mode, stride=experts + seed % 3)
    assert queues(made) == expected_queues(logits.tolist(), top_k, mode)


def test_ties_go_to_the_lower_index():
    made = spec_image.machine()
    gate(made, np.array([[3, 9, 9, 9, 1]]), 2)
    assert [len(q) for q in queues(made)] == [0, 1, 1, 0, 0]


def test_one_decision_for_the_whole_image():
    rng = np.random.default_rng(1)
    logits = LOGITS["typical"](rng, (5, 8))
    made = spec_image.machine()
    gate(made, logits, 3, per_image=1, stride=0)
    repeated = [made.scores[6:14].tolist()] * 5
    assert queues(made) == expected_queues(repeated, 3, GateMode.SOFTMAX_ALL)


def test_a_single_expert_takes_all():
    made = spec_image.machine()
    gate(made, np.array([[12345], [-7]]), 1)
    assert queues(made) == [[(0, 65535), (1, 65535)]]


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
    for expert, queue in enumerate(queues(made)):
        for token, weight in queue:
            best = np.argsort(-logits[token], kind="stable")[:top_k]
            among = slice(None) if mode == GateMode.SOFTMAX_ALL else best
            exact = powers[token, expert] / powers[token, among].sum()
            bound = 2 * (2 ** (1 / 512) - 1) * exact + (experts + 2) / 65536
            assert abs(weight / 65536 - exact) <= bound


def expert_program(rng, experts, extreme=False):
    """Image and Python layers of some experts, not packed tightly."""
    image = spec_image.Image()
    gelu = rng.integers(-128, 128, (experts, 256)).astype(np.int8)
    table = image.table(gelu.tobytes())
    pairs, addresses = [], []
    for _ in range(experts):
        first = spec_image.random_layer(rng, HIDDEN, COLS, extreme)
        second = spec_image.random_layer(rng, OUTPUTS, HIDDEN, extreme)
        if not extreme:
            second = [(w, b, m, 17) for w, b, m, _ in second]
        addresses.append(image.layer(first))
        image.layer(second)
        image.table(bytes(16))
        pairs.append((first, second))
    step = addresses[1] - addresses[0] if experts > 1 else 0
    return image, pairs, gelu.tolist(), {
        "weights": addresses[0], "table": table, "expert_beats": step,
    }  # fmt: skip


def run_experts(made, where, rows, experts, top_k, x):
    spec_image.put_act(made, 9, 2, x)
    before = made.residual.copy()
    made.execute(
        Instruction(
            Opcode.EXPERTS, rows=rows, experts=experts, top_k=top_k, cols_in=COLS, hidden=HIDDEN,
            cols_out=OUTPUTS, src=9, src_stride=2, dst=40, dst_stride=OUTPUTS + 1, scratch=400,
            scratch_stride=2, **where,
        )
    )  # fmt: skip
    return before


def expected_residual(before, filled, x, pairs, gelu):
    out = before.tolist()
    for expert, queue in enumerate(filled):
        for token, weight in queue:
            update = spec.expert_update(x[token], weight, *pairs[expert], gelu[expert])
            for o, u in enumerate(update):
                at = 40 + token * (OUTPUTS + 1) + o
                out[at] = spec.sat(out[at] + u, 16)
    return out


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(sorted(LOGITS)),
    rows=st.integers(1, 8),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_experts(kind, rows, extreme, seed):
    rng = np.random.default_rng(seed)
    image, pairs, gelu, where = expert_program(rng, 4, extreme)
    made = spec_image.machine(image, seed)
    logits = LOGITS[kind](rng, (rows, 4))
    gate(made, logits, 2)
    x = rng.integers(-128, 128, (rows, COLS)).tolist()
    before = run_experts(made, where, rows, 4, 2, x)
    filled = expected_queues(logits.tolist(), 2, GateMode.SOFTMAX_ALL)
    assert made.residual.tolist() == expected_residual(before, filled, x, pairs, gelu)


@pytest.mark.parametrize("favourite", [0, 3])
def test_all_tokens_to_one_expert_and_none_to_the_others(favourite):
    rng = np.random.default_rng(2)
    image, pairs, gelu, where = expert_program(rng, 4)
    made = spec_image.machine(image)
    logits = np.zeros((6, 4), int)
    logits[:, favourite] = 40 << 16
    gate(made, logits, 1)
    assert [len(q) for q in queues(made)] == [6 * (e == favourite) for e in range(4)]
    x = rng.integers(-128, 128, (6, COLS)).tolist()
    before = run_experts(made, where, 6, 4, 1, x)
    filled = expected_queues(logits.tolist(), 1, GateMode.SOFTMAX_ALL)
    assert made.residual.tolist() == expected_residual(before, filled, x, pairs, gelu)


def test_scratch_holds_the_hidden_rows_of_the_last_expert():
    rng = np.random.default_rng(3)
    image, pairs, gelu, where = expert_program(rng, 2)
    made = spec_image.machine(image)
    gate(made, np.array([[1 << 20, 0], [0, 1 << 20], [0, 1 << 20]]), 1)
    x = rng.integers(-128, 128, (3, COLS)).tolist()
    run_experts(made, where, 3, 2, 1, x)
    hidden = []
    for token in (1, 2):
        q = [
            spec.sat(spec.requant(b + spec.dot(x[token], w), m, s), 8) for w, b, m, s in pairs[1][0]
        ]
        hidden.append([gelu[1][v + 128] for v in q])
    assert spec_image.get_act(made, 400, 2, 2, HIDDEN) == hidden


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
        for o, (weights, bias, mult, shift) in enumerate(layer):
            acc = spec.wrap32(bias + spec.dot(hidden[token].tolist(), weights))
            fine = spec.sat(spec.rshift(acc * mult, (shift - 8) % 64), 32)
            assert got[token, o] == spec.sat(spec.rshift(fine * gate_weight, 24), 16)


@pytest.mark.parametrize("shift", [0, 3, 7, 8, 9, 71])
def test_small_second_shifts_are_taken_modulo_64(shift):
    rng = np.random.default_rng(8)
    image = spec_image.Image()
    gelu = rng.integers(-128, 128, 256).astype(np.int8)
    table = image.table(gelu.tobytes())
    first = spec_image.random_layer(rng, HIDDEN, COLS)
    second = [(w, b, m, shift) for w, b, m, _ in spec_image.random_layer(rng, OUTPUTS, HIDDEN)]
    weights = image.layer(first)
    image.layer(second)
    made = spec_image.machine(image)
    gate(made, np.array([[5]]), 1)
    x = rng.integers(-128, 128, (1, COLS)).tolist()
    where = {"weights": weights, "table": table}
    before = run_experts(made, where, 1, 1, 1, x)
    stored = [(w, b, m, s % 64) for w, b, m, s in second]
    expected = expected_residual(before, [[(0, 65535)]], x, [(first, stored)], [gelu.tolist()])
    assert made.residual.tolist() == expected
