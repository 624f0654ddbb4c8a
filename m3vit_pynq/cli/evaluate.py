# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq evaluate``: accuracy of a package on a labelled data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from m3vit_pynq.cli.options import add_json, at_least, open_package, write_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure accuracy on NYU Depth v2",
        description="Runs every frame of a split through the accelerator (or the integer "
        "specification) and compares classes and depth with the labels at 480x640.",
    )
    parser.add_argument("--package", help="file or name of a shipped package")
    parser.add_argument("--dataset", choices=("nyuv2",), default="nyuv2")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--limit", type=at_least(1), help="only the first frames")
    parser.add_argument(
        "--backend", choices=("emulated", "integer"), default="emulated",
        help="the board (emulated where there is none) or the numpy specification",
    )  # fmt: skip
    parser.add_argument("--board", help="bitstream configuration")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the figures as CSV")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the figures."""
    from m3vit_pynq.evaluation.nyuv2 import FolderDataset
    from m3vit_pynq.evaluation.runner import evaluate, integer_predictor, write_csv

    package = open_package(arguments.package)
    label_set = next((t.label_set for t in package.config.tasks if t.label_set), "nyud39")
    frames = FolderDataset(arguments.root, arguments.split, label_set, arguments.limit)
    if arguments.backend == "integer":
        backend = "integer"
        report = evaluate(package, frames, integer_predictor(package))
    else:
        from m3vit_pynq.overlay import M3ViTOverlay

        with M3ViTOverlay(package=package, board=arguments.board) as overlay:
            backend = f"{'emulated ' if overlay.emulated else ''}{overlay.board.name}"
            report = evaluate(
                package, frames, lambda image, task: overlay.run(image, task=task).data
            )
    report |= {"package": package.config.name, "split": arguments.split, "backend": backend}
    for task in package.task_names:
        figures = ", ".join(
            f"{name} {value:.4f}" for name, value in report[task].items() if name != "iou"
        )
        print(f"{task}: {figures}")
    print(f"{report['frames']} frames of {arguments.split}, computed by: {backend}")
    write_json(arguments.json, report)
    if arguments.csv:
        write_csv(
            arguments.csv, report, package=package.config.name, split=arguments.split,
            frames=str(report["frames"]), backend=backend,
        )  # fmt: skip
    return 0
