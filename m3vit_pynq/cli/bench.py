# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq bench``: the emulated board against PyTorch, and the boards a package fits."""

from __future__ import annotations

import argparse
from pathlib import Path

from m3vit_pynq.cli.options import add_json, add_model, at_least, open_package, write_json

#: Where ``--record`` writes unless it is given a file.
RECORD = Path("benchmarks/results/emulated.csv")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the emulated board",
        description="Times the emulated board against PyTorch fp32 (where it is installed) on the "
        "same shapes, in turn, and says what a frame asks for and which boards the package fits.",
    )
    add_model(parser)
    parser.add_argument(
        "--source", help="where the frame comes from; default: a photograph if one is installed"
    )
    parser.add_argument(
        "--repeats", type=at_least(1), default=7, help="measurements of each; default: %(default)s"
    )
    parser.add_argument("--no-torch", action="store_true", help="do not run PyTorch")
    parser.add_argument(
        "--record", type=Path, nargs="?", const=RECORD, metavar="CSV",
        help=f"add a record to a CSV file; default: {RECORD}",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, record."""
    from m3vit_pynq.analysis.workload import task_workload
    from m3vit_pynq.bench.cycles import count_on_boards
    from m3vit_pynq.bench.report import BenchReport, append_csv
    from m3vit_pynq.bench.speed import compare, torch_is_installed
    from m3vit_pynq.overlay import M3ViTOverlay
    from m3vit_pynq.sources import as_rgb, resized

    package = open_package(arguments.package)
    with _open(arguments.source) as source:
        frame = resized(as_rgb(next(source)), package.config.image_size)
    with_torch = torch_is_installed() and not arguments.no_torch
    with M3ViTOverlay(package, board=arguments.board) as overlay:
        comparisons = compare(overlay, frame, arguments.repeats, with_torch)
        with overlay.stream(
            (frame for _ in range(4 * len(package.task_names))), package.task_names
        ) as stream:
            for shown, _ in enumerate(stream):
                if shown == 2 * len(package.task_names):
                    stream.task = package.task_names[0]
        board, statistics = overlay.board.name, stream.statistics
        engine = overlay.device.engine if overlay.emulated else ""
    report = BenchReport(
        package=package, board=board, comparisons=comparisons,
        boards=count_on_boards(package, frame),
        workloads={
            name: task_workload(package.decoded, package.task(name).index)
            for name in package.task_names
        },
        registers_per_frame=statistics.registers_per_frame,
        registers_per_switch_frame=statistics.registers_per_switch_frame, engine=engine,
    )  # fmt: skip
    print(report.table())
    write_json(arguments.json, report.to_dict())
    if arguments.record:
        append_csv(arguments.record, report.records())
    return 0


def _open(spec: str | None):
    """The source asked for; without one a photograph, else a generated frame."""
    from m3vit_pynq.errors import SourceError
    from m3vit_pynq.sources import open_source

    if spec is not None:
        return open_source(spec)
    try:
        return open_source("stills")
    except SourceError:
        return open_source("synthetic")
