# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq train``: train a variant (extra ``[train]``)."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from m3vit_pynq.cli.options import at_least
from m3vit_pynq.config import variants
from m3vit_pynq.errors import M3ViTError

#: Packages without which nothing can be trained.
NEEDED = ("torch", "cv2")

DESCRIPTION = """\
Trains a variant on NYU Depth v2 in two phases: a dense ViT, then the mixture of experts that
starts as the same function. Every epoch leaves a complete state in OUT; --resume continues from
it. Several devices: torchrun --nproc-per-node N -m m3vit_pynq.training, with the same options."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train", help="train a variant on NYU Depth v2", description=DESCRIPTION
    )
    _add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; says in one line what to install where PyTorch is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise M3ViTError(
            f"training needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'm3vit-pynq[train]'"
        )
    from m3vit_pynq.training import command

    return command.run(arguments)


def _positive(text: str) -> float:
    """An argparse type: a number above zero."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


_positive.__name__ = "number"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", default="small", choices=variants(), metavar="NAME",
        help=f"one of {', '.join(variants())}; default: %(default)s")  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, logs and weights")
    parser.add_argument("--cache", type=Path, help="decoded frames; default: OUT/cache")
    parser.add_argument("--start", type=Path, metavar="FILE",
        help="DINOv2-shaped weights for the backbone, .onnx or .pth")  # fmt: skip
    parser.add_argument("--teacher", metavar="FILE",
        help="dense.pt of a trained larger variant to start and to learn from; "
        "'none' to train a small variant without")  # fmt: skip
    parser.add_argument("--phase", choices=("all", "dense", "moe"), default="all",
        help="default: %(default)s")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue from the states in OUT")
    parser.add_argument("--package", type=Path, metavar="FILE",
        help="compile the result into an INT8 package, .m3vit")  # fmt: skip
    _add_recipe(parser.add_argument_group("recipe", "defaults are those of the variant"))
    _add_evaluation(parser.add_argument_group("evaluation"))
    _add_machine(parser.add_argument_group("machine"))


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dense-epochs", type=at_least(1), metavar="N")
    group.add_argument("--moe-epochs", type=at_least(1), metavar="N")
    group.add_argument("--batch", type=at_least(1), metavar="N",
        help="frames a step, of all processes together")  # fmt: skip
    group.add_argument("--lr-factor", type=_positive, default=1.0, metavar="F",
        help="multiply all learning rates")  # fmt: skip
    group.add_argument("--seed", type=at_least(0), default=0, metavar="N")


def _add_evaluation(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--held-out", type=at_least(0), default=0, metavar="N",
        help="keep N training frames back and evaluate on them, not on the test split")  # fmt: skip
    group.add_argument("--evaluate-every", type=at_least(0), metavar="N",
        help="epochs between evaluations on held-out frames, 0 for none; default: 5")  # fmt: skip
    group.add_argument("--no-evaluation", action="store_true", help="none after the phases")


def _add_machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="default: a GPU if there is one")  # fmt: skip
    group.add_argument("--precision", choices=("auto", "bf16", "fp16", "fp32"), default="auto",
        help="of the matrix products; default: bf16 where the device is fast at it")  # fmt: skip
    group.add_argument("--workers", type=at_least(1), default=1, metavar="N",
        help="threads of each process that share its part of a batch (for CPUs)")  # fmt: skip
    group.add_argument("--threads", type=at_least(1), metavar="N",
        help="threads inside the operators")  # fmt: skip
