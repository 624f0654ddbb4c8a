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
from m3vit_pynq.reference.attention import attention, query_scale


def random_heads(rng, heads, tokens, width, kind):
    values = {"normal": np.arange(-128, 128), "extreme": [-128, 127], "same": [77]}[kind]
    return [rng.choice(values, (heads, tokens, width)).astype(np.int8) for _ in range(3)]


@settings(max_examples=12, deadline=None)
@given(
    tokens=st.sampled_from([1, 2, 63, 64, 65, 130]),
    width=st.sampled_from([16, 32]),
    kind=st.sampled_from(["normal", "extreme", "same"]),
    score_scale=st.sampled_from([(40000, 20), (65535, 16), (65535, 1), (0, 1), (50000, 47)]),
    output_scale=st.sampled_from([(40000, 15), (65535, 1), (0, 5), (1, 2), (33000, 47)]),
    passes=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_is_the_documented_one(
    tokens, width, kind, score_scale, output_scale, passes, seed
):
    rng = np.random.default_rng(seed)
    query, key, value = random_heads(rng, 2, tokens, width, kind)
    got = attention(query, key, value, score_scale, output_scale, passes)
    for h in range(2):
        for t in {0, tokens // 2, tokens - 1}:
            expected = spec.attention_row(
                query[h, t].tolist(), key[h].tolist(), value[h].tolist(), score_scale,
                output_scale, passes,
            )  # fmt: skip
            assert got[h, t].tolist() == expected


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("shift", [15, 18, 21, 23])
def test_scores_that_differ_by_more_than_31_octaves(shift, passes):
    tokens, width = 200, 16
    query = np.full((1, tokens, width), 127, np.int8)
    key = np.full((1, tokens, width), -127, np.int8)
    key[0, 70:75] = 127
    key[0, 140:] = 0
    rng = np.random.default_rng(5)
    value = rng.integers(-128, 128, (1, tokens, width)).astype(np.int8)
    scale = (40000, shift), (40000, 15)
    got = attention(query, key, value, *scale, passes)
    expected = spec.attention_row(
        query[0, 0].tolist(), key[0].tolist(), value[0].tolist(), *scale, passes
    )
    assert got[0, 0].tolist() == expected


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("low", [-128, 127])
def test_most_tokens_with_extreme_values_stay_inside_the_accumulators(passes, low):
    tokens = 2048
    query = np.full((1, tokens, 16), 127, np.int8)
    key = np.full((1, tokens, 16), 127, np.int8)
    value = np.full((1, tokens, 16), low, np.int8)
    scale = (0, 1), (32768, 15)  # all scores equal: the mean of equal values
    # The specification asserts that a stays below 2**26.
    expected = spec.attention_row(
        query[0, 0].tolist(), key[0].tolist(), value[0].tolist(), *scale, passes
    )
    assert expected == [low] * 16
    assert (attention(query, key, value, *scale, passes) == low).all()


@given(
    total=st.integers(255, 2048 * 4080),
    mult=st.integers(0, 65535),
    shift=st.integers(1, 47),
    passes=st.sampled_from([1, 2]),
)
def test_one_multiplier_takes_the_place_of_the_division(total, mult, shift, passes):
    got = tuple(int(v[0]) for v in query_scale(np.array([total]), mult, shift, passes))
    assert got == spec.query_scale(total, mult, shift, passes)
    exact = mult / 2**shift / total * (1 if passes == 1 else 16)
    if got[1] < 47 and mult >= 32768:
        # 18 bits of the inverse, 16 of the product.
        assert got[0] / 2 ** got[1] == pytest.approx(exact, rel=2**-15 + 2**-16)


@settings(max_examples=20, deadline=None)
@given(
    tokens=st.integers(1, 300),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
    passes=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_is_close_to_softmax(tokens, spread, passes, seed):
    """Bound, in units of the value: 0.5 for the last rounding and 0.3 for the scale; for
    every key half a unit of 255 or 4080, and a score that is off by half of 1/256 octave,
    over the sum; deviations of values from their mean are at most 255."""
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
    got = attention(query, key, value, (mult, shift), (32768, 15), passes)
    powers = 2.0 ** (scores - scores.max(axis=2, keepdims=True))
    mean = powers @ value / powers.sum(axis=2, keepdims=True)
    total = (255 if passes == 1 else 4080) * powers.sum(axis=2)
    slope = 256 * (2 ** (1 / 512) - 1)
    loose = 0.8 + 2 * slope + 255 * 0.55 * tokens / total
    error = np.abs(got - mean)
    assert (error <= loose[:, :, None]).all()
    if passes == 2:
        assert error.mean() < 0.5, "on average no worse than rounding"


def test_the_order_of_keys_does_not_matter():
    rng = np.random.default_rng(6)
    tokens, width = 190, 32
    query, key = (rng.normal(0, 30, (3, tokens, width)).astype(np.int8) for _ in range(2))
    value = rng.integers(-128, 128, (3, tokens, width)).astype(np.int8)
    order = rng.permutation(tokens)
    scales = (40000, 22), (32768, 15)
    straight = attention(query, key, value, *scales)
    assert (straight == attention(query, key[:, order], value[:, order], *scales)).all()


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(("heads", "width"), [(3, 16), (2, 32), (3, 64), (1, 16), (5, 32)])
def test_attention_instruction_finds_its_heads(heads, width, passes):
    rng = np.random.default_rng(heads * width)
    tokens, channels = 7, heads * width
    planes = -(-channels // 64)
    q, k, v = (rng.integers(-128, 128, (tokens, channels)).tolist() for _ in range(3))
    made = spec_image.machine()
    plane = 11  # lines from one plane to the next
    for part, where in ((q, 0), (v, planes), (k, 2 * planes)):
        spec_image.put_planar(made, 4 + where * plane, plane, part)
    before = spec_image.workspace_of(made).copy()
    scales = (39000, 19), (41000, 15)
    made.execute(
        Instruction(
            Opcode.ATTENTION, rows=tokens, heads=heads, head_dim=width, src=spec_image.at(4),
            src_stride=plane, k_offset=2 * planes, v_offset=planes, dst=spec_image.at(300),
            dst_stride=4, mult_a=39000, shift_a=19, mult_b=41000, shift_b=15, passes=passes,
        )
    )  # fmt: skip
    got = spec_image.get(made, 300, 4, tokens, channels)
    for t in range(tokens):
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            expected = spec.attention_row(
                q[t][part], [r[part] for r in k], [r[part] for r in v], *scales, passes
            )
            assert got[t][part] == expected
    assert spec_image.untouched(made, before, (300, 300 + 4 * tokens))
