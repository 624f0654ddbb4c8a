# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``m3vit-pynq`` (and, through PYNQ, ``pynq m3vit``).

One module per subcommand, each with ``add_parser(subparsers)`` and
``run(arguments) -> int``. What a command needs is imported when it runs, so
that ``--help`` and error messages come at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from m3vit_pynq._version import __version__
from m3vit_pynq.cli import (
    bench,
    convert,
    demo,
    disassemble,
    estimate,
    evaluate,
    export,
    info,
    live,
    train,
)
from m3vit_pynq.errors import M3ViTError

COMMANDS = (demo, live, info, bench, estimate, evaluate, disassemble, convert, export, train)

#: Exit status of a command that could not do its work, and of Ctrl-C.
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="m3vit-pynq",
        description="Multi-task vision on PYNQ boards, or on the emulated board of a laptop.",
    )
    parser.add_argument("--version", action="version", version=f"m3vit-pynq {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what happens inside")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Errors that a user can do something about are one line on standard error
    and status 2; Ctrl-C is status 130.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe went away, for example head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (M3ViTError, OSError, ValueError) as error:
        if arguments.verbose and not isinstance(error, M3ViTError):
            raise
        print(f"m3vit-pynq {arguments.command}: {error}", file=sys.stderr)
        return EXIT_ERROR
