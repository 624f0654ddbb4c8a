# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq demo``: frames in, annotated video, contact sheet and figures out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from m3vit_pynq.cli.options import add_json, add_model, at_least, open_package, write_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="segment and measure depth of real frames",
        description="Streams frames through the accelerator (a board's, or the emulated one), "
        "switching task as it goes; writes an annotated video and a contact sheet.",
    )
    parser.add_argument(
        "--source", default="auto",
        help="camera index, image, folder, video, 'stills', 'street', 'synthetic' or 'auto' "
        "(default: a camera, else photographs of rooms, else generated frames)",
    )  # fmt: skip
    add_model(parser)
    parser.add_argument("--frames", type=at_least(1), default=48, help="default: %(default)s")
    parser.add_argument(
        "--switch-every", type=at_least(0), default=6, metavar="N",
        help="frames until the task changes, 0 for never; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--scene", choices=("indoor", "street"), help="what the frames show")
    parser.add_argument(
        "--out", type=Path, default=Path("demo_output"), help="folder; default: %(default)s"
    )
    parser.add_argument("--sheet", type=Path, help="contact sheet; default: OUT/sheet.png")
    parser.add_argument(
        "--rows", type=at_least(1), default=4, help="frames on the sheet; default: %(default)s"
    )
    parser.add_argument(
        "--no-boards", action="store_true", help="do not say which boards the package fits"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and print its table."""
    from tqdm import tqdm

    from m3vit_pynq.demo import DemoSettings, run_demo, scene_warning
    from m3vit_pynq.overlay import M3ViTOverlay
    from m3vit_pynq.sources import open_source

    settings = DemoSettings(
        frames=arguments.frames, switch_every=arguments.switch_every, out=arguments.out,
        sheet=arguments.sheet, sheet_rows=arguments.rows, boards=not arguments.no_boards,
    )  # fmt: skip
    with open_source(arguments.source, scene=arguments.scene) as source:
        package = open_package(arguments.package)
        with M3ViTOverlay(package, board=arguments.board) as overlay:
            if warning := scene_warning(package, source):
                print(f"note: {warning}", file=sys.stderr)
            with tqdm(total=settings.frames, unit="frame", desc=source.name) as bar:
                report = run_demo(overlay, source, settings, lambda done: bar.update(done - bar.n))
    print(report.table())
    write_json(arguments.json, report.to_dict())
    return 0
