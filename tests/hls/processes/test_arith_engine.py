# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The packed product on every operand; half engines against plain matrix products."""

from __future__ import annotations

import arith_spec as spec
import numpy as np
import pytest
from arith_bench import BOARDS, CHECKED, FAST, MODES, bench, ceil_div, chunk_array

PLAIN_DOT = (*FAST, "-DM3VIT_PLAIN_DOT")
#: Every board with all checks; two with the loop that host builds use instead of `dot`.
BENCHES = [(board, CHECKED) for board in BOARDS] + [("kv260", PLAIN_DOT), ("pynq-z2", PLAIN_DOT)]
IDS = [f"{board}{'-plain-dot' if flags is PLAIN_DOT else ''}" for board, flags in BENCHES]


@pytest.fixture(params=BENCHES, ids=IDS)
def unit(request):
    return bench(*request.param)


@pytest.mark.parametrize("board", ["zcu104", "pynq-z2"])
def test_two_products_in_one_multiplier(board):
    """Every pair of tokens -128 ... 255 with every weight: 37.7 million triples."""
    wrong = bench(board, FAST).run("products")[0].view("<u4")[0]
    assert wrong == 0


def matrices(rng, rows: int, outputs: int, columns: int):
    """Tokens and weights; some draws are all extremes."""
    values = [-128, 127] if rng.integers(4) == 0 else np.arange(-128, 128)
    return (rng.choice(values, (rows, columns)).astype(np.int8),
            rng.choice(values, (outputs, columns)).astype(np.int8))  # fmt: skip


#: (tiles, outputs, columns) of the chunks of one pass.
LAYERS = [
    [(0, 5, 64)],
    [(1, 1, 64)],
    [(1, 4, 64), (0, 4, 64), (3, 9, 64)],
    [(2, 3, 192), (2, 17, 192), (1, 64, 192)],
    [(3, 6, 128)],
    [(1, 2, 4096)],
]


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("chunks", LAYERS, ids=str)
def test_layers(unit, chunks, half):
    """LINEAR and its kin: both halves, several chunks, some without tokens."""
    rng = np.random.default_rng(len(chunks) + half)
    shape = unit.shape
    words, tokens, expected, described = [], [], [], []
    for tiles, outputs, columns in chunks:
        x, w = matrices(rng, tiles * shape.t, outputs, columns)
        described.append({"tiles": tiles, "outputs": outputs, "pieces": columns // shape.in_par})
        if tiles == 0:
            continue
        words.append(spec.layer_words(shape, w, half))
        tokens.append(spec.token_pieces(shape, x))
        sums = np.zeros((tiles * shape.t, ceil_div(outputs, 4) * 4), dtype=np.int64)
        sums[:, :outputs] = x.astype(np.int64) @ w.T.astype(np.int64)
        expected.append(spec.half_results(shape, sums, half))
    empty = np.zeros(0, np.uint8)
    found = unit.run(
        "engine_b" if half else "engine_a", {"mode": MODES["linear"], "chunks": len(chunks)},
        chunk_array(described), np.concatenate(words) if words else empty,
        np.concatenate(tokens) if tokens else empty,
    )[0].view("<i4")  # fmt: skip
    wanted = np.concatenate(expected) if expected else empty
    np.testing.assert_array_equal(found.reshape(-1, shape.result), wanted.reshape(-1, shape.result))


def test_a_half_of_the_ping_pong_holds_what_the_board_states(unit):
    """A chunk that fills the memory to its last word."""
    rng = np.random.default_rng(5)
    shape = unit.shape
    pieces = 6 * shape.pieces if shape.half_words % (6 * shape.pieces) == 0 else 4 * shape.pieces
    outputs = shape.half_words // pieces * shape.oh * 2
    x, w = matrices(rng, shape.t, outputs, pieces * shape.in_par)
    found = unit.run(
        "engine_a", {"mode": MODES["up"], "chunks": 1},
        chunk_array([{"tiles": 1, "outputs": outputs, "pieces": pieces}]),
        spec.layer_words(shape, w, 0), spec.token_pieces(shape, x),
    )[0].view("<i4").reshape(-1, shape.result)  # fmt: skip
    sums = x.astype(np.int64) @ w.T.astype(np.int64)
    np.testing.assert_array_equal(found, spec.half_results(shape, sums, 0))


HEADS = [(1, 1, 64), (3, 2, 32), (1, 3, 16), (17, 4, 16), (64, 1, 64), (65, 2, 32), (193, 1, 64),
         (130, 1, 32)]  # fmt: skip


@pytest.mark.parametrize(("keys", "subs", "head_dim"), HEADS)
def test_scores(unit, keys, subs, head_dim):
    """Engine A in ATTENTION: two planes of queries times keys."""
    rng = np.random.default_rng(keys)
    shape = unit.shape
    tiles = ceil_div(keys, shape.t)
    words, tokens, expected = [], [], []
    for _ in range(2):
        q, k = matrices(rng, keys, keys, 64)
        words.append(spec.key_words(shape, k))
        tokens.append(spec.query_pieces(shape, q, head_dim, subs))
        rows = tokens[-1].reshape(tiles, subs, shape.t, 64).astype(np.int64)
        steps = ceil_div(keys, shape.oh)
        scores = np.zeros((tiles, subs, shape.t, steps * shape.oh), dtype=np.int64)
        scores[..., :keys] = rows @ k.T.astype(np.int64)
        expected.append(spec.results(shape, scores.reshape(-1, shape.t, steps, shape.oh)))
    chunk = {"tiles": tiles, "outputs": subs * head_dim, "subs": subs}
    job = {"mode": MODES["attention"], "chunks": 2, "rows": keys, "head_dim": head_dim,
           "passes": 1}  # fmt: skip
    found = unit.run("engine_a", job, chunk_array([chunk] * 2), np.concatenate(words),
                     np.concatenate(tokens))[0].view("<i4")  # fmt: skip
    np.testing.assert_array_equal(found.reshape(-1, shape.result), np.concatenate(expected))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("keys", "subs", "head_dim"), HEADS)
def test_values(unit, keys, subs, head_dim, passes):
    """Engine B in ATTENTION: unsigned probabilities of one or two passes times values."""
    rng = np.random.default_rng(keys + passes)
    shape = unit.shape
    tiles = min(3, ceil_div(keys, shape.t))
    words, tokens, expected = [], [], []
    for _ in range(2):
        v = matrices(rng, keys, 1, 64)[0]
        p = rng.integers(0, 256 if passes == 1 else 4081, (tiles * subs, shape.t, keys))
        words.append(spec.value_words(shape, v, subs * head_dim))
        tokens.append(spec.probability_pieces(shape, p, passes))
        own = v[:, : subs * head_dim].reshape(keys, subs, head_dim).astype(np.int64)
        sums = np.einsum("iutk,kuc->iutc", p.reshape(tiles, subs, shape.t, keys), own)
        steps = head_dim // shape.oh
        expected.append(spec.results(shape, sums.reshape(-1, shape.t, steps, shape.oh)))
    chunk = {"tiles": tiles, "outputs": subs * head_dim, "subs": subs}
    job = {"mode": MODES["attention"], "chunks": 2, "rows": keys, "head_dim": head_dim,
           "passes": passes}  # fmt: skip
    found = unit.run("engine_b", job, chunk_array([chunk] * 2), np.concatenate(words),
                     np.concatenate(tokens))[0].view("<i4")  # fmt: skip
    np.testing.assert_array_equal(found.reshape(-1, shape.result), np.concatenate(expected))


@pytest.mark.parametrize("passes", [1, 2])
def test_the_longest_row_of_probabilities(passes):
    """As many keys as the board takes, largest operands: accumulators stay within 32 bits."""
    unit = bench("pynq-z2")
    shape = unit.shape
    keys = shape.max_tokens
    p = np.full((1, shape.t, keys), 255 if passes == 1 else 4080)
    v = np.full((keys, 64), -128, dtype=np.int8)
    job = {"mode": MODES["attention"], "chunks": 1, "rows": keys, "head_dim": 64, "passes": passes}
    found = unit.run(
        "engine_b", job, chunk_array([{"tiles": 1, "outputs": 64}]), spec.value_words(shape, v, 64),
        spec.probability_pieces(shape, p, passes),
    )[0].view("<i4").reshape(-1, shape.result)  # fmt: skip
    assert np.all(found[:, : shape.t * shape.oh] == -128 * keys * p[0, 0, 0])


@pytest.mark.parametrize("mode", ["linear", "attention"])
def test_switches(unit, mode):
    """Words, tokens and results go where the mode sends them, and only there."""
    shape = unit.shape
    rng = np.random.default_rng(9)
    keys, chunks = 70, [{"tiles": 2, "outputs": 48, "pieces": 3, "subs": 3, "rows": 1},
                        {"tiles": 1, "outputs": 16, "pieces": 3, "subs": 1, "rows": 1}]  # fmt: skip
    attention = mode == "attention"
    if not attention:
        chunks.insert(1, {"tiles": 0, "outputs": 5, "pieces": 3})
    job = {"mode": MODES[mode], "chunks": len(chunks), "rows": keys, "head_dim": 16, "passes": 2}
    words = tokens = scores = 0
    for chunk in chunks:
        blocks = ceil_div(keys, 64) * shape.pieces
        words += chunk["outputs"] // shape.oh * blocks if attention else (
            ceil_div(chunk["outputs"], 4) * 2 // shape.oh * 3 if chunk["tiles"] else 0)  # fmt: skip
        units = chunk["tiles"] * (chunk["subs"] if attention else 1)
        tokens += units * shape.t * (2 * blocks if attention else 3)
        scores += units * (ceil_div(keys, shape.oh) if attention
                           else ceil_div(chunk["outputs"], 4) * 2 // shape.oh)  # fmt: skip
    array = chunk_array(chunks)
    for name, count, size in (("select_words", words, shape.word),
                              ("select_tokens", tokens, shape.in_par)):  # fmt: skip
        data = rng.integers(0, 256, count * size).astype(np.uint8)
        empty = data[:0]
        sent = (empty, data) if attention else (data, empty)
        np.testing.assert_array_equal(unit.run(name, job, array, *sent)[0], data)
    data = rng.integers(0, 256, scores * 4 * shape.result).astype(np.uint8)
    outputs, kept = unit.run("split_results", job, array, data)
    np.testing.assert_array_equal(kept if attention else outputs, data)
    assert (outputs if attention else kept).size == 0
