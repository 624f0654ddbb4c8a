# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Widths of integers: of types as the sources spell them, and of what operators make."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from clang.cindex import TypeKind

_NARROW = re.compile(r"\b(U?)Int<([^<>]+)>")
_NAME = re.compile(r"[A-Za-z_][\w:]*")
_SIGNED = {
    TypeKind.SCHAR: 8, TypeKind.CHAR_S: 8, TypeKind.SHORT: 16, TypeKind.INT: 32,
    TypeKind.LONG: 64, TypeKind.LONGLONG: 64, TypeKind.ENUM: 32,
}  # fmt: skip
_UNSIGNED = {
    TypeKind.BOOL: 1, TypeKind.UCHAR: 8, TypeKind.CHAR_U: 8, TypeKind.USHORT: 16,
    TypeKind.UINT: 32, TypeKind.ULONG: 64, TypeKind.ULONGLONG: 64,
}  # fmt: skip
_ARRAYS = (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY)


class Value(NamedTuple):
    """What is known of a value.

    Its width, whether it may be negative, itself if it is constant, how many of its lowest
    bits are zero, and a name that no other value of the function has: of two operators with
    equal names on their operands a tool makes one.
    """

    bits: int
    signed: bool = False
    constant: int | None = None
    zeros: int = 0
    name: object = None

    @property
    def as_signed(self) -> int:
        """Bits that a signed operand needs to hold it."""
        return self.bits + (not self.signed)


NOTHING = Value(0)
BIT = Value(1)


def constant(number: int) -> Value:
    """The value of a number."""
    if number < 0:
        return Value((~number).bit_length() + 1, True, number, _zeros(number), number)
    return Value(max(1, number.bit_length()), False, number, _zeros(number), number)


def _zeros(number: int) -> int:
    return (number & -number).bit_length() - 1 if number else 64


@dataclass(frozen=True, eq=False)
class Name:
    """What a value is made of; one object for each combination.

    Attributes
    ----------
    parts : tuple
        An operator and the names of its operands; empty for what is made of nothing known.
    """

    parts: tuple = ()


_names: dict[tuple, Name] = {}


def named(*parts: object) -> Name | None:
    """The name of what an operator makes; None if an operand has none."""
    if None in parts:
        return None
    if parts not in _names:
        _names[parts] = Name(parts)
    return _names[parts]


def renamed(name: object, known: dict[object, object]) -> object:
    """A name with other names for what a function was called with.

    `known` holds these, and takes every name that is made; what the function made of
    nothing known gets a name of its own.
    """
    if not isinstance(name, Name):
        return name
    if name not in known:
        parts = [renamed(part, known) for part in name.parts]
        known[name] = named(*parts) if parts else Name()
    return known[name]


def join(*values: Value) -> Value:
    """What holds for each of some values."""
    if all(v == values[0] for v in values):
        return values[0]
    signed = any(v.signed for v in values)
    bits = max(v.as_signed if signed else v.bits for v in values)
    name = named("one of", *(v.name for v in values))
    return Value(bits, signed, None, min(v.zeros for v in values), name)


def clipped(value: Value, limit: Value) -> Value:
    """A value after a conversion to a type."""
    if value.constant is not None or limit.bits == 0:
        return value
    if value.bits < limit.bits or (value.bits == limit.bits and value.signed == limit.signed):
        return value
    name = named("clipped", value.name, limit.bits, limit.signed)
    return limit._replace(zeros=min(value.zeros, limit.bits), name=name)


def evaluated(text: str, value_of: Callable[[str], int | None]) -> int | None:
    """An integer expression of names, ``+``, ``-``, ``*`` and ``/``."""

    def number(match: re.Match) -> str:
        found = value_of(match.group())
        return "None" if found is None else str(found)

    plain = _NAME.sub(number, text)
    if not re.fullmatch(r"[\d\s+\-*/()]+", plain):
        return None
    return int(eval(plain.replace("/", "//"), {"__builtins__": {}}))  # digits and signs only


def of_type(kind, value_of: Callable[[str], int | None]) -> Value:
    """The widest value of a type; words and structs as unsigned ones."""
    narrow = _NARROW.search(kind.spelling)
    if narrow is not None and "Stream" not in kind.spelling:
        bits = evaluated(narrow.group(2), value_of)
        if bits is not None:
            return Value(bits, not narrow.group(1))
    plain = kind.get_canonical()
    while plain.kind in (TypeKind.LVALUEREFERENCE, TypeKind.RVALUEREFERENCE):
        plain = plain.get_pointee().get_canonical()
    while plain.kind in _ARRAYS:
        plain = plain.element_type.get_canonical()
    if plain.kind in _SIGNED:
        return Value(_SIGNED[plain.kind], True)
    if plain.kind in _UNSIGNED:
        return Value(_UNSIGNED[plain.kind])
    if plain.kind != TypeKind.RECORD:  # libclang aborts on the size of a function
        return NOTHING
    size = plain.get_size()
    return Value(8 * size) if size > 0 else NOTHING


def digits(number: int) -> int:
    """Non-zero digits of a number in canonical signed-digit form: adders plus one."""
    number, found = abs(number), 0
    while number:
        if number & 1:
            number -= 2 - (number & 3)
            found += 1
        number >>= 1
    return found
