# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Write and read float checkpoints (``.npz``) with the names of `m3vit_pynq.config`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ..config import ModelConfig
from .checkpoint import write_atomically
from .model import M3ViT


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every name of a float checkpoint of this configuration, with its shape."""
    dim, patch, experts, hidden = (
        config.embed_dim,
        config.patch_size,
        config.experts,
        config.expert_hidden,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.cls_token": (1, 1, dim),
        "backbone.pos_embed": (1, config.tokens, dim),
        "backbone.patch_embed.proj.weight": (dim, 3, patch, patch),
        "backbone.patch_embed.proj.bias": (dim,),
    }

    def layer(name: str, *weight: int, bias: tuple[int, ...] | None = None) -> None:
        shapes[f"{name}.weight"] = weight
        shapes[f"{name}.bias"] = bias or weight[:1]

    for index in range(config.depth):
        block = f"backbone.blocks.{index}"
        layer(f"{block}.norm1", dim)
        layer(f"{block}.attn.qkv", 3 * dim, dim)
        layer(f"{block}.attn.proj", dim, dim)
        layer(f"{block}.norm2", dim)
        if index in config.moe_blocks:
            layer(f"{block}.mlp.experts.htoh4", experts, hidden, dim, bias=(experts, hidden))
            layer(f"{block}.mlp.experts.h4toh", experts, dim, hidden, bias=(experts, dim))
            for task in range(len(config.tasks)):
                shapes[f"{block}.mlp.gate.{task}.w_gate"] = (dim, experts)
        else:
            layer(f"{block}.mlp.fc1", config.mlp_ratio * dim, dim)
            layer(f"{block}.mlp.fc2", dim, config.mlp_ratio * dim)
    channels = config.head.channels
    for task in config.tasks:
        head = f"decoders.{task.name}"
        for tap in range(len(config.head.taps)):
            layer(f"{head}.norm.{tap}", dim)
        layer(f"{head}.proj", channels[0], len(config.head.taps) * dim)
        for index in range(len(channels) - 1):
            layer(f"{head}.conv.{index}", channels[index + 1], channels[index], 3, 3)
        layer(f"{head}.out", task.outputs, channels[-1])
    return shapes


def float_weights(model: M3ViT) -> dict[str, np.ndarray]:
    """All weights under their published names; BatchNorm and LayerScale folded; float32."""
    state = {name: value.detach().cpu().double() for name, value in model.state_dict().items()}
    for index in range(model.config.depth):
        block = f"backbone.blocks.{index}"
        routed = index in model.config.moe_blocks
        second = f"{block}.mlp.experts.h4toh" if routed else f"{block}.mlp.fc2"
        for scale, layer in (("ls1", f"{block}.attn.proj"), ("ls2", second)):
            gamma = state.pop(f"{block}.{scale}")
            state[f"{layer}.weight"] = state[f"{layer}.weight"] * gamma.unsqueeze(1)
            state[f"{layer}.bias"] = state[f"{layer}.bias"] * gamma
    for task in model.config.tasks:
        for index, norm in enumerate(model.decoders[task.name].bn):
            head = f"decoders.{task.name}"
            bn = f"{head}.bn.{index}."
            variance = state.pop(bn + "running_var")
            scale = state.pop(bn + "weight") / (variance + norm.eps).sqrt()
            shift = state.pop(bn + "bias") - state.pop(bn + "running_mean") * scale
            state.pop(bn + "num_batches_tracked", None)
            state[f"{head}.conv.{index}.weight"] *= scale.view(-1, 1, 1, 1)
            state[f"{head}.conv.{index}.bias"] = shift
    weights = {name: value.float().numpy() for name, value in state.items()}
    wanted = expected_shapes(model.config)
    found = {name: value.shape for name, value in weights.items()}
    if found != wanted:
        wrong = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
        raise ValueError(f"names or shapes differ from the checkpoint format: {wrong[:5]}")
    return {name: weights[name] for name in wanted}


def save_npz(model: M3ViT, path: Path, meta: dict | None = None) -> None:
    """Write a float checkpoint.

    Beside the weights the file holds two JSON strings: ``__config__``
    (`ModelConfig.to_dict`) and ``__meta__`` (provenance).
    """
    _write(path, model.config, float_weights(model), meta or {})


def _write(path: Path, config: ModelConfig, weights: dict[str, np.ndarray], meta: dict) -> None:
    arrays = dict(weights)
    arrays["__config__"] = np.array(json.dumps(config.to_dict()))
    arrays["__meta__"] = np.array(json.dumps(meta))
    write_atomically(Path(path), lambda file: np.savez(file, **arrays))


def add_meta(path: Path, extra: dict) -> None:
    """Add entries to the provenance of a float checkpoint."""
    config, weights, meta = load_npz(path)
    _write(path, config, weights, meta | extra)


def load_npz(path: Path) -> tuple[ModelConfig, dict[str, np.ndarray], dict]:
    """Configuration, weights and provenance of a float checkpoint."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    if "__config__" not in arrays:
        raise ValueError(f"{path} is not a float checkpoint of this project (no __config__)")
    config = ModelConfig.from_dict(json.loads(arrays.pop("__config__").item()))
    meta = json.loads(arrays.pop("__meta__").item())
    wanted = expected_shapes(config)
    for name in wanted.keys() | arrays.keys():
        if name not in arrays or name not in wanted or arrays[name].shape != wanted[name]:
            raise ValueError(f"{path}: {name} is missing, unknown or has the wrong shape")
    return config, arrays, meta


def model_from_npz(path: Path) -> M3ViT:
    """The PyTorch model of a float checkpoint, ready to evaluate."""
    config, arrays, _ = load_npz(path)
    model = M3ViT(config)
    state = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    for task in config.tasks:
        for index, norm in enumerate(model.decoders[task.name].bn):
            # The folded shift becomes BatchNorm's; its statistics are the identity's.
            norm.running_var.fill_(1.0 - norm.eps)
            bias = state.pop(f"decoders.{task.name}.conv.{index}.bias")
            norm.bias.data.copy_(bias)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(".bn." not in n and ".ls" not in n for n in missing):
        raise ValueError(f"{path}: unexpected {unexpected}, missing {missing}")
    return model.eval()
