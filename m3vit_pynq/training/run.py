# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The two phases of training: a dense ViT, then the M³ViT upcycled from it."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..config import ModelConfig
from .augment import AugmentConfig
from .checkpoint import average_of, load_checkpoint, write_atomically
from .curve import HELD_OUT
from .dataset import Batches, Frames, Stage, count_classes, prepare
from .device import autocast
from .distil import Teacher, load_teacher, student_start
from .equalise import equalise
from .evaluate import evaluate, resize_images
from .export import add_meta, save_npz
from .losses import class_weights
from .model import M3ViT
from .pretrained import load_start, resample_grid
from .ranks import Ranks
from .recipe import DENSE, MOE
from .routing import routing_report
from .settings import TrainConfig
from .split import select, training_rows
from .trainer import Trainer
from .upcycle import upcycle

log = logging.getLogger(__name__)

DATA = "NYU Depth v2, labelled part (Silberman et al., ECCV 2012)"
LICENCE = (
    "research use: the data was published for research without an explicit licence; the weights "
    "inherit that, and the terms of what they started from"
)


def note_of(origin: Mapping[str, str | None]) -> dict[str, str | None]:
    """What every checkpoint says of its making and of its use."""
    parts = [f"trained on {DATA}", f"started from {origin.get('start') or 'random weights'}"]
    if origin.get("teacher"):
        parts[1] = f"started from and taught by {origin['teacher']}"
    return {"provenance": "; ".join(parts), "licence": LICENCE, **origin}


@dataclass(frozen=True)
class Setup:
    """Everything a run needs beside the recipes.

    Attributes
    ----------
    config : ModelConfig
        The routed variant.
    data, out, cache : Path
        The data set; checkpoints, logs and weights; decoded frames.
    start : Path or None
        DINOv2-shaped weights for the backbone.
    teacher : Path or None
        Training state of a larger dense model to start from and to learn from.
    held_out : int
        Training frames kept back and evaluated instead of the test split.
    resume : bool
        Continue from the states in ``out``, where there are any.
    evaluate_every : int
        Evaluate the averaged weights on the held-out frames every so many
        epochs and after the last; 0 for never.
    """

    config: ModelConfig
    data: Path
    out: Path
    cache: Path
    start: Path | None = None
    teacher: Path | None = None
    held_out: int = 0
    seed: int = 0
    resume: bool = False
    evaluate_every: int = 0

    @property
    def dense_config(self) -> ModelConfig:
        return dataclasses.replace(self.config, moe_blocks=())

    @property
    def label_set(self) -> str:
        return next(t.label_set for t in self.config.tasks if t.kind == "segmentation")

    @property
    def origin(self) -> dict[str, str | None]:
        """Where the weights come from, by file name."""
        begin = self.teacher or self.start
        return {
            "start": begin.name if begin else "random",
            "teacher": self.teacher.name if self.teacher else None,
        }


class Run:
    """Both phases over one data set.

    Parameters
    ----------
    setup : Setup
    ranks : Ranks, optional
        The processes that train together; the first one writes the files.

    Raises
    ------
    DatasetError, FileNotFoundError, ValueError
        If the data, the start or the teacher are missing or wrong.
    """

    def __init__(self, setup: Setup, ranks: Ranks | None = None) -> None:
        self.setup, self.ranks = setup, ranks or Ranks()
        if setup.start is not None and not setup.start.is_file():
            raise FileNotFoundError(f"{setup.start}: no such file to start from")
        self.teacher = None
        if setup.teacher:
            self.teacher = Teacher(load_teacher(setup.teacher), grid=setup.config.grid)
        with self.ranks.first_before_others():
            self.frames = prepare(setup.data, "train", setup.label_set, setup.cache)
        self.rows, self.kept_back = training_rows(self.frames, setup.held_out)

    # -- phases --------------------------------------------------------------

    def dense(self, recipe: TrainConfig = DENSE) -> M3ViT:
        """Train the dense model; returns the averaged weights."""
        resumable = self._resumable("dense")
        torch.manual_seed(self.setup.seed)
        model = M3ViT(self.setup.dense_config)
        if not resumable:
            self._start(model)
        trainer = self._trainer(model, recipe, "dense", 0, self._held_out_metrics)
        return self._train(trainer, resumable)

    def moe(self, recipe: TrainConfig = MOE) -> M3ViT:
        """Upcycle the dense model and train it; returns the averaged weights."""
        resumable = self._resumable("moe")
        origin = self.setup.origin
        torch.manual_seed(self.setup.seed + 1)
        if resumable or not self.ranks.first:
            model = M3ViT(self.setup.config)  # the weights come from the state, or from the first
        else:
            model, origin = self._upcycled(recipe)
        watched = self.sample(4)

        def after_epoch(trainer: Trainer, epoch: int) -> dict[str, float]:
            save_npz(trainer.average, self.setup.out / "latest.npz", self._meta(trainer))
            numbers: dict[str, float] = {}
            with autocast(self.ranks.device, recipe.precision):
                for task in recipe.tasks or self.setup.config.task_names:
                    numbers |= routing_report(trainer.average, watched, task).summary()
            return numbers | self._held_out_metrics(trainer, epoch)

        trainer = self._trainer(model, recipe, "moe", 1, after_epoch)
        trainer.origin = origin
        return self._train(trainer, resumable)

    def load_dense(self) -> M3ViT:
        """The averaged weights of the dense phase, at the variant's input size.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no dense phase, or it is one of another variant.
        """
        return self._dense_state()[0]

    def evaluate(
        self, model: M3ViT, name: str, tasks: Sequence[str] = ()
    ) -> dict[str, dict[str, float]]:
        """Metrics on the held-out frames if there are any, else on the test split.

        Of all tasks, or of those that were trained (``tasks``). They are written
        to ``{name}.json`` and into the checkpoint ``{name}.npz``.
        """
        setup = self.setup
        if len(self.kept_back):
            split, frames = "held out", self._held_out_frames
        else:
            split = "test"
            frames = prepare(setup.data, split, setup.label_set, setup.cache)
        result = evaluate(model, frames, tasks=tasks)
        report = {"split": split, "frames": len(frames), **result}
        text = json.dumps(report, indent=2)
        write_atomically(setup.out / f"{name}.json", lambda file: file.write(text.encode()))
        add_meta(setup.out / f"{name}.npz", {"metrics_float": report})
        log.info("%s (%s, %d frames): %s", name, split, len(frames), result)
        return result

    # -- their parts ---------------------------------------------------------

    def _resumable(self, phase: str) -> bool:
        path = self.setup.out / f"{phase}.pt"
        found = self.setup.resume and path.is_file()
        self.ranks.check_same(int(found), f"whether {path} is there")
        if self.setup.resume and not found:
            log.info("nothing to resume: there is no %s; the phase starts afresh", path)
        return found

    def _start(self, model: M3ViT) -> None:
        """Fill a dense model with the teacher's or the pretrained weights, if any."""
        setup = self.setup
        if self.teacher is not None:
            model.load_state_dict(student_start(self.teacher.model, setup.dense_config))
        elif setup.start is not None:
            model.load_state_dict(load_start(setup.start, setup.dense_config), strict=False)

    def _dense_state(self) -> tuple[M3ViT, dict]:
        """The averaged dense model, and where its weights come from."""
        path = self.setup.out / "dense.pt"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: the routed phase starts from it; run --phase dense first"
            )
        state = load_checkpoint(path)
        old = average_of(state, path)
        wanted = self.setup.dense_config
        if dataclasses.replace(old.config, image_size=wanted.image_size) != wanted:
            raise ValueError(
                f"{path} is a dense {old.config.name}, which variant {wanted.name} cannot be "
                "upcycled from: give another --out, or the variant it was trained as"
            )
        weights = old.state_dict()
        name = "backbone.pos_embed"
        if old.config.grid != wanted.grid:
            weights[name] = resample_grid(weights[name], old.config.grid, wanted.grid)
        model = M3ViT(wanted)
        model.load_state_dict(weights)
        return model.eval(), state.get("origin") or self.setup.origin

    def _upcycled(self, recipe: TrainConfig) -> tuple[M3ViT, dict]:
        dense, origin = self._dense_state()
        equalise(dense, self.sample(16))
        model = upcycle(
            dense, self.setup.config, self.sample(32), shared_router=recipe.shared_router
        )
        meta = {"phase": "upcycled", **note_of(origin)}
        save_npz(model, self.setup.out / "upcycled.npz", meta)
        return model, origin

    def _trainer(
        self,
        model: M3ViT,
        recipe: TrainConfig,
        phase: str,
        salt: int,
        after_epoch: Callable[[Trainer, int], dict[str, float]],
    ) -> Trainer:
        trainer = Trainer(
            model, recipe, self._batches(recipe, salt), self.setup.out, phase, after_epoch,
            self._class_weights(recipe), self.teacher, self.ranks,
        )  # fmt: skip
        trainer.origin = self.setup.origin
        return trainer

    def _train(self, trainer: Trainer, resumable: bool) -> M3ViT:
        if resumable:
            trainer.resume()
        trained = trainer.epoch < trainer.config.epochs
        trainer.run()
        path = self.setup.out / f"{trainer.phase}.npz"
        if self.ranks.first and (trained or not path.is_file()):
            save_npz(trainer.average, path, self._meta(trainer))
        return trainer.average

    def _batches(self, recipe: TrainConfig, salt: int) -> Batches:
        config = self.setup.config

        def target(size: tuple[int, int]) -> tuple[int, int]:
            if any(side % config.patch_size for side in size):
                raise ValueError(f"size {size} is no multiple of the patch, {config.patch_size}")
            return tuple(side // config.patch_size * config.head.enlargement for side in size)

        stages = [Stage(n, (h, w), target((h, w))) for n, h, w in recipe.sizes]
        return Batches(
            self.frames, self.rows, config.image_size, target(config.image_size), recipe.batch,
            self.setup.seed + salt, AugmentConfig(), stages,
            (self.ranks.index, self.ranks.count), self.ranks.device.type == "cuda",
        )  # fmt: skip

    def _class_weights(self, recipe: TrainConfig) -> torch.Tensor | None:
        if not recipe.class_balance:
            return None
        classes = next(t.outputs for t in self.setup.config.tasks if t.kind == "segmentation")
        return class_weights(count_classes(self.frames, self.rows, classes), recipe.class_balance)

    def _meta(self, trainer: Trainer) -> dict:
        return {
            "phase": trainer.phase,
            "epoch": trainer.epoch,
            "training_frames": len(self.rows),
            **note_of(trainer.origin),
            "seed": self.setup.seed,
            "processes": self.ranks.count,
            "recipe": asdict(trainer.config),
        }

    def sample_rows(self, count: int) -> np.ndarray:
        """Rows of evenly spread training frames."""
        return self.rows[:: max(1, len(self.rows) // count)][:count]

    def sample(self, count: int) -> torch.Tensor:
        """Evenly spread training frames as model inputs."""
        rows = self.sample_rows(count)
        return resize_images(self.frames.images[rows], self.setup.config.image_size)

    @functools.cached_property
    def _held_out_frames(self) -> Frames:
        return select(self.frames, self.kept_back)

    def _held_out_metrics(self, trainer: Trainer, epoch: int) -> dict[str, float]:
        """Metrics of the averaged weights on the held-out frames, when they are due."""
        every = self.setup.evaluate_every
        last = epoch == trainer.config.epochs
        if not every or not len(self.kept_back) or (epoch % every and not last):
            return {}
        found = evaluate(trainer.average, self._held_out_frames, tasks=trainer.config.tasks)
        return {
            f"{HELD_OUT}{task}_{name}": value
            for task, figures in found.items()
            for name, value in figures.items()
            if isinstance(value, float)
        }
