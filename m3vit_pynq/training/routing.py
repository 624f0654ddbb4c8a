# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""How decided the routers are: gaps, changes under noise, expert usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .device import device_of
from .losses import relative_gap
from .model import M3ViT


@dataclass(frozen=True)
class RoutingReport:
    """Routing of one task over some images.

    Attributes
    ----------
    task : str
    gaps : dict
        Per block, the relative gap of every token (see `relative_gap`).
    usage : dict
        Per block, the share of all (token, k) slots that every expert gets.
    changed : dict
        Per noise level, the fraction of (token, block) pairs whose *set* of
        experts changes.
    """

    task: str
    gaps: dict[int, Tensor]
    usage: dict[int, Tensor]
    changed: dict[float, float]

    def summary(self) -> dict[str, float]:
        """A few numbers for a log."""
        gaps = torch.cat(list(self.gaps.values()))
        usage = torch.stack(list(self.usage.values())) * next(iter(self.usage.values())).numel()
        numbers = {
            "gap_below_0.25": (gaps < 0.25).float().mean().item(),
            "gap_below_0.1": (gaps < 0.1).float().mean().item(),
            "usage_min": usage.min().item(),
            "usage_max": usage.max().item(),
        }
        numbers |= {f"changed_{level:g}": value for level, value in self.changed.items()}
        return {f"{self.task[:3]}_{name}": value for name, value in numbers.items()}


def _chosen(model: M3ViT, images: Tensor, task: str, noise: float, batch: int):
    layers = model.moe_layers()
    records = []
    for part in images.split(batch):
        for layer in layers:
            layer.records = []
            layer.token_noise = noise
        model(part, task)
        records.append([layer.records[0] for layer in layers])
    for layer in layers:
        layer.records, layer.token_noise = None, 0.0
    return records


@torch.no_grad()
def routing_report(
    model: M3ViT,
    images: Tensor,
    task: str,
    noises: Sequence[float] = (0.03, 0.05),
    batch: int = 8,
    seed: int = 0,
) -> RoutingReport:
    """Measure one task's routing.

    Parameters
    ----------
    images : Tensor
        uint8 model inputs.
    noises : sequence of float
        Noise added to what every routed layer sees (router and experts, so it
        also travels on through the residual stream), relative to the token's size.
    """
    model.eval()
    images = images.to(device_of(model))
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    clean = _chosen(model, images, task, 0.0, batch)
    experts, k = model.config.experts, model.config.top_k
    gaps: dict[int, list[Tensor]] = {}
    usage: dict[int, Tensor] = {}
    for part in clean:
        for record in part:
            gaps.setdefault(record.block, []).append(relative_gap(record.logits, k))
            counts = torch.bincount(record.chosen.flatten(), minlength=experts).float()
            usage[record.block] = usage.get(record.block, 0) + counts
    changed = {}
    for noise in noises:
        noisy = _chosen(model, images, task, noise, batch)
        differ = [
            (a.chosen.sort(1).values != b.chosen.sort(1).values).any(1)
            for first, second in zip(clean, noisy, strict=True)
            for a, b in zip(first, second, strict=True)
        ]
        changed[noise] = torch.cat(differ).float().mean().item()
    torch.set_rng_state(generator_state)
    return RoutingReport(
        task,
        {block: torch.cat(parts) for block, parts in gaps.items()},
        {block: counts / counts.sum() for block, counts in usage.items()},
        changed,
    )
