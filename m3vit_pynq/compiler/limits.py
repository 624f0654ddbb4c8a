# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What no board can run: limits of the architecture itself."""

from __future__ import annotations

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import conv_cols
from m3vit_pynq.abi.isa import lines
from m3vit_pynq.abi.limits import FACTORS, HEAD_DIMS
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError


def _row_bytes(config: ModelConfig) -> dict[str, int]:
    """Bytes of a weight row of each kind of layer, whole lines."""
    dim, head = config.embed_dim, config.head
    widths = {
        "patch_embed.proj": 3 * config.patch_size**2,
        "attn.qkv": dim,
        "mlp.fc2": config.mlp_ratio * dim,
        "mlp.shared.fc2": config.shared_hidden,
        "mlp.experts.h4toh": config.expert_hidden if config.moe_blocks else 0,
    }
    found = {name: LINE * lines(width) for name, width in widths.items()}
    found["proj of a head"] = LINE * lines(dim) * len(head.taps)
    for index, channels in enumerate(head.channels[:-1]):
        found[f"conv.{index} of a head"] = conv_cols(channels)
    return found


def _head_map(config: ModelConfig) -> tuple[int, int]:
    """Height and width of a head's last map."""
    factor = 2 ** (len(config.head.channels) - 1)
    return config.grid[0] * factor, config.grid[1] * factor


def _sizes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """What the model needs and what there is, by the limit's name."""
    dim, head = config.embed_dim, config.head
    height, width = _head_map(config)
    hidden = max(config.mlp_ratio * dim, config.shared_hidden, config.expert_hidden)
    mixed = bool(config.moe_blocks)
    return {
        "tokens": (config.tokens, isa.MAX_TOKENS),
        "head pixels": (height * width, isa.MAX_ROWS),
        "layer outputs": (max(3 * LINE * lines(dim), hidden, *head.channels), isa.MAX_OUTPUTS),
        "LAYERNORM channels": (dim, isa.MAX_LAYERNORM),
        "attention heads": (config.heads, isa.MAX_HEADS),
        "experts": (config.experts * mixed, isa.MAX_EXPERTS),
        "top_k": (config.top_k * mixed, isa.MAX_TOP_K),
        "frame side": (max(config.image_size), isa.MAX_SIDE),
        "result side": (max(height, width) * head.output_upsample, isa.MAX_SIDE),
        "patch side": (config.patch_size, isa.MAX_PATCH),
        "bytes of a row of patches": (
            3 * config.patch_size * config.image_size[1],
            isa.MAX_STRIP,
        ),
        "classes": (max(task.outputs for task in config.tasks), isa.MAX_CLASSES),
        "tasks": (len(config.tasks), isa.MAX_TASKS),
    }


def check_limits(config: ModelConfig) -> None:
    """Refuse a shape that the instruction set cannot express.

    Raises
    ------
    CapacityError
        With the limit's name and both numbers.
    ValueError
        If the heads' width or the enlargement is not one that ATTENTION and
        OUTPUT take.
    """
    if config.head_dim not in HEAD_DIMS:
        raise ValueError(
            f"{config.name}: {config.head_dim} channels a head; ATTENTION takes "
            f"{', '.join(map(str, HEAD_DIMS))}"
        )
    if config.head.output_upsample not in FACTORS:
        raise ValueError(
            f"{config.name}: output_upsample is {', '.join(map(str, FACTORS[:-1]))} "
            f"or {FACTORS[-1]}"
        )
    for name, (needed, available) in _sizes(config).items():
        if needed > available:
            raise CapacityError(name, needed, available, config.name)
    for layer, needed in _row_bytes(config).items():
        if needed > isa.MAX_K:
            raise CapacityError(
                "bytes of a weight row", needed, isa.MAX_K, f"{config.name}, layer {layer}"
            )
