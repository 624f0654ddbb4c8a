# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The training loop: resumable, deterministic by seed, safe against a full disk."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ..errors import M3ViTError
from .checkpoint import check_belongs, load_checkpoint, save_checkpoint
from .dataset import Batch, Batches
from .device import SMALLEST_SCALE, grad_scaler
from .distil import Teacher
from .epochlog import add_row
from .model import M3ViT
from .optimiser import learning_rate, parameter_groups
from .ranks import Ranks
from .settings import TrainConfig
from .upcycle import tie_groups
from .workers import Workers

log = logging.getLogger(__name__)


class Diverged(M3ViTError, RuntimeError):
    """The loss or its gradient is no longer a number."""


def _tensors(model: M3ViT) -> Iterator[torch.Tensor]:
    """Parameters and buffers, each once."""
    return (value.detach() for value in (*model.parameters(), *model.buffers()))


class Trainer:
    """Trains one phase of one model.

    Parameters
    ----------
    model : M3ViT
        Trained in place.
    batches : Batches
        The training views.
    out : Path
        Folder for ``{phase}.pt`` (resumable state), ``{phase}.csv`` and its picture.
    after_epoch : callable, optional
        Called with (trainer, epoch) after each epoch's checkpoint, in the first
        process; may return numbers to add to the log.
    class_weights : Tensor, optional
        Weight of every class in the cross entropy.
    teacher : Teacher, optional
        Adds its losses to those of the labels.
    ranks : Ranks, optional
        The processes that train together, and this one's device.

    Raises
    ------
    ValueError
        If the recipe names a task that the model does not have.
    """

    def __init__(
        self,
        model: M3ViT,
        config: TrainConfig,
        batches: Batches,
        out: Path,
        phase: str,
        after_epoch: Callable[[Trainer, int], dict[str, float] | None] | None = None,
        class_weights: torch.Tensor | None = None,
        teacher: Teacher | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        for name in config.tasks:
            model.config.task_index(name)  # ValueError names the tasks that exist
        self.config, self.batches = config, batches
        self.out, self.phase, self.after_epoch = Path(out), phase, after_epoch
        self.ranks = ranks or Ranks()
        if config.shared_router:
            model.share_routers()
        self.model = model.to(self.ranks.device)
        self.ranks.share(self.model)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            parameter_groups(model, config), betas=(0.9, 0.999), fused=True
        )
        self.scaler = grad_scaler(self.ranks.device, config.precision)
        if teacher is not None:
            teacher.model.to(self.ranks.device)
        self.workers = Workers(model, config, class_weights, teacher, self.ranks, self.scaler)
        #: Where the weights come from; kept in the checkpoint.
        self.origin: dict[str, str | None] = {}
        self.step = 0
        self.epoch = 0

    @property
    def total_steps(self) -> int:
        return self.config.epochs * len(self.batches)

    @property
    def checkpoint_path(self) -> Path:
        return self.out / f"{self.phase}.pt"

    # -- state ---------------------------------------------------------------

    def save(self) -> None:
        """Write the resumable state, replacing the former one only when complete."""
        save_checkpoint(
            self.checkpoint_path,
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
                "epoch": self.epoch,
                "origin": self.origin,
                "random": torch.get_rng_state(),
                "model_config": self.model.config.to_dict(),
                "train_config": asdict(self.config),
            },
        )

    def resume(self) -> bool:
        """Continue from the phase's checkpoint; `False` if there is none.

        Raises
        ------
        ValueError
            If the checkpoint is damaged, or of another variant or grouping.
        """
        found = self.checkpoint_path.is_file()
        self.ranks.check_same(int(found), f"the presence of {self.checkpoint_path}")
        if not found:
            return False
        state = load_checkpoint(self.checkpoint_path)
        check_belongs(state, self.model.config, self.checkpoint_path)
        self._tell_changes(state["train_config"])
        self._load_optimiser(state["optimiser"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.epoch = state["step"], state["epoch"]
        self.origin = state.get("origin") or self.origin
        self.ranks.check_same(self.step, f"the step in {self.checkpoint_path}")
        torch.set_rng_state(state["random"])
        log.info("resuming %s after epoch %d", self.phase, self.epoch)
        return True

    def _load_optimiser(self, state: dict) -> None:
        ours = [len(group["params"]) for group in self.optimiser.param_groups]
        if [len(group["params"]) for group in state["param_groups"]] != ours:
            raise ValueError(
                f"{self.checkpoint_path} has other groups of parameters than this recipe: "
                "resume with the layer_decay, rates and routers it was started with"
            )
        rates = [group["base_lr"] for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["base_lr"] = rate  # a resumed run may be given other rates

    def _tell_changes(self, former: dict) -> None:
        """Warn about what differs from the recipe that the state was trained with."""
        now = asdict(self.config)
        for name in now:
            if name in former and former[name] != now[name]:
                log.warning("resuming with another %s: %s -> %s", name, former[name], now[name])

    # -- the loop ------------------------------------------------------------

    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        floats, values = [], []
        # Not through state_dict(), which holds a shared router once for every task.
        for ours, value in zip(_tensors(self.average), _tensors(self.model), strict=True):
            if value.dtype.is_floating_point:
                floats.append(ours)
                values.append(value)
            else:
                ours.copy_(value)
        torch._foreach_lerp_(floats, values, 1.0 - decay)
        if self.config.tie_groups:
            tie_groups(self.average)

    def _tasks_of_step(self) -> str | tuple[str, ...] | None:
        """The task, the tasks or (`None`) all tasks that this step trains."""
        names = self.config.tasks or self.model.config.task_names
        if self.config.alternate:
            return names[self.step % len(names)]
        return self.config.tasks or None

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the losses."""
        factor = learning_rate(self.config, self.step, self.total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        losses = self.workers.gradients(batch, self._tasks_of_step(), self.step)
        self._check_finite(losses)
        self._descend(losses)
        if self.config.tie_groups:
            tie_groups(self.model)
        self.step += 1
        self._update_average()
        return losses

    def _descend(self, losses: dict[str, float]) -> None:
        """One step of the optimiser along the clipped gradients."""
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip).item()
        if not self.scaler.is_enabled():
            self._check_finite(losses | {"gradient": norm})
        self.scaler.step(self.optimiser)  # leaves out a step whose gradients overflow
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            self._check_finite(losses | {"gradient": math.nan})

    def _check_finite(self, values: dict[str, float]) -> None:
        if all(map(math.isfinite, values.values())):
            return
        parts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self.checkpoint_path.is_file():
            where = f"the last good state is {self.checkpoint_path}: resume"
        else:
            where = f"there is no {self.checkpoint_path} to go back to: start again"
        raise Diverged(
            f"the loss is not finite at step {self.step} ({parts}); {where} with lower "
            "learning rates (--lr-factor)"
        )

    def run(self) -> None:
        """Train until the last epoch, saving after each."""
        self.out.mkdir(parents=True, exist_ok=True)
        while self.epoch < self.config.epochs:
            began = time.perf_counter()
            means = self._train_epoch()
            self.epoch += 1
            seconds = time.perf_counter() - began
            row = {"epoch": self.epoch, "step": self.step, "seconds": round(seconds, 1)}
            row["images_per_second"] = round(len(self.batches) * self.config.batch / seconds, 2)
            row["lr_factor"] = learning_rate(self.config, self.step, self.total_steps)
            if self.ranks.first:
                self._finish_epoch(row | means)

    def _train_epoch(self) -> dict[str, float]:
        """One pass over the batches; returns the mean of every loss."""
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        bar = tqdm(
            self.batches.epoch(self.epoch),
            total=len(self.batches),
            desc=f"{self.phase} {self.epoch + 1}/{self.config.epochs}",
            mininterval=5.0,
            disable=not self.ranks.first,
        )
        with contextlib.closing(bar):
            for batch in bar:
                for name, value in self.train_step(batch).items():
                    sums[name] += value
                    counts[name] += 1
                shown = {name: f"{sums[name] / counts[name]:.3f}" for name in sums}
                bar.set_postfix(shown, refresh=False)
        return {name: sums[name] / counts[name] for name in sums}

    def _finish_epoch(self, row: dict[str, float]) -> None:
        """Log and save; the epoch's row comes first, so that no saved epoch lacks it."""
        path = self.out / f"{self.phase}.csv"
        add_row(path, row)
        self.save()
        more = self.after_epoch(self, self.epoch) if self.after_epoch is not None else None
        if more:
            row |= more
            add_row(path, row)
        log.info("%s", ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
