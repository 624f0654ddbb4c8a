# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions of the row pass, bit for bit against the specification, on random shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hls_pair import Pair, examples, fresh_pair, table_part
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import GateMode, Instruction, Opcode, lines

SEEDS = st.integers(0, 2**32 - 1)
random_cases = settings(
    max_examples=examples(12),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def accept(pair: Pair, instruction: Instruction) -> None:
    assert pair.execute(instruction) == ErrorCode.OK


def norm_table(rng: np.random.Generator, n: int) -> np.ndarray:
    entries = np.zeros(n, dtype=[("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
    entries["beta"] = rng.integers(-(1 << 24), 1 << 24, n)
    entries["gamma"] = rng.integers(-32768, 32768, n)
    return table_part(entries)


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_layernorm(board, seed, data):
    rng = np.random.default_rng(seed)
    n = data.draw(st.one_of(st.integers(1, 300), st.sampled_from([64, 192, 1023, 1024])), "n")
    wide, narrow = lines(2 * n), lines(n)
    rows = min(data.draw(st.integers(1, 70), "rows"), 2000 // (wide + narrow + 2))
    pair = fresh_pair(board, seed)
    kind = data.draw(st.sampled_from(["noise", "constant", "extreme", "small", "spike"]), "kind")
    if kind != "noise":
        values = pair.workspace.view("<i2")
        if kind == "spike":
            values[:] = -32768
            values.reshape(-1)[:: 32 * wide] = 32767
        else:
            choice = {"constant": [-32768], "extreme": [-32768, 32767], "small": [-2, 0, 1, 2]}
            values[:] = rng.choice(choice[kind], values.shape)
        pair.equalise()
    table = pair.append(norm_table(rng, n))
    eps = data.draw(st.one_of(st.just(1), st.integers(1, 1 << 40), st.just((1 << 63) - 1)), "eps")
    src_stride, dst_stride = wide + int(rng.integers(0, 2)), narrow + int(rng.integers(0, 2))
    accept(pair, Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=pair.line, src_stride=src_stride,
        dst=pair.line + rows * src_stride, dst_stride=dst_stride, table=table,
        shift_a=data.draw(st.integers(1, 31), "shift"), eps_low=eps & 0xFFFFFFFF,
        eps_high=eps >> 32,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_layernorm_with_slots(board, seed, data):
    """Slots are added in order, the row and its padding go back to where they came from."""
    rng = np.random.default_rng(seed)
    n = data.draw(st.one_of(st.integers(1, 300), st.sampled_from([64, 1000, 1024])), "n")
    slots = data.draw(st.integers(1, 16), "slots")
    wide, narrow = lines(2 * n), lines(n)
    rows = min(
        data.draw(st.one_of(st.integers(1, 70), st.sampled_from([7, 8, 9, 16, 17])), "rows"),
        3900 // (wide * (slots + 1) + narrow + 2),
    )
    pair = fresh_pair(board, seed)
    if data.draw(st.booleans(), "saturating"):
        values = pair.workspace.view("<i2")
        values[:] = rng.choice([-32768, 32767, 20000, -20000], values.shape)
        pair.equalise()
    base = pair.line
    pair.slots.count, pair.slots.line, pair.slots.rows = slots, base, rows
    pair.slots.channels = n
    from m3vit_pynq.reference.refusals import Pending

    pair.machine.pending = Pending(slots, base, rows, n)
    src_stride, dst_stride = wide + int(rng.integers(0, 2)), narrow + int(rng.integers(0, 2))
    src = base + slots * rows * wide
    accept(pair, Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=src, src_stride=src_stride,
        dst=src + rows * src_stride, dst_stride=dst_stride,
        table=pair.append(norm_table(rng, n)), shift_a=data.draw(st.integers(10, 31), "shift"),
        eps_low=data.draw(st.integers(1, 1 << 20)), slots=slots, slot_base=base,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_gate(board, seed, data):
    rng = np.random.default_rng(seed)
    experts = data.draw(st.one_of(st.integers(1, 20), st.integers(1, 64)), "experts")
    top_k = data.draw(st.integers(1, min(8, experts)), "top_k")
    rows = data.draw(st.integers(1, 60), "rows")
    pair = fresh_pair(board, seed)
    stride = lines(4 * experts) + int(rng.integers(0, 2))
    scores = pair.workspace.view("<i4")
    kind = data.draw(st.sampled_from(["near", "noise", "ties", "extreme", "falling"]), "kind")
    if kind == "near":
        scores[:] = rng.integers(-(1 << 20), 1 << 20, scores.shape)
    elif kind == "ties":
        scores[:] = rng.integers(0, 2, scores.shape)
    elif kind == "extreme":
        scores[:] = rng.choice([-(1 << 31), (1 << 31) - 1], scores.shape)
    elif kind == "falling":
        scores[:] = -np.arange(scores.size).reshape(scores.shape) * int(rng.integers(1, 1 << 16))
    pair.equalise()
    accept(pair, Instruction(
        Opcode.GATE, rows=rows, experts=experts, top_k=top_k, src=pair.line,
        src_stride=stride, dst=pair.line + rows * stride,
        gate_mode=data.draw(st.sampled_from(list(GateMode))),
        per_image=data.draw(st.integers(0, 1), "per_image"),
    ))  # fmt: skip


def fitting_map(board: str, data: st.DataObject, pixel_lines: int, factor: int) -> tuple[int, int]:
    """Height and width of a small map, now and then as wide as the board holds."""
    most = BOARDS[board].map_lines // (factor * pixel_lines)
    widths = st.one_of(st.integers(1, min(9, most)), st.just(min(most, 40)))
    return data.draw(st.integers(1, 7), "height"), data.draw(widths, "width")


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_upsample(board, seed, data):
    cols = data.draw(st.one_of(st.integers(1, 150), st.integers(1, 1000)), "cols")
    height, width = fitting_map(board, data, lines(cols), 2)
    height = max(1, min(height, 1500 // (4 * width * (lines(cols) + 1))))
    pair = fresh_pair(board, seed, workspace_lines=8000)
    stride = lines(cols) + data.draw(st.integers(0, 1), "gap")
    accept(pair, Instruction(
        Opcode.UPSAMPLE2X, height=height, width=width, cols_in=cols, src=pair.line,
        src_stride=stride, dst=pair.line + height * width * stride,
        dst_stride=lines(cols) + data.draw(st.integers(0, 1), "gap behind"),
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_load_patches(board, seed, data):
    rng = np.random.default_rng(seed)
    patch = data.draw(st.one_of(st.integers(1, 17), st.sampled_from([16, 31, 32])), "patch")
    rows, columns = data.draw(st.integers(1, 5), "gh"), data.draw(st.integers(1, 7), "gw")
    pair = fresh_pair(board, seed)
    pair.frame = rng.integers(0, 256, (rows * patch, columns * patch, 3)).astype(np.uint8)
    accept(pair, Instruction(
        Opcode.LOAD_PATCHES, height=rows * patch, width=columns * patch, patch=patch,
        dst=pair.line + 7, dst_stride=lines(3 * patch**2) + data.draw(st.integers(0, 1), "gap"),
    ))  # fmt: skip


@pytest.mark.parametrize("board", ["zcu104", "pynq-z2"])
def test_load_patches_of_the_widest_strip(board):
    pair = fresh_pair(board, 5)
    for patch, width in ((16, 672), (16, 1), (32, 320), (6, 1818)):
        width -= width % patch
        if not width:
            continue
        pair.frame = np.random.default_rng(width).integers(0, 256, (2 * patch, width, 3))
        pair.frame = pair.frame.astype(np.uint8)
        accept(pair, Instruction(
            Opcode.LOAD_PATCHES, height=2 * patch, width=width, patch=patch, dst=pair.line,
            dst_stride=lines(3 * patch**2),
        ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_load_residual(board, seed, data):
    rng = np.random.default_rng(seed)
    pair = fresh_pair(board, seed)
    rows, cols = data.draw(st.integers(1, 40), "rows"), data.draw(st.integers(1, 400), "cols")
    width = lines(2 * cols)
    table = pair.append(table_part(rng.integers(0, 256, rows * width * 64).astype(np.uint8)))
    accept(pair, Instruction(
        Opcode.LOAD_RESIDUAL, rows=rows, cols_out=cols, table=table, dst=pair.line + 13,
        dst_stride=width + int(rng.integers(0, 3)),
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_output_classes(board, seed, data):
    wide = data.draw(st.integers(0, 1), "wide")
    classes = data.draw(st.one_of(st.integers(1, 150), st.sampled_from([1, 40, 256])), "classes")
    width_lines = lines((1 + wide) * classes)
    height, width = fitting_map(board, data, width_lines, 1)
    factor = data.draw(st.sampled_from([1, 2, 4]), "factor")
    pair = fresh_pair(board, seed, data.draw(st.sampled_from([1, 3, 128]), "scale"))
    pair.result_bytes = 64 * lines(factor**2 * height * width)
    accept(pair, Instruction(
        Opcode.OUTPUT_CLASSES, height=height, width=width, cols_in=classes, src=pair.line + 9,
        src_stride=width_lines + data.draw(st.integers(0, 1)), wide=wide, factor=factor,
    ))  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
@random_cases
@given(seed=SEEDS, data=st.data())
def test_output_depth(board, seed, data):
    height, width = fitting_map(board, data, 1, 1)
    factor = data.draw(st.sampled_from([1, 2, 4]), "factor")
    pair = fresh_pair(board, seed)
    pair.result_bytes = 64 * lines(2 * factor**2 * height * width)
    accept(pair, Instruction(
        Opcode.OUTPUT_DEPTH, height=height, width=width, src=pair.line + 9,
        src_stride=data.draw(st.integers(1, 3)), factor=factor,
    ))  # fmt: skip
