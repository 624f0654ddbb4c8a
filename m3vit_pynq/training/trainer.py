# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The training loop: resumable, deterministic by seed, safe against a full disk."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ..config import ModelConfig
from .checkpoint import load_checkpoint, save_checkpoint
from .dataset import Batch, Batches
from .model import M3ViT
from .settings import TrainConfig
from .upcycle import tie_groups
from .workers import Workers

log = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """The loss is no longer a number."""


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Factor on the learning rate at one step."""
    if step < config.warmup_steps:
        return config.start_lr + (1.0 - config.start_lr) * (step + 1) / config.warmup_steps
    begin = max(config.hold * total, config.warmup_steps)
    if step <= begin:
        return 1.0
    done = min((step - begin) / max(total - begin, 1.0), 1.0)
    return config.final_lr + (1.0 - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * done))


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict]:
    """Backbone, heads and routers with their learning rates; no decay on vectors."""
    rates = {
        "backbone": config.lr_backbone,
        "heads": config.lr_heads,
        "routers": config.lr_routers,
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = defaultdict(list)
    for name, value in model.named_parameters():
        part = "heads" if name.startswith("decoders.") else "backbone"
        part = "routers" if name.endswith("w_gate") else part
        tokens = name in ("backbone.cls_token", "backbone.pos_embed")
        plain = value.ndim < 2 or name.endswith("bias") or tokens or part == "routers"
        groups[part, not plain].append(value)
    return [
        {
            "params": values,
            "lr": rates[part],
            "base_lr": rates[part],
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (part, decayed), values in groups.items()
    ]


class Trainer:
    """Trains one phase of one model.

    Parameters
    ----------
    model : M3ViT
        Trained in place.
    batches : Batches
        The training views.
    out : Path
        Folder for ``{phase}.pt`` (resumable state), ``{phase}.csv`` and the curve.
    after_epoch : callable, optional
        Called with (trainer, epoch) after each epoch's checkpoint; may return
        numbers to add to the log.
    """

    def __init__(
        self,
        model: M3ViT,
        config: TrainConfig,
        batches: Batches,
        out: Path,
        phase: str,
        after_epoch: Callable[[Trainer, int], dict[str, float] | None] | None = None,
    ) -> None:
        self.model, self.config, self.batches = model, config, batches
        self.out, self.phase, self.after_epoch = Path(out), phase, after_epoch
        self.optimiser = torch.optim.AdamW(
            parameter_groups(model, config), betas=(0.9, 0.999), fused=True
        )
        self.average = M3ViT(model.config)
        self.average.load_state_dict(model.state_dict())
        self.average.requires_grad_(False).eval()
        self.workers = Workers(model, config)
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
                "step": self.step,
                "epoch": self.epoch,
                "random": torch.get_rng_state(),
                "model_config": self.model.config.to_dict(),
                "train_config": asdict(self.config),
            },
        )

    def resume(self) -> bool:
        """Continue from the phase's checkpoint if there is one."""
        if not self.checkpoint_path.is_file():
            return False
        state = load_checkpoint(self.checkpoint_path)
        if ModelConfig.from_dict(state["model_config"]) != self.model.config:
            raise ValueError(f"{self.checkpoint_path} belongs to another model configuration")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        rates = [group["base_lr"] for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state["optimiser"])
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["base_lr"] = rate  # a resumed run may be given other rates
        self.step, self.epoch = state["step"], state["epoch"]
        torch.set_rng_state(state["random"])
        log.info("resuming %s after epoch %d", self.phase, self.epoch)
        return True

    # -- the loop ------------------------------------------------------------

    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        ours = self.average.state_dict()
        floats, values = [], []
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                floats.append(ours[name])
                values.append(value)
            else:
                ours[name].copy_(value)
        torch._foreach_lerp_(floats, values, 1.0 - decay)
        if self.config.tie_groups:
            tie_groups(self.average)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the losses."""
        factor = learning_rate(self.config, self.step, self.total_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        names = self.model.config.task_names
        task = names[self.step % len(names)] if self.config.alternate else None
        losses = self.workers.gradients(batch, task, self.step)
        if not all(map(math.isfinite, losses.values())):
            parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
            raise Diverged(
                f"the loss is not finite at step {self.step} ({parts}); the last good state is "
                f"{self.checkpoint_path}: resume with a lower learning rate"
            )
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        if self.config.tie_groups:
            tie_groups(self.model)
        self.step += 1
        self._update_average()
        return losses

    def run(self) -> None:
        """Train until the last epoch, saving after each."""
        self.out.mkdir(parents=True, exist_ok=True)
        while self.epoch < self.config.epochs:
            began = time.perf_counter()
            sums: dict[str, float] = defaultdict(float)
            counts: dict[str, int] = defaultdict(int)
            bar = tqdm(
                self.batches.epoch(self.epoch),
                total=len(self.batches),
                desc=f"{self.phase} {self.epoch + 1}/{self.config.epochs}",
                mininterval=5.0,
            )
            for batch in bar:
                for name, value in self.train_step(batch).items():
                    sums[name] += value
                    counts[name] += 1
                bar.set_postfix({name: f"{sums[name] / counts[name]:.3f}" for name in sums})
            self.epoch += 1
            seconds = time.perf_counter() - began
            row = {"epoch": self.epoch, "step": self.step, "seconds": round(seconds, 1)}
            row["images_per_second"] = round(len(self.batches) * self.config.batch / seconds, 2)
            row["lr_factor"] = learning_rate(self.config, self.step, self.total_steps)
            row |= {name: sums[name] / counts[name] for name in sums}
            self.save()
            if self.after_epoch is not None:
                row |= self.after_epoch(self, self.epoch) or {}
            self._log(row)

    def _log(self, row: dict[str, float]) -> None:
        path = self.out / f"{self.phase}.csv"
        old: list[dict] = []
        if path.is_file():
            with path.open(newline="") as file:
                old = [r for r in csv.DictReader(file) if int(r["epoch"]) < row["epoch"]]
        rows = [*old, row]
        names = list(dict.fromkeys(name for r in rows for name in r))
        temporary = path.with_suffix(".csv.part")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)
        log.info("%s", ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
