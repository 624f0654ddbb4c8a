# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes of LAYERNORM and GATE, each alone against plain integers, streams left empty."""

from __future__ import annotations

import math

import front_bench
import numpy as np
import pytest

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.generate import gate_table
from m3vit_pynq.abi.isa import Instruction, Opcode, lines

SOURCE = "row_processes.cpp"
MOMENTS = np.dtype([("squares", "<i8"), ("sum", "<i4"), ("unused", "<i4")])
RADICAND = np.dtype([("upper", "<u8"), ("sum", "<i4"), ("k", "<i4")])
SCALE = np.dtype([("value", "<u4"), ("sum", "<i4"), ("k", "<i4"), ("unused", "<i4")])


@pytest.fixture(params=BOARDS)
def bench(request):
    return front_bench.bench(SOURCE, request.param)


def ask(bench, name: str, instruction: Instruction, *inputs: np.ndarray) -> list[np.ndarray]:
    return bench.ask(name.encode(), instruction.encode(), *inputs)


def rshift(x: int, n: int) -> int:
    return (x + (1 << n >> 1)) >> n


def sat16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32768, 32767)


def layernorm(rows: int, n: int, slots: int = 0, shift: int = 20, eps: int = 1) -> Instruction:
    return Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=0, src_stride=lines(2 * n), dst=0,
        dst_stride=lines(n), shift_a=shift, slots=slots, eps_low=eps & 0xFFFFFFFF,
        eps_high=eps >> 32,
    )  # fmt: skip


def rows_of(rng: np.random.Generator, shape: tuple[int, ...], n: int) -> np.ndarray:
    """Rows of int16, whole lines, with noise in the padding."""
    return rng.integers(-32768, 32768, (*shape, 32 * lines(2 * n))).astype("<i2")


SHAPES = [(1, 1), (5, 8), (3, 31), (3, 32), (17, 33), (9, 192), (2, 1000), (2, 1024)]


@pytest.mark.parametrize("rows, n", SHAPES)
@pytest.mark.parametrize("slots", [0, 1, 3, 4, 5, 8, 13, 16])
def test_combine(bench, rows, n, slots):
    rng = np.random.default_rng(rows + n + slots)
    x, added = rows_of(rng, (rows,), n), rows_of(rng, (rows, slots), n)
    parts = [added[:, port::4] for port in range(4)]
    own = x if slots else x[::2]
    if slots == 0:
        parts[0] = x[1::2]
    completed, updated = ask(bench, "combine", layernorm(rows, n, slots), own, *parts)
    expected = x.astype(np.int64)
    for slot in range(slots):
        expected = sat16(expected + added[:, slot])
    expected[:, n:] = 0
    np.testing.assert_array_equal(completed.view("<i2").reshape(rows, -1), expected)
    np.testing.assert_array_equal(updated, completed if slots else [])


@pytest.mark.parametrize("rows, n", SHAPES)
@pytest.mark.parametrize("kind", ["noise", "lowest", "highest"])
def test_norm_stats(bench, rows, n, kind):
    x = rows_of(np.random.default_rng(n), (rows,), n)
    if kind != "noise":
        x[:] = -32768 if kind == "lowest" else 32767
    x[:, n:] = 0
    waiting, moments = ask(bench, "norm_stats", layernorm(rows, n), x)
    np.testing.assert_array_equal(waiting, x.reshape(-1).view(np.uint8))
    wide = x.astype(np.int64)
    found = moments.view(MOMENTS)
    np.testing.assert_array_equal(found["sum"], wide.sum(axis=1))
    np.testing.assert_array_equal(found["squares"], (wide**2).sum(axis=1))


@pytest.mark.parametrize("eps", [1, 12345, (1 << 63) - 1])
@pytest.mark.parametrize("n", [1, 192, 1024])
def test_norm_scale(bench, n, eps):
    rng = np.random.default_rng(n)
    rows = [rng.integers(-size, size + 1, n) for size in (0, 1, 3, 200, 32767) for _ in range(5)]
    rows += [np.full(n, -32768), np.full(n, 32767), np.where(np.arange(n) % 2, 32767, -32768)]
    moments = np.zeros(len(rows), MOMENTS)
    for moment, x in zip(moments, rows, strict=True):
        moment["sum"], moment["squares"] = x.sum(), (x.astype(np.int64) ** 2).sum()
    (out,) = ask(bench, "norm_scale", layernorm(len(rows), n, eps=eps), moments)
    for row, moment in zip(out.view(RADICAND), moments, strict=True):
        v = n * int(moment["squares"]) - int(moment["sum"]) ** 2 + eps
        k = (64 - v.bit_length()) // 2
        assert (row["upper"], row["sum"], row["k"]) == ((v << 2 * k) >> 28, moment["sum"], k)


def test_norm_root_and_inverse(bench):
    rng = np.random.default_rng(1)
    values = [1 << 34, (1 << 36) - 1, *map(int, rng.integers(1 << 34, 1 << 36, 300))]
    squares = [int(r) ** 2 for r in rng.integers(1 << 17, 1 << 18, 50)]
    values += squares + [s - 1 for s in squares if s > 1 << 34]
    radicands = np.zeros(len(values), RADICAND)
    radicands["upper"] = values
    radicands["sum"], radicands["k"] = rng.integers(-99, 99, len(values)), 7
    instruction = layernorm(len(values), 8)
    (roots,) = ask(bench, "norm_root", instruction, radicands)
    np.testing.assert_array_equal(roots.view(SCALE)["value"], [math.isqrt(v) for v in values])
    (inverses,) = ask(bench, "norm_inverse", instruction, roots)
    expected = [min((1 << 17) - 1, (1 << 34) // math.isqrt(v)) for v in values]
    np.testing.assert_array_equal(inverses.view(SCALE)["value"], expected)
    for found in (roots, inverses):
        np.testing.assert_array_equal(found.view(SCALE)["sum"], radicands["sum"])
        np.testing.assert_array_equal(found.view(SCALE)["k"], radicands["k"])


@pytest.mark.parametrize("rows, n", SHAPES)
@pytest.mark.parametrize("shift", [1, 20, 31])
def test_normalise(bench, rows, n, shift):
    """With scales that belong to the rows: the widths hold for those only."""
    rng = np.random.default_rng(rows + n + shift)
    x = rows_of(rng, (rows,), n) >> rng.integers(0, 12, (rows, 1)).astype("<i2")
    x[:, n:] = 0
    table = np.zeros(8 * lines(8 * n), [("beta", "<i4"), ("gamma", "<i2"), ("zero", "<u2")])
    table["beta"] = rng.integers(-(1 << 31), 1 << 31, len(table))
    table["gamma"] = rng.integers(-32768, 32768, len(table))
    scales = np.zeros(rows, SCALE)
    expected = np.zeros((rows, 64 * lines(n)), np.int8)
    for r in range(rows):
        row = [int(v) for v in x[r, :n]]
        total, v = sum(row), n * sum(t * t for t in row) - sum(row) ** 2 + 1
        k = (64 - v.bit_length()) // 2
        inverse = min((1 << 17) - 1, (1 << 34) // math.isqrt((v << 2 * k) >> 28))
        scales[r] = (inverse, total, k, 0)
        for c, t in enumerate(row):
            z = rshift((n * t - total) * inverse, 34 - k)
            y = rshift(z * int(table["gamma"][c]) + int(table["beta"][c]), shift)
            expected[r, c] = max(-128, min(127, y))
    (out,) = ask(bench, "normalise", layernorm(rows, n, shift=shift), table, x, scales)
    np.testing.assert_array_equal(out.view(np.int8).reshape(rows, -1), expected)


def gate(rows: int, experts: int, top_k: int, mode: int = 0, per_image: int = 0) -> Instruction:
    return Instruction(
        Opcode.GATE, rows=rows, experts=experts, top_k=top_k, gate_mode=mode,
        per_image=per_image, src=0, src_stride=lines(4 * experts), dst=0,
    )  # fmt: skip


def power(top: int, logit: int) -> int:
    below = (top - logit + 128) >> 8
    return rshift(gate_table()[below & 255], below >> 8) if below >> 8 <= 31 else 0


GATES = [(1, 1, 1), (7, 5, 5), (9, 16, 2), (5, 17, 8), (4, 64, 8)]


def logits_of(rng: np.random.Generator, rows: int, experts: int, kind: str) -> np.ndarray:
    """Rows of int32, whole lines, noise in the padding."""
    shape = (rows, 16 * lines(4 * experts))
    if kind == "ties":
        return rng.integers(0, 2, shape).astype("<i4")
    if kind == "extreme":
        return rng.choice([-(1 << 31), (1 << 31) - 1, 0], shape).astype("<i4")
    return rng.integers(-(1 << 20), 1 << 20, shape).astype("<i4")


def decision_of(logits: np.ndarray, top_k: int) -> list[tuple[int, int]]:
    order = sorted(range(len(logits)), key=lambda e: (-int(logits[e]), e))
    return [(e, int(logits[e])) for e in order[:top_k]]


@pytest.mark.parametrize("rows, experts, top_k", GATES)
@pytest.mark.parametrize("kind", ["near", "ties", "extreme"])
@pytest.mark.parametrize("mode", [0, 1])
def test_gate(bench, rows, experts, top_k, kind, mode):
    """The four processes in a row, each one's output compared before the next gets it."""
    rng = np.random.default_rng(experts)
    scores = logits_of(rng, rows, experts, kind)
    instruction = gate(rows, experts, top_k, mode)
    logits, decisions = ask(bench, "gate_select", instruction, scores)
    np.testing.assert_array_equal(logits.view("<i4"), scores[:, :experts].reshape(-1))
    chosen = [decision_of(row[:experts], top_k) for row in scores]
    found = decisions.view("<i4").reshape(rows, 8, 2)[:, :top_k]
    np.testing.assert_array_equal(found, chosen)

    decided, totals = ask(bench, "gate_sum", instruction, logits, decisions)
    np.testing.assert_array_equal(decided, decisions)
    sums = []
    for row, best in zip(scores, chosen, strict=True):
        values = row[:experts] if mode == 0 else [logit for _, logit in best]
        sums.append(sum(power(best[0][1], int(v)) for v in values))
    np.testing.assert_array_equal(totals.view("<u4"), sums)

    (entries,) = ask(bench, "gate_divide", instruction, decided, totals)
    expected = np.zeros((rows, 32), "<u2")
    for r, best in enumerate(chosen):
        for i, (expert, logit) in enumerate(best):
            share = (power(best[0][1], logit) << 16) // sums[r]
            expected[r, 4 * i : 4 * i + 2] = expert, min(65535, share)
    np.testing.assert_array_equal(entries.view("<u2").reshape(rows, 32), expected)

    (records,) = ask(bench, "gate_records", instruction, entries)
    np.testing.assert_array_equal(records, entries)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_one_record_for_every_token(bench, rows):
    record = np.random.default_rng(rows).integers(0, 256, 64).astype(np.uint8)
    (records,) = ask(bench, "gate_records", gate(rows, 4, 2, per_image=1), record)
    np.testing.assert_array_equal(records.reshape(rows, 64), np.tile(record, (rows, 1)))
