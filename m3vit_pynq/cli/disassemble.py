# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq disassemble``: a package's program, readably."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("disassemble", help="print the program of a package")
    parser.add_argument("package", help="a .m3vit file, or the name of a shipped package")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the listing."""
    from m3vit_pynq.compiler import disassemble
    from m3vit_pynq.package import Package

    print(disassemble(Package.load(arguments.package)))
    return 0
