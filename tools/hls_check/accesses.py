# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What one iteration of a loop does to memories, streams and buses.

The body is run on symbols: loops that are unrolled are taken apart, functions
are inlined, and each access is noted with its address, the bank where the
partition tells it, and the branches that it stands in.
"""

from __future__ import annotations

from dataclasses import replace

from clang.cindex import CursorKind, TypeKind

from .memories import Memories, dimensions, is_pointer
from .model import LOOPS, Loop, Program, arguments, is_manual, is_stream, is_word
from .places import (
    Access,
    Place,
    assigned,
    atomic,
    cases,
    channel_mode,
    jumps,
    member_type,
    mutable,
    parameter_kinds,
    pure,
)
from .sources import Node
from .values import Environment, Sum, fresh, header, initial, iterations, symbol

_DEPTH = 24
_VARIABLES = (CursorKind.VAR_DECL, CursorKind.PARM_DECL)


class Elaboration:
    """Accesses of one iteration of a loop, or of one run of a function."""

    def __init__(self, program: Program, memories: Memories, *, once: bool = False) -> None:
        self.program, self.memories = program, memories
        #: Every loop runs once and registers count too: enough to tell reads from writes.
        self.once = once
        self._note_of = "matters at all" if once else "matters"
        self.found: list[Access] = []
        self.environment = Environment()
        self.places: dict[int, Place] = {}
        self.tags: tuple = ()
        self.conditional = False
        self.depth = 0
        self.branchings = 0

    def loop(self, loop: Loop) -> list[Access]:
        """Accesses of one iteration."""
        parts = header(loop.node)
        for node in parts[1:] if parts else [loop.body]:
            if node is loop.body:
                self.statement(node)
        if parts:
            self.value(parts[1])
        return self.found

    def statement(self, node: Node) -> None:
        """Run a statement."""
        kind = node.kind
        if kind == CursorKind.COMPOUND_STMT:
            self._sequence(node.children)
        elif kind == CursorKind.DECL_STMT:
            for child in node.children:
                self._declaration(child)
        elif kind == CursorKind.IF_STMT:
            self._branches(node.children[0], node.children[1:], self.statement)
        elif kind == CursorKind.SWITCH_STMT:
            self._switch(node)
        elif kind in LOOPS:
            self._loop(node)
        elif kind == CursorKind.LABEL_STMT:
            self.statement(node.children[-1])
        elif kind.is_expression():
            self.value(node)
        else:
            for child in node.children:
                self.statement(child)

    def _sequence(self, nodes: list[Node]) -> None:
        before = self.conditional
        for node in nodes:
            self.statement(node)
            if node.kind == CursorKind.IF_STMT and jumps(node):
                self.conditional = True
        self.conditional = before

    def _declaration(self, node: Node) -> None:
        if node.kind != CursorKind.VAR_DECL:
            return
        first = initial(node)
        if first is None:
            self.environment[node.key] = fresh()
        elif node.type.kind == TypeKind.LVALUEREFERENCE:
            place = self.place(first)
            if place is not None:
                self.places[node.key] = place
        elif dimensions(node.type):
            for child in first.children:
                self.value(child)
        else:
            value = self.environment.of(first)
            self.value(first)
            self.environment[node.key] = value if pure(first) else fresh()

    def _loop(self, node: Node) -> None:
        loop = self.program.loop(node)
        parts = header(node)
        if not self._matters(node):
            self._forget(node)
            return
        take_apart = parts and loop.unrolled and not self.once
        values = iterations(node, self.environment) if take_apart else None
        if values is None:
            self._forget(node)
            if parts:
                self.environment[parts[0].key] = fresh()
            self.statement(loop.body)
            return
        for value in values:
            self.environment[parts[0].key] = Sum(value)
            self.statement(loop.body)

    def _branches(self, condition: Node, branches: list[Node], run) -> None:
        decision = self.environment.of(condition).known
        self.value(condition)
        if decision is not None:
            if decision:
                run(branches[0])
            elif len(branches) > 1:
                run(branches[1])
            return
        self._alternatives([[branch] for branch in branches], run)

    def _alternatives(self, branches: list[list[Node]], run) -> None:
        self.branchings += 1
        number, tags, conditional = self.branchings, self.tags, self.conditional
        self.conditional = True
        for index, branch in enumerate(branches):
            self.tags = (*tags, (number, index))
            for node in branch:
                run(node)
        self.tags, self.conditional = tags, conditional
        for branch in branches:
            for node in branch:
                self._forget(node)

    def _switch(self, node: Node) -> None:
        self.value(node.children[0])
        self._alternatives(cases(node.children[-1]), self.statement)

    def value(self, node: Node, mode: str = "r") -> None:
        """Run an expression; `mode` says what happens to the place that it names."""
        kind = node.kind
        if not self._matters(node) and not assigned(node):
            return
        if kind in (CursorKind.DECL_REF_EXPR, CursorKind.MEMBER_REF_EXPR,
                    CursorKind.ARRAY_SUBSCRIPT_EXPR):  # fmt: skip
            self._touch(node, mode)
        elif kind == CursorKind.UNARY_OPERATOR:
            self._unary(node, mode)
        elif kind in (CursorKind.BINARY_OPERATOR, CursorKind.COMPOUND_ASSIGNMENT_OPERATOR):
            self._binary(node)
        elif kind == CursorKind.CONDITIONAL_OPERATOR:
            self._branches(node.children[0], node.children[1:], self.value)
        elif kind == CursorKind.CALL_EXPR:
            self._call(node, mode)
        elif len(node.children) == 1:
            self.value(node.children[0], mode)
        else:
            for child in node.children:
                self.value(child)

    def _unary(self, node: Node, mode: str) -> None:
        if node.operator in ("++", "--", "x++", "x--"):
            self.value(node.children[0], "rw")
            self._assign(node)
        elif node.operator == "*":
            self._touch(node, mode)
        elif node.operator == "&":
            self.place(node.children[0])
        else:
            self.value(node.children[0])

    def _binary(self, node: Node) -> None:
        left, right = node.children
        if node.operator == "=" or node.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR:
            self.value(right)
            self.value(left, "w" if node.operator == "=" else "rw")
            self._assign(node)
        elif node.operator in ("&&", "||"):
            known = self.environment.of(left).known
            self.value(left)
            if known is None:
                self._alternatives([[right]], self.value)
            elif bool(known) == (node.operator == "&&"):
                self.value(right)
        else:
            self.value(left)
            self.value(right)

    def _assign(self, node: Node) -> None:
        target = node.children[0].bare
        if target.kind != CursorKind.DECL_REF_EXPR:
            return
        if self.conditional or not all(pure(child) for child in node.children[1:]):
            self.environment[target.key] = fresh()
        else:
            self.environment.assign(node)

    def _call(self, node: Node, mode: str) -> None:
        name = node.name or (node.children[0].bare.name if node.children else "")
        member = node.children[0].bare if node.children else None
        if member is not None and member.kind == CursorKind.MEMBER_REF_EXPR and member.children:
            if self._method(node, member, member.name):
                return
        elif name.startswith("operator") and len(node.children) == 3:
            self._operator(node, name)
            return
        callee = self.program.callee(node)
        given = arguments(node)
        if callee is None or atomic(callee.node) or self.depth >= _DEPTH:
            kinds = parameter_kinds(node)
            for index, argument in enumerate(given):
                kind = kinds[index] if index < len(kinds) else None
                self.value(argument, "rw" if kind is not None and mutable(kind) else "r")
            return
        self._inline(callee, given)

    def _method(self, node: Node, member: Node, name: str) -> bool:
        owner = member.children[0]
        kind = owner.type
        if not (is_stream(kind) or is_manual(kind)):
            return False
        for argument in node.children[1:]:
            self.value(argument)
        place = self.place(owner)
        if place is not None:
            self._stream(place, name, node, "manual" if is_manual(kind) else "stream")
        return True

    def _stream(self, place: Place, name: str, node: Node, what: str) -> None:
        self._note(what, place, channel_mode(what, name), place.steps, node)

    def _operator(self, node: Node, name: str) -> None:
        left, _, right = node.children
        if is_stream(left.type):
            place = self.place(left)
            if place is not None:
                self._stream(place, name, node, "stream")
            self.value(right, "w" if name == "operator>>" else "r")
            return
        self.value(right)
        assigns = name.endswith("=") and name not in ("operator==", "operator!=", "operator<=",
                                                     "operator>=")  # fmt: skip
        self.value(left, ("w" if name == "operator=" else "rw") if assigns else "r")
        if assigns and left.bare.kind == CursorKind.DECL_REF_EXPR:
            self.environment[left.bare.key] = fresh()

    def _inline(self, callee, given: list[Node]) -> None:
        self.depth += 1
        values = {}
        for parameter, argument in zip(callee.parameters, given, strict=False):
            kind = parameter.type.kind
            if kind == TypeKind.LVALUEREFERENCE or dimensions(parameter.cursor.type) or (
                kind == TypeKind.POINTER
            ):  # fmt: skip
                value = self.environment.of(argument)
                place = self.place(argument)
                values[parameter.key] = place if place is not None else value
                continue
            value = self.environment.of(argument)
            self.value(argument)
            values[parameter.key] = value if pure(argument) else fresh()
        for key, value in values.items():
            if isinstance(value, Place):
                self.places[key] = value
                self.environment[key] = (
                    self.environment.get(value.key, symbol((value.name, value.key)))
                    if not value.steps
                    else fresh()
                )
            else:
                self.places.pop(key, None)
                self.environment[key] = value
        before = self.conditional
        self.statement(callee.body)
        self.conditional = before
        self.depth -= 1

    def place(self, node: Node) -> Place | None:
        """The place that an expression names; its indices, or what else it is, are run."""
        node = node.bare
        kind = node.kind
        if kind == CursorKind.DECL_REF_EXPR:
            if node.key in self.places:
                return self.places[node.key]
            target = node.target
            if target is None or target.kind not in _VARIABLES:
                return None
            return Place(node.key, node.name, target.type)
        if kind == CursorKind.MEMBER_REF_EXPR and node.children:
            return self._extend(node.children[0], node.name)
        if kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
            index = self.environment.of(node.children[1])
            self.value(node.children[1])
            return self._extend(node.children[0], index)
        if kind == CursorKind.UNARY_OPERATOR and node.operator == "*":
            return self._extend(node.children[0], Sum(0))
        if kind == CursorKind.UNARY_OPERATOR and node.operator == "&":
            return self.place(node.children[0])
        if kind == CursorKind.BINARY_OPERATOR and node.operator in ("+", "-"):
            self.value(node.children[1])
            return self.place(node.children[0])
        if kind in (CursorKind.CXX_STATIC_CAST_EXPR, CursorKind.CSTYLE_CAST_EXPR,
                    CursorKind.CXX_REINTERPRET_CAST_EXPR):  # fmt: skip
            return self.place(node.children[-1])
        self.value(node)
        return None

    def _extend(self, base: Node, step) -> Place | None:
        place = self.place(base)
        return None if place is None else replace(place, steps=(*place.steps, step))

    def _touch(self, node: Node, mode: str) -> None:
        place = self.place(node)
        if place is None or is_stream(place.kind):
            return
        if is_pointer(place.kind) and not dimensions(place.kind):
            if any(isinstance(step, Sum) for step in place.steps):
                self._note("bus", place, mode, place.steps, node)
            return
        self._memory(place, mode, node)

    def _memory(self, place: Place, mode: str, node: Node) -> None:
        path = []
        for step in place.steps:
            if isinstance(step, Sum):
                break
            path.append(step)
        kind = place.kind if not path else member_type(place.kind, path)
        if kind is None or (is_word(kind) and path):
            return
        sizes = dimensions(kind)
        indices = place.steps[len(path) : len(path) + len(sizes)]
        if not sizes or len(indices) < len(sizes) or not all(isinstance(i, Sum) for i in indices):
            return
        if path and all(index.known is not None for index in indices):
            return
        partial = len(place.steps) > len(path) + len(sizes)
        if partial and mode == "w":
            mode = "rw"
        named = replace(place, steps=tuple(path))
        self._note("memory", named, mode, indices, node, kind)

    def _note(self, what: str, place: Place, mode: str, address, node: Node, kind=None) -> None:
        path = ".".join(step for step in place.steps if isinstance(step, str))
        key = (place.key, path)
        if what == "stream":
            key = (place.key, tuple(s.known if isinstance(s, Sum) else s for s in place.steps))
        name = place.name + ("." + path if path and what == "memory" else "")
        kind = kind if kind is not None else place.kind
        where = (tuple(address), self.tags, self.conditional, node, kind)
        for each in ("r", "w") if mode == "rw" else (mode,):
            self.found.append(Access(what, key, name, each, *where))

    def _forget(self, node: Node) -> None:
        for key in assigned(node):
            self.environment[key] = fresh()

    def _matters(self, node: Node) -> bool:
        """Whether a memory, stream or bus can be touched below a node."""
        found = node[self._note_of]
        if found is None:
            found = node[self._note_of] = self._find_matters(node)
        return found

    def _find_matters(self, node: Node) -> bool:
        if node.kind == CursorKind.DECL_REF_EXPR:
            target = node.target
            if target is None or target.kind not in _VARIABLES:
                return False
            kind = target.type.get_canonical()
            if kind.kind in (TypeKind.LVALUEREFERENCE, TypeKind.POINTER) or is_stream(kind):
                return True
            if kind.kind == TypeKind.RECORD:
                return not is_word(kind)
            if dimensions(target.type):
                return (
                    self.once or not self.memories.get(node.key, node.name, target.type).registers
                )
            return False
        return any(self._matters(child) for child in node.children)
