# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accumulators to lines, lines to rows, rows to the residual stream."""

from __future__ import annotations

import arith_spec as spec
import numpy as np
import pytest
from arith_bench import BOARDS, ELEMENT, MODES, STORES, bench, ceil_div, chunk_array

from m3vit_pynq.reference.primitives import rshift, saturate, wrap27

EMPTY = np.zeros(0, dtype=np.uint8)


@pytest.fixture(params=BOARDS)
def unit(request):
    return bench(request.param)


def parameters(rng, outputs: int, hostile: bool):
    """Bias, multiplier and shift of each output; hostile ones take every value."""
    if hostile:
        bias = rng.integers(-(1 << 31), 1 << 31, outputs)
        return bias, rng.integers(0, 65536, outputs), rng.integers(0, 256, outputs)
    return (rng.integers(-100000, 100000, outputs), rng.integers(32768, 65536, outputs),
            rng.integers(28, 36, outputs))  # fmt: skip


def parameter_beats(bias, mult, shift, half: int) -> np.ndarray:
    """Beats of one half's outputs, uint8 [n, 16]; bytes that mean nothing are noise."""
    outputs = ceil_div(len(bias), 4) * 4
    beats = np.full((outputs, 16), 0xA5, dtype=np.uint8)
    for o, (b, m, s) in enumerate(zip(bias, mult, shift, strict=True)):
        beats[o, 0:4] = np.frombuffer(int(b).to_bytes(4, "little", signed=True), np.uint8)
        beats[o, 4:6] = np.frombuffer(int(m).to_bytes(2, "little"), np.uint8)
        beats[o, 6] = s
    return beats.reshape(-1, 4, 16)[:, 2 * half : 2 * half + 2].reshape(-1, 16)


def finished_values(acc, bias, mult, shift, store, activation, table, gates):
    """Outputs of numerics.md, int64 [rows, outputs]."""
    a = wrap27(acc + bias)
    if gates is not None:
        fine = saturate(rshift(a * mult, (shift - 8) % 64), 27)
        return saturate(rshift(fine * gates[:, None], 24), 16)
    value = saturate(rshift(a * mult, shift % 64), {1: 8, 2: 16, 4: 32}[ELEMENT[store]])
    if store == "act8" and activation == 1:
        return np.maximum(value, 0)
    if store == "act8" and activation == 2:
        return table[value + 128].astype(np.int64)
    return value


def as_lines(values: np.ndarray, element: int) -> np.ndarray:
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[element]
    return spec.lines_of(np.ascontiguousarray(values.astype(kind)).view(np.uint8))


CASES = [
    (mode, store, activation, hostile)
    for hostile in (False, True)
    for mode, store, activation in (
        ("linear", "act8", 0), ("linear", "act8", 1), ("up", "act8", 2), ("conv", "act16", 0),
        ("linear", "residual", 0), ("linear", "scores", 0), ("down", "act8", 0),
    )
]  # fmt: skip


@pytest.mark.parametrize(("mode", "store", "activation", "hostile"), CASES)
def test_layers(unit, mode, store, activation, hostile):
    """Every store and activation, several chunks, damaged parameters too."""
    rng = np.random.default_rng(activation + 10 * STORES[store] + hostile)
    shape = unit.shape
    long = shape.chunk_outputs if hostile else 67
    chunks = [(2, 5), (0, 64), (3, 128), (1, 1), (1, long), (2, 64)]
    described, beats_a, beats_b, tables = [], [], [], []
    results_a, results_b, gate_words, expected = [], [], [], []
    for tiles, outputs in chunks:
        described.append({"tiles": tiles, "outputs": outputs})
        if tiles == 0:
            continue
        rows, made = tiles * shape.t, ceil_div(outputs, 4) * 4
        limit = 1 << (30 if hostile else 19)
        acc = rng.integers(-limit, limit, (rows, made))
        bias, mult, shift = parameters(rng, outputs, hostile)
        table = rng.integers(-128, 128, 256).astype(np.int8)
        gates = rng.integers(0, 65536, rows) if mode == "down" else None
        beats_a.append(parameter_beats(bias, mult, shift, 0))
        beats_b.append(parameter_beats(bias, mult, shift, 1))
        if activation == 2:
            tables.append(table)
        results_a.append(spec.half_results(shape, acc, 0))
        results_b.append(spec.half_results(shape, acc, 1))
        if gates is not None:
            words = np.full((tiles, 16), 0xFFFF, dtype=np.uint16)
            words[:, : shape.t] = gates.reshape(tiles, shape.t)
            gate_words.append(words)
        values = finished_values(acc[:, :outputs], bias, mult, shift, store, activation, table,
                                 gates)  # fmt: skip
        element = 2 if mode == "down" else ELEMENT[store]
        expected.append(spec.finished_lines(shape, as_lines(values, element)))
    job = {"mode": MODES[mode], "store": STORES[store], "activation": activation, "passes": 1,
           "chunks": len(chunks)}  # fmt: skip
    streams = (beats_a, beats_b, tables, results_a, results_b, [], gate_words)
    found = unit.run("finish", job, chunk_array(described),
                     *(np.concatenate(s) if s else EMPTY for s in streams))[0]  # fmt: skip
    np.testing.assert_array_equal(found.reshape(-1, 64), np.concatenate(expected))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("subs", "head_dim"), [(1, 64), (2, 32), (3, 16), (4, 16), (1, 16)])
def test_attention(unit, subs, head_dim, passes):
    """Heads of a plane follow each other in a line, each with its queries' scales."""
    rng = np.random.default_rng(subs * head_dim)
    shape = unit.shape
    tiles, outputs, planes = 3, subs * head_dim, 2
    limit = (1 << 26) if passes == 1 else (1 << 30) - 8
    acc = rng.integers(1 - limit, limit, (planes * tiles, subs, shape.t, head_dim))
    mult = rng.integers(0, 65536, (planes * tiles, subs, shape.t))
    shift = rng.integers(0, 48, mult.shape)
    acc[::2] = rng.integers(-2100, 2101, acc[::2].shape)  # the mean itself, rounding and all
    mult[::2], shift[::2] = 1, 0
    scales = np.zeros((planes * tiles * subs, shape.queries), dtype=np.uint32)
    scales[:, : shape.t] = (mult | shift << 16).reshape(-1, shape.t)
    mean = acc if passes == 1 else rshift(acc, 4)
    out = saturate(rshift(mean * mult[..., None], shift[..., None]), 8)
    rows = out.transpose(0, 2, 1, 3).reshape(-1, outputs)  # tile and query, then head, channel
    sent = spec.results(shape, acc.reshape(-1, shape.t, head_dim // shape.oh, shape.oh))
    job = {"mode": MODES["attention"], "chunks": planes, "head_dim": head_dim, "passes": passes}
    chunk = {"tiles": tiles, "outputs": outputs, "subs": subs}
    found = unit.run("finish", job, chunk_array([chunk] * planes), EMPTY, EMPTY, EMPTY, EMPTY,
                     sent, scales, EMPTY)[0]  # fmt: skip
    wanted = spec.finished_lines(shape, as_lines(rows, 1))
    np.testing.assert_array_equal(found.reshape(-1, 64), wanted)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("store", "outputs"), [("act8", 3), ("act8", 1000), ("act16", 544),
                                                ("scores", 700)])  # fmt: skip
def test_reorder(unit, store, outputs, planar):
    """Rows leave in segments, or line by line; rows that do not count never do."""
    if planar and store != "act8":
        pytest.skip("planar destinations are int8")
    rng = np.random.default_rng(outputs)
    shape = unit.shape
    chunks = [(1, 1), (3, shape.t), (0, 1), (2, shape.t - 1), (1, 2)]
    lines = ceil_div(outputs * ELEMENT[store], 64)
    arriving, expected = [], []
    for tiles, valid in chunks:
        rows = rng.integers(0, 256, (tiles * shape.t, lines, 64)).astype(np.uint8)
        arriving.append(spec.finished_lines(shape, rows))
        count = (tiles - 1) * shape.t + valid if tiles else 0
        expected.append(spec.ordered_lines(shape, rows[:count], bool(planar)))
    described = [{"tiles": n, "outputs": outputs, "rows": valid} for n, valid in chunks]
    job = {"mode": MODES["linear"], "store": STORES[store], "planar": planar,
           "chunks": len(chunks)}  # fmt: skip
    found = unit.run("reorder", job, chunk_array(described), np.concatenate(arriving))[0]
    np.testing.assert_array_equal(found.reshape(-1, 64), np.concatenate(expected))


@pytest.mark.parametrize("outputs", [1, 31, 32, 48, 640, 999])
def test_merge(unit, outputs):
    """The residual stream saturates at 16 bits; its padding becomes zero."""
    rng = np.random.default_rng(outputs)
    shape = unit.shape
    chunks = [(2, 1), (0, 1), (3, shape.t)]
    updates, befores, expected = [], [], []
    for tiles, valid in chunks:
        count = (tiles - 1) * shape.t + valid if tiles else 0
        padded = ceil_div(outputs, 32) * 32
        update = rng.integers(-32768, 32768, (count, outputs))
        before = rng.integers(-32768, 32768, (count, padded))
        after = saturate(before[:, :outputs] + update, 16)
        for rows, kept in ((update, updates), (before, befores), (after, expected)):
            kept.append(spec.ordered_lines(shape, as_lines(rows, 2), False))
    described = [{"tiles": n, "outputs": outputs, "rows": valid} for n, valid in chunks]
    job = {"mode": MODES["linear"], "store": STORES["residual"], "chunks": len(chunks)}
    found = unit.run("merge", job, chunk_array(described), np.concatenate(updates),
                     np.concatenate(befores))[0]  # fmt: skip
    np.testing.assert_array_equal(found.reshape(-1, 64), np.concatenate(expected))


@pytest.mark.parametrize("mode", ["linear", "attention", "down"])
def test_merge_lets_others_pass(unit, mode):
    """Only RESIDUAL has residual lines; a store of other modes is not looked at."""
    rng = np.random.default_rng(4)
    outputs = 40
    element = 2 if mode == "down" else 1
    lines = ceil_div(outputs * element, 64)
    data = rng.integers(0, 256, (unit.shape.t + 1, lines, 64)).astype(np.uint8)
    store = STORES["act8"] if mode == "linear" else STORES["residual"]
    job = {"mode": MODES[mode], "store": store, "chunks": 1}
    chunk = {"tiles": 2, "outputs": outputs, "rows": 1}
    found = unit.run("merge", job, chunk_array([chunk]), data, EMPTY)[0]
    np.testing.assert_array_equal(found, data.ravel())
