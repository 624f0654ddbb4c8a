# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Even out the ranges of a model's activations, for INT8.

The accelerator has one scale per activation tensor. A pretrained ViT has a few
channels and hidden units that are far larger than all others (one channel of
DINOv2's first LayerNorm reaches thirty times the root mean square), and they
would push everything else into a few integer levels. Scales are moved between
neighbouring layers instead:

* LayerNorm and the linear layers that read it: exact.
* Values and the attention's output projection: exact.
* Hidden units before and after GELU: exact where GELU is linear or zero, so it
  is done only for the few units beyond a limit; training afterwards mends the rest.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from .model import M3ViT

log = logging.getLogger(__name__)


@torch.no_grad()
def activation_ranges(model: M3ViT, images: Tensor, batch: int = 8) -> dict[str, Tensor]:
    """Largest absolute value of every channel, per layer name.

    Covers the output of ``norm1``, ``norm2`` and ``attn.qkv`` and the input of
    ``mlp.fc2`` (named so) of every dense block, over all tasks.
    """
    ranges: dict[str, Tensor] = {}

    def note(name: str, value: Tensor) -> None:
        largest = value.detach().abs().flatten(0, -2).amax(0).float()
        ranges[name] = torch.maximum(ranges[name], largest) if name in ranges else largest

    hooks = []
    for name, module in model.backbone.named_modules():
        if name.endswith((".norm1", ".norm2", ".qkv")):
            hooks.append(
                module.register_forward_hook(lambda _m, _i, out, name=name: note(name, out))
            )
        elif name.endswith(".fc2"):
            hooks.append(
                module.register_forward_pre_hook(lambda _m, given, name=name: note(name, given[0]))
            )
    training = model.training
    model.eval()
    try:
        for part in images.split(batch):
            for task in range(len(model.config.tasks) if model.config.moe_blocks else 1):
                model.backbone((part.float() / 255.0 - model.mean) / model.std, task)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return ranges


def _scales(largest: Tensor, reader: Tensor, limit: float) -> Tensor:
    """Divisors of the channels: half of the imbalance goes to the reading weights."""
    weight = reader.abs().amax(0).clamp(min=1e-6)
    scale = (largest.clamp(min=1e-6) / weight).sqrt()
    scale = scale / scale.log().mean().exp()
    return scale.clamp(1.0 / limit, limit)


def _move_norm(
    norm: nn.LayerNorm, largest: Tensor, weight: Tensor, limit: float, routers: list[Tensor]
) -> None:
    """Move scales from a LayerNorm to the weights ``[..., D]`` (and routers) reading it."""
    scale = _scales(largest, weight.flatten(0, -2), limit)
    norm.weight.div_(scale)
    norm.bias.div_(scale)
    weight.mul_(scale)
    for router in routers:
        router.mul_(scale.unsqueeze(1))


@torch.no_grad()
def equalise(
    model: M3ViT, images: Tensor, hidden_limit: float | None = 5.0, limit: float = 30.0
) -> None:
    """Even out a model in place.

    Parameters
    ----------
    images : Tensor
        uint8 model inputs to measure ranges on.
    hidden_limit : float, optional
        Hidden units of dense layers whose GELU output exceeds this are scaled
        down to it. With `None` the function of the model stays exactly the same.
    limit : float
        Largest factor of a channel.
    """
    ranges = activation_ranges(model, images)
    dim = model.config.embed_dim
    moved = 0
    for index, block in enumerate(model.backbone.blocks):
        name = f"blocks.{index}"
        qkv, proj = block.attn.qkv, block.attn.proj
        _move_norm(block.norm1, ranges[f"{name}.norm1"], qkv.weight, limit, [])
        scale = _scales(ranges[f"{name}.attn.qkv"][2 * dim :], proj.weight, limit)
        qkv.weight[2 * dim :] /= scale.unsqueeze(1)
        qkv.bias[2 * dim :] /= scale
        proj.weight.mul_(scale)
        normed = ranges[f"{name}.norm2"]
        if block.routed:
            routers = [gate.w_gate for gate in block.mlp.gate]
            _move_norm(block.norm2, normed, block.mlp.experts.htoh4.weight, limit, routers)
            continue
        fc1, fc2 = block.mlp.fc1, block.mlp.fc2
        _move_norm(block.norm2, normed, fc1.weight, limit, [])
        if hidden_limit is not None:
            excess = (ranges[f"{name}.mlp.fc2"] / hidden_limit).clamp(min=1.0)
            moved += int((excess > 1).sum())
            fc1.weight.div_(excess.unsqueeze(1))
            fc1.bias.div_(excess)
            fc2.weight.mul_(excess)
    log.info("evened out the activation ranges; %d hidden units scaled down", moved)
