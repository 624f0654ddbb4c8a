# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Softmax, its inverse and the transposer alone; a whole ATTENTION and a LINEAR as chains."""

from __future__ import annotations

import arith_spec as spec
import numpy as np
import pytest
from arith_bench import BOARDS, MODES, STORES, bench, ceil_div, chunk_array
from test_arith_finish import EMPTY, as_lines, finished_values, parameter_beats, parameters

from m3vit_pynq.reference.attention import attention as reference
from m3vit_pynq.reference.primitives import EXP_TABLE, rshift, saturate


@pytest.fixture(params=BOARDS)
def unit(request):
    return bench(request.param)


def row_scores(products: np.ndarray, mult: int, shift: int) -> np.ndarray:
    return saturate(rshift(products * mult, shift), 16)


def row_probabilities(scores: np.ndarray, passes: int) -> np.ndarray:
    below = scores.max(axis=-1, keepdims=True) - scores
    return rshift(EXP_TABLE[below & 255], np.minimum(below >> 8, 31) + (4 if passes == 1 else 0))


def row_scales(sums: np.ndarray, mult: int, shift: int, passes: int) -> np.ndarray:
    """Multiplier | shift << 16 of each sum, one by one in Python's integers."""
    found = np.zeros(sums.shape, dtype=np.int64)
    for at, s in np.ndenumerate(sums):
        s = int(s)
        n = s.bit_length()
        product = min((1 << 18) - 1, (1 << (n + 17)) // s) * mult
        c = max(0, product.bit_length() - 16)
        m = min(65535, (product + (1 << c >> 1)) >> c)
        found[at] = m | min(47, shift + n + 17 - c - (0 if passes == 1 else 4)) << 16
    return found


def attention_job(shape, keys, heads, head_dim, passes, **more) -> dict[str, int]:
    return {"mode": MODES["attention"], "rows": keys, "tiles": ceil_div(keys, shape.t),
            "heads": heads, "head_dim": head_dim, "passes": passes,
            "chunks": ceil_div(heads * head_dim, 64), **more}  # fmt: skip


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("keys", "heads"), [(1, 1), (2, 3), (7, 2), (63, 1), (64, 2), (65, 1),
                                             (131, 1)])  # fmt: skip
def test_softmax(unit, keys, heads, passes):
    """Exact maxima, probabilities and sums; what lies behind the last key never counts."""
    rng = np.random.default_rng(keys + heads + passes)
    shape = unit.shape
    units, steps = ceil_div(keys, shape.t) * heads, ceil_div(keys, shape.oh)
    products = rng.integers(-(1 << 20), (1 << 20) + 1, (units, shape.t, steps * shape.oh))
    products[rng.random(products.shape) < 0.1] = 1 << 20
    products[0, 0, :keys] = -(1 << 20)  # the last key's neighbour behind the row is larger
    for mult, shift in ((65535, 22), (40000, 47), (32768, 1), (20011, 26)):
        job = attention_job(shape, keys, heads, 16, passes, mult_a=mult, shift_a=shift)
        sent = spec.results(shape, products.reshape(units, shape.t, steps, shape.oh))
        pieces, sums = unit.run("softmax", job, sent)
        p = row_probabilities(row_scores(products[..., :keys], mult, shift), passes)
        np.testing.assert_array_equal(pieces.reshape(-1, shape.in_par),
                                      spec.probability_pieces(shape, p, passes))  # fmt: skip
        found = sums.view("<u4").reshape(units, shape.queries)
        np.testing.assert_array_equal(found[:, : shape.t], p.sum(axis=-1))


def test_softmax_of_the_longest_row(unit):
    """As many keys as the board takes, all equally likely: the largest sums."""
    shape = unit.shape
    keys = shape.max_tokens
    units, steps = ceil_div(keys, shape.t), keys // shape.oh
    sent = np.zeros((units * steps, shape.result), dtype=np.int32)
    job = attention_job(shape, keys, 1, 64, 2, mult_a=40000, shift_a=20)
    _, sums = unit.run("softmax", job, sent)
    found = sums.view("<u4").reshape(units, shape.queries)[:, : shape.t]
    assert np.all(found == 4080 * keys)


@pytest.mark.parametrize("passes", [1, 2])
def test_scales(unit, passes):
    """Every length of a sum, its ends included, with every length of a multiplier."""
    rng = np.random.default_rng(passes)
    shape = unit.shape
    ends = [v for n in range(8, 23) for v in ((1 << n) - 1, 1 << n, (1 << n) + 1)]
    for mult, shift in ((65535, 47), (32768, 1), (1, 20), (0, 9), (45001, 30)):
        drawn = 255 + rng.integers(0, 4080 * 2048 - 254, 300)
        sums = np.concatenate([[255, 4080 * 2048], ends, drawn, 1 << rng.integers(8, 23, 37)])
        units = ceil_div(len(sums), shape.t)
        sums = np.resize(sums, (units, shape.t))
        sent = np.full((units, shape.queries), 255, dtype=np.uint32)
        sent[:, : shape.t] = sums
        job = attention_job(shape, sums.size, 1, 16, passes, mult_b=mult, shift_b=shift)
        found = unit.run("invert", job, sent)[0].view("<u4").reshape(units, shape.queries)
        np.testing.assert_array_equal(found[:, : shape.t], row_scales(sums, mult, shift, passes))


@pytest.mark.parametrize(("keys", "heads", "head_dim"), [
    (1, 1, 16), (63, 1, 64), (64, 3, 32), (65, 5, 16), (130, 3, 64), (200, 1, 32),
])  # fmt: skip
def test_transpose(unit, keys, heads, head_dim):
    """Blocks of all planes; only the channels of heads leave."""
    rng = np.random.default_rng(keys)
    shape = unit.shape
    planes = ceil_div(heads * head_dim, 64)
    values = rng.integers(-128, 128, (planes, keys, 64)).astype(np.int8)
    wanted = [spec.value_words(shape, values[p], min(64, heads * head_dim - 64 * p))
              for p in range(planes)]  # fmt: skip
    found = unit.run("transpose", attention_job(shape, keys, heads, head_dim, 1), values)[0]
    np.testing.assert_array_equal(found.reshape(-1, shape.word).view(np.int8),
                                  np.concatenate(wanted))  # fmt: skip


@pytest.mark.parametrize("name", ["softmax", "invert", "transpose"])
def test_other_modes_leave_them_alone(unit, name):
    job = {"mode": MODES["linear"], "rows": 300, "heads": 3, "head_dim": 64, "chunks": 2}
    assert all(out.size == 0 for out in unit.run(name, job, EMPTY))


def attention(q, k, v, head_dim, scale_a, scale_b, passes):
    """The specification on planes of all heads, int8 [N, channels]."""
    apart = (x.reshape(len(x), -1, head_dim).swapaxes(0, 1) for x in (q, k, v))
    return reference(*apart, scale_a, scale_b, passes).swapaxes(0, 1).reshape(q.shape)


CHAINS = [(1, 1, 64, 1), (1, 3, 16, 2), (19, 5, 16, 1), (70, 3, 32, 2), (67, 2, 64, 1),
          (65, 1, 64, 2), (140, 1, 32, 1)]  # fmt: skip


@pytest.mark.parametrize(("keys", "heads", "head_dim", "passes"), CHAINS)
def test_attention_as_a_chain(unit, keys, heads, head_dim, passes):
    """Words and lines through engine A, split, softmax, inverse, transpose, select, B, finish."""
    rng = np.random.default_rng(keys + heads)
    shape = unit.shape
    channels = heads * head_dim
    planes, tiles = ceil_div(channels, 64), ceil_div(keys, shape.t)
    q, k, v = (rng.integers(-128, 128, (keys, planes * 64)).astype(np.int8) for _ in range(3))
    scale_a, scale_b = (40321, 24), (51234, 16)
    job = attention_job(shape, keys, heads, head_dim, passes, mult_a=scale_a[0], shift_a=scale_a[1],
                        mult_b=scale_b[0], shift_b=scale_b[1])  # fmt: skip
    planar = [slice(64 * p, 64 * p + 64) for p in range(planes)]
    subs = [min(64, channels - 64 * p) // head_dim for p in range(planes)]
    rows = (keys - 1) % shape.t + 1
    chunks = chunk_array([{"tiles": tiles, "outputs": s * head_dim, "subs": s, "rows": rows}
                          for s in subs])  # fmt: skip

    words = np.concatenate([spec.key_words(shape, k[:, p]) for p in planar])
    queries = np.concatenate([spec.query_pieces(shape, q[:, p], head_dim, s)
                              for p, s in zip(planar, subs, strict=True)])  # fmt: skip
    (made,) = unit.run("engine_a", job, chunks, words, queries)
    outputs, scores = unit.run("split_results", job, chunks, made)
    assert outputs.size == 0
    pieces, sums = unit.run("softmax", job, scores)
    (scales,) = unit.run("invert", job, sums)
    (turned,) = unit.run("transpose", job, np.stack([v[:, p] for p in planar]))
    (words,) = unit.run("select_words", job, chunks, EMPTY, turned)
    (tokens,) = unit.run("select_tokens", job, chunks, EMPTY, pieces)
    (made,) = unit.run("engine_b", job, chunks, words, tokens)
    (lines,) = unit.run("finish", job, chunks, EMPTY, EMPTY, EMPTY, EMPTY, made, scales, EMPTY)
    (lines,) = unit.run("reorder", job, chunks, lines)
    (lines,) = unit.run("merge", job, chunks, lines, EMPTY)

    found = lines.view(np.int8).reshape(planes, keys, 64).swapaxes(0, 1).reshape(keys, -1)
    wanted = attention(q, k, v, head_dim, scale_a, scale_b, passes)
    np.testing.assert_array_equal(found[:, :channels], wanted[:, :channels])
    assert not found[:, channels:].any()


@pytest.mark.parametrize("store", ["act8", "residual", "scores"])
def test_linear_as_a_chain(unit, store):
    """A layer of two chunks, rows that fill no tile, and the residual stream."""
    rng = np.random.default_rng(len(store))
    shape = unit.shape
    rows, columns, outputs = 2 * shape.t + 1, 128, 149
    x = rng.integers(-128, 128, (rows, columns)).astype(np.int8)
    w = rng.integers(-128, 128, (outputs, columns)).astype(np.int8)
    bias, mult, shift = parameters(rng, outputs, False)
    table = rng.integers(-128, 128, 256).astype(np.int8)
    before = rng.integers(-32768, 32768, (rows, outputs))
    job = {"mode": MODES["linear"], "store": STORES[store], "chunks": 2,
           "activation": 2 if store == "act8" else 0}  # fmt: skip
    spans = [slice(a, b) for a, b in ((0, 64), (64, outputs))]
    chunks = chunk_array([{"tiles": 3, "outputs": s.stop - s.start, "rows": 1,
                           "pieces": columns // shape.in_par} for s in spans])  # fmt: skip
    pieces = np.concatenate([spec.token_pieces(shape, x)] * 2)
    results = []
    for half, name in enumerate(("engine_a", "engine_b")):
        words = np.concatenate([spec.layer_words(shape, w[s], half) for s in spans])
        results += unit.run(name, job, chunks, words, pieces)
    kept, scores = unit.run("split_results", job, chunks, results[0])
    assert scores.size == 0
    beats = [np.concatenate([parameter_beats(bias[s], mult[s], shift[s], half) for s in spans])
             for half in (0, 1)]  # fmt: skip
    tables = np.concatenate([table, table]) if store == "act8" else EMPTY
    (lines,) = unit.run("finish", job, chunks, *beats, tables, kept, results[1], EMPTY, EMPTY)
    (lines,) = unit.run("reorder", job, chunks, lines)
    acc = x.astype(np.int64) @ w.T.astype(np.int64)
    value = finished_values(acc, bias, mult, shift, store, job["activation"], table, None)
    element = {"act8": 1, "residual": 2, "scores": 4}[store]
    residual = EMPTY
    if store == "residual":
        residual = np.concatenate([
            spec.ordered_lines(shape, as_lines(before[:, s], 2), False) for s in spans
        ])  # fmt: skip
        value = saturate(value + before, 16)
    (lines,) = unit.run("merge", job, chunks, lines, residual)
    wanted = np.concatenate([
        spec.ordered_lines(shape, as_lines(value[:, s], element), False) for s in spans
    ])  # fmt: skip
    np.testing.assert_array_equal(lines.reshape(-1, 64), wanted)
