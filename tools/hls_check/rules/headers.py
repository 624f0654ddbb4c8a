# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Vendor headers behind one include, and no code that nobody here compiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..context import Context
from ..faults import Fault
from ..sources import TOOLS, WORDS, headers, sources

_INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
_VENDOR = re.compile(r"^(ap_\w+|hls_\w+|hls/.+|ac_\w+|gmp)\.h$")


def _files(root: Path) -> list[Path]:
    return sources(root) + headers(root)


def vendor_headers(root: Path) -> Iterator[Fault]:
    """``headers``: vendor headers are included by words.h alone."""
    for path in _files(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = _INCLUDE.match(line)
            if match is None or path.name == WORDS or not _VENDOR.match(match.group(1)):
                continue
            if not _own(root, path, match.group(1)):
                yield Fault(
                    path, number, "headers",
                    f"includes {match.group(1)}; only {WORDS} includes vendor headers",
                )  # fmt: skip


def _own(root: Path, path: Path, name: str) -> bool:
    return (root / name).is_file() or (path.parent / name).is_file()


def uncompiled(context: Context) -> Iterator[Fault]:
    """``headers``: outside words.h, tools compile the lines that the check has read.

    What depends on ``__SYNTHESIS__`` is read here, the other branch by g++. A line that appears
    only with a tool's own macros would be compiled by nobody but the tool.
    """
    unread = _lines(context.unit.skipped).items() & _lines(context.unit.skipped_by(())).items()
    for tool in TOOLS:
        appears = unread - _lines(context.unit.skipped_by(tool)).items()
        for (path, number), text in sorted(appears):
            if path.name != WORDS and not text.startswith("#"):
                yield Fault(
                    path, number, "headers",
                    f"compiled with {' and '.join(tool)} but not by this check or g++; let "
                    f"{WORDS} alone ask which tool it is",
                )  # fmt: skip


def _lines(skipped: list[tuple[Path, int, int]]) -> dict[tuple[Path, int], str]:
    """The lines left out that hold something."""
    found = {}
    for path, first, last in skipped:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in range(first, min(last, len(lines)) + 1):
            text = lines[number - 1].split("//")[0].strip()
            if text:
                found[path, number] = text
    return found
