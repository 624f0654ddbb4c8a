# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A quantised model: integers only, ready to be lowered.

Scales do not appear here; they have been folded into multipliers, biases and
tables. Names are those of the layers in listings and reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from m3vit_pynq.abi.isa import Activation, Store
from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.config import ModelConfig


@dataclass(frozen=True)
class Linear:
    """Rows of weights with their requantisation.

    Attributes
    ----------
    weights : int8 [outputs, K]
        For a convolution K is ``9 * channels`` in the order (ky, kx, channel).
    bias : int32 [outputs]
    mult : uint16 [outputs]
    shift : uint8 [outputs]
    store : Store
    table : int8 [256] or None
        GELU from the int8 result, index 0 for -128.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    mult: np.ndarray
    shift: np.ndarray
    store: Store = Store.ACT8
    table: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        return self.weights.shape[0]

    @property
    def columns(self) -> int:
        return self.weights.shape[1]

    @property
    def activation(self) -> Activation:
        return Activation.NONE if self.table is None else Activation.GELU


@dataclass(frozen=True)
class Norm:
    """LAYERNORM: gamma int16 [n], beta int32 [n]."""

    name: str
    gamma: np.ndarray
    beta: np.ndarray
    shift: int
    eps: int


@dataclass(frozen=True)
class Attention:
    """What ATTENTION is told.

    Attributes
    ----------
    score_scale, output_scale : (multiplier, shift)
        From a product of query and key to a score, from a mean value to the result.
    passes : int
        1 for 8-bit probabilities, 2 for 12-bit ones.
    """

    name: str
    score_scale: tuple[int, int]
    output_scale: tuple[int, int]
    passes: int = 1


@dataclass(frozen=True)
class Mlp:
    """Two layers; the first is cut into groups of hidden channels, each with its own table."""

    first: tuple[Linear, ...]
    second: Linear


@dataclass(frozen=True)
class DenseFfn:
    norm: Norm
    mlp: Mlp


@dataclass(frozen=True)
class Expert:
    """One expert, cut into parts of its hidden channels that simply add up.

    Every part has a first layer with a GELU table of its own and a second
    layer whose gated results are added to the residual stream. All experts of a
    block are cut alike.
    """

    first: tuple[Linear, ...]
    second: tuple[Linear, ...]


@dataclass(frozen=True)
class MoeFfn:
    """Experts, one router per task, and the expert that all tokens share if there is one."""

    norm: Norm
    routers: tuple[Linear, ...]
    experts: tuple[Expert, ...]
    shared: Mlp | None = None


@dataclass(frozen=True)
class Block:
    name: str
    norm: Norm
    qkv: Linear
    attention: Attention
    proj: Linear
    ffn: DenseFfn | MoeFfn


@dataclass(frozen=True)
class Conv:
    """3x3 convolution; `pad` is the integer that stands for zero in its input."""

    linear: Linear
    pad: int


@dataclass(frozen=True)
class Head:
    """Head of one task.

    Attributes
    ----------
    norms : tuple of Norm
        One a tap.
    proj : Linear
        K is the taps side by side, each ``embed_dim`` wide.
    out, out_wide : Linear
        The last layer with int8 results (None for depth) and with int16 ones.
    """

    norms: tuple[Norm, ...]
    proj: Linear
    convs: tuple[Conv, ...]
    out: Linear | None
    out_wide: Linear


@dataclass(frozen=True)
class QuantisedModel:
    """All layers of a model.

    Attributes
    ----------
    embedding : int16 [tokens, D]
        Position embedding, class token added to row 0.
    patches : Linear
        Patch embedding, normalisation of pixels folded in.
    heads : tuple of Head
        One a task.
    scales : dict
        Real value of one unit of the residual stream (``"residual"``) and of
        the int16 results of each head (``"{task}.out"``; depth is log2 of
        millimetres).
    grids : dict
        Meaning of every layer's int8 or int16 results, by the layer's name;
        for reports, the program does not need it.
    channels : dict
        The float model's channels of layers that compute only some of them.
    """

    config: ModelConfig
    embedding: np.ndarray
    patches: Linear
    blocks: tuple[Block, ...]
    heads: tuple[Head, ...]
    scales: dict[str, float] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    channels: dict[str, np.ndarray] = field(default_factory=dict)
