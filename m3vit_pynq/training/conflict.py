# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far the gradients of two tasks disagree on the weights that both use."""

from __future__ import annotations

import copy
import itertools
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from .dataset import Batch
from .losses import task_losses
from .model import M3ViT


@dataclass(frozen=True)
class Conflict:
    """Cosines between two tasks' gradients, over the shared weights of the backbone.

    Attributes
    ----------
    tasks : tuple of str
    cosines : tuple of float
        One a batch, over all shared weights together.
    blocks : tuple of tuple of float
        The same for each block's own weights: ``blocks[i][batch]``.
    """

    tasks: tuple[str, str]
    cosines: tuple[float, ...]
    blocks: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> float:
        """Mean cosine; below zero the tasks pull against each other."""
        return statistics.fmean(self.cosines)

    @property
    def deviation(self) -> float:
        """Standard deviation over the batches; 0 for one batch."""
        return statistics.stdev(self.cosines) if len(self.cosines) > 1 else 0.0

    @property
    def opposed(self) -> float:
        """Share of the batches with a cosine below zero."""
        return sum(value < 0 for value in self.cosines) / len(self.cosines)

    @property
    def block_means(self) -> tuple[float, ...]:
        """Mean cosine of each block."""
        return tuple(statistics.fmean(values) for values in self.blocks)


def _gradients(
    model: M3ViT, batch: Batch, task: str, weights: Tensor | None, squared: float
) -> dict[str, Tensor]:
    """Gradient of one task's loss on the backbone, by parameter name."""
    model.zero_grad(set_to_none=True)
    outputs = model(batch.images, task)
    losses = task_losses(model.config, outputs, batch.labels, batch.metres, weights, squared)
    losses[task].backward()
    return {
        name: value.grad.double()
        for name, value in model.backbone.named_parameters()
        if value.grad is not None
    }


def _cosine(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Cosine between two lists of tensors; 0 where one of them is zero."""
    product, first, second = 0.0, 0.0, 0.0
    for a, b in pairs:
        product += (a * b).sum().item()
        first += a.square().sum().item()
        second += b.square().sum().item()
    return product / (first * second) ** 0.5 if first and second else 0.0


def gradient_conflict(
    model: M3ViT,
    batches: Iterable[Batch],
    n: int,
    *,
    tasks: tuple[str, str] | None = None,
    weights: Tensor | None = None,
    squared: float = 0.0,
) -> Conflict:
    """Compare two tasks' gradients over ``n`` batches, in float32 and evaluation mode.

    *Shared* are the parameters of the backbone that both tasks' losses reach:
    experts (those that a batch did not choose count with a gradient of zero),
    but routers only where the tasks share one. The model is not changed.

    Parameters
    ----------
    model : M3ViT
        Dense or routed, for example the averaged weights of a run.
    batches : iterable of Batch
        For example ``Batches(...).epoch(0)``; the first ``n`` are used.
    tasks : tuple of str, optional
        Two tasks; the model's first two by default.
    weights, squared
        Settings of the losses, see `task_losses`.

    Raises
    ------
    ValueError
        If there are fewer than ``n`` batches, or fewer than two tasks.
    """
    pair = tuple(tasks or model.config.task_names[:2])
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ValueError(f"two different tasks are needed, not {pair}")
    working = copy.deepcopy(model).requires_grad_(True).eval()
    whole: list[float] = []
    blocks: list[list[float]] = [[] for _ in range(model.config.depth)]
    for batch in itertools.islice(batches, n):
        first, second = (_gradients(working, batch, task, weights, squared) for task in pair)
        shared = [name for name in first if name in second]
        whole.append(_cosine((first[name], second[name]) for name in shared))
        for index, values in enumerate(blocks):
            own = [name for name in shared if name.startswith(f"blocks.{index}.")]
            values.append(_cosine((first[name], second[name]) for name in own))
    if len(whole) < n or not whole:
        raise ValueError(f"{n} batches were asked for, but there are only {len(whole)}")
    return Conflict(pair, tuple(whole), tuple(map(tuple, blocks)))
