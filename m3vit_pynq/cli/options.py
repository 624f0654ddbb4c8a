# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Options that several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3vit_pynq.package import Package


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number with a lower limit."""

    def parse(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    parse.__name__ = "whole number"
    return parse


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option ``--json FILE``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as data")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The options ``--package`` and ``--board``: what runs, and on which configuration."""
    parser.add_argument("--package", help="a .m3vit file or the name of a shipped package")
    parser.add_argument("--board", help="configuration of the emulated board")


def write_json(path: Path | None, data: dict[str, Any]) -> None:
    """Write figures if a file was asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=2) + "\n")


def open_package(name: str | None) -> Package:
    """The package named, else a shipped one, else random weights with a loud note.

    Raises
    ------
    PackageError
        If the named package cannot be loaded.
    """
    from m3vit_pynq.package import Package, default_name

    name = name or default_name()
    if name is not None:
        return Package.load(name)
    from m3vit_pynq.compiler import random_package
    from m3vit_pynq.config import get_config

    print(
        "NO TRAINED PACKAGE IS INSTALLED: a micro model with RANDOM WEIGHTS runs instead. "
        "The pictures mean nothing; only the way of the frames is real.",
        file=sys.stderr,
    )
    return random_package(get_config("micro"))
