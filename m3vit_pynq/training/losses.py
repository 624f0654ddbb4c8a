# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Task losses and router losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig
from .model import RouterRecord

IGNORE = 255


def class_weights(pixels: Tensor, power: float) -> Tensor:
    """Weight of every class: its share of the pixels to the power ``-power``.

    Scaled so that the mean weight over *pixels* is one; classes without a
    pixel get the largest weight of those with one.

    Parameters
    ----------
    pixels : Tensor
        Count of labelled pixels of every class.
    """
    pixels = pixels.double()
    share = pixels / pixels.sum().clamp(min=1)
    present = share > 0
    weights = torch.ones_like(share)
    weights[present] = share[present] ** -power
    if present.any():
        weights[~present] = weights[present].max()
    return (weights / (weights * share).sum().clamp(min=1e-12)).float()


def segmentation_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted cross entropy, mean over known pixels; zero when there are none."""
    logits = F.interpolate(
        logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def depth_loss(log_depth: Tensor, metres: Tensor, squared: float = 0.0) -> Tensor:
    """Mean ``|log error| + 0.3 |e| + squared e**2`` over known pixels, e in metres.

    The absolute terms ask for the median depth, the square for the mean, which
    is what a root mean square error rewards.
    """
    log_depth = F.interpolate(
        log_depth.float(), size=metres.shape[-2:], mode="bilinear", align_corners=False
    ).squeeze(1)
    known = metres > 0
    count = known.sum().clamp(min=1)
    safe = torch.where(known, metres, torch.ones_like(metres))
    error = log_depth.clamp(max=3.5).exp() - safe
    total = (log_depth - safe.log()).abs() + 0.3 * error.abs()
    if squared:
        total = total + squared * error.square()
    return (total * known).sum() / count


def task_losses(
    config: ModelConfig,
    outputs: Mapping[str, Tensor],
    labels: Tensor,
    metres: Tensor,
    weights: Tensor | None = None,
    squared: float = 0.0,
) -> dict[str, Tensor]:
    """Loss of every task present in ``outputs``."""
    losses = {}
    for task in config.tasks:
        if task.name in outputs:
            if task.kind == "depth":
                losses[task.name] = depth_loss(outputs[task.name], metres, squared)
            else:
                losses[task.name] = segmentation_loss(outputs[task.name], labels, weights)
    return losses


def relative_gap(logits: Tensor, k: int) -> Tensor:
    """Gap between the k-th and the next logit over the logits' spread, per token.

    A token whose relative gap is well above the relative noise of the router
    logits keeps its set of experts when the model is quantised.
    """
    if k >= logits.shape[1]:
        return torch.full_like(logits[:, 0], float("inf"))
    top = logits.topk(k + 1, dim=1).values
    return (top[:, k - 1] - top[:, k]) / logits.std(dim=1).clamp(min=1e-6)


def margin_loss(record: RouterRecord, target: float) -> Tensor:
    """Hinge that asks every token for a relative gap of at least ``target``."""
    gap = relative_gap(record.logits, record.chosen.shape[1])
    return (target - gap).clamp(min=0).mean()


def squared_variation(values: Tensor) -> Tensor:
    """Squared coefficient of variation; zero when all values are equal."""
    return values.var(unbiased=False) / values.mean().square().clamp(min=1e-10)


def balance_loss(record: RouterRecord, noise: float) -> Tensor:
    """Mean of the importance loss and the load loss (Shazeer et al., 2017).

    Importance is the summed probability of every expert; load is the summed
    probability that the expert is chosen when the logits are noisy.
    """
    importance = squared_variation(record.probabilities.sum(0))
    k = record.chosen.shape[1]
    logits = record.logits
    threshold = logits.topk(k, dim=1).values[:, -1:]
    sigma = max(noise, 0.1) * logits.std(dim=1, keepdim=True).detach().clamp(min=1e-6)
    choose = torch.special.ndtr((logits - threshold) / sigma)
    return 0.5 * (importance + squared_variation(choose.sum(0)))


def router_losses(
    records: list[RouterRecord],
    *,
    balance: float,
    margin: float,
    margin_target: float,
    noise: float,
) -> dict[str, Tensor]:
    """Weighted router losses, averaged over the routed blocks."""
    balances = torch.stack([balance_loss(record, noise) for record in records])
    margins = torch.stack([margin_loss(record, margin_target) for record in records])
    return {"balance": balance * balances.mean(), "margin": margin * margins.mean()}
