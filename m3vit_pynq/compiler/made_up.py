# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantised models of random integers, without a float model behind them.

They are made in an instant for any configuration and exercise the accelerator
like a trained model: values spread over their formats, tokens over the experts.
"""

from __future__ import annotations

import itertools

import numpy as np

from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.fit import gelu_table, prove_accumulators
from m3vit_pynq.compiler.grids import Grid, multiplier, multiplier_pair
from m3vit_pynq.compiler.layers import (
    Attention,
    Block,
    Conv,
    DenseFfn,
    Expert,
    Head,
    Linear,
    Mlp,
    MoeFfn,
    Norm,
    QuantisedModel,
)
from m3vit_pynq.config import ModelConfig, TaskConfig
from m3vit_pynq.reference.float_model import gelu

_SPREAD = 40.0  # of int8 activations
_WEIGHT_SPREAD = 127 / 3**0.5
_UPDATE_SPREAD = 400.0  # of what a layer adds to the residual stream
_LOGIT_SPREAD = 2.0 * 65536
_MEAN_DEPTH = 23000  # about 2.4 m in units of OUTPUT_DEPTH


class _Maker:
    """Draws the layers of one model."""

    def __init__(self, config: ModelConfig, seed: int) -> None:
        self.config = config
        self.dim = config.embed_dim
        self.rng = np.random.default_rng(seed)
        self.table = gelu_table(
            Grid.uniform(1, 0.05), Grid.covering(np.array([-0.17]), np.array([6.0])), gelu
        )

    def linear(
        self, name: str, outputs: int, columns: int, store: Store = Store.ACT8,
        spread: float = _SPREAD, bias: int = 0, table: np.ndarray | None = None,
    ) -> Linear:  # fmt: skip
        """A layer whose results have about the given spread, in units of its store."""
        weights = self.rng.integers(-127, 128, (outputs, columns), np.int8)
        factor = spread / (_SPREAD * _WEIGHT_SPREAD * columns**0.5)
        mult, shift = multiplier(np.full(outputs, factor), least_shift=9)
        biases = self.rng.normal(bias, spread / 4, outputs) / factor
        return prove_accumulators(
            Linear(name, weights, np.rint(biases).astype(np.int64), mult, shift, store, table)
        )

    def norm(self, name: str) -> Norm:
        """A LAYERNORM with results of about the usual spread."""
        gamma = self.rng.integers(12000, 24000, self.dim).astype(np.int16)
        beta = self.rng.integers(-(10 << 23), 10 << 23, self.dim).astype(np.int32)
        return Norm(name, gamma, beta, 23, 4096)

    def pair(self, prefix: str, first: str, second: str, hidden: int) -> tuple[Linear, Linear]:
        """Two layers around a GELU."""
        one = self.linear(f"{prefix}.{first}", hidden, self.dim, table=self.table)
        two = self.linear(f"{prefix}.{second}", self.dim, hidden, Store.RESIDUAL, _UPDATE_SPREAD)
        return one, two

    def mlp(self, prefix: str, hidden: int) -> Mlp:
        one, two = self.pair(prefix, "fc1", "fc2", hidden)
        return Mlp((one,), two)

    def expert(self, prefix: str) -> Expert:
        first, second = self.pair(prefix, "htoh4", "h4toh", self.config.expert_hidden)
        return Expert((first,), (second,))

    def mixture(self, name: str) -> MoeFfn:
        """Experts, routers and perhaps a shared expert."""
        config = self.config
        routers = tuple(
            self.linear(
                f"{name}.mlp.gate.{task}", config.experts, self.dim, Store.SCORES, _LOGIT_SPREAD
            )
            for task in range(len(config.tasks))
        )
        experts = tuple(self.expert(f"{name}.mlp.experts.{e}") for e in range(config.experts))
        shared = config.shared_hidden
        return MoeFfn(
            self.norm(f"{name}.norm2"), routers, experts,
            self.mlp(f"{name}.mlp.shared", shared) if shared else None,
        )  # fmt: skip

    def block(self, index: int) -> Block:
        name, dim = f"blocks.{index}", self.dim
        if index in self.config.moe_blocks:
            ffn = self.mixture(name)
        else:
            hidden = self.config.mlp_ratio * dim
            ffn = DenseFfn(self.norm(f"{name}.norm2"), self.mlp(f"{name}.mlp", hidden))
        score = 256 * 2.0 / (_SPREAD**2 * self.config.head_dim**0.5)
        return Block(
            name, self.norm(f"{name}.norm1"), self.linear(f"{name}.attn.qkv", 3 * dim, dim),
            Attention(f"{name}.attn", multiplier_pair(score), multiplier_pair(2.0)),
            self.linear(f"{name}.attn.proj", dim, dim, Store.RESIDUAL, _UPDATE_SPREAD), ffn,
        )  # fmt: skip

    def head(self, task: TaskConfig) -> Head:
        """The head of one task."""
        name, channels = task.name, self.config.head.channels
        taps = len(self.config.head.taps)
        convs = tuple(
            Conv(self.linear(f"{name}.conv.{j}", b, 9 * a), -128 if j else 0)
            for j, (a, b) in enumerate(itertools.pairwise(channels))
        )
        depth = task.kind == "depth"
        wide = self.linear(
            f"{name}.out", task.outputs, channels[-1], Store.ACT16,
            500.0 if depth else 4000.0, _MEAN_DEPTH if depth else 0,
        )  # fmt: skip
        narrow = None if depth else self.linear(f"{name}.out", task.outputs, channels[-1])
        return Head(
            tuple(self.norm(f"{name}.norm.{tap}") for tap in range(taps)),
            self.linear(f"{name}.proj", channels[0], taps * self.dim), convs, narrow, wide,
        )  # fmt: skip


def made_up_model(config: ModelConfig, seed: int = 0) -> QuantisedModel:
    """A model of random integers for any configuration.

    Parameters
    ----------
    seed : int
        The same seed gives the same model.
    """
    maker = _Maker(config, seed)
    embedding = maker.rng.normal(0, 2000, (config.tokens, config.embed_dim))
    return QuantisedModel(
        config,
        np.clip(np.rint(embedding), -32768, 32767).astype(np.int16),
        maker.linear(
            "patch_embed.proj", config.embed_dim, 3 * config.patch_size**2, Store.RESIDUAL,
            _UPDATE_SPREAD,
        ),
        tuple(maker.block(index) for index in range(config.depth)),
        tuple(maker.head(task) for task in config.tasks),
        {"residual": 1 / 1024},
    )  # fmt: skip
