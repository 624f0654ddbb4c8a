# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantising the first half of a block: LayerNorm, qkv, attention, projection.

Freedom that the integers leave is used up: queries and keys share a product of
scales in every channel, so a channel's range can move between them; a constant
added to a key changes every score of a query alike and softmax forgets it; a
constant added to a value passes through the mean. So keys and values are
centred channel by channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear, fit_norm
from m3vit_pynq.compiler.grids import Grid, joined, multiplier_pair
from m3vit_pynq.compiler.layers import Attention, Linear, Norm
from m3vit_pynq.compiler.search import Range, search_norm, thinned
from m3vit_pynq.compiler.simulate import (
    add_residual,
    attention8,
    linear8,
    linear_residual,
    merge_heads,
    softmax,
    split_heads,
)
from m3vit_pynq.compiler.streams import Context, Stream, folds, norm_rows, stacked

_SEARCH_FRAMES = 6
_QUERY_STRIDE = 3


def float_attention(qkv: np.ndarray, heads: int) -> np.ndarray:
    """Softmax attention of real rows [frames, tokens, 3 D]: [frames, tokens, D]."""
    mixed = []
    for query, key, value in zip(*split_heads(qkv, heads), strict=True):
        scale = np.float32(query.shape[-1] ** -0.5)
        mixed.append(softmax(query @ key.swapaxes(-1, -2) * scale) @ value)
    return merge_heads(np.stack(mixed))


def affine(context: Context, name: str) -> Affine:
    """A linear layer of the checkpoint."""
    return Affine(name, context.array(f"{name}.weight"), context.array(f"{name}.bias"))


def short_name(name: str) -> str:
    """Layer name without the part that all share."""
    return name.removeprefix("backbone.").removeprefix("decoders.")


@dataclass(frozen=True)
class Rule:
    """How the grids of one attention layer follow from the ranges of its tensors.

    Attributes
    ----------
    score_keep, value_keep, mixed_keep : float
        Part of the range of queries and keys, values, and results that is kept.
    gain : float
        How much finer the grid of the result is than that of the values.
    temper : float
        Factor of the scores. With 8-bit probabilities the smallest vanish; a
        little less contrast gives their weight back to what is left of them.
    """

    score_keep: float = 1.15
    value_keep: float = 1.15
    mixed_keep: float = 1.15
    gain: float = 1.5
    temper: float = 1.0


_CHOICES = (
    ("gain", (1.0, 1.4, 2.0, 2.8, 4.0)),
    ("score_keep", (1.3, 1.15, 1.0, 0.8, 0.6, 0.45)),
    ("mixed_keep", (1.3, 1.0, 0.85, 0.7)),
    ("value_keep", (1.3, 1.0, 0.85, 0.7)),
    ("gain", (1.0, 1.4, 2.0, 2.8, 4.0)),
)
_TEMPERS = (("temper", (1.0, 0.99, 0.98, 0.97)),)


class AttentionRanges:
    """Ranges of queries, keys, values and results.

    Parameters
    ----------
    qkv : float [rows, 3 D]
    mixed : float [rows, D]
    """

    def __init__(self, qkv: np.ndarray, mixed: np.ndarray) -> None:
        dim = mixed.shape[1]
        self.query = np.maximum(np.abs(qkv[:, :dim]).max(axis=0), 1e-6).astype(np.float64)
        self.key = Range.of(qkv[:, dim : 2 * dim])
        self.value = Range.of(qkv[:, 2 * dim :])
        self.mixed = Range.of(mixed)

    def scores(self, keep: float) -> tuple[Grid, Grid]:
        """Grids of queries and keys; their scales have one product in all channels."""
        middle, half = self.key.kept(1.0)
        unit = (self.query * half).max() * keep / 127**2
        balance = np.sqrt(self.query / half)
        query = Grid(np.sqrt(unit) * balance, np.zeros_like(balance))
        return query, Grid(np.sqrt(unit) / balance, middle)

    def values(self, rule: Rule) -> tuple[Grid, Grid]:
        """Grids of values and result; the result's is finer by one gain in all channels.

        Where a result needs more than that leaves it, the value gets a coarser
        grid than it needs itself.
        """
        middle, half = self.mixed.kept(rule.mixed_keep)
        value_middle, value_half = self.value.kept(rule.value_keep)
        reach = np.maximum(value_half + np.abs(value_middle - middle), rule.gain * half)
        value = Grid.covering(middle - reach, middle + reach)
        return value, Grid(value.scale / rule.gain, value.offset)

    def apply(
        self, name: str, rule: Rule, head_dim: int, passes: int
    ) -> tuple[Grid, Attention, Grid]:
        """Grid of qkv, the attention's scales, grid of the result."""
        query, key = self.scores(rule.score_keep)
        value, mixed = self.values(rule)
        score = float(query.scale[0] * key.scale[0]) * head_dim**-0.5 * 256 / np.log(2)
        score *= rule.temper
        layer = Attention(name, multiplier_pair(score), multiplier_pair(rule.gain), passes)
        return joined(query, key, value), layer, mixed


def search_attention(
    name: str,
    qkv: list[np.ndarray],
    mixed: list[np.ndarray],
    importance: np.ndarray,
    heads: int,
    passes: int = 1,
) -> tuple[Grid, Attention, Grid]:
    """Grids of qkv and of the result that keep the result closest.

    Parameters
    ----------
    qkv : list of float [frames, tokens, 3 D]
        Real queries, keys and values of every stream.
    mixed : list of float [frames, tokens, D]
        Attention of `qkv`.
    importance : float [D]
        Cost of an error in each channel of the result.
    passes : int
        1 for 8-bit probabilities, 2 for 12-bit ones.
    """
    head_dim = qkv[0].shape[-1] // (3 * heads)
    even = slice(None, None, 2)
    seen = AttentionRanges(stacked([x[even] for x in qkv]), stacked([x[even] for x in mixed]))
    odd = slice(1, None, 2) if len(qkv[0]) > 1 else slice(None)
    sample = thinned(np.concatenate([x[odd] for x in qkv]), _SEARCH_FRAMES)
    exact = thinned(np.concatenate([x[odd] for x in mixed]), _SEARCH_FRAMES)[:, ::_QUERY_STRIDE]

    def error(rule: Rule) -> float:
        grid, layer, target = seen.apply(name, rule, head_dim, passes)
        result = attention8(layer, grid.quantise(sample), heads, _QUERY_STRIDE)
        return float(np.mean(np.square(target.dequantise(result) - exact) * importance))

    best = Rule()
    for field, values in _CHOICES + (_TEMPERS if passes == 1 else ()):
        best = min((replace(best, **{field: value}) for value in values), key=error)
    return AttentionRanges(stacked(qkv), stacked(mixed)).apply(name, best, head_dim, passes)


def quantise_attention(
    context: Context, prefix: str, streams: list[Stream]
) -> tuple[Norm, Linear, Attention, Linear]:
    """Quantise and advance the streams past the attention of one block."""
    heads = context.config.heads
    qkv = affine(context, f"{prefix}.attn.qkv")
    proj = affine(context, f"{prefix}.attn.proj")
    norm_name = f"{prefix}.norm1"

    exact_in = [context.norm(norm_name, s.real) for s in streams]
    normed = search_norm(stacked(exact_in), qkv.weight, folds(exact_in))
    norm = fit_norm(
        short_name(norm_name), context.array(f"{norm_name}.weight"),
        context.array(f"{norm_name}.bias"), normed, context.eps,
    )  # fmt: skip
    inputs = norm_rows(norm, streams)

    exact_qkv = [qkv(x) for x in exact_in]
    exact_mixed = [float_attention(x, heads) for x in exact_qkv]
    grid, attention, mixed = search_attention(
        short_name(f"{prefix}.attn"), exact_qkv, exact_mixed,
        np.mean(np.square(proj.weight), axis=0), heads, context.passes,
    )  # fmt: skip
    layer = fit_linear(
        _renamed(qkv), normed, Moments.of(stacked(inputs)), grid,
        target_mean=stacked(exact_qkv).mean(axis=0, dtype=np.float64),
    )  # fmt: skip
    context.grids.update({norm.name: normed, layer.name: grid, attention.name: mixed})
    results = [attention8(attention, linear8(layer, x), heads) for x in inputs]

    exact = [proj(x) for x in exact_mixed]
    out = fit_linear(
        _renamed(proj), mixed, Moments.of(stacked(results)),
        Grid.uniform(len(proj.bias), context.residual_scale), store=Store.RESIDUAL,
        target_mean=stacked(exact).mean(axis=0, dtype=np.float64),
    )  # fmt: skip
    for stream, result, update in zip(streams, results, exact, strict=True):
        stream.integer = add_residual(stream.integer, linear_residual(out, result))
        stream.real = stream.real + update
    return norm, layer, attention, out


def _renamed(layer: Affine) -> Affine:
    return Affine(short_name(layer.name), layer.weight, layer.bias)
