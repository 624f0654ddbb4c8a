# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of a batch, computed by several threads (and processes) on a part each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from .dataset import Batch
from .device import autocast, device_of, generator, grad_scaler
from .distil import Teacher
from .losses import router_losses, task_losses
from .model import M3ViT
from .ranks import Ranks
from .settings import TrainConfig


class Workers:
    """Replicas of a model that share its weights but have gradients of their own.

    BatchNorm sees a worker's part of the batch; the running statistics are
    averaged over the workers, of all processes. Noise depends only on the seed,
    the step and the worker, so a resumed run repeats it, and as many workers in
    more processes do the same.

    Parameters
    ----------
    model : M3ViT
        On its device; gets the gradients and the statistics.
    class_weights : Tensor, optional
        Weight of every class in the cross entropy.
    teacher : Teacher, optional
        Adds its losses; on the model's device.
    ranks : Ranks, optional
        The processes that train together.
    scaler : GradScaler, optional
        For float16: the gradients are those of the scaled loss.
    """

    def __init__(
        self,
        model: M3ViT,
        config: TrainConfig,
        class_weights: torch.Tensor | None = None,
        teacher: Teacher | None = None,
        ranks: Ranks | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.model, self.config, self.teacher = model, config, teacher
        self.device = device_of(model)
        self.ranks = ranks or Ranks(self.device)
        self.scaler = scaler or grad_scaler(self.device, "fp32")
        self.scaler.scale(torch.zeros((), device=self.device))  # before threads meet in it
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self.replicas = [self._replica() for _ in range(config.workers)]
        self.pool: ThreadPoolExecutor | None = None
        if config.workers > 1:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            self.pool = ThreadPoolExecutor(config.workers)
            # The first operation of a thread fixes its number of operator threads.
            list(self.pool.map(lambda _: torch.ones(8) @ torch.ones(8), range(config.workers)))
            torch.set_num_threads(threads)

    def _replica(self) -> M3ViT:
        replica = copy.deepcopy(self.model)
        for ours, theirs in zip(self.model.parameters(), replica.parameters(), strict=True):
            theirs.data = ours.data
        return replica.train()

    def _part(
        self, worker: int, batch: Batch, task: str | Sequence[str] | None, step: int
    ) -> dict[str, torch.Tensor]:
        """Losses of one part of the batch; its gradients go to the worker's replica."""
        if self.pool is not None:
            torch.set_num_threads(1)
        replica, config = self.replicas[worker], self.config
        layers = replica.moe_layers()
        number = self.ranks.index * config.workers + worker
        noise = generator(self.device, (config.seed * 1_000_003 + step) * 64 + number)
        for layer in layers:
            layer.records, layer.generator = [], noise
            layer.logit_noise, layer.token_noise = config.logit_noise, config.token_noise
        with autocast(self.device, config.precision):
            taps: dict[str, list[torch.Tensor]] = {}
            outputs = replica(batch.images, task, taps)
            taught = {}
            if self.teacher is not None:
                taught = self.teacher.losses(replica.config, batch.images, outputs, taps, task)
        losses = task_losses(
            replica.config, outputs, batch.labels, batch.metres,
            self.class_weights, config.depth_squared,
        )  # fmt: skip
        losses |= taught
        if layers:
            losses |= router_losses(
                [record for layer in layers for record in layer.records],
                balance=config.balance,
                margin=config.margin,
                margin_target=config.margin_target,
                noise=config.logit_noise,
            )
            for layer in layers:
                layer.records = None
        replica.zero_grad(set_to_none=True)
        self.scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        return {name: value.detach() for name, value in losses.items()}

    def gradients(
        self, batch: Batch, task: str | Sequence[str] | None, step: int
    ) -> dict[str, float]:
        """Fill the model's gradients; returns the mean of every loss.

        Parameters
        ----------
        batch : Batch
            This process's share, on any device.
        """
        count = len(self.replicas)
        batch = batch.to(self.device)
        self._share_statistics()
        if self.pool is None:
            parts = [self._part(0, batch, task, step)]
        else:
            pieces = batch.split(count)
            jobs = [
                self.pool.submit(self._part, worker, piece, task, step)
                for worker, piece in enumerate(pieces)
            ]
            parts = [job.result() for job in jobs]
        self._reduce(count)
        losses = {name: torch.stack([p[name] for p in parts]).double().mean() for name in parts[0]}
        self._average(list(losses.values()))
        return {name: value.item() for name, value in losses.items()}

    def _average(self, losses: list[torch.Tensor]) -> None:
        """Gradients, running statistics and losses: the mean over all processes."""
        if self.ranks.count > 1:
            grads = [value.grad for value in self.model.parameters() if value.grad is not None]
            floats = [value for value in self.model.buffers() if value.dtype.is_floating_point]
            self.ranks.average([*grads, *floats, *losses])

    def _reduce(self, count: int) -> None:
        replicas = [list(replica.parameters()) for replica in self.replicas]
        for ours, *theirs in zip(self.model.parameters(), *replicas, strict=True):
            grads = [value.grad for value in theirs if value.grad is not None]
            ours.grad = None
            if grads:
                total = grads[0]
                for grad in grads[1:]:
                    total.add_(grad)
                ours.grad = total.div_(count) if count > 1 else total
        buffers = [dict(replica.named_buffers()) for replica in self.replicas]
        for name, ours in self.model.named_buffers():
            values = [part[name] for part in buffers]
            if ours.dtype.is_floating_point:
                ours.copy_(torch.stack(values).mean(0))
            else:
                ours.copy_(values[0])

    def _share_statistics(self) -> None:
        """Every worker starts the step from the same running statistics."""
        for replica in self.replicas:
            for ours, theirs in zip(self.model.buffers(), replica.buffers(), strict=True):
                theirs.copy_(ours)
