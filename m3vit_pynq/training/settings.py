# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recipe of one training phase, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """Recipe of one phase.

    Attributes
    ----------
    start_lr, hold, final_lr : float
        The learning rate is multiplied by a factor that goes linearly from
        ``start_lr`` to 1 during ``warmup_steps``, stays 1 until the fraction
        ``hold`` of the phase, then follows a half cosine down to ``final_lr``.
    ema : float
        Decay of the averaged weights; lower during the first steps.
    alternate : bool
        One task's pathway a step in turn, instead of all tasks each step.
    balance, margin : float
        Weights of the router's balance and margin losses.
    margin_target : float
        Wanted gap between the k-th and the next router logit, over their spread.
    tie_groups : bool
        Keep the router columns of a group of experts equal (see `upcycle`): a
        token then never chooses parts of two groups that are nearly equal.
    workers : int
        Threads that each compute the gradient of a part of the batch. They
        meet once a step, where threads inside the operators would meet
        thousands of times: much faster on a machine that does other work.
    layer_decay : float
        Every block's rate is the next block's times this; the last has ``lr_backbone``.
    class_balance : float
        Weight of a class in the cross entropy: its share of the pixels to the
        power minus this.
    depth_squared : float
        Weight of the squared error in metres in the depth loss.
    sizes : tuple of (int, int, int)
        Stages of (epochs, height, width) before the model's own size: most of a
        ViT's steps do not need all of its tokens. Multiples of the patch size.
    precision : str
        Of the matrix products: ``"bf16"``, ``"fp16"`` (its losses are scaled) or ``"fp32"``.
    tasks : tuple of str
        Train these tasks only; empty for all of the model's.
    shared_router : bool
        All tasks use the first one's routers, for comparison with one router a task.
    logit_noise, token_noise : float
        Noise on the router logits, relative to their spread over experts, and
        on the tokens that a routed layer sees, relative to their size.
    """

    epochs: int
    batch: int = 8
    lr_backbone: float = 6e-5
    lr_heads: float = 1e-3
    lr_routers: float = 2e-4
    weight_decay: float = 0.05
    warmup_steps: int = 200
    start_lr: float = 0.0
    hold: float = 0.5
    final_lr: float = 0.0
    clip: float = 1.0
    ema: float = 0.998
    precision: str = "bf16"
    alternate: bool = False
    balance: float = 0.01
    margin: float = 0.1
    margin_target: float = 0.5
    logit_noise: float = 0.05
    token_noise: float = 0.03
    tie_groups: bool = False
    workers: int = 1
    layer_decay: float = 1.0
    class_balance: float = 0.0
    depth_squared: float = 0.0
    sizes: tuple[tuple[int, int, int], ...] = ()
    seed: int = 0
    tasks: tuple[str, ...] = ()
    shared_router: bool = False
