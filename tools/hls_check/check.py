# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""All rules over a folder of sources."""

from __future__ import annotations

from pathlib import Path

from .context import Context
from .faults import Fault
from .rules import FOLDER_RULES, UNIT_RULES
from .sources import WORDS, Unit, headers, sources

_GENERATED = "generated"


def contexts(place: Path, defines: tuple[str, ...] = ()) -> list[Context]:
    """Sources, parsed as for synthesis.

    Parameters
    ----------
    place : Path
        A folder: every source in it, and every header that none of them
        includes as a source of its own. Or one source or header.
    defines : tuple of str
        Macros.
    """
    place = place.resolve()
    if place.is_file():
        return [Context(Unit(place, root_of(place), defines))]
    parsed = [Context(Unit(path, place, defines)) for path in sources(place)]
    seen = {path for context in parsed for path in context.unit.files()}
    for path in sorted(headers(place), key=lambda path: (_included(place, path), path)):
        if path not in seen and _GENERATED not in path.parts:
            parsed.append(Context(Unit(path, place, defines)))
            seen.update(parsed[-1].unit.files())
    return parsed


def _included(root: Path, header: Path) -> bool:
    """Whether another header names this one: then that one is parsed with it."""
    name = f'"{header.relative_to(root)}"'
    return any(name in other.read_text(encoding="utf-8") for other in headers(root))


def root_of(place: Path) -> Path:
    """The folder of the sources that a file belongs to: the one with words.h."""
    place = place.resolve()
    if place.is_dir():
        return place
    return next((p for p in place.parents if (p / WORDS).is_file()), place.parent)


def faults(place: Path, parsed: list[Context]) -> list[Fault]:
    """Everything that breaks a rule, each place once.

    A source that does not compile is reported as that alone: what else would
    be said about it would not be true of the mended source.
    """
    found: set[Fault] = set()
    for context in parsed:
        errors = context.unit.errors()
        found |= {Fault(path, line, "parse", message) for path, line, message in errors}
        if not errors:
            for rule in UNIT_RULES:
                found.update(rule(context))
    if place.is_dir():
        for rule in FOLDER_RULES:
            found.update(rule(place.resolve()))
        found.update(_left_out(parsed))
    return sorted(found)


def _left_out(parsed: list[Context]) -> list[Fault]:
    """Headers that no source includes."""
    return [
        Fault(context.unit.path, 1, "headers", "no source includes it; the top must, by some way")
        for context in parsed
        if context.unit.path.suffix == ".h"
    ]
