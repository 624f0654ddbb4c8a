# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the forms of all boards, or checks that the written ones are current."""

from __future__ import annotations

import argparse
import sys

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.analysis.resources import parameters_of

from .listing import OUTPUT, forms, text


def generated() -> str:
    """The file as it should be."""
    return text(
        {
            name: (parameters_of(board), forms((f"M3VIT_BOARD_{name.upper().replace('-', '_')}",)))
            for name, board in BOARDS.items()
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Write or check; the exit status is 1 if the file is not current."""
    parser = argparse.ArgumentParser(prog="resources", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help=f"write {OUTPUT.name}")
    what.add_argument("--check", action="store_true", help="fail if it is not current")
    given = parser.parse_args(arguments)
    made = generated()
    if given.write:
        OUTPUT.write_text(made, encoding="utf-8")
        return 0
    current = OUTPUT.is_file() and OUTPUT.read_text(encoding="utf-8") == made
    if not current:
        sys.stdout.write(f"{OUTPUT} is not current; run python -m tools.resources --write\n")
    return int(not current)


if __name__ == "__main__":
    sys.exit(main())
