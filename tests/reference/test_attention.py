# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""ATTENTION against unbounded integers and against a softmax in float."""

import bigint_spec as spec
import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.reference.attention import attention


def random_heads(rng, heads, tokens, width, kind):
    values = {"normal": np.arange(-128, 128), "extreme": [-128, 127], "same": [77]}[kind]
    return [rng.choice(values, (heads, tokens, width)).astype(np.int8) for _ in range(3)]


@settings(max_examples=12, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 63, 64, 65, 130]),
    width=st.sampled_from([16, 32]),
    kind=st.sampled_from(["normal", "extreme", "same"]),
    score_scale=st.sampled_from([(40000, 20), (65535, 16), (65535, 1), (0, 1), (50000, 47)]),
    output_scale=st.sampled_from([(40000, 31), (65535, 1), (0, 5), (33000, 47)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_is_the_documented_one(tokens, width, kind, score_scale, output_scale, seed):
    rng = np.random.default_rng(seed)
    query, key, value = random_heads(rng, 2, tokens, width, kind)
    got = attention(query, key, value, score_scale, output_scale)
    for h in range(2):
        for t in {0, tokens // 2, tokens - 1}:
            expected = spec.attention_row(
                query[h, t].tolist(), key[h].tolist(), value[h].tolist(), score_scale, output_scale
            )
            assert got[h, t].tolist() == expected


def test_the_running_maximum_rises_and_falls_across_blocks():
    """Keys in blocks far weaker, far stronger (beyond 31 octaves), then weaker again."""
    tokens, width = 200, 16
    query = np.full((1, tokens, width), 127, np.int8)
    key = np.full((1, tokens, width), -127, np.int8)
    key[0, 70:75] = 127
    key[0, 140:] = 0
    rng = np.random.default_rng(5)
    value = rng.integers(-128, 128, (1, tokens, width)).astype(np.int8)
    for mult in (40000, 65535):
        for shift in (18, 21, 23):
            scale = (mult, shift), (40000, 31)
            got = attention(query, key, value, *scale)
            expected = spec.attention_row(
                query[0, 0].tolist(), key[0].tolist(), value[0].tolist(), *scale
            )
            assert got[0, 0].tolist() == expected


def test_a_maximum_that_rises_in_every_block():
    """Values and scales that show a single unit in the running sums."""
    rng = np.random.default_rng(9)
    tokens, width = 640, 16
    query = rng.integers(90, 128, (1, tokens, width)).astype(np.int8)
    key = np.full((1, tokens, width), -128, np.int8)
    # One key of each block counts, about 1.5 octaves more than that of the block before.
    strong = np.arange(0, tokens, 64) + rng.integers(0, 64, tokens // 64)
    key[0, strong] = 3 * np.arange(len(strong))[:, None] + rng.integers(-1, 2, (len(strong), width))
    value = rng.choice([-1, 0, 1], (1, tokens, width)).astype(np.int8)
    scale = (40000, 19), (65033, 25)
    got = attention(query, key, value, *scale)
    for t in range(0, tokens, 16):
        expected = spec.attention_row(
            query[0, t].tolist(), key[0].tolist(), value[0].tolist(), *scale
        )
        assert got[0, t].tolist() == expected
    assert len(np.unique(got)) > 50


@pytest.mark.parametrize("shift", [15, 19, 21])
def test_all_scores_far_below_zero(shift):
    """The maximum starts below every score, so that no sum is ever zero."""
    rng = np.random.default_rng(10)
    query = np.full((1, 3, 16), 127, np.int8)
    key = rng.integers(-128, -100, (1, 3, 16)).astype(np.int8)
    value = rng.integers(-128, 128, (1, 3, 16)).astype(np.int8)
    scale = (40000, shift), (32768, 31)
    got = attention(query, key, value, *scale)
    rows = key[0].tolist(), value[0].tolist()
    assert got[0, 0].tolist() == spec.attention_row(query[0, 0].tolist(), *rows, *scale)


def test_most_tokens_with_extreme_values_stay_inside_the_accumulators():
    tokens = 2048
    query = np.full((1, 1, 16), 127, np.int8)
    key = np.full((1, tokens, 16), 127, np.int8)
    value = np.full((1, tokens, 16), -128, np.int8)
    scale = (0, 1), (32768, 31)  # one octave for all: p = 4096
    expected = spec.attention_row(query[0, 0].tolist(), key[0].tolist(), value[0].tolist(), *scale)
    # The specification asserts that o and s stay inside int32.
    assert expected == [-128] * 16
    full = np.broadcast_to(query, (1, tokens, 16)).copy()
    assert (attention(full, key, value, *scale) == -128).all()


@settings(max_examples=20, deadline=None)
@given(
    tokens=st.integers(1, 300),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_is_close_to_softmax(tokens, spread, seed):
    """Bound, in units of the value: 0.5 for the last rounding, and for every key at most
    0.75 of 4096 lost or gained in its probability, plus 0.5 for every rescaling, over a
    sum that is at least 2048; deviations of values from their mean are at most 255."""
    rng = np.random.default_rng(seed)
    width = 32
    query, key = (
        np.clip(rng.normal(0, 35, (2, tokens, width)), -128, 127).astype(np.int8) for _ in range(2)
    )
    value = rng.integers(-128, 128, (2, tokens, width)).astype(np.int8)
    # Scores of standard deviation `spread` in natural units.
    factor = spread * 256 / np.log(2) / (35 * 35 * width**0.5)
    shift = 16
    mult = round(factor * 2**shift)
    scores = query.astype(float) @ key.transpose(0, 2, 1).astype(float) * mult / 2**shift / 256
    got = attention(query, key, value, (mult, shift), (32768, 31))
    powers = 2.0 ** (scores - scores.max(axis=2, keepdims=True))
    mean = powers @ value / powers.sum(axis=2, keepdims=True)
    # Integer sums are powers * 4096 * 2**(max - ceil(max)), at least half of it.
    total = 2048 * powers.sum(axis=2)
    blocks = -(-tokens // 64)
    # A score is off by at most half of 1/256 octave.
    slope = 256 * (2 ** (1 / 512) - 1)
    loose = 0.5 + slope + 255 * (0.75 * tokens + blocks) / total
    error = np.abs(got - mean)
    assert (error <= loose[:, :, None]).all()
    assert error.mean() < 0.5, "on average no worse than rounding"


def test_key_order_matters_only_within_rounding():
    """Blocks are part of the numerics, but not of what is computed."""
    rng = np.random.default_rng(6)
    tokens, width = 190, 32
    query, key = (rng.normal(0, 30, (3, tokens, width)).astype(np.int8) for _ in range(2))
    value = rng.integers(-128, 128, (3, tokens, width)).astype(np.int8)
    order = rng.permutation(tokens)
    scales = (40000, 22), (32768, 31)
    straight = attention(query, key, value, *scales).astype(int)
    shuffled = attention(query, key[:, order], value[:, order], *scales).astype(int)
    assert np.abs(straight - shuffled).max() <= 1


@pytest.mark.parametrize(("heads", "width"), [(3, 16), (2, 32), (3, 64), (1, 16)])
def test_attention_instruction_finds_its_heads(heads, width):
    rng = np.random.default_rng(heads * width)
    tokens, channels = 7, heads * width
    k_offset, v_offset = 2 * channels, channels
    rows = rng.integers(-128, 128, (tokens, 3 * channels)).tolist()
    made = spec_image.machine()
    spec_image.put_act(made, 4, 10, rows)
    scales = (39000, 19), (41000, 31)
    made.execute(
        Instruction(
            Opcode.ATTENTION, rows=tokens, heads=heads, head_dim=width, src=4, src_stride=10,
            k_offset=k_offset, v_offset=v_offset, dst=300, dst_stride=4, mult_a=39000, shift_a=19,
            mult_b=41000, shift_b=31,
        )
    )  # fmt: skip
    got = spec_image.get_act(made, 300, 4, tokens, channels)
    for t in range(tokens):
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            expected = spec.attention_row(
                rows[t][part],
                [r[k_offset:][part] for r in rows],
                [r[v_offset:][part] for r in rows],
                *scales,
            )
            assert got[t][part] == expected
