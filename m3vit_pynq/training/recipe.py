# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recipes of the variants, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .settings import TrainConfig

#: Recipe of the dense phase; the routed phase does the final annealing.
DENSE = TrainConfig(epochs=24, hold=0.3, final_lr=0.1, ema=0.998)
#: Recipe of the routed phase: one task's pathway a step.
MOE = TrainConfig(
    epochs=18, lr_backbone=4e-5, lr_heads=5e-4, lr_routers=1.5e-4, warmup_steps=100, start_lr=0.1,
    hold=0.1, final_lr=0.0, ema=0.995, alternate=True, balance=0.004, margin=6.0,
    margin_target=0.6, logit_noise=0.08, token_noise=0.03, tie_groups=True,
)  # fmt: skip


#: `small`: half of the steps on small inputs, and the early blocks, which hold
#: what was learnt elsewhere, hardly moved. The routed phase goes up to the full
#: input at a low rate: at 4e-5 it lost what the dense phase had learnt.
SMALL_DENSE = dataclasses.replace(
    DENSE, epochs=34, lr_backbone=8e-5, layer_decay=0.8, class_balance=0.25, final_lr=0.03,
    sizes=((12, 140, 196), (22, 224, 308)),
)  # fmt: skip
SMALL_MOE = dataclasses.replace(
    MOE, epochs=4, lr_backbone=1e-5, lr_heads=1e-4, layer_decay=0.8, class_balance=0.25,
    balance=0.02, ema=0.99, warmup_steps=50,
)  # fmt: skip
#: `tiny`, taught by the dense `small`.
TINY_DENSE = dataclasses.replace(
    DENSE, epochs=38, lr_backbone=8e-5, layer_decay=0.85, class_balance=0.25, final_lr=0.03,
    ema=0.997, warmup_steps=100, sizes=((14, 180, 240),),
)  # fmt: skip
TINY_MOE = dataclasses.replace(SMALL_MOE, epochs=3, layer_decay=0.85)


@dataclass(frozen=True)
class Recipes:
    """How one variant is trained.

    Attributes
    ----------
    dense, moe : TrainConfig
        The two phases.
    taught : bool
        It is meant to start from a larger model that is already trained, and to
        learn from it.
    """

    dense: TrainConfig = DENSE
    moe: TrainConfig = MOE
    taught: bool = False


#: Recipes by variant; those that are not named here have the defaults.
RECIPES: dict[str, Recipes] = {
    "small": Recipes(SMALL_DENSE, SMALL_MOE),
    "tiny": Recipes(TINY_DENSE, TINY_MOE, taught=True),
}


def recipes_of(variant: str) -> Recipes:
    """The recipes of a variant."""
    return RECIPES.get(variant, Recipes())
