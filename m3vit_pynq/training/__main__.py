# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``python -m m3vit_pynq.training``: train a variant on NYU Depth v2."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..config import get_config, variants
from .dataset import DatasetError
from .recipe import DENSE, MOE, Run, Setup
from .settings import TrainConfig
from .trainer import Diverged


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m m3vit_pynq.training", description=__doc__)
    parser.add_argument("--variant", default="small", choices=variants())
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, logs and weights")
    parser.add_argument("--cache", type=Path, help="decoded frames (default: OUT/cache)")
    parser.add_argument("--start", type=Path, help="DINOv2-shaped weights, .onnx or .pth")
    parser.add_argument("--phase", choices=("dense", "moe", "all"), default="all")
    parser.add_argument("--resume", action="store_true", help="continue from OUT's checkpoints")
    parser.add_argument("--dense-epochs", type=int, default=DENSE.epochs)
    parser.add_argument("--moe-epochs", type=int, default=MOE.epochs)
    parser.add_argument("--batch", type=int, default=DENSE.batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--held-out", type=int, default=0, metavar="N",
        help="keep N training frames back and evaluate on them instead of the test split",
    )  # fmt: skip
    parser.add_argument("--fp32", action="store_true", help="no bfloat16 autocast")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--workers", type=int, default=1, help="threads that share a batch")
    parser.add_argument("--no-evaluation", action="store_true")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("m3vit_pynq.training")
    if args.threads:
        torch.set_num_threads(args.threads)

    def recipe(base: TrainConfig, epochs: int) -> TrainConfig:
        return dataclasses.replace(
            base,
            epochs=epochs,
            batch=args.batch,
            seed=args.seed,
            bf16=not args.fp32,
            workers=args.workers,
        )

    setup = Setup(
        config=get_config(args.variant),
        data=args.data,
        out=args.out,
        cache=args.cache or args.out / "cache",
        start=args.start,
        held_out=args.held_out,
        seed=args.seed,
        resume=args.resume,
    )
    try:
        run = Run(setup)
        if args.phase in ("dense", "all"):
            model = run.dense(recipe(DENSE, args.dense_epochs))
            if not args.no_evaluation:
                run.evaluate(model, "dense")
        if args.phase in ("moe", "all"):
            model = run.moe(recipe(MOE, args.moe_epochs))
            if not args.no_evaluation:
                run.evaluate(model, "moe")
    except (DatasetError, Diverged, OSError, ValueError, ImportError) as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted; continue with --resume")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
