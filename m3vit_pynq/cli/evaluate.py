# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq evaluate``: accuracy of a package on a labelled data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from m3vit_pynq.cli.options import add_json, at_least, write_json

BACKENDS = ("emulated", "integer", "float")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure accuracy on NYU Depth v2",
        description="Runs every frame of a split through the accelerator (or the integer "
        "specification, or the float model) and compares classes and depth with the labels at "
        "480x640. Says what a frame of each task costs. See docs/evaluation.md.",
    )
    parser.add_argument("--package", help="file or name of a shipped package")
    parser.add_argument("--dataset", choices=("nyuv2",), default="nyuv2")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="only the first N frames")
    parser.add_argument(
        "--backend", choices=BACKENDS, default="emulated",
        help="the board (emulated where there is none), the numpy specification, or a float "
        "checkpoint; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", type=Path, metavar="NPZ", help="float weights, for --backend float"
    )
    parser.add_argument("--board", help="bitstream configuration")
    parser.add_argument(
        "--robustness", action="store_true",
        help="also mirrored, darker, noisier, blurred, turned, and with other fields of view",
    )  # fmt: skip
    parser.add_argument(
        "--condition", action="append", metavar="NAME",
        help="also under this condition of --robustness; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--gallery", type=Path, metavar="JPG", help="draw the best, median and worst frames"
    )
    parser.add_argument(
        "--gallery-rows", type=at_least(1), default=2, metavar="N",
        help="rows of each of the three; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the figures as CSV")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the figures, write them."""
    from m3vit_pynq.evaluation.gallery import check_suffix, write_picture
    from m3vit_pynq.evaluation.job import Job, choose_conditions, open_subject, run_job
    from m3vit_pynq.evaluation.report import check_writable

    conditions = choose_conditions(arguments.condition, arguments.robustness)
    if arguments.gallery is not None:
        check_suffix(arguments.gallery)
    for path in (arguments.json, arguments.csv, arguments.gallery):
        check_writable(path)
    subject = open_subject(arguments.backend, arguments.package, arguments.checkpoint)
    outcome = run_job(
        subject,
        Job(
            backend=arguments.backend, root=arguments.root, split=arguments.split,
            limit=arguments.limit, board=arguments.board, conditions=conditions,
            gallery=arguments.gallery is not None,
        ),
    )  # fmt: skip
    if arguments.checkpoint:
        outcome.report["checkpoint"] = arguments.checkpoint.name
    _publish(outcome.report, arguments)
    if arguments.gallery is not None:
        write_picture(arguments.gallery, outcome.draw_gallery(arguments.gallery_rows))
    return 0


def _publish(report: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print first, so that a full disk does not lose the figures."""
    from m3vit_pynq.evaluation.report import conditions_text, costs_text, figures_text, write_csv

    for text in (figures_text(report), conditions_text(report), costs_text(report)):
        if text:
            print(f"{text}\n")
    print(f"{report['frames']} frames of {report['split']}, computed by: {report['backend']}")
    write_json(arguments.json, report)
    if arguments.csv:
        write_csv(
            arguments.csv, report, package=report["package"], split=report["split"],
            frames=str(report["frames"]), backend=report["backend"],
        )  # fmt: skip
