# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Shapes of the memories: dimensions, partitions and ports, from declarations and pragmas."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from clang.cindex import CursorKind, TypeKind

from .model import Function, Program
from .pragmas import Pragma
from .sources import Node

_ARRAYS = (
    TypeKind.CONSTANTARRAY,
    TypeKind.INCOMPLETEARRAY,
    TypeKind.DEPENDENTSIZEDARRAY,
    TypeKind.VARIABLEARRAY,
)
#: Reads, writes and both together that a kind of storage takes in one cycle.
PORTS = {
    "ram_1p": (1, 1, 1),
    "ram_1wnr": (None, 1, None),
    "ram_2p": (2, 1, 2),
    "ram_s2p": (1, 1, 2),
    "ram_t2p": (2, 2, 2),
    "rom_1p": (1, 0, 1),
    "rom_2p": (2, 0, 2),
    "rom_np": (None, 0, None),
}
DEFAULT = PORTS["ram_t2p"]


@dataclass
class Memory:
    """An array, or an array in a struct, as hardware.

    Attributes
    ----------
    name : str
        How the source calls it.
    sizes : tuple of int or None
        Its dimensions.
    partitions : dict of int to (str, int)
        Kind (``complete``, ``cyclic``, ``block``) and factor per dimension, counted from 1.
    reshaped : set of int
        Dimensions that lie side by side in a word.
    storage : str
        ``type=`` of BIND_STORAGE; empty where the tool may choose.
    impl : str
        ``impl=`` of BIND_STORAGE.
    constant : bool
        Whether it is a table.
    aggregated : bool
        Whether a struct element is one word.
    """

    name: str
    sizes: tuple[int | None, ...]
    partitions: dict[int, tuple[str, int]] = field(default_factory=dict)
    reshaped: set[int] = field(default_factory=set)
    storage: str = ""
    impl: str = ""
    constant: bool = False
    aggregated: bool = False

    @property
    def registers(self) -> bool:
        """Whether it is partitioned completely: any number of accesses is free."""
        return bool(self.sizes) and all(
            self.partitions.get(dim, ("", 0))[0] == "complete"
            for dim in range(1, len(self.sizes) + 1)
        )

    @property
    def ports(self) -> tuple[int | None, int | None, int | None]:
        """Reads, writes and both together that one bank takes in a cycle."""
        return PORTS.get(self.storage, DEFAULT)

    def apply(self, pragma: Pragma) -> None:
        """Take over what a pragma says about the array."""
        if pragma.directive == "AGGREGATE":
            self.aggregated = True
        elif pragma.directive == "BIND_STORAGE":
            self.storage = pragma.options.get("type", "ram_t2p").lower()
            self.impl = pragma.options.get("impl", "").lower()
        elif pragma.directive in ("ARRAY_PARTITION", "ARRAY_RESHAPE"):
            self._partition(pragma)

    def _partition(self, pragma: Pragma) -> None:
        kind = next(
            (k for k in ("cyclic", "block", "complete") if pragma.says(k, "type")), "complete"
        )
        dim = int(pragma.options.get("dim", "1"))
        factor = pragma.options.get("factor", "0")
        for each in range(1, len(self.sizes) + 1) if dim == 0 else (dim,):
            if pragma.directive == "ARRAY_RESHAPE":
                self.reshaped.add(each)
            else:
                self.partitions[each] = (kind, int(factor) if factor.isdigit() else 0)


def dimensions(kind) -> tuple[int | None, ...]:
    """Sizes of an array type, outermost first; None where unknown."""
    kind = kind.get_canonical()
    sizes: list[int | None] = []
    if kind.kind == TypeKind.LVALUEREFERENCE:
        kind = kind.get_pointee().get_canonical()
    while kind.kind in _ARRAYS:
        sizes.append(kind.element_count if kind.kind == TypeKind.CONSTANTARRAY else None)
        kind = kind.element_type.get_canonical()
    return tuple(sizes)


def is_pointer(kind) -> bool:
    """Whether a type is a pointer that no array stands behind."""
    return kind.get_canonical().kind == TypeKind.POINTER


class Memories:
    """The memories of a program, by declaration and field."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.owners: dict[int, Function] = {}
        self.declared: dict[int, Node] = {}
        for function in program.functions.values():
            for parameter in function.parameters:
                self.owners[parameter.key] = function
                self.declared[parameter.key] = parameter
            for node in function.body.walk():
                if node.kind == CursorKind.VAR_DECL:
                    self.owners[node.key] = function
                    self.declared[node.key] = node
        for node in program.others:
            if node.kind == CursorKind.VAR_DECL:
                self.declared[node.key] = node
        self._factors = lru_cache(maxsize=None)(self._evaluated)
        self._found: dict[tuple[int, str], Memory] = {}

    def get(self, key: int, name: str, kind, path: str = "") -> Memory:
        """The memory of a declaration, or of the array at `path` inside it."""
        if (key, path) not in self._found:
            constant = constant_elements(kind)
            memory = Memory(name + ("." + path if path else ""), dimensions(kind))
            node = self.declared.get(key)
            memory.constant = constant and node is not None and node.kind == CursorKind.VAR_DECL
            self._found[key, path] = memory
            for other in self._same(key):
                for pragma in self._about(other, path):
                    memory.apply(self._factors(pragma))
        return self._found[key, path]

    def _same(self, key: int) -> list[int]:
        """Declarations that name one memory: a parameter, and what callers pass for it."""
        found, pending = [], [key]
        while pending:
            each = pending.pop()
            if each in found:
                continue
            found.append(each)
            for argument in self.program.passed.get(each, ()):
                node = argument.bare
                while node.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
                    node = node.children[0].bare
                if node.kind == CursorKind.DECL_REF_EXPR:
                    pending.append(node.key)
        return found

    def _about(self, key: int, path: str) -> list[Pragma]:
        node = self.declared.get(key)
        if node is None:
            return []
        name = node.name + ("." + path if path else "")
        owner = self.owners.get(key)
        functions = [owner] if owner is not None else self.program.functions.values()
        return [p for f in functions for p in f.every_pragma if p.about(name)]

    def _evaluated(self, pragma: Pragma) -> Pragma:
        """The pragma with a named factor replaced by its value."""
        factor = pragma.options.get("factor", "")
        if factor and not factor.isdigit():
            value = self.constant(factor)
            if value is not None:
                options = {**pragma.options, "factor": str(value)}
                return Pragma(
                    pragma.path, pragma.line, pragma.offset, pragma.directive, options, pragma.flags
                )
        return pragma

    def constant(self, name: str) -> int | None:
        """Value of a named constant, by its last name."""
        last = name.split("::")[-1]
        for node in [*self.program.others, *self.declared.values()]:
            if node.kind == CursorKind.VAR_DECL and node.name == last:
                return _initial_value(node)
        return None


def _initial_value(node: Node) -> int | None:
    values = [c.static for c in node.children if c.kind.is_expression()]
    return values[-1] if values else None


def constant_elements(kind) -> bool:
    """Whether what a type holds is constant, an array's elements included."""
    kind = kind.get_canonical()
    while kind.kind in _ARRAYS and not kind.is_const_qualified():
        kind = kind.element_type
    return kind.is_const_qualified() or kind.get_canonical().is_const_qualified()
