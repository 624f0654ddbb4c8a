# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Calls, assignments, elements of arrays: the expressions that touch places."""

from __future__ import annotations

from clang.cindex import CursorKind

from tools.hls_check.memories import Memory
from tools.hls_check.model import arguments
from tools.hls_check.places import atomic, mutable, parameter_kinds
from tools.hls_check.sources import Node

from .operators import Operators
from .widths import NOTHING, Name, Value, clipped, constant, named

#: Bits that the functions of words.h take out of a word, or put into one.
_PARTS = {"byte": 8, "half": 16, "word": 32}


class Places(Operators):
    """The part of `Walk` that follows calls, and what variables and arrays hold."""

    def call(self, node: Node) -> Value:
        """A call: inlined, or what a word, a stream or a port does."""
        callee = self.program.callee(node)
        given = arguments(node)
        if callee is not None and not atomic(callee.node):
            value = self.run(callee, [self.expression(a) for a in given])
            for kind, argument in zip(parameter_kinds(node), given, strict=False):
                if mutable(kind):
                    self._touch(argument.bare)
            return value
        name = node.name
        if name in ("read", "write", "read_request", "write_request", "empty"):
            for each in given:
                self.expression(each)
            return self.type_of(node)
        part = _PARTS.get(name.removeprefix("set_").partition("_")[0])
        if part is not None and name in (
            "byte_at", "half_at", "word_at", "set_byte", "set_half", "set_word",
        ):  # fmt: skip
            word = self.expression(given[0])
            index = self.expression(given[1])
            ways = max(1, self.type_of(given[0].bare).bits // part)
            if name.startswith("set_"):
                self.expression(given[2])
                self._touch(given[0].bare)
                if index.constant is None:
                    self.select(part * ways)
                return NOTHING
            self.making = named(name, word.name, index.name)
            if index.constant is None:
                self.multiplexer(part, ways)
            value, self.making = Value(part, False, None, 0, self.making), None
            return value
        if name == "zeros":
            return self.type_of(node)
        values = [self.expression(a) for a in node.children if a.kind.is_expression()]
        if name == "operator=" and len(node.children) >= 2:
            return self.store(node.children[0].bare, values[-1])
        return self.type_of(node)

    def store(self, target: Node, value: Value) -> Value:
        """An assignment to a variable, a member or an element."""
        if target.kind == CursorKind.DECL_REF_EXPR:
            limit = self.type_of(target)
            value = clipped(value, limit) if value.bits else limit
            if value.name is None:
                value = value._replace(name=Name())
            self.environment[target.key] = value
        else:
            self.expression(target)
            self._touch(target)
            if target.kind == CursorKind.MEMBER_REF_EXPR and self.conditions:
                self.select(value.bits, "hold")
        return value

    def _touch(self, target: Node) -> None:
        """A part of a variable changes: it is another value from now on."""
        parts = (CursorKind.MEMBER_REF_EXPR, CursorKind.ARRAY_SUBSCRIPT_EXPR)
        while target.kind in parts and target.children:
            target = target.children[0].bare
        if target.kind == CursorKind.DECL_REF_EXPR:
            self.environment[target.key] = self.type_of(target)._replace(name=Name())

    def element(self, node: Node) -> Value:
        """An element of an array."""
        base, index = node.children[0].bare, self.expression(node.children[1])
        root, indices = base, [index.name]
        while root.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
            indices.append(self.expression(root.children[1]).name)
            root = root.children[0].bare
        limit = self.type_of(node)
        memory = self._array(root)
        if memory is None:
            return limit
        name = self.making = named("element", self.variable(root).name, *indices)
        if memory.constant:
            self.note(
                "table", memory.name, self.table_bits(root), len(self.numbers(root)),
                memory.storage, memory.impl,
            )  # fmt: skip
        elif index.constant is None:
            dim = 1
            inner = base
            while inner.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
                inner, dim = inner.children[0].bare, dim + 1
            complete = memory.partitions.get(dim, ("", 0))[0] == "complete"
            if complete and dim <= len(memory.sizes):
                self.multiplexer(limit.bits, memory.sizes[dim - 1] or 1)
        self.making = None
        limit = limit._replace(name=name)
        if memory.constant:
            signed = limit.signed and self.table_signed(root)
            return Value(self.table_bits(root), signed, None, 0, name)
        return limit

    def _array(self, root: Node) -> Memory | None:
        if root.kind != CursorKind.DECL_REF_EXPR:
            return None
        return self.context.memories.get(root.key, root.name, root.cursor.type)

    def numbers(self, root: Node) -> list[int]:
        """The elements of a table."""
        found = root["numbers"]
        if found is None:
            node = self.context.memories.declared[root.key]
            lists = [c for c in node.walk() if c.kind == CursorKind.INIT_LIST_EXPR]
            values = [c.static for c in lists[0].children] if lists else []
            found = root["numbers"] = [v for v in values if v is not None]
        return found

    def table_bits(self, root: Node) -> int:
        """Bits that a table's elements need."""
        return max((constant(v).bits for v in self.numbers(root)), default=32)

    def table_signed(self, root: Node) -> bool:
        """Whether an element is negative."""
        return any(v < 0 for v in self.numbers(root))
