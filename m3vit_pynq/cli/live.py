# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq live``: the live view without Jupyter, as a page or a window."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from m3vit_pynq.cli.options import add_model, open_package

if TYPE_CHECKING:
    from m3vit_pynq.live import Painter


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "live",
        help="live frames with their results, as a page for any browser or in a window",
        description="Streams frames through the accelerator (a board's, or the emulated one) and "
        "shows them, with a toggle for the task, until Ctrl-C.",
    )
    parser.add_argument(
        "--source", default="auto",
        help="camera index, image, folder, video, 'stills', 'street', 'synthetic' or 'auto'; "
        "default: %(default)s",
    )  # fmt: skip
    add_model(parser)
    parser.add_argument("--task", help="task to begin with, or 'both'; default: the first")
    parser.add_argument(
        "--mode", default="overlay", help="overlay, 'side by side' or result; default: %(default)s"
    )
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address of the page; 0.0.0.0 lets everybody on the network see it; "
        "default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8765, help="default: %(default)s")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="pictures per second at most; default: %(default)s"
    )
    parser.add_argument("--window", action="store_true", help="a window instead of a page")
    parser.add_argument("--seconds", type=float, help="end after this time")
    parser.add_argument(
        "--snapshots", type=Path, default=Path("m3vit_snapshots"), metavar="FOLDER",
        help="where the window's snapshots go; default: %(default)s",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show frames until the user has seen enough."""
    from m3vit_pynq.live import ViewSettings
    from m3vit_pynq.live.painter import make_painter
    from m3vit_pynq.live.window import check_display
    from m3vit_pynq.overlay import M3ViTOverlay

    if arguments.window:
        check_display()
    settings = ViewSettings(mode=arguments.mode, strips=arguments.window)
    package = open_package(arguments.package)
    with M3ViTOverlay(package, board=arguments.board) as overlay:
        painter = make_painter(overlay, arguments.source, arguments.task, settings)
        with _until_told():
            (_in_window if arguments.window else _as_page)(painter, arguments)
    return 0


@contextmanager
def _until_told() -> Iterator[None]:
    """Ctrl-C, and a service manager's stop, end what is inside in good order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if in_main else None
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _in_window(painter: Painter, arguments: argparse.Namespace) -> None:
    from m3vit_pynq.live.window import KEYS, Window

    print(KEYS)
    with painter.session:
        Window(painter, arguments.snapshots).run(arguments.seconds)


def _as_page(painter: Painter, arguments: argparse.Namespace) -> None:
    from m3vit_pynq.live.server import LiveServer

    with LiveServer(painter, arguments.host, arguments.port, arguments.rate) as server:
        print(f"open {server.url} in a browser; Ctrl-C ends", flush=True)
        if arguments.host not in ("127.0.0.1", "localhost", "::1"):
            print("note: everybody on the network can see this page", file=sys.stderr)
        end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
        while end is None or time.monotonic() < end:
            time.sleep(0.2)
