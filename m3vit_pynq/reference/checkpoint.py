# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Float checkpoints: which arrays a configuration needs, and made-up ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from m3vit_pynq.config import ModelConfig, TaskConfig

Checkpoint = Mapping[str, np.ndarray]


def _feed_forward_shapes(config: ModelConfig, block: int) -> dict[str, tuple[int, ...]]:
    dim, experts, hidden = config.embed_dim, config.experts, config.expert_hidden
    if block not in config.moe_blocks:
        hidden = config.mlp_ratio * dim
        return {
            "fc1.weight": (hidden, dim), "fc1.bias": (hidden,),
            "fc2.weight": (dim, hidden), "fc2.bias": (dim,),
        }  # fmt: skip
    shapes = {
        "experts.htoh4.weight": (experts, hidden, dim), "experts.htoh4.bias": (experts, hidden),
        "experts.h4toh.weight": (experts, dim, hidden), "experts.h4toh.bias": (experts, dim),
    }  # fmt: skip
    for task in range(len(config.tasks)):
        shapes[f"gate.{task}.w_gate"] = (dim, experts)
    if config.shared_hidden:
        shared = config.shared_hidden
        shapes["shared.fc1.weight"], shapes["shared.fc1.bias"] = (shared, dim), (shared,)
        shapes["shared.fc2.weight"], shapes["shared.fc2.bias"] = (dim, shared), (dim,)
    return shapes


def _decoder_shapes(config: ModelConfig, task: TaskConfig) -> dict[str, tuple[int, ...]]:
    taps, channels = len(config.head.taps), config.head.channels
    shapes: dict[str, tuple[int, ...]] = {}
    for tap in range(taps):
        shapes[f"norm.{tap}.weight"] = shapes[f"norm.{tap}.bias"] = (config.embed_dim,)
    shapes["proj.weight"] = (channels[0], taps * config.embed_dim)
    shapes["proj.bias"] = (channels[0],)
    for j, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        shapes[f"conv.{j}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"conv.{j}.bias"] = (outputs,)
    shapes["out.weight"] = (task.outputs, channels[-1])
    shapes["out.bias"] = (task.outputs,)
    return shapes


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array a checkpoint of `config` must have."""
    dim, patch = config.embed_dim, config.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.cls_token": (1, 1, dim),
        "backbone.pos_embed": (1, config.tokens, dim),
        "backbone.patch_embed.proj.weight": (dim, 3, patch, patch),
        "backbone.patch_embed.proj.bias": (dim,),
    }
    for block in range(config.depth):
        prefix = f"backbone.blocks.{block}."
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[prefix + name] = (dim,)
        for name, outputs in (("attn.qkv", 3 * dim), ("attn.proj", dim)):
            shapes[f"{prefix}{name}.weight"] = (outputs, dim)
            shapes[f"{prefix}{name}.bias"] = (outputs,)
        for name, shape in _feed_forward_shapes(config, block).items():
            shapes[f"{prefix}mlp.{name}"] = shape
    for task in config.tasks:
        for name, shape in _decoder_shapes(config, task).items():
            shapes[f"decoders.{task.name}.{name}"] = shape
    return shapes


def gate_bias_name(block: int, task: int) -> str:
    """Name of the optional router bias [experts] of a task-conditioned router."""
    return f"backbone.blocks.{block}.mlp.gate.{task}.bias"


def validate_checkpoint(config: ModelConfig, checkpoint: Checkpoint) -> None:
    """Check names, shapes and finiteness; further arrays are ignored.

    Raises
    ------
    ValueError
        Naming the first array that is missing, misshapen or not finite.
    """
    shapes = expected_shapes(config)
    for block in config.moe_blocks:
        for task in range(len(config.tasks)):
            name = gate_bias_name(block, task)
            if name in checkpoint:
                shapes[name] = (config.experts,)
    for name, shape in shapes.items():
        if name not in checkpoint:
            raise ValueError(f"checkpoint for {config.name!r} lacks {name} {list(shape)}")
        found = np.asarray(checkpoint[name])
        if found.shape != shape:
            raise ValueError(
                f"checkpoint: {name} is {list(found.shape)}, {config.name!r} needs {list(shape)}"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"checkpoint: {name} holds values that are not finite")


def _fan_in(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:]))


def _routers(
    config: ModelConfig, codes: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Routers that score experts by the code in a token: a ranking for each code."""
    ladder = np.linspace(-1.0, 1.0, config.experts)
    ladder[-config.top_k :] += 1.5  # a clear step between chosen and not chosen
    ladder *= 5.0 / np.sqrt(config.embed_dim)
    routers = {}
    for block in config.moe_blocks:
        for task in range(len(config.tasks)):
            ranking = np.stack([rng.permutation(ladder) for _ in codes])
            routers[f"backbone.blocks.{block}.mlp.gate.{task}.w_gate"] = codes.T @ ranking
    return routers


def random_checkpoint(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """A made-up checkpoint whose activations behave like a trained model's.

    Updates are small against the residual stream, attention is neither uniform
    nor one-hot, and routing is decisive and uses every expert: each position
    carries one of ``experts`` orthogonal codes that the routers rank.

    Parameters
    ----------
    config : ModelConfig
    seed : int

    Returns
    -------
    dict of float32 arrays, as `expected_shapes` lists them
    """
    rng = np.random.default_rng(seed)
    gains = {
        "attn.qkv": 1.3, "attn.proj": 0.5, "fc1": 1.0, "fc2": 0.6, "htoh4": 1.0, "h4toh": 0.8,
        "patch_embed.proj": 0.6, ".proj": 1.0, ".conv.": 1.3,
    }  # fmt: skip
    checkpoint = {}
    for name, shape in expected_shapes(config).items():
        if ".norm" in name:
            values = rng.normal(1.0 if name.endswith("weight") else 0.0, 0.1, shape)
        elif name.endswith("bias"):
            values = rng.normal(0.0, 0.1, shape)
        else:
            gain = next((g for part, g in gains.items() if part in name), 1.0)
            fan_in = _fan_in(shape[1:] if "experts." in name else shape)
            values = rng.normal(0.0, gain / np.sqrt(fan_in), shape)
        checkpoint[name] = values
    dim = config.embed_dim
    codes, _ = np.linalg.qr(rng.normal(size=(dim, min(dim, max(config.experts, 1)))))
    chosen = codes.T[rng.integers(codes.shape[1], size=config.tokens)]
    position = np.sqrt(dim) * chosen + rng.normal(0.0, 0.2, chosen.shape)
    checkpoint["backbone.pos_embed"] = position[None]
    checkpoint["backbone.cls_token"] = rng.normal(0.0, 0.5, (1, 1, dim))
    checkpoint.update(_routers(config, codes.T, rng))
    for task in config.tasks:
        if task.kind == "depth":
            checkpoint[f"decoders.{task.name}.out.weight"] *= 0.3
            checkpoint[f"decoders.{task.name}.out.bias"][:] = np.log(2.5)
        else:
            checkpoint[f"decoders.{task.name}.out.weight"] *= 3.0
    return {name: np.asarray(values, dtype=np.float32) for name, values in checkpoint.items()}
