# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What no board can run: limits of the architecture itself."""

from __future__ import annotations

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import lines
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError

_HEAD_DIMS = (16, 32, 64)


def check_limits(config: ModelConfig) -> None:
    """Refuse a shape that the instruction set cannot express.

    Raises
    ------
    CapacityError
        With the limit's name and both numbers.
    ValueError
        If the heads' width or the patch is not one that ATTENTION and
        LOAD_PATCHES take.
    """
    if config.head_dim not in _HEAD_DIMS:
        raise ValueError(
            f"{config.name}: {config.head_dim} channels a head; ATTENTION takes "
            f"{', '.join(map(str, _HEAD_DIMS))}"
        )
    if config.head.output_upsample not in (1, 2, 4):
        raise ValueError(f"{config.name}: output_upsample is 1, 2 or 4")
    dim, head = config.embed_dim, config.head
    factor = 2 ** (len(head.channels) - 1)
    height, width = (side * factor for side in config.grid)
    hidden = max(config.mlp_ratio * dim, config.shared_hidden)
    columns = max(
        LINE * lines(dim) * len(head.taps),
        LINE * lines(3 * config.patch_size**2),
        hidden,
        *(9 * LINE * lines(channels) for channels in head.channels[:-1]),
    )
    limits = {
        "tokens": (config.tokens, isa.MAX_TOKENS),
        "head pixels": (height * width, isa.MAX_ROWS),
        "weight columns": (columns, isa.MAX_COLS),
        "layer outputs": (max(3 * dim, hidden), isa.MAX_OUTPUTS),
        "LAYERNORM channels": (dim, isa.MAX_LAYERNORM),
        "attention heads": (config.heads, isa.MAX_HEADS),
        "experts": (config.experts if config.moe_blocks else 0, isa.MAX_EXPERTS),
        "top_k": (config.top_k if config.moe_blocks else 0, isa.MAX_TOP_K),
        "expert hidden": (config.expert_hidden if config.moe_blocks else 0, isa.MAX_COLS),
        "frame side": (max(*config.image_size, height, width), isa.MAX_SIDE),
        "patch side": (config.patch_size, isa.MAX_PATCH),
        "classes": (max(task.outputs for task in config.tasks), isa.MAX_CLASSES),
        "tasks": (len(config.tasks), isa.MAX_TASKS),
    }
    for name, (needed, available) in limits.items():
        if needed > available:
            raise CapacityError(name, needed, available, config.name)
