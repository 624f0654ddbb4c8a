# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The literal ``#pragma HLS`` lines of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

#: Options whose values are names of variables, ports or functions.
NAMES = ("variable", "port", "instances")
#: Options whose values are integer constant expressions.
NUMBERS = (
    "factor", "depth", "ii", "latency", "dim", "min", "max", "avg", "limit", "distance",
    "num_read_outstanding", "num_write_outstanding",
    "max_read_burst_length", "max_write_burst_length",
)  # fmt: skip
#: Directives with a form of their own, and what they may hold.
DIRECTIVES = {
    "AGGREGATE", "ALIAS", "ALLOCATION", "ARRAY_PARTITION", "ARRAY_RESHAPE", "BIND_OP",
    "BIND_STORAGE", "CACHE", "DATAFLOW", "DEPENDENCE", "DISAGGREGATE", "EXPRESSION_BALANCE",
    "FUNCTION_INSTANTIATE", "INLINE", "INTERFACE", "LATENCY", "LOOP_FLATTEN", "LOOP_MERGE",
    "LOOP_TRIPCOUNT", "OCCURRENCE", "PERFORMANCE", "PIPELINE", "PROTOCOL", "RESET", "STABLE",
    "STREAM", "TOP", "UNROLL",
}  # fmt: skip

_LINE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+HLS\b[ \t]*(.*)$", re.IGNORECASE)
_TOKEN = re.compile(r"(\w+)\s*=\s*((?:[^\s=]|\s*(?:::|\.|[-+*/,])\s*(?=\S))+)|(\S+)")


@dataclass(frozen=True)
class Pragma:
    """One ``#pragma HLS`` line.

    Attributes
    ----------
    path, line : Path, int
        Where it begins.
    offset : int
        Its ``#`` in the file, in bytes.
    directive : str
        The first word, in capitals.
    options : dict of str to str
        ``name=value`` pairs, names in lower case.
    flags : tuple of str
        The other words, in lower case.
    lines : int
        Lines that it takes (more than one with a backslash at the end).
    """

    path: Path
    line: int
    offset: int
    directive: str
    options: dict[str, str] = field(hash=False, compare=False)
    flags: tuple[str, ...]
    lines: int = 1

    def names(self, option: str) -> list[str]:
        """The names that an option lists; empty without it."""
        value = self.options.get(option, "")
        return [name for name in (part.strip() for part in value.split(",")) if name]

    def about(self, variable: str) -> bool:
        """Whether `variable`, or a member of it, is what the pragma is about."""
        return any(name == variable for name in self.names("variable"))

    def says(self, word: str, option: str | None = None) -> bool:
        """Whether a word stands alone, or as the value of `option`."""
        return word in self.flags or (
            option is not None and self.options.get(option, "").lower() == word
        )


@lru_cache(maxsize=512)
def _parse(path: Path, text: str) -> tuple[Pragma, ...]:
    found = []
    offset = 0
    lines = text.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        first, start = number, offset
        content = lines[number].rstrip("\r\n")
        offset += len(lines[number].encode())
        number += 1
        match = _LINE.match(content)
        if match is None:
            continue
        words = match.group(1)
        while words.endswith("\\") and number < len(lines):
            words = words[:-1] + " " + lines[number].strip()
            offset += len(lines[number].encode())
            number += 1
        words = re.sub(r"//.*|/\*.*?\*/", "", words).strip()
        indent = len(content) - len(content.lstrip())
        found.append(_pragma(path, first + 1, start + indent, words, number - first))
    return tuple(found)


def _pragma(path: Path, line: int, offset: int, words: str, lines: int) -> Pragma:
    directive, _, rest = words.partition(" ")
    options: dict[str, str] = {}
    flags: list[str] = []
    for match in _TOKEN.finditer(re.sub(r"\s*=\s*", "=", rest)):
        name, value, flag = match.groups()
        if name is not None:
            options[name.lower()] = value.strip()
        else:
            flags.append(flag.lower())
    return Pragma(path, line, offset, directive.upper(), options, tuple(flags), lines)


def read(path: Path) -> tuple[Pragma, ...]:
    """All pragmas of a file, in order."""
    return _parse(path, path.read_text(encoding="utf-8"))


def replaced(path: Path) -> str:
    """The file with every pragma turned into declarations that use its names.

    A compiler that reads it complains, in the pragma's own line, about every
    name that is not in scope where the pragma stands, and about every number
    that is not a constant.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    for pragma in read(path):
        first = pragma.line - 1
        lines[first] = " ".join(_uses(pragma))
        for number in range(first + 1, first + pragma.lines):
            lines[number] = ""
    return "\n".join(lines)


def _uses(pragma: Pragma) -> list[str]:
    uses = []
    for option in ("variable", "port"):
        uses += [
            f'static_assert(sizeof({name}) > 0, "");'
            for name in pragma.names(option)
            if name.lower() != "return"
        ]
    uses += [f'static_assert(sizeof(&{name}) > 0, "");' for name in pragma.names("instances")]
    for option in NUMBERS:
        if option in pragma.options:
            uses.append(f'static_assert(({pragma.options[option]}) >= 0, "");')
    return uses
