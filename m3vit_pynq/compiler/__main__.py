# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``python -m m3vit_pynq.compiler CHECKPOINT --calibration DIR --out X.m3vit``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.compiler.build import package_model
from m3vit_pynq.compiler.checkpoint import load_checkpoint, read_meta
from m3vit_pynq.compiler.limits import check_limits
from m3vit_pynq.compiler.quantise import quantise
from m3vit_pynq.compiler.report import measure
from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.sources.frames import read_image, resized
from m3vit_pynq.sources.stills import images_in


def parser() -> argparse.ArgumentParser:
    """Command line of this module."""
    result = argparse.ArgumentParser(
        prog="python -m m3vit_pynq.compiler",
        description="Quantise a float checkpoint and compile it to a .m3vit package.",
    )
    result.add_argument("checkpoint", type=Path, help="float checkpoint, .npz with __config__")
    result.add_argument(
        "--calibration", type=Path, required=True, metavar="DIR", help="folder of real images"
    )
    result.add_argument("--out", type=Path, required=True, help="package to write")
    result.add_argument("--board", choices=sorted(BOARDS), help="refuse what it cannot run")
    result.add_argument(
        "--list", type=Path, metavar="FILE",
        help="use only the images whose names (without ending) this text file lists",
    )  # fmt: skip
    result.add_argument("--frames", type=int, default=24, help="calibration frames (default 24)")
    result.add_argument(
        "--check", type=int, default=6, metavar="N",
        help="other frames to measure the package on; 0 for none (default 6)",
    )  # fmt: skip
    result.add_argument("--report", type=Path, metavar="CSV", help="write SQNR of every layer")
    result.add_argument(
        "--split-experts", action="store_true",
        help="two parts an expert: about 0.5 dB more precise, twice the slots",
    )  # fmt: skip
    result.add_argument(
        "--passes", type=int, choices=(1, 2), default=1,
        help="attention probabilities of 8 bits (1, the default) or 12 bits (2, slower)",
    )  # fmt: skip
    result.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    return result


def choose(paths: list[Path], count: int, check: int) -> tuple[list[Path], list[Path]]:
    """Evenly spaced calibration images, and others between them.

    Raises
    ------
    ValueError
        If there are not enough images for both.
    """
    total = count + check
    if count < 1 or check < 0 or len(paths) < total:
        raise ValueError(f"{len(paths)} images are not enough for {count} + {check} frames")
    picked = [paths[i * len(paths) // total] for i in range(total)]
    apart = {round((i + 0.5) * total / check) for i in range(check)} if check else set()
    return (
        [path for i, path in enumerate(picked) if i not in apart],
        [path for i, path in enumerate(picked) if i in apart],
    )


def _images(arguments: argparse.Namespace) -> list[Path]:
    paths = images_in(arguments.calibration)
    if arguments.list:
        wanted = set(arguments.list.read_text().split())
        paths = [path for path in paths if path.stem in wanted]
    return paths


def run(arguments: argparse.Namespace) -> str:
    """Compile as the command line says; returns what to print."""
    config, checkpoint = load_checkpoint(arguments.checkpoint)
    check_limits(config)
    board = get_board(arguments.board) if arguments.board else None
    names = choose(_images(arguments), arguments.frames, arguments.check)
    calibration, others = (
        [np.ascontiguousarray(resized(read_image(path), config.image_size)) for path in paths]
        for paths in names
    )
    progress = not arguments.quiet
    metadata = {**read_meta(arguments.checkpoint), "calibration_frames": len(calibration)}
    model = quantise(
        config, checkpoint, calibration, split_experts=arguments.split_experts,
        passes=arguments.passes, progress=progress,
    )  # fmt: skip
    package = package_model(model, board, metadata)
    text = ""
    if others:
        quality = measure(model, package, FloatModel(config, checkpoint), others, progress)
        package = package_model(model, board, {**metadata, "quality": quality.summary()})
        text = quality.table() + "\n"
        if arguments.report:
            quality.write_csv(arguments.report)
    package.save(arguments.out)
    size = arguments.out.stat().st_size
    return f"{text}{arguments.out}: {size:,} bytes, needs {package.requirements}"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        text = run(arguments)
    except (M3ViTError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if not arguments.quiet:
        sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
