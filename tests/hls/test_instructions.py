# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every instruction, bit for bit against the specification, on random shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hls_pair import Pair, examples, fresh_pair, pack_layer, table_part
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, GateMode, Instruction, Opcode, Store, lines, row_beats

SEEDS = st.integers(0, 2**32 - 1)
#: Boards whose parallelism differs in every respect; the others in test_boards.
BOARDS = ("zcu104", "pynq-z2")
random_cases = settings(
    max_examples=examples(12),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def random_layer(rng: np.random.Generator, outputs: int, cols: int, gain: float) -> np.ndarray:
    """A layer whose results spread over `gain` times the range of int8."""
    weights = rng.integers(-128, 128, (outputs, cols))
    if rng.random() < 0.2:
        weights[rng.integers(outputs)] = 0
    mult = rng.integers(1, 65536, outputs)
    spread = np.sqrt(cols) * 74 * 74 * mult
    shift = np.clip(np.round(np.log2(spread / (64 * gain))), 1, 47).astype(int)
    bias = rng.integers(-(1 << 16), 1 << 16, outputs)
    return pack_layer(weights.astype(np.int8), bias, mult, shift)


def random_table(rng: np.random.Generator, count: int = 1) -> np.ndarray:
    return table_part(rng.integers(-128, 128, 256 * count).astype(np.int8))


def accept(pair: Pair, instruction: Instruction) -> None:
    assert pair.execute(instruction) == ErrorCode.OK


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("store", list(Store))
@random_cases
@given(seed=SEEDS, data=st.data())
def test_linear(board, store, seed, data):
    rng = np.random.default_rng(seed)
    rows = data.draw(st.one_of(st.sampled_from([1, 7, 8, 9]), st.integers(1, 200)), "rows")
    cols_in = data.draw(st.integers(1, 400), "cols_in")
    cols_out = data.draw(st.integers(1, 300), "cols_out")
    activation = data.draw(st.sampled_from(list(Activation)) if store == Store.ACT8 else st.just(0))
    pair = fresh_pair(board, seed)
    pair.append(random_table(rng))
    weights = pair.append(random_layer(rng, cols_out, cols_in, data.draw(st.sampled_from([1, 50]))))
    width = {Store.ACT8: lines(cols_out), Store.ACT16: lines(2 * cols_out)}.get(store, cols_out)
    stride = width + int(rng.integers(0, 3))
    src_stride = lines(cols_in) + int(rng.integers(0, 2))
    base = 5 + rows * src_stride
    capacity = {Store.RESIDUAL: 49152, Store.SCORES: 4096}.get(store, 4608 - base)
    rows = min(rows, capacity // stride)
    accept(pair, Instruction(
        Opcode.LINEAR, rows=rows, cols_in=cols_in, cols_out=cols_out, src=3,
        src_stride=src_stride, dst=base if store in (0, 1) else 0, dst_stride=stride,
        weights=weights, store=store, activation=activation, table=0,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_long_rows(board, seed, data):
    """Rows so long that a chunk of weights ends inside a line of results."""
    rng = np.random.default_rng(seed)
    cols_in = data.draw(st.integers(1000, 6080), "cols_in")
    cols_out = data.draw(st.integers(1, 90), "cols_out")
    pair = fresh_pair(board, seed)
    weights = pair.append(random_layer(rng, cols_out, cols_in, 1))
    store = data.draw(st.sampled_from([Store.ACT8, Store.ACT16, Store.RESIDUAL]), "store")
    accept(pair, Instruction(
        Opcode.LINEAR, rows=10, cols_in=cols_in, cols_out=cols_out, src=0,
        src_stride=lines(cols_in), dst=1000, dst_stride=100, weights=weights, store=store,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("store", [Store.ACT8, Store.ACT16])
@random_cases
@given(seed=SEEDS, data=st.data())
def test_conv3x3(board, store, seed, data):
    rng = np.random.default_rng(seed)
    height, width = data.draw(st.integers(1, 9), "height"), data.draw(st.integers(1, 9), "width")
    cols_in, cols_out = data.draw(st.integers(1, 130), "in"), data.draw(st.integers(1, 90), "out")
    pair = fresh_pair(board, seed)
    weights = pair.append(random_layer(rng, cols_out, 9 * 64 * lines(cols_in), 1))
    table = pair.append(random_table(rng))
    accept(pair, Instruction(
        Opcode.CONV3X3, height=height, width=width, cols_in=cols_in, cols_out=cols_out,
        src=2, src_stride=lines(cols_in) + 1, dst=1000, dst_stride=lines(2 * cols_out),
        weights=weights, store=store, table=table, pad=int(rng.integers(-128, 128)),
        activation=data.draw(st.sampled_from(list(Activation)) if store == 0 else st.just(0)),
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_layernorm(board, seed, data):
    rng = np.random.default_rng(seed)
    rows = data.draw(st.integers(1, 150), "rows")
    n = data.draw(st.one_of(st.integers(1, 300), st.sampled_from([64, 192, 1024])), "channels")
    rows = min(rows, 49152 // n, 4608 // lines(n))
    entries = np.zeros(n, dtype=[("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
    entries["beta"] = rng.integers(-(1 << 24), 1 << 24, n)
    entries["gamma"] = rng.integers(-32768, 32768, n)
    pair = fresh_pair(board, seed)
    kind = data.draw(st.sampled_from(["noise", "constant", "extreme", "small"]), "kind")
    if kind == "constant":
        pair.machine.residual[:] = -32768
    elif kind == "extreme":
        pair.machine.residual[:] = rng.choice([-32768, 32767], pair.machine.residual.shape)
    elif kind == "small":
        pair.machine.residual[:] = rng.integers(-2, 3, pair.machine.residual.shape)
    pair.copy_memories()
    table = pair.append(table_part(entries))
    eps = data.draw(st.one_of(st.just(1), st.integers(1, 1 << 40), st.just((1 << 63) - 1)), "eps")
    accept(pair, Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=0, src_stride=n, dst=0,
        dst_stride=lines(n), table=table, shift_a=data.draw(st.integers(1, 31), "shift"),
        eps_low=eps & 0xFFFFFFFF, eps_high=eps >> 32,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("head_dim", [16, 32, 64])
@random_cases
@given(seed=SEEDS, data=st.data())
def test_attention(board, head_dim, seed, data):
    rows = data.draw(st.one_of(st.sampled_from([1, 63, 64, 65, 129, 321]), st.integers(1, 200)))
    heads = data.draw(st.integers(1, 4), "heads")
    width = heads * head_dim
    pair = fresh_pair(board, seed, data.draw(st.sampled_from([2, 20, 128]), "scale"))
    gap = data.draw(st.integers(0, 2), "gap") * head_dim
    stride = lines(3 * width + 2 * gap)
    rows = min(rows, 4600 // (stride + lines(width)))
    accept(pair, Instruction(
        Opcode.ATTENTION, rows=rows, heads=heads, head_dim=head_dim, src=1, src_stride=stride,
        k_offset=width + gap, v_offset=2 * width + 2 * gap, dst=rows * stride + 1,
        dst_stride=lines(width), mult_a=data.draw(st.integers(0, 65535), "mult_a"),
        shift_a=data.draw(st.integers(1, 30), "shift_a"), mult_b=40000,
        shift_b=data.draw(st.integers(20, 36), "shift_b"),
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_gate_and_experts(board, seed, data):
    rng = np.random.default_rng(seed)
    experts = data.draw(st.integers(1, 12), "experts")
    top_k = data.draw(st.integers(1, min(8, experts)), "top_k")
    rows = data.draw(st.integers(1, 60), "rows")
    cols, hidden = data.draw(st.integers(1, 150), "cols"), data.draw(st.integers(1, 300), "hidden")
    cols_out = data.draw(st.integers(1, 300), "cols_out")
    pair = fresh_pair(board, seed)
    logits = pair.machine.scores[: rows * experts].reshape(rows, experts)
    kind = data.draw(st.sampled_from(["noise", "ties", "one", "none", "extreme"]), "kind")
    if kind == "ties":
        logits[:] = rng.integers(0, 2, logits.shape)
    elif kind == "one":  # every token prefers the last expert
        logits[:, -1] = 1 << 24
    elif kind == "none":  # no token takes expert 0 if it has a choice
        logits[:, 0] = -(1 << 31)
    elif kind == "extreme":
        logits[:] = rng.choice([-(1 << 31), (1 << 31) - 1], logits.shape)
    pair.copy_memories()
    accept(pair, Instruction(
        Opcode.GATE, rows=rows, experts=experts, top_k=top_k, src=0, src_stride=experts,
        gate_mode=data.draw(st.sampled_from(list(GateMode))),
        per_image=data.draw(st.integers(0, 1), "per_image"),
    ))  # fmt: skip
    first = 0
    for _ in range(experts):
        pair.append(random_layer(rng, hidden, cols, 1))
        pair.append(random_layer(rng, cols_out, hidden, 30))
    beats = pair.weights.shape[1] // 16 // experts
    assert beats == -(-hidden // 4) * row_beats(cols) + -(-cols_out // 4) * row_beats(hidden)
    table = pair.append(random_table(rng, experts))
    accept(pair, Instruction(
        Opcode.EXPERTS, rows=rows, experts=experts, top_k=top_k, cols_in=cols, hidden=hidden,
        cols_out=cols_out, src=0, src_stride=lines(cols), dst=11, dst_stride=cols_out + 3,
        scratch=1000, scratch_stride=lines(hidden) + 1, weights=first, expert_beats=beats,
        table=table,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_upsample(board, seed, data):
    height, width = data.draw(st.integers(1, 9), "height"), data.draw(st.integers(1, 9), "width")
    cols = data.draw(st.integers(1, 150), "cols")
    pair = fresh_pair(board, seed)
    accept(pair, Instruction(
        Opcode.UPSAMPLE2X, height=height, width=width, cols_in=cols, src=4,
        src_stride=lines(cols), dst=1000, dst_stride=lines(cols) + 1,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_load_patches_and_residual(board, seed, data):
    rng = np.random.default_rng(seed)
    patch = data.draw(st.integers(1, 17), "patch")
    rows, columns = data.draw(st.integers(1, 5), "gh"), data.draw(st.integers(1, 5), "gw")
    pair = fresh_pair(board, seed)
    pair.frame = rng.integers(0, 256, (rows * patch, columns * patch, 3)).astype(np.uint8)
    width = lines(3 * patch**2)
    accept(pair, Instruction(
        Opcode.LOAD_PATCHES, height=rows * patch, width=columns * patch, patch=patch,
        dst=7, dst_stride=width + 1,
    ))  # fmt: skip
    count, cols = int(rng.integers(1, 40)), int(rng.integers(1, 70))
    table = pair.append(table_part(rng.integers(-32768, 32768, count * cols).astype("<i2")))
    accept(pair, Instruction(
        Opcode.LOAD_RESIDUAL, rows=count, cols_out=cols, table=table, dst=13,
        dst_stride=cols + int(rng.integers(0, 3)),
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_output_classes(board, seed, data):
    height, width = data.draw(st.integers(1, 9), "height"), data.draw(st.integers(1, 9), "width")
    wide = data.draw(st.integers(0, 1), "wide")
    classes = data.draw(st.one_of(st.integers(1, 150), st.just(256)), "classes")
    factor = data.draw(st.sampled_from([1, 2, 4]), "factor")
    pair = fresh_pair(board, seed, data.draw(st.sampled_from([1, 3, 128]), "scale"))
    pair.output = np.zeros(factor**2 * height * width, dtype=np.uint8)
    accept(pair, Instruction(
        Opcode.OUTPUT_CLASSES, height=height, width=width, cols_in=classes, src=9,
        src_stride=lines((1 + wide) * classes), wide=wide, factor=factor,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_output_depth(board, seed, data):
    height, width = data.draw(st.integers(1, 9), "height"), data.draw(st.integers(1, 9), "width")
    factor = data.draw(st.sampled_from([1, 2, 4]), "factor")
    pair = fresh_pair(board, seed)
    pair.output = np.zeros(factor**2 * height * width, dtype=np.uint16)
    accept(pair, Instruction(
        Opcode.OUTPUT_DEPTH, height=height, width=width, src=9, src_stride=1, factor=factor,
    ))  # fmt: skip
