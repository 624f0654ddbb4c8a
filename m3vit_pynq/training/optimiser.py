# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which parameter learns how fast, and when."""

from __future__ import annotations

import math
from collections import defaultdict

from torch import nn

from .model import M3ViT
from .settings import TrainConfig


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Factor on the learning rate at one step."""
    if step < config.warmup_steps:
        return config.start_lr + (1.0 - config.start_lr) * (step + 1) / config.warmup_steps
    begin = max(config.hold * total, config.warmup_steps)
    if step <= begin:
        return 1.0
    done = min((step - begin) / max(total - begin, 1.0), 1.0)
    return config.final_lr + (1.0 - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * done))


def layer_factor(name: str, depth: int, decay: float) -> float:
    """Factor on the rate of one backbone parameter: the deeper, the nearer to one."""
    if name.startswith("backbone.blocks."):
        return decay ** (depth - 1 - int(name.split(".")[2]))
    return decay**depth


def parameter_groups(model: M3ViT, config: TrainConfig) -> list[dict]:
    """Backbone, heads and routers with their learning rates; no decay on vectors."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, value in model.named_parameters():
        router = name.endswith("w_gate")
        if router:
            rate = config.lr_routers
        elif name.startswith("decoders."):
            rate = config.lr_heads
        else:
            factor = layer_factor(name, model.config.depth, config.layer_decay)
            rate = config.lr_backbone * factor
        tokens = name in ("backbone.cls_token", "backbone.pos_embed")
        plain = value.ndim < 2 or name.endswith("bias") or tokens or router
        groups[rate, not plain].append(value)
    return [
        {
            "params": values,
            "lr": rate,
            "base_lr": rate,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (rate, decayed), values in groups.items()
    ]
