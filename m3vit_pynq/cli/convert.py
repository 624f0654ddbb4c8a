# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq convert``: a float checkpoint to a package."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from m3vit_pynq.cli.options import at_least


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "convert",
        help="quantise and compile a checkpoint",
        description="Turns a float checkpoint (.npz, names as in m3vit_pynq.config) into a "
        "package. Real images of the kind that the model will see are needed to choose scales.",
    )
    parser.add_argument("checkpoint", type=Path, help="float checkpoint, .npz")
    parser.add_argument("package", type=Path, help="file to write, .m3vit")
    parser.add_argument(
        "--calibration", default="stills", metavar="SOURCE",
        help="folder of images, video, camera or 'stills'; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=at_least(1), default=16, help="calibration frames; default: %(default)s"
    )
    parser.add_argument("--board", help="fit the program to this board's memories")
    parser.add_argument("--scene", choices=("indoor", "street"), help="what it was trained on")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, quantise, compile, write."""
    from m3vit_pynq.abi.boards import get_board
    from m3vit_pynq.compiler import compile_checkpoint
    from m3vit_pynq.compiler.checkpoint import load_checkpoint, read_meta
    from m3vit_pynq.sources import open_source

    board = get_board(arguments.board) if arguments.board else None
    config, checkpoint = load_checkpoint(arguments.checkpoint)
    metadata = read_meta(arguments.checkpoint)
    with open_source(arguments.calibration) as source:
        frames = _calibration_frames(source, config.image_size, arguments.images)
    if arguments.scene:
        metadata = {**metadata, "scenes": [arguments.scene]}
    package = compile_checkpoint(config, checkpoint, frames, board, metadata=metadata)
    written = package.save(arguments.package)
    print(
        f"{written}: {config.name}, {len(package.decoded.instructions)} instructions, "
        f"{package.weights.nbytes / 1e6:.1f} MB of weights, calibrated on {len(frames)} frames"
    )
    return 0


def _calibration_frames(source, size: tuple[int, int], count: int) -> list:
    """Frames at the model's size; of stills one per picture."""
    from m3vit_pynq.sources import as_rgb, resized

    stride = getattr(source, "hold", 1)
    every = itertools.islice(source, 0, count * stride, stride)
    return [resized(as_rgb(frame), size) for frame in every]
