# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq bench``: the emulated board against others, and the boards a package fits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from m3vit_pynq.cli.options import add_json, add_model, at_least, open_package, write_json

if TYPE_CHECKING:
    import numpy as np

    from m3vit_pynq.bench.report import BenchReport
    from m3vit_pynq.package import Package

#: Where ``--record`` writes unless it is given a file.
RECORD = Path("benchmarks/results/emulated.csv")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the emulated board",
        description="Times the emulated board in turn with PyTorch fp32 and, on a dense ViT of "
        "the same shapes, ONNX Runtime in three precisions, as far as they are installed "
        "(pip install 'm3vit-pynq[bench]'); says where the time goes, what a frame asks for and "
        "which boards the package fits.",
    )
    add_model(parser)
    parser.add_argument(
        "--source", help="where the frame comes from; default: a photograph if one is installed"
    )
    parser.add_argument(
        "--repeats", type=at_least(1), default=15, help="measurements of each; default: %(default)s"
    )
    parser.add_argument(
        "--threads", type=at_least(1), help="of each; default: the cores this process may use"
    )
    parser.add_argument(
        "--path", help="arithmetic of the fast engine, for example avx2; what it is compared "
        "with is limited to the same processors where that is possible; default: the fastest",
    )  # fmt: skip
    parser.add_argument("--no-torch", action="store_true", help="do not run PyTorch")
    parser.add_argument("--no-onnxruntime", action="store_true", help="do not run ONNX Runtime")
    parser.add_argument(
        "--record", type=Path, nargs="?", const=RECORD, metavar="CSV",
        help=f"add a record to a CSV file; default: {RECORD}",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, record."""
    from m3vit_pynq.bench.report import append_csv
    from m3vit_pynq.sources import as_rgb, resized

    package = open_package(arguments.package)
    with _open(arguments.source) as source:
        frame = resized(as_rgb(next(source)), package.config.image_size)
    with _engine_settings(arguments):
        report = _measure(arguments, package, frame)
    print(report.table())
    write_json(arguments.json, report.to_dict())
    if arguments.record:
        append_csv(arguments.record, report.records())
    return 0


@contextmanager
def _engine_settings(arguments: argparse.Namespace) -> Iterator[None]:
    """The options as the variables that the engine reads."""
    wanted = {"M3VIT_THREADS": arguments.threads, "M3VIT_FAST_PATH": arguments.path}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: str(value) for name, value in wanted.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _measure(arguments: argparse.Namespace, package: Package, frame: np.ndarray) -> BenchReport:
    from m3vit_pynq.analysis.workload import task_workload
    from m3vit_pynq.bench import competitors, native
    from m3vit_pynq.bench.boards import boards_of
    from m3vit_pynq.bench.report import BenchReport, Setting
    from m3vit_pynq.bench.speed import compare, fast_engine
    from m3vit_pynq.emulator.fast import thread_count
    from m3vit_pynq.overlay import M3ViTOverlay

    threads = thread_count()
    load = os.getloadavg()[0]
    with M3ViTOverlay(package, board=arguments.board) as overlay, ExitStack() as limits:
        engine = fast_engine(overlay)
        without = [name for name in ("torch", "onnxruntime") if getattr(arguments, f"no_{name}")]
        problem = ""
        if arguments.path is not None and len(without) < 2:
            problem = limits.enter_context(native.limit_libraries(arguments.path))
        rivals = competitors.find(package.config, threads, without)
        comparisons = compare(overlay, frame, arguments.repeats, rivals.runners)
        statistics = _stream(overlay, frame)
        boards, reason = boards_of(package, frame)
        notes = [*rivals.missing]
        if reason:
            notes.append(f"cycles of boards cannot be had here: {reason}")
        if problem and rivals.runners:
            notes.append(f"PyTorch and ONNX Runtime {problem}")
        path = engine.path if engine is not None else ""
        setting = Setting(
            engine=overlay.device.engine if overlay.emulated else "", path=path, threads=threads,
            peak=native.peak(path) if path else None, load=load, notes=tuple(notes),
        )  # fmt: skip
        board = overlay.board.name
    return BenchReport(
        package=package, board=board, comparisons=comparisons, boards=boards,
        workloads={
            name: task_workload(package.decoded, package.task(name).index)
            for name in package.task_names
        },
        registers_per_frame=statistics.registers_per_frame,
        registers_per_switch_frame=statistics.registers_per_switch_frame, setting=setting,
    )  # fmt: skip


def _stream(overlay, frame: np.ndarray):
    """Statistics of a short stream in which the task changes."""
    names = overlay.package.task_names
    with overlay.stream((frame for _ in range(4 * len(names))), names) as stream:
        for shown, _ in enumerate(stream):
            if shown == 2 * len(names):
                stream.task = names[0]
    return stream.statistics


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
