# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What ``m3vit-pynq train`` does."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..config import ModelConfig, get_config
from ..errors import M3ViTError
from .checkpoint import check_folder
from .device import choose_precision
from .export import expected_shapes
from .ranks import Ranks, connected
from .recipe import Recipes, recipes_of
from .run import Run, Setup
from .settings import TrainConfig
from .upcycle import slices

log = logging.getLogger(__name__)

INTERRUPTED = 130
CALIBRATION_FRAMES = 16


def run(arguments: argparse.Namespace) -> int:
    """Train as asked; returns the exit status.

    Raises
    ------
    M3ViTError, OSError, ValueError
        With a message that says what to do.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        with _termination_interrupts(), connected(arguments.device) as ranks:
            level = logging.INFO if ranks.first else logging.ERROR
            logging.getLogger(__package__).setLevel(level)
            _train(arguments, ranks)
    except KeyboardInterrupt:
        log.error("interrupted; %s", _what_is_saved(arguments.out))
        return INTERRUPTED
    except ImportError as error:
        raise M3ViTError(str(error)) from error
    return 0


def _train(arguments: argparse.Namespace, ranks: Ranks) -> None:
    config = get_config(arguments.variant)
    recipes = recipes_of(arguments.variant)
    phases = ("dense", "moe") if arguments.phase == "all" else (arguments.phase,)
    setup = _setup(arguments, config, recipes)
    _check_output(setup, phases)
    adapted = {
        phase: _adapted(getattr(recipes, phase), phase, arguments, ranks) for phase in phases
    }
    run = Run(setup, ranks)
    for phase in phases:
        model = getattr(run, phase)(adapted[phase])
        if ranks.first and not arguments.no_evaluation:
            run.evaluate(model, phase, adapted[phase].tasks)
    if ranks.first and arguments.package is not None:
        _compile(run, setup.out / f"{phases[-1]}.npz", arguments.package)


# -- what was asked for ------------------------------------------------------


def _setup(arguments: argparse.Namespace, config: ModelConfig, recipes: Recipes) -> Setup:
    """The run that the options describe.

    Raises
    ------
    ValueError
        If options are missing or contradict each other.
    """
    teacher = _teacher(arguments, recipes)
    if teacher is None and arguments.start is None and not _continues(arguments):
        log.warning(
            "no --start: the backbone begins with random weights, which costs far more accuracy "
            "than anything else; docs/training.md names a start"
        )
    if arguments.evaluate_every and not arguments.held_out:
        raise ValueError("--evaluate-every needs frames to evaluate on: give --held-out N as well")
    every = 5 if arguments.evaluate_every is None else arguments.evaluate_every
    return Setup(
        config=config,
        data=arguments.data,
        out=arguments.out,
        cache=arguments.cache or arguments.out / "cache",
        start=arguments.start,
        teacher=teacher,
        held_out=arguments.held_out,
        seed=arguments.seed,
        resume=arguments.resume,
        evaluate_every=every,
    )


def _continues(arguments: argparse.Namespace) -> bool:
    """Whether the weights come from an earlier run in the same folder."""
    return arguments.phase == "moe" or (arguments.resume and (arguments.out / "dense.pt").is_file())


def _teacher(arguments: argparse.Namespace, recipes: Recipes) -> Path | None:
    if arguments.teacher is None and recipes.taught:
        raise ValueError(
            f"variant {arguments.variant} learns from a larger one: give --teacher RUN/dense.pt of "
            "a trained one (m3vit-pynq train --variant small ...), or --teacher none to train it "
            "from the labels alone, which costs accuracy"
        )
    return None if arguments.teacher in (None, "none") else Path(arguments.teacher)


def _adapted(
    recipe: TrainConfig, phase: str, arguments: argparse.Namespace, ranks: Ranks
) -> TrainConfig:
    """A recipe with the options that were given in place of its own values."""
    factor = arguments.lr_factor
    batch = arguments.batch or recipe.batch
    parts = ranks.count * arguments.workers
    if batch % parts:
        raise ValueError(
            f"a batch of {batch} cannot be cut into {ranks.count} processes x {arguments.workers} "
            f"workers: give --batch a multiple of {parts}"
        )
    return dataclasses.replace(
        recipe,
        epochs=getattr(arguments, f"{phase}_epochs") or recipe.epochs,
        batch=batch,
        seed=arguments.seed,
        workers=arguments.workers,
        precision=choose_precision(arguments.precision, ranks.device),
        lr_backbone=recipe.lr_backbone * factor,
        lr_heads=recipe.lr_heads * factor,
        lr_routers=recipe.lr_routers * factor,
    )


# -- the folder --------------------------------------------------------------


def _check_output(setup: Setup, phases: tuple[str, ...]) -> None:
    """Refuse early what would fail, or lose something, after hours."""
    existing = [setup.out / f"{phase}.pt" for phase in phases]
    existing = [path for path in existing if path.is_file()]
    if existing and not setup.resume:
        raise ValueError(
            f"{existing[0]} holds an earlier run: add --resume to continue it, or give "
            "another --out"
        )
    if "moe" in phases:
        slices(setup.config)  # ValueError if its experts cannot hold the dense layers
    shapes = expected_shapes(setup.config if "moe" in phases else setup.dense_config)
    weights = sum(math.prod(shape) for shape in shapes.values())
    # Weights, average and two moments in float32, and a second copy while the first is replaced.
    check_folder(setup.out, need=2 * 4 * 4 * weights)


def _what_is_saved(out: Path) -> str:
    found = [path.name for path in (out / "dense.pt", out / "moe.pt") if path.is_file()]
    if not found:
        return f"no epoch had been finished, so there is nothing to resume in {out}"
    return f"{' and '.join(found)} in {out} are complete: add --resume to continue"


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let a polite kill (torchrun's, a job scheduler's) end the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


# -- the package -------------------------------------------------------------


def _compile(run: Run, weights: Path, package: Path) -> None:
    """Quantise and compile a float checkpoint, calibrated on training frames."""
    from ..compiler import compile_checkpoint
    from ..compiler.checkpoint import load_checkpoint, read_meta
    from ..sources import resized

    config, checkpoint = load_checkpoint(weights)
    rows = run.sample_rows(CALIBRATION_FRAMES)
    frames = [resized(run.frames.images[row], config.image_size) for row in rows]
    metadata = {**read_meta(weights), "scenes": ["indoor"]}
    written = compile_checkpoint(config, checkpoint, frames, metadata=metadata).save(package)
    log.info("%s: INT8 package, calibrated on %d training frames", written, len(frames))
