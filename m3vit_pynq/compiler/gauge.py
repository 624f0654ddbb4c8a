# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Scales that cancel: which of many equal float models a package stands for.

A LayerNorm's channel can be scaled and shifted if its readers make up for it, a
query against its key, a value against the projection, a channel of a head
against the next convolution. None of this changes what the model computes, so a
package need not keep it, and any choice gives an equal checkpoint.

A package may keep the compiler's own grids (``"gauge"`` in its metadata,
`store_gauge`), and its export then has the scales of the checkpoint that was
compiled. For a package without them `natural_gauge` chooses: channels whose
reach is in proportion to their readers' weights, as the training evens them out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from m3vit_pynq.compiler.grids import INT8_HIGH, INT8_LOW, Grid
from m3vit_pynq.compiler.layers import Block, DenseFfn, Head, Linear, Norm, QuantisedModel
from m3vit_pynq.errors import PackageError

KEY = "gauge"
#: Standard deviations of a normalised token that count as its reach.
_REACH = 4.0
#: Reach of a map in a head.
_MAP_REACH = 4.0
_TINY = 1e-12


# In a package's metadata


def _text(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def _values(item: Any, name: str, dtype: str) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(item, validate=True), dtype)
    except (TypeError, ValueError, binascii.Error) as error:
        raise PackageError(f"metadata.{KEY}", f"{name} cannot be read: {error}") from None


def free_names(model: QuantisedModel) -> list[str]:
    """Layers whose results may have any scale."""
    names = []
    for block in model.blocks:
        names += [block.norm.name, block.qkv.name, block.ffn.norm.name]
    for head in model.heads:
        names += [norm.name for norm in head.norms]
        names += [head.proj.name, *(conv.linear.name for conv in head.convs)]
    return names


def store_gauge(model: QuantisedModel) -> dict[str, dict[str, str]]:
    """What a package may keep: by layer ``scale`` and ``offset`` (base64 of little-endian
    float32) where scales cancel, and ``order`` (uint16) of hidden channels in groups.
    """
    stored: dict[str, dict[str, str]] = {}
    for name in free_names(model):
        if name in model.grids:
            grid = model.grids[name]
            stored[name] = {"scale": _text(grid.scale, "<f4"), "offset": _text(grid.offset, "<f4")}
    for name, order in model.channels.items():
        stored[name] = {"order": _text(order, "<u2")}
    return stored


def read_gauge(metadata: Mapping[str, Any]) -> tuple[dict[str, Grid], dict[str, np.ndarray]]:
    """Grids and orders of channels out of a package's metadata; empty where it has none.

    Raises
    ------
    PackageError
        If an entry is not what `store_gauge` writes.
    """
    grids, channels = {}, {}
    stored = metadata.get(KEY, {})
    if not isinstance(stored, dict) or not all(isinstance(v, dict) for v in stored.values()):
        raise PackageError(f"metadata.{KEY}", "is no JSON object of objects")
    for name, item in stored.items():
        if "order" in item:
            channels[name] = _values(item["order"], name, "<u2").astype(np.int64)
        else:
            scale, offset = (
                _values(item.get(key), name, "<f4").astype(np.float64)
                for key in ("scale", "offset")
            )
            finite = np.isfinite(scale).all() and np.isfinite(offset).all()
            if not finite or (scale <= 0).any() or scale.shape != offset.shape:
                raise PackageError(f"metadata.{KEY}", f"{name}: these are no scales and offsets")
            grids[name] = Grid(scale, offset)
    return grids, channels


# Where the package has none


def row_factors(layer: Linear) -> np.ndarray:
    """What an accumulator is multiplied by, float64 [outputs]."""
    return np.ldexp(layer.mult.astype(np.float64), -layer.shift.astype(np.int64))


def gammas(norm: Norm) -> np.ndarray:
    """Integers of a LAYERNORM's result per standard deviation of the token, [D]."""
    return np.ldexp(norm.gamma.astype(np.float64), 14 - norm.shift)


def betas(norm: Norm) -> np.ndarray:
    """Integers of a LAYERNORM's result for a token's mean, [D]."""
    return np.ldexp(norm.beta.astype(np.float64), -norm.shift)


def score_unit(block: Block, head_dim: int) -> float:
    """Product of the scales of a query and its key."""
    mult, shift = block.attention.score_scale
    return float(np.ldexp(float(mult), -shift)) * np.log(2) / 256 * head_dim**0.5


def value_gain(block: Block) -> float:
    """How much finer the grid of ATTENTION's result is than that of the values."""
    mult, shift = block.attention.output_scale
    return float(np.ldexp(float(mult), -shift))


def _even(reach: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Scales that bring reach (per unit) and readers' weights (per unit) into proportion."""
    return np.sqrt(np.maximum(columns, _TINY) / np.maximum(reach, _TINY))


def _mean(values: np.ndarray) -> float:
    """Geometric mean of what is not zero."""
    values = np.abs(values[values != 0])
    return float(np.exp(np.log(values).mean())) if len(values) else 1.0


def _columns(layers: Iterable[tuple[Linear, np.ndarray | float]]) -> np.ndarray:
    """Largest weight of each input, with the real values of the layers' units."""
    largest = [
        np.abs(layer.weights * (row_factors(layer) * unit)[:, None]).max(axis=0)
        for layer, unit in layers
    ]
    return np.max(largest, axis=0)


def _norm_grid(norm: Norm, columns: np.ndarray) -> Grid:
    """Bias 0, weights of geometric mean 1."""
    gamma = gammas(norm)
    scale = _even(np.abs(gamma) * _REACH, columns)
    scale[gamma == 0] = 1.0
    scale /= _mean(scale * gamma)
    return Grid(scale, -scale * betas(norm))


def _attention_grids(block: Block, head_dim: int, residual: float) -> dict[str, Grid]:
    dim = block.qkv.columns
    pair = np.full(dim, np.sqrt(score_unit(block, head_dim)))
    columns = _columns([(block.proj, residual)]) * value_gain(block)
    value = _even(np.full(dim, INT8_HIGH), columns)
    # As large weights before the values as behind them.
    scale = np.concatenate([pair, pair, value])
    rows = block.qkv.weights * (row_factors(block.qkv) * scale)[:, None] * gammas(block.norm)
    ahead, behind = np.abs(rows[2 * dim :]).max(axis=1), columns / value
    scale[2 * dim :] *= np.sqrt(_mean(behind) / _mean(ahead))
    normed = _norm_grid(block.norm, _columns([(block.qkv, scale)]))
    return {block.norm.name: normed, block.qkv.name: Grid(scale, np.zeros_like(scale))}


def _ffn_readers(block: Block, scales: Mapping[str, float]) -> list[tuple[Linear, float]]:
    if isinstance(block.ffn, DenseFfn):
        first = list(block.ffn.mlp.first)
    else:
        first = [layer for expert in block.ffn.experts for layer in expert.first]
        first += block.ffn.shared.first if block.ffn.shared is not None else ()
    return [(layer, scales[layer.name]) for layer in first]


def _head_grids(head: Head) -> dict[str, Grid]:
    even = np.full(head.proj.outputs, _MAP_REACH / INT8_HIGH)
    grids = {head.proj.name: Grid(even, np.zeros_like(even))}
    for conv in head.convs:
        scale = np.full(conv.linear.outputs, _MAP_REACH / (INT8_HIGH - INT8_LOW))
        grids[conv.linear.name] = Grid(scale, -INT8_LOW * scale)
    columns = _columns([(head.proj, even)])
    for norm, part in zip(head.norms, np.split(columns, len(head.norms)), strict=True):
        grids[norm.name] = _norm_grid(norm, part)
    return grids


def natural_gauge(
    model: QuantisedModel, residual: float, before: Mapping[str, float]
) -> dict[str, Grid]:
    """Grids of all layers whose scales cancel.

    Parameters
    ----------
    residual : float
        Real value of one unit of the residual stream.
    before : dict
        Scale of every GELU's input, by the layer's name.
    """
    grids: dict[str, Grid] = {}
    for block in model.blocks:
        grids.update(_attention_grids(block, model.config.head_dim, residual))
        norm = block.ffn.norm
        grids[norm.name] = _norm_grid(norm, _columns(_ffn_readers(block, before)))
    for head in model.heads:
        grids.update(_head_grids(head))
    return grids


def gauge(model: QuantisedModel, residual: float, before: Mapping[str, float]) -> dict[str, Grid]:
    """The grids that the model brings along, others from `natural_gauge`.

    Raises
    ------
    PackageError
        If one has another number of channels than its layer.
    """
    grids = natural_gauge(model, residual, before)
    for name, natural in grids.items():
        kept = model.grids.get(name, natural)
        if kept.scale.shape != natural.scale.shape:
            raise PackageError(
                f"metadata.{KEY}",
                f"{name} has {len(kept.scale)} channels, its layer {len(natural.scale)}",
            )
        grids[name] = kept
    return grids
