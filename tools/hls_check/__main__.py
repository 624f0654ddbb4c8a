# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Command line of the check."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .check import contexts, faults, root_of
from .table import current, table, update


def main(arguments: list[str] | None = None) -> int:
    """Run the check; the exit status is 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="hls_check", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of the sources, or one file of it")
    parser.add_argument("-D", dest="defines", action="append", default=[], metavar="NAME[=VALUE]")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--table", action="store_true", help="print the table of loops")
    what.add_argument("--write", action="store_true", help="write it into README.md of the folder")
    what.add_argument("--check", action="store_true", help="also fail if that table is not current")
    given = parser.parse_args(arguments)
    root = root_of(given.root)
    parsed = contexts(given.root, tuple(given.defines))
    if given.table:
        sys.stdout.write(table(root, parsed))
        return 0
    if given.write:
        update(root, table(root, parsed))
        return 0
    found = faults(given.root, parsed)
    for fault in found:
        sys.stdout.write(fault.text(root.parent) + "\n")
    stale = given.check and not current(root, table(root, parsed))
    if stale:
        sys.stdout.write(
            f"{root.name}/README.md: the table of loops is not current; run "
            f"python -m tools.hls_check {given.root} --write\n"
        )
    return int(bool(found) or stale)


if __name__ == "__main__":
    sys.exit(main())
