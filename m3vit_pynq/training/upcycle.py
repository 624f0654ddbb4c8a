# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Turn a trained dense ViT into an M³ViT that computes the same function.

Every dense feed-forward layer is cut into ``top_k`` slices of its hidden
units; the experts are several copies of these slices. A *group* is one set of
experts that together hold every slice once. All experts of a group share a
router direction at the start, so the top-k of a token are the slices of one
group and their sum is the dense layer. Task 0's groups are the copies
themselves; those of task *t* are diagonals through the copies, so a group of
one task shares few experts with a group of another: the tasks start on
different pathways through the same experts.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig
from .losses import relative_gap
from .model import M3ViT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RouterFit:
    """How the group directions of a router are found.

    Attributes
    ----------
    confidence : float
        Mean probability of the winning group that the logits are scaled to.
    noise : float
        Noise on the tokens while fitting, relative to their size.
    """

    confidence: float = 0.97
    noise: float = 0.05
    steps: int = 200
    batch: int = 2048
    seed: int = 0


def slices(config: ModelConfig) -> int:
    """Number of experts that together hold one dense layer.

    Raises
    ------
    ValueError
        If the variant's experts cannot hold the dense layer exactly.
    """
    hidden = config.mlp_ratio * config.embed_dim
    if config.top_k * config.expert_hidden != hidden:
        raise ValueError(
            f"{config.name}: {config.top_k} experts of {config.expert_hidden} units do not add up "
            f"to the dense layer's {hidden}; upcycling needs top_k * expert_hidden == "
            "mlp_ratio * embed_dim"
        )
    if config.experts % config.top_k:
        raise ValueError(f"{config.name}: {config.experts} experts are no multiple of top_k")
    return config.top_k


def group_experts(config: ModelConfig, task: int) -> Tensor:
    """Expert indices of every group of one task, ``[groups, slices]``.

    Expert ``copy * slices + s`` holds slice *s*.
    """
    parts = slices(config)
    groups = config.experts // parts
    group = torch.arange(groups).unsqueeze(1)
    part = torch.arange(parts).unsqueeze(0)
    return (group + task * part) % groups * parts + part


@torch.no_grad()
def tie_groups(model: M3ViT) -> None:
    """Make the router columns of every group equal (to their mean), in place."""
    for task in range(len(model.config.tasks)):
        groups = group_experts(model.config, task)
        for layer in model.moe_layers():
            if task and layer.gate[task] is layer.gate[0]:
                continue  # a shared router has the first task's groups
            weight = layer.gate[task].w_gate
            weight[:, groups] = weight[:, groups].mean(2, keepdim=True).expand(-1, *groups.shape)


@torch.no_grad()
def feed_forward_inputs(model: M3ViT, images: Tensor, batch: int = 8) -> dict[int, Tensor]:
    """What the feed-forward layer of every block sees, ``[tokens, D]`` per block."""
    seen: dict[int, list[Tensor]] = {}
    hooks = [
        block.norm2.register_forward_hook(
            lambda _m, _i, out, index=index: seen.setdefault(index, []).append(out.flatten(0, 1))
        )
        for index, block in enumerate(model.backbone.blocks)
    ]
    training = model.training
    model.eval()
    try:
        for part in images.split(batch):
            model(part, model.config.task_names[0])
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return {index: torch.cat(parts).float() for index, parts in seen.items()}


def bias_direction(tokens: Tensor, noise: float) -> Tensor:
    """Direction *v* with ``mean(tokens) @ v = 1`` and the least variance of ``tokens @ v``.

    It stands in for the bias that the router does not have.
    """
    mean = tokens.mean(0)
    covariance = torch.cov(tokens.T)
    ridge = noise**2 * tokens.square().mean()
    solved = torch.linalg.solve(covariance + ridge * torch.eye(len(mean)), mean)
    return solved / (mean @ solved).clamp(min=1e-6)


def _seed_centres(points: Tensor, groups: int, generator: torch.Generator) -> Tensor:
    """Balanced k-means: every cluster takes the same number of points."""
    centres = points[torch.randperm(len(points), generator=generator)[:groups]]
    price = torch.zeros(groups)
    labels = torch.zeros(len(points), dtype=torch.long)
    for _ in range(40):
        distance = torch.cdist(points, centres).square()
        scale = distance.mean()
        for _ in range(5):
            labels = (distance + price).argmin(1)
            share = torch.bincount(labels, minlength=groups) / len(points)
            price += 0.1 * scale * (share * groups - 1.0)
        for group in range(groups):
            members = points[labels == group]
            if len(members):
                centres[group] = members.mean(0)
    return labels


def fit_groups(
    tokens: Tensor, groups: int, fit: RouterFit, task: int, avoid: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Directions that split tokens into balanced and clearly separated groups.

    Starts from balanced k-means in the leading principal components and then
    minimises, under noise on the tokens, a hinge on the gap between the best
    two groups plus the imbalance of the groups plus the dependence on the
    assignments in ``avoid`` (those of the tasks before).

    Returns
    -------
    directions : Tensor
        ``[D, groups]``, unit spread of the logits.
    assignment : Tensor
        ``[tokens, groups]`` soft assignment.
    """
    generator = torch.Generator().manual_seed(fit.seed * 1000 + task)
    mean = tokens.mean(0)
    centred = tokens - mean
    _, values, axes = torch.svd_lowrank(centred[:: max(1, len(tokens) // 8192)], q=16, niter=4)
    # Each task weighs the principal components differently.
    weights = torch.rand(len(values), generator=generator) if task else torch.ones(len(values))
    points = centred @ axes * weights
    some = torch.randperm(len(points), generator=generator)[:6000]
    labels = _seed_centres(points[some], groups, generator)
    constant = bias_direction(tokens, fit.noise)
    chosen = centred[some]
    centres = torch.stack(
        [
            chosen[labels == g].mean(0) if (labels == g).any() else chosen[g % len(chosen)]
            for g in range(groups)
        ]
    )
    directions = centres.T
    offset = -0.5 * centres.square().sum(1) - mean @ directions
    directions = directions + constant.unsqueeze(1) * offset
    directions = directions - directions.mean(1, keepdim=True)
    directions = directions / (tokens @ directions).std()
    size = tokens.square().mean().sqrt()
    scale = directions.abs().mean().item()
    weight = directions.clone().requires_grad_(True)
    # A pool of noise: drawing fresh noise every step would take most of the time.
    pool = fit.noise * size * torch.randn(4096, tokens.shape[1], generator=generator)
    optimiser = torch.optim.Adam([weight], lr=0.03 * scale)
    for step in range(fit.steps):
        optimiser.param_groups[0]["lr"] = 0.03 * scale * (1.0 - step / fit.steps)
        rows = torch.randint(len(tokens), (min(fit.batch, len(tokens)),), generator=generator)
        shuffled = pool[torch.randint(len(pool), (len(rows),), generator=generator)]
        logits = (tokens[rows] + shuffled) @ weight
        soft = (6.0 * logits / logits.std().detach()).softmax(1)
        loss = (1.5 - relative_gap(logits, 1)).clamp(min=0).mean()
        loss = loss + 2.0 * groups * (soft.mean(0) - 1.0 / groups).square().sum()
        for other in avoid:
            joint = soft.T @ other[rows] / len(rows)
            loss = loss + 2.0 * (joint - 1.0 / joint.numel()).square().sum() * groups
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    directions = weight.detach()
    directions = directions - directions.mean(1, keepdim=True)
    directions = directions / (tokens @ directions).std()
    return directions, (6.0 * (tokens @ directions)).softmax(1)


def _scale_for(logits: Tensor, confidence: float) -> float:
    """Factor that makes the winning group's mean probability ``confidence``."""
    low, high = 0.1, 1000.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        if (logits * middle).softmax(1).max(1).values.mean() < confidence:
            low = middle
        else:
            high = middle
    return high


@torch.no_grad()
def split_experts(dense: M3ViT, routed: M3ViT, index: int, gate: float) -> None:
    """Fill the experts of one block with copies of the slices of the dense layer.

    ``gate`` is the gate value that the second layer's weights undo.
    """
    config = routed.config
    parts = slices(config)
    copies = config.experts // parts
    width, dim = config.expert_hidden, config.embed_dim
    source = dense.backbone.blocks[index].mlp
    target = routed.backbone.blocks[index].mlp.experts
    target.htoh4.weight.copy_(source.fc1.weight.view(parts, width, dim).repeat(copies, 1, 1))
    target.htoh4.bias.copy_(source.fc1.bias.view(parts, width).repeat(copies, 1))
    second = source.fc2.weight.view(dim, parts, width).permute(1, 0, 2)
    target.h4toh.weight.copy_(second.repeat(copies, 1, 1) / gate)
    target.h4toh.bias.copy_((source.fc2.bias / (gate * parts)).expand(config.experts, -1))


def upcycle(
    dense: M3ViT,
    config: ModelConfig,
    images: Tensor,
    fit: RouterFit | None = None,
    shared_router: bool = False,
) -> M3ViT:
    """M³ViT of ``config`` that starts as the function of ``dense``.

    Parameters
    ----------
    dense : M3ViT
        Trained with ``moe_blocks=()`` and otherwise the same configuration.
    images : Tensor
        uint8 ``[n, 3, h, w]``: the routers are fitted on their tokens.
    shared_router : bool
        One router for all tasks instead of one each.
    """
    fit = fit or RouterFit()
    if dense.config != dataclasses.replace(config, moe_blocks=()):
        raise ValueError("the dense model's configuration does not match the routed one")
    groups = config.experts // slices(config)
    routed = M3ViT(config)
    kept = {name: v for name, v in dense.state_dict().items() if name in routed.state_dict()}
    routed.load_state_dict(kept, strict=False)
    if shared_router:
        routed.share_routers()
    routers = 1 if shared_router else len(config.tasks)
    seen = feed_forward_inputs(dense, images)
    for index in config.moe_blocks:
        tokens = seen.pop(index)
        layer = routed.backbone.blocks[index].mlp
        found: list[Tensor] = []
        gates = []
        for task in range(routers):
            directions, soft = fit_groups(tokens, groups, fit, task, found)
            found.append(soft)
            logits = tokens @ directions
            factor = _scale_for(logits, fit.confidence)
            weight = torch.empty_like(layer.gate[task].w_gate)
            weight[:, group_experts(config, task)] = (directions * factor).unsqueeze(2)
            layer.gate[task].w_gate.data.copy_(weight)
            experts = tokens @ weight
            if layer.renormalise:
                gates.append(torch.tensor(1.0 / config.top_k))
            else:
                gates.append(experts.softmax(1).topk(config.top_k, dim=1).values.mean())
            gap = relative_gap(experts, config.top_k)
            share = F.one_hot(logits.argmax(1), groups).float().mean(0)
            log.info(
                "block %d, task %d: groups %s, scale %.1f, gap 2%% %.2f, median %.2f, "
                "below 0.25: %.1f%%",
                index, task, [round(s, 2) for s in share.tolist()], factor,
                gap.quantile(0.02), gap.median(), 100 * (gap < 0.25).float().mean(),
            )  # fmt: skip
        split_experts(dense, routed, index, torch.stack(gates).mean().item())
    return routed
