# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Parts of quantisation: multipliers, grids, rounding, fitted layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler import simulate
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear, fit_norm, prove_accumulators
from m3vit_pynq.compiler.grids import Grid, multiplier
from m3vit_pynq.compiler.layers import Attention, Linear, Norm
from m3vit_pynq.compiler.made_up import made_up_model
from m3vit_pynq.compiler.rounding import Feedback, round_compensated, round_to_nearest, row_scales
from m3vit_pynq.compiler.search import GeluFit, search_gelu, search_norm
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.reference import attention as exact_attention
from m3vit_pynq.reference import layernorm as exact_layernorm
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.linear import accumulate, activate, scale


def db(signal, noise):
    return 10 * np.log10(np.sum(np.square(signal)) / np.sum(np.square(noise)))


def rows_of(layer):
    """A layer as the specification takes it."""
    return WeightRows(
        layer.weights, *(x.astype(np.int64) for x in (layer.bias, layer.mult, layer.shift))
    )


# Numbers


@settings(max_examples=200, deadline=None)
@given(st.floats(2.0**-31, 30000.0), st.integers(1, 9))
def test_multipliers_are_within_half_a_unit(factor, least):
    if factor > 65535 * 2.0**-least:
        with pytest.raises(ValueError, match="does not fit"):
            multiplier(np.array([factor]), least)
        return
    mult, shift = (int(x[0]) for x in multiplier(np.array([factor]), least))
    assert 0 <= mult <= 65535
    assert least <= shift <= 47
    assert abs(mult / 2**shift - factor) <= factor * 2.0**-16 or shift == least
    assert abs(mult / 2**shift - factor) <= 0.5000001 / 2**shift


def test_multiplier_refuses_what_is_no_scale():
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            multiplier(np.array([bad]))


@settings(max_examples=100, deadline=None)
@given(st.floats(-50, 50), st.floats(1e-3, 100))
def test_a_covering_grid_reaches_both_ends(low, span):
    grid = Grid.covering(np.array([low]), np.array([low + span]))
    ends = np.array([[low], [low + span]])
    assert grid.quantise(ends)[:, 0].tolist() == [-128, 127]
    assert np.allclose(grid.dequantise(grid.quantise(ends)), ends, atol=span * 1e-5 + 1e-5)


# Rounding


def test_error_feedback_beats_rounding_on_correlated_inputs():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2000, 12)) @ rng.normal(size=(12, 48)) + 0.1 * rng.normal(
        size=(2000, 48)
    )
    weights = rng.normal(size=(20, 48))
    moment = inputs.T @ inputs / len(inputs)
    row = row_scales(weights, np.diag(moment))
    exact = inputs @ weights.T
    errors = []
    for integers in (
        round_to_nearest(weights, row),
        round_compensated(weights, row, Feedback.of(moment)),
    ):
        assert np.array_equal(integers, np.rint(integers))
        assert np.abs(integers).max() <= 127
        errors.append(db(exact, inputs @ (integers * row[:, None]).T - exact))
    assert errors[1] > errors[0] + 6


def test_feedback_without_correlation_is_plain_rounding():
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(7, 130))
    row = np.abs(weights).max(axis=1) / 127
    feedback = Feedback.of(np.diag(rng.uniform(1, 2, 130)))
    assert np.array_equal(round_compensated(weights, row, feedback), round_to_nearest(weights, row))


# Layers


@pytest.mark.parametrize("store", [Store.ACT8, Store.RESIDUAL])
def test_a_fitted_layer_computes_the_float_layer(store):
    rng = np.random.default_rng(2)
    real = rng.normal(rng.normal(size=32), rng.uniform(0.1, 3, 32), (3000, 32))
    layer = Affine("layer", rng.normal(size=(10, 32)), rng.normal(size=10))
    exact = real @ layer.weight.T + layer.bias
    source = Grid.covering(real.min(axis=0), real.max(axis=0))
    integers = source.quantise(real)
    wide = store == Store.RESIDUAL
    target = Grid.uniform(10, 4e-3) if wide else Grid.covering(exact.min(axis=0), exact.max(axis=0))
    fitted = fit_linear(
        layer, source, Moments.of(integers), target, store=store, target_mean=exact.mean(axis=0)
    )
    bits = 16 if wide else 8
    result = scale(accumulate(integers.astype(np.int8), rows_of(fitted)), rows_of(fitted), bits)
    error = target.dequantise(result) - exact
    assert db(exact, error) > (38 if wide else 34)
    assert np.abs(error.mean(axis=0)).max() < 2 * target.scale.max() + 1e-3


def test_a_layer_of_zeros_keeps_its_bias():
    layer = Affine("zero", np.zeros((4, 8)), np.array([0.0, 1.0, -2.0, 1e-6]))
    target = Grid.uniform(4, 0.02)
    fitted = fit_linear(layer, Grid.uniform(8, 1.0), Moments.of(np.ones((3, 8))), target)
    result = scale(accumulate(np.ones((1, 8), np.int8), rows_of(fitted)), rows_of(fitted), 8)
    assert result.tolist() == [[0, 50, -100, 0]]


def test_an_accumulator_that_could_overflow_is_refused():
    def layer(columns, bias):
        weights = np.full((1, columns), 127, np.int8)
        one = np.ones(1, np.uint16)
        return Linear("large", weights, np.array([bias]), one, one.astype(np.uint8))

    # The largest accumulator is 127 * 128 a column: weights alone cannot exceed the bound
    # within the architecture's K.
    limit = (1 << 26) // (127 * 128)
    assert limit >= isa.MAX_K
    assert prove_accumulators(layer(limit, 0)).bias.dtype == np.int32
    for columns, bias in ((limit + 1, 0), (limit, 127 * 128), (8, -(1 << 26))):
        with pytest.raises(CapacityError, match=r"layer large: needs accumulator = \d+"):
            prove_accumulators(layer(columns, bias))


def test_a_row_whose_accumulator_would_not_fit_gets_coarser():
    """The widest layer there can be, full of equal weights, with a large bias."""
    layer = Affine("wide", np.ones((2, isa.MAX_K)), np.array([0.0, 70000.0]))
    one = np.eye(isa.MAX_K, dtype=np.float32)
    moments = Moments(100, np.full(isa.MAX_K, 2.5), one)
    moments.__dict__["feedback"] = Feedback(np.arange(isa.MAX_K), one)  # plain rounding, at once
    target = Grid.uniform(2, 1000.0)
    fitted = fit_linear(layer, Grid.uniform(isa.MAX_K, 1.0), moments, target)
    bound = np.abs(fitted.bias) + 128 * np.abs(fitted.weights.astype(int)).sum(axis=1)
    assert bound.max() < 1 << 26
    assert np.abs(fitted.weights[1]).max() < 127
    inputs = np.repeat(np.array([[2], [3]], np.int8), isa.MAX_K, axis=1)
    result = scale(accumulate(inputs, rows_of(fitted)), rows_of(fitted), 8)
    assert result.tolist() == [[8, 78], [12, 82]]


def test_layernorm():
    rng = np.random.default_rng(3)
    residual = rng.integers(-9000, 9000, (50, 64)).astype(np.int16)
    gamma, beta = rng.normal(1, 0.3, 64), rng.normal(0, 0.5, 64)
    real = residual.astype(float)
    z = (real - real.mean(axis=1, keepdims=True)) / np.sqrt(real.var(axis=1, keepdims=True) + 2.5)
    exact = z * gamma + beta
    grid = Grid.covering(exact.min(axis=0), exact.max(axis=0))
    norm = fit_norm("norm", gamma, beta, grid, round(2.5 * 64**2))
    result = exact_layernorm.layernorm(residual, norm.gamma, norm.beta, norm.eps, norm.shift)
    assert np.abs(grid.dequantise(result) - exact).max() < 0.52 * grid.scale.max()


def test_gelu_table():
    fit = GeluFit.covering(-3.0, 5.0)
    values = np.linspace(-6, 5, 500)
    exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in values])
    # A step of the input is 8/255; beyond its lower end GELU is nearly flat.
    assert np.abs(fit(values) - exact).max() < 0.03


def test_a_search_prefers_range_over_clipping_what_others_reach():
    """Half of the rows reach further than the half that ranges are first taken from."""
    rng = np.random.default_rng(4)
    rows = rng.uniform(-1, 1, (400, 16)).astype(np.float32)
    fold = np.arange(400) % 2 == 0
    rows[~fold] *= 1.2
    weight = rng.normal(size=(8, 16))
    grid = search_norm(rows, weight, fold)
    assert (128 * grid.scale).min() > 1.2 * 1.1

    values = rng.normal(0, 1.5, (3000, 4))
    fit = search_gelu(values, np.ones(4), np.arange(3000) % 2 == 0)
    exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in values[:, 0]])
    assert db(exact, fit(values[:, 0]) - exact) > 30


# The simulation that calibration runs on


def test_simulated_layers_are_the_specification(micro):
    rng = np.random.default_rng(5)
    block = made_up_model(get_config("micro")).blocks[1]
    inputs = rng.integers(-128, 128, (40, 64)).astype(np.int8)
    floats = inputs.astype(np.float32)
    for layer in (block.qkv, micro.model.blocks[0].ffn.mlp.first[0]):
        rows = rows_of(layer)
        exact = activate(scale(accumulate(inputs, rows), rows, 8), layer.activation, layer.table)
        assert np.array_equal(simulate.linear8(layer, floats), exact)
    rows = rows_of(block.proj)
    exact = scale(accumulate(inputs, rows), rows, 16)
    assert np.array_equal(simulate.linear_residual(block.proj, floats), exact)
    residual = rng.integers(-30000, 30000, (40, 64)).astype(np.int16)
    exact = exact_layernorm.layernorm(
        residual, block.norm.gamma, block.norm.beta, block.norm.eps, block.norm.shift
    )
    simulated = simulate.norm8(block.norm, residual.astype(np.float32))
    assert np.array_equal(simulated, exact)


def test_the_simulated_root_is_that_of_the_specification():
    rng = np.random.default_rng(7)
    norm = Norm("norm", np.full(96, 20000, np.int16), np.zeros(96, np.int32), 21, 1)
    spread = np.exp2(rng.uniform(0, 15, (500, 1)))
    residual = np.clip(rng.normal(0, spread, (500, 96)), -32768, 32767).astype(np.int16)
    residual[0], residual[1] = 5, 32767
    exact = exact_layernorm.layernorm(residual, norm.gamma, norm.beta, norm.eps, norm.shift)
    assert np.array_equal(simulate.norm8(norm, residual.astype(np.float32)), exact)


@pytest.mark.parametrize("passes", [1, 2])
def test_simulated_attention_is_close_to_the_specification(passes):
    rng = np.random.default_rng(6)
    qkv = rng.normal(0, 35, (1, 150, 96)).clip(-128, 127).astype(np.int8)
    layer = Attention("attention", (40000, 19), (50000, 15), passes)
    query, key, value = (qkv[0][:, i : i + 32].reshape(150, 2, 16).swapaxes(0, 1)
                         for i in (0, 32, 64))  # fmt: skip
    exact = exact_attention.attention(
        query, key, value, layer.score_scale, layer.output_scale, passes
    )
    exact = exact.swapaxes(0, 1).reshape(150, 32)
    simulated = simulate.attention8(layer, qkv.astype(np.float32), 2)[0]
    assert np.abs(simulated - exact).max() <= 1
    assert np.mean(simulated != exact) < 0.01
    assert np.array_equal(
        simulate.attention8(layer, qkv.astype(np.float32), 2, 4)[0], simulated[::4]
    )
