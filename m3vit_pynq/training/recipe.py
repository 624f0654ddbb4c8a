# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The two phases of training: a dense ViT, then the M³ViT upcycled from it."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..config import ModelConfig
from .augment import AugmentConfig
from .checkpoint import load_checkpoint, write_atomically
from .curve import draw_curve
from .dataset import Batches, DatasetError, Frames, prepare
from .equalise import equalise
from .evaluate import evaluate, resize_images
from .export import add_meta, save_npz
from .model import M3ViT
from .pretrained import load_start
from .routing import routing_report
from .settings import TrainConfig
from .trainer import Trainer
from .upcycle import upcycle

log = logging.getLogger(__name__)

#: Recipe of the dense phase; the routed phase does the final annealing.
DENSE = TrainConfig(epochs=24, hold=0.3, final_lr=0.1, ema=0.998)
#: Recipe of the routed phase: one task's pathway a step.
MOE = TrainConfig(
    epochs=18, lr_backbone=4e-5, lr_heads=5e-4, lr_routers=1.5e-4, warmup_steps=100, start_lr=0.1,
    hold=0.1, final_lr=0.0, ema=0.995, alternate=True, balance=0.004, margin=6.0,
    margin_target=0.6, logit_noise=0.08, token_noise=0.03, tie_groups=True,
)  # fmt: skip

PROVENANCE = (
    "NYU Depth v2, labelled part (Silberman et al., ECCV 2012): published for research without "
    "an explicit licence"
)


@dataclass(frozen=True)
class Setup:
    """Everything a run needs beside the recipes.

    Attributes
    ----------
    config : ModelConfig
        The routed variant.
    start : Path or None
        DINOv2-shaped weights for the backbone.
    held_out : int
        Training frames kept back and evaluated instead of the test split.
    """

    config: ModelConfig
    data: Path
    out: Path
    cache: Path
    start: Path | None = None
    held_out: int = 0
    seed: int = 0
    resume: bool = False

    @property
    def dense_config(self) -> ModelConfig:
        return dataclasses.replace(self.config, moe_blocks=())

    @property
    def label_set(self) -> str:
        return next(t.label_set for t in self.config.tasks if t.kind == "segmentation")


def training_rows(frames: Frames, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, evenly spread over the split."""
    rows = np.arange(len(frames))
    if not held_out:
        return rows, rows[:0]
    if held_out >= len(frames):
        raise DatasetError(f"cannot hold out {held_out} of {len(frames)} frames")
    kept_back = np.linspace(0, len(frames) - 1, held_out).round().astype(int)
    return np.setdiff1d(rows, kept_back), kept_back


def select(frames: Frames, rows: np.ndarray) -> Frames:
    """Some frames of a split."""
    return Frames(
        tuple(frames.ids[row] for row in rows),
        frames.images[rows],
        frames.labels[rows],
        frames.depth_mm[rows],
    )


class Run:
    """Both phases over one data set."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.frames = prepare(setup.data, "train", setup.label_set, setup.cache)
        self.rows, self.kept_back = training_rows(self.frames, setup.held_out)

    def _batches(self, recipe: TrainConfig, salt: int) -> Batches:
        config = self.setup.config
        enlarge = 2 ** (len(config.head.channels) - 1) * config.head.output_upsample
        target = (config.grid[0] * enlarge, config.grid[1] * enlarge)
        return Batches(
            self.frames, self.rows, config.image_size, target, recipe.batch,
            self.setup.seed + salt, AugmentConfig(),
        )  # fmt: skip

    def _meta(self, phase: str, trainer: Trainer) -> dict:
        return {
            "phase": phase,
            "epoch": trainer.epoch,
            "data": PROVENANCE,
            "training_frames": len(self.rows),
            "start": self.setup.start.name if self.setup.start else "random",
            "seed": self.setup.seed,
            "recipe": asdict(trainer.config),
        }

    def _sample(self, count: int) -> torch.Tensor:
        """Evenly spread training frames as model inputs."""
        rows = self.rows[:: max(1, len(self.rows) // count)][:count]
        return resize_images(self.frames.images[rows], self.setup.config.image_size)

    # -- phases --------------------------------------------------------------

    def dense(self, recipe: TrainConfig = DENSE) -> M3ViT:
        """Train the dense model; returns the averaged weights."""
        setup = self.setup
        torch.manual_seed(setup.seed)
        model = M3ViT(setup.dense_config)
        if setup.start is not None:
            model.load_state_dict(load_start(setup.start, setup.dense_config), strict=False)
        trainer = Trainer(model, recipe, self._batches(recipe, 0), setup.out, "dense")
        if setup.resume:
            trainer.resume()
        trainer.run()
        draw_curve(setup.out / "dense.csv")
        save_npz(trainer.average, setup.out / "dense.npz", self._meta("dense", trainer))
        return trainer.average

    def load_dense(self) -> M3ViT:
        """The averaged weights of a finished dense phase."""
        state = load_checkpoint(self.setup.out / "dense.pt")
        model = M3ViT(ModelConfig.from_dict(state["model_config"]))
        model.load_state_dict(state["average"])
        return model.eval()

    def moe(self, recipe: TrainConfig = MOE) -> M3ViT:
        """Upcycle the dense model and train it; returns the averaged weights."""
        setup = self.setup
        torch.manual_seed(setup.seed + 1)
        resumable = setup.resume and (setup.out / "moe.pt").is_file()
        if resumable:
            model = M3ViT(setup.config)
        else:
            dense = self.load_dense()
            equalise(dense, self._sample(16))
            model = upcycle(dense, setup.config, self._sample(32))
            save_npz(model, setup.out / "upcycled.npz", {"phase": "upcycled", "data": PROVENANCE})
        watched = self._sample(4)

        def after_epoch(trainer: Trainer, epoch: int) -> dict[str, float]:
            save_npz(trainer.average, setup.out / "latest.npz", self._meta("moe", trainer))
            numbers: dict[str, float] = {}
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                for task in setup.config.task_names:
                    numbers |= routing_report(trainer.average, watched, task).summary()
            return numbers

        trainer = Trainer(model, recipe, self._batches(recipe, 1), setup.out, "moe", after_epoch)
        if resumable:
            trainer.resume()
        trainer.run()
        draw_curve(setup.out / "moe.csv")
        save_npz(trainer.average, setup.out / "moe.npz", self._meta("moe", trainer))
        return trainer.average

    def evaluate(self, model: M3ViT, name: str) -> dict[str, dict[str, float]]:
        """Metrics on the held-out frames if there are any, else on the test split.

        They are written to ``{name}.json`` and into the checkpoint ``{name}.npz``.
        """
        setup = self.setup
        if len(self.kept_back):
            split, frames = "held out", select(self.frames, self.kept_back)
        else:
            split = "test"
            frames = prepare(setup.data, split, setup.label_set, setup.cache)
        result = evaluate(model, frames)
        report = {"split": split, "frames": len(frames), **result}
        text = json.dumps(report, indent=2)
        write_atomically(setup.out / f"{name}.json", lambda file: file.write(text.encode()))
        add_meta(setup.out / f"{name}.npz", {"metrics_float": report})
        log.info("%s (%s, %d frames): %s", name, split, len(frames), result)
        return result
