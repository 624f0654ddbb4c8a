# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq estimate``: cycles, latency and resources of a package on a board, modelled."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3vit_pynq.cli.options import add_json, open_package

if TYPE_CHECKING:
    import numpy as np

    from m3vit_pynq.abi.boards import Board
    from m3vit_pynq.analysis.cycles import ClassCycles
    from m3vit_pynq.bench.cycles import FrameCycles
    from m3vit_pynq.package import Package

_RESOURCES = ("dsp", "bram36", "uram", "lut")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "estimate",
        help="count cycles and resources on a board",
        description="Counts the clock cycles of a frame of every task from the accelerator's own "
        "sources (docs/cycles.md), and the resources of the board's configuration. A model: "
        "nothing of it was measured on a board.",
    )
    parser.add_argument("--package", help="a .m3vit file or the name of a shipped package")
    parser.add_argument("--board", help="which board; default: zcu104")
    parser.add_argument(
        "--source", help="where the frame comes from; default: a photograph if one is installed"
    )
    parser.add_argument("--fresh", action="store_true", help="count again what was counted before")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Count, print, write."""
    from m3vit_pynq.abi.boards import DEFAULT_BOARD, get_board
    from m3vit_pynq.analysis.costs import layer_names
    from m3vit_pynq.analysis.cycles import layer_classes, total
    from m3vit_pynq.bench.cycles import count_task

    board = get_board(arguments.board or DEFAULT_BOARD)
    package = open_package(arguments.package)
    package.check_fits(board)
    image = _frame(arguments.source, package)
    names = layer_names(package.decoded, package.metadata.get("layers"))
    frames, classes = {}, {}
    for task in package.task_names:
        frames[task] = count_task(
            board, package, task, image, progress=_bar(task), say=_say, fresh=arguments.fresh
        )
        classes[task] = layer_classes(board, package.decoded, names, frames[task].instructions)
    shares = {task: total(found, board).roofline_share for task, found in classes.items()}
    facts = {
        "package": package.config.name,
        "board": board.name,
        "clock_mhz": board.clock_mhz,
        "modelled": True,
        "frame": next(iter(frames.values())).counted_on,
        "cycles": {task: frame.total for task, frame in frames.items()},
        "milliseconds": {task: _ms(board, frame) for task, frame in frames.items()},
        "roofline_share": shares,
        "layers": {
            task: {title: _row(c) for title, c in found.items()} for task, found in classes.items()
        },
        "resources": _resources(board),
        "device": {name: getattr(board, name) for name in _RESOURCES},
    }
    print("\n".join(_table(package, board, facts)))
    _write(arguments.json, facts)
    return 0


def _frame(spec: str | None, package: Package) -> np.ndarray:
    """The source's first frame at the package's size; without one a photograph or a drawing."""
    from m3vit_pynq.errors import SourceError
    from m3vit_pynq.sources import as_rgb, open_source, resized

    try:
        source = open_source(spec or "stills")
    except SourceError:
        if spec is not None:
            raise
        source = open_source("synthetic")
    with source:
        return resized(as_rgb(next(source)), package.config.image_size)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _bar(task: str):
    """A progress bar over the instructions of a task, on standard error."""

    def wrap(instructions: Sequence[int]) -> Iterable[int]:
        from tqdm import tqdm

        return tqdm(instructions, desc=task, unit="instruction", leave=False, disable=None)

    return wrap


def _ms(board: Board, frame: FrameCycles) -> float:
    return round(frame.total / (board.clock_mhz * 1e3), 4)


def _row(found: ClassCycles) -> dict[str, Any]:
    return {
        "instructions": found.instructions,
        "products": found.products,
        "bytes": found.bytes,
        "cycles": found.cycles,
        "engine_cycles": found.engine,
        "roofline_share": round(found.roofline_share, 4),
        "limit": found.limit,
        "limit_share": round(found.limit_share, 4),
    }


def _resources(board: Board) -> dict[str, Any] | None:
    """What the configuration takes of the device; None where nobody can tell."""
    try:
        from m3vit_pynq.analysis.resources import board_resources
    except ImportError:
        return None
    found = board_resources(board)
    return {name: found[name] for name in _RESOURCES}


def _table(package: Package, board: Board, facts: dict[str, Any]) -> list[str]:
    """The figures for a person."""
    lines = [
        f"{package.config.name} on {board.title} at {board.clock_mhz:g} MHz, modelled from the "
        "sources; no bitstream has been built",
    ]
    for task, rows in facts["layers"].items():
        lines += [
            "",
            f"{task}: {facts['cycles'][task]:,} cycles, {facts['milliseconds'][task]:.2f} ms, "
            f"{facts['roofline_share'][task]:.0%} of the roofline (frame {facts['frame']})",
            f"  {'layers':<34}{'products':>10}{'MB':>8}{'cycles':>12}{'roofline':>10}  limited by",
        ]
        lines += [
            f"  {title:<34}{row['products'] / 1e6:>9,.0f}M{row['bytes'] / 1e6:>8.2f}"
            f"{row['cycles']:>12,}{row['roofline_share']:>10.0%}  "
            f"{row['limit']} ({row['limit_share']:.0%} of the time)"
            for title, row in rows.items()
        ]
    lines += ["", f"  {'resources':<12}{'used':>10}{'device':>10}"]
    used = facts["resources"]
    for name in _RESOURCES:
        text = "not known" if used is None else f"{used[name]:,}"
        note = "  (an estimate)" if name == "lut" and used is not None else ""
        lines.append(f"  {name:<12}{text:>10}{facts['device'][name]:>10,}{note}")
    return lines


def _write(path: Path | None, facts: dict[str, Any]) -> None:
    """Write the data; the file appears when it is complete."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
