# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the mixture buys: dense, single-task, one shared router, one router per task.

    python benchmarks/ablation.py --data NYUV2 --out OUT --trunk checkpoints/small-dense.pt
    python benchmarks/ablation.py --data NYUV2 --out OUT --start vit_s14.onnx

The backbone of ``small`` at a smaller input. The dense two-task *trunk* is one that
was trained before, or is trained once from the start weights. From it, per seed,
every form goes on with as many steps per task and the same recipe: dense on both
tasks (both each step, and in turn), dense on one task, M³ViT with one router for
both tasks and with one router each (both upcycled from the trunk, tasks in turn).
Then: accuracy on the test split, and the cosine between the two tasks' gradients on
shared weights.

Every finished form leaves a file in ``--out`` and is not run again. Rows go to
``results/ablation.csv`` with ``--record``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import logging
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from m3vit_pynq.computer import processor
from m3vit_pynq.config import ModelConfig, get_config
from m3vit_pynq.training.augment import AugmentConfig
from m3vit_pynq.training.conflict import gradient_conflict
from m3vit_pynq.training.dataset import Batches, prepare
from m3vit_pynq.training.distil import load_teacher
from m3vit_pynq.training.evaluate import evaluate, resize_images
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.pretrained import load_start, resample_grid
from m3vit_pynq.training.settings import TrainConfig
from m3vit_pynq.training.split import select
from m3vit_pynq.training.trainer import Trainer
from m3vit_pynq.training.upcycle import upcycle

log = logging.getLogger("ablation")
RESULTS = Path(__file__).parent / "results" / "ablation.csv"


@dataclass(frozen=True)
class Form:
    """One column of the comparison."""

    title: str
    routed: bool = False
    alternate: bool = False
    shared_router: bool = False
    tasks: tuple[str, ...] = ()


FORMS = {
    "dense": Form("dense, both tasks each step"),
    "dense-in-turn": Form("dense, tasks in turn", alternate=True),
    "only-segmentation": Form("dense, segmentation alone", tasks=("segmentation",)),
    "only-depth": Form("dense, depth alone", tasks=("depth",)),
    "shared-router": Form("M³ViT, one router", routed=True, alternate=True, shared_router=True),
    "router-per-task": Form("M³ViT, one router per task", routed=True, alternate=True),
}


class Ablation:
    """Data, trunk and forms of one comparison."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: Path = arguments.out
        self.config = get_config("small", image_size=tuple(arguments.size))
        label_set = self.config.tasks[0].label_set
        cache = arguments.cache or self.out / "cache"
        self.train = prepare(arguments.data, "train", label_set, cache)
        test = prepare(arguments.data, "test", label_set, cache)
        few = arguments.limit is not None and arguments.limit < len(test)
        self.test = select(test, np.arange(arguments.limit)) if few else test

    @property
    def dense_config(self) -> ModelConfig:
        return dataclasses.replace(self.config, moe_blocks=())

    def batches(self, seed: int) -> Batches:
        target = tuple(self.config.head.enlargement * side for side in self.config.grid)
        rows = np.arange(len(self.train))
        return Batches(self.train, rows, self.config.image_size, target, 8, seed, AugmentConfig())

    def recipe(self, seed: int, **changes: object) -> TrainConfig:
        base = TrainConfig(
            epochs=self.arguments.epochs, lr_backbone=8e-5 * self.arguments.lr_factor,
            lr_heads=1e-3 * self.arguments.lr_factor, layer_decay=0.8, warmup_steps=50,
            start_lr=0.1, hold=0.2, ema=0.98, workers=self.arguments.workers, seed=seed,
        )  # fmt: skip
        return dataclasses.replace(base, **changes)

    def trunk(self) -> M3ViT:
        """The dense two-task model that every form goes on from."""
        if self.arguments.trunk:
            return self._resized(load_teacher(self.arguments.trunk))
        torch.manual_seed(0)
        model = M3ViT(self.dense_config)
        model.load_state_dict(load_start(self.arguments.start, self.dense_config), strict=False)
        recipe = self.recipe(0, epochs=self.arguments.trunk_epochs, hold=1.0, warmup_steps=100)
        trainer = Trainer(model, recipe, self.batches(1000), self.out, "trunk")
        trainer.resume()
        trainer.run()
        return trainer.average

    def _resized(self, trained: M3ViT) -> M3ViT:
        """A trained dense model with positions for the tokens of this input."""
        weights = trained.state_dict()
        name = "backbone.pos_embed"
        weights[name] = resample_grid(weights[name], trained.config.grid, self.config.grid)
        model = M3ViT(self.dense_config)
        model.load_state_dict(weights)
        return model

    def train_form(self, name: str, seed: int) -> M3ViT:
        """Train one form from the trunk; the averaged weights."""
        form, trunk = FORMS[name], self.trunk()
        torch.manual_seed(seed + 1)
        recipe = self.recipe(seed, alternate=form.alternate, tasks=form.tasks)
        if form.alternate:  # as many steps per task as where a step has both
            recipe = dataclasses.replace(recipe, epochs=2 * recipe.epochs)
        model = trunk.requires_grad_(True)
        if form.routed:
            recipe = dataclasses.replace(
                recipe, balance=0.004, margin=1.0, margin_target=0.6, tie_groups=True,
                lr_routers=1.5e-4, shared_router=form.shared_router,
            )  # fmt: skip
            images = resize_images(self.train.images[:: len(self.train) // 32], self.size)
            model = upcycle(model, self.config, images, shared_router=form.shared_router)
        trainer = Trainer(model, recipe, self.batches(seed), self.out, f"{name}-{seed}")
        trainer.resume()
        trainer.run()
        return trainer.average

    @property
    def size(self) -> tuple[int, int]:
        return self.config.image_size

    def measure(self, name: str, seed: int) -> dict:
        """Train (unless done) and measure one form; the row for the table."""
        path = self.out / f"{name}-{seed}.json"
        if path.is_file():
            return json.loads(path.read_text())
        model = self.train_form(name, seed)
        form = FORMS[name]
        found = evaluate(model, self.test, tasks=form.tasks)
        row = {"form": name, "seed": seed, "epochs": self.arguments.epochs}
        row |= {
            "miou39": found.get("segmentation", {}).get("miou", ""),
            "rmse": found.get("depth", {}).get("rmse", ""),
        }
        if not form.tasks:
            conflict = gradient_conflict(model, self.batches(99).epoch(0), 12)
            row |= {"cosine": conflict.mean, "opposed": conflict.opposed}
        path.write_text(json.dumps(row))
        (self.out / f"{name}-{seed}.pt").unlink(missing_ok=True)
        return row


def record(rows: list[dict], size: tuple[int, int]) -> None:
    """Append the rows to the results with date, commit and processor."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    names = ["date", "commit", "processor", "input", "form", "seed", "epochs", "miou39", "rmse",
             "cosine", "opposed"]  # fmt: skip
    new = not RESULTS.is_file()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if new:
            writer.writeheader()
        for row in rows:
            context = {"date": date.today().isoformat(), "commit": commit}
            context |= {"processor": processor(), "input": f"{size[0]}x{size[1]}"}
            rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(context | rounded)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    begin = parser.add_mutually_exclusive_group(required=True)
    begin.add_argument("--trunk", type=Path, help="dense.pt of `small` to go on from")
    begin.add_argument("--start", type=Path, help="DINOv2-shaped weights to train a trunk from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 154), metavar=("H", "W"))
    parser.add_argument("--trunk-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4, help="of a form, per task")
    parser.add_argument("--lr-factor", type=float, default=1.0, help="on every form's rates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--limit", type=int, help="test frames")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", action="store_true")
    return parser


def main() -> None:
    """Run what is missing and print the table."""
    arguments = build_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ablation = Ablation(arguments)
    rows = [ablation.measure(name, seed) for seed in arguments.seeds for name in arguments.forms]
    for row in rows:
        print(FORMS[row["form"]].title, {k: v for k, v in row.items() if k != "form"}, sep=": ")
    if arguments.record:
        record(rows, ablation.size)


if __name__ == "__main__":
    main()
