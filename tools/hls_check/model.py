# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Functions and loops of a translation unit, with the pragmas that stand in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from clang.cindex import Cursor, CursorKind, TypeKind

from .pragmas import Pragma
from .sources import HOST, WORDS, Node, Unit
from .values import Environment, Sum, header, iterations

CALLABLE = (
    CursorKind.FUNCTION_DECL,
    CursorKind.CXX_METHOD,
    CursorKind.CONSTRUCTOR,
    CursorKind.CONVERSION_FUNCTION,
)
LOOPS = (
    CursorKind.FOR_STMT,
    CursorKind.WHILE_STMT,
    CursorKind.DO_STMT,
    CursorKind.CXX_FOR_RANGE_STMT,
)
#: Names of the classes of streams, and of ports for manual bursts.
STREAMS = ("stream", "Stream", "stream_of_blocks")
MANUAL = ("burst_maxi", "Port")


@dataclass(eq=False)
class Loop:
    """A loop, with the pragmas that stand directly in its body."""

    node: Node
    function: Function
    parent: Loop | None
    label: str
    pragmas: list[Pragma] = field(default_factory=list)

    @property
    def body(self) -> Node:
        """What it repeats."""
        return (
            self.node.children[-1]
            if self.node.kind != CursorKind.DO_STMT
            else (self.node.children[0])
        )

    def pragma(self, directive: str) -> Pragma | None:
        """The first pragma of a kind that stands in the body."""
        return next((p for p in self.pragmas if p.directive == directive), None)

    @property
    def unrolled(self) -> bool:
        """Whether it is unrolled completely."""
        pragma = self.pragma("UNROLL")
        return pragma is not None and "factor" not in pragma.options

    @property
    def pipelined(self) -> bool:
        """Whether it is a pipeline."""
        pragma = self.pragma("PIPELINE")
        return pragma is not None and not pragma.says("off")

    @property
    def interval(self) -> int | None:
        """The interval that its PIPELINE states."""
        pragma = self.pragma("PIPELINE")
        text = pragma.options.get("ii", "") if pragma else ""
        return int(text) if text.isdigit() else None

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"loop {self.label}" if self.label else f"loop in line {self.node.line}"


@dataclass(eq=False)
class Function:
    """A function with a body, with the pragmas that stand directly in it."""

    node: Node
    usr: str
    pragmas: list[Pragma] = field(default_factory=list)
    scoped: list[tuple[Node, Pragma]] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name."""
        return self.node.name

    @cached_property
    def parameters(self) -> list[Node]:
        """Its parameters."""
        return [c for c in self.node.children if c.kind == CursorKind.PARM_DECL]

    @property
    def body(self) -> Node:
        """Its outermost block."""
        return next(c for c in self.node.children if c.kind == CursorKind.COMPOUND_STMT)

    @property
    def top(self) -> bool:
        """Whether it states an interface to the outside."""
        return any(p.directive == "INTERFACE" for p in self.pragmas)

    @property
    def dataflow(self) -> bool:
        """Whether its body is a dataflow region."""
        return any(p.directive == "DATAFLOW" for p in self.pragmas)

    @property
    def pipelined(self) -> bool:
        """Whether the function itself is a pipeline."""
        return any(p.directive == "PIPELINE" for p in self.pragmas)

    @cached_property
    def every_pragma(self) -> list[Pragma]:
        """All pragmas between its braces."""
        inner = [p for loop in self.loops for p in loop.pragmas]
        return self.pragmas + inner + [p for _, p in self.scoped]

    @cached_property
    def calls(self) -> list[Node]:
        """Its calls."""
        return [node for node in self.body.walk() if node.kind == CursorKind.CALL_EXPR]


class Program:
    """The functions of a unit: those with a body, and the templates' instances."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.functions: dict[str, Function] = {}
        self.templates: list[Node] = []
        self.others: list[Node] = []
        pending = []
        for node in unit.declarations():
            if node.kind in CALLABLE:
                pending.append(node)
            elif node.kind == CursorKind.FUNCTION_TEMPLATE:
                self.templates.append(node)
            else:
                self.others.append(node)
                pending += [n for n in node.walk() if n.kind in CALLABLE]
        while pending:
            pending += self._add(pending.pop())
        self._loops: dict[int, Loop] = {
            id(loop.node): loop for f in self.functions.values() for loop in f.loops
        }

    def _add(self, node: Node) -> list[Node]:
        usr = node.cursor.get_usr()
        has_body = any(child.kind == CursorKind.COMPOUND_STMT for child in node.children)
        if usr in self.functions or not has_body or not self.unit.checked(node.file):
            return []
        function = Function(node, usr)
        self.functions[usr] = function
        _find_loops(function)
        _attach(function, self.unit)
        called = []
        for call in function.calls:
            definition = _definition(call.target)
            if definition is not None:
                call["usr"] = definition.get_usr()
                called.append(Node(definition))
        return called

    def callee(self, call: Node) -> Function | None:
        """The function that a call runs, where its body is known."""
        return self.functions.get(call["usr"]) if call["usr"] else None

    def loop(self, node: Node) -> Loop:
        """The loop of a node."""
        return self._loops[id(node)]

    @cached_property
    def inner(self) -> set[str]:
        """Functions that run inside a pipeline."""
        pending = []
        for function in self.functions.values():
            if function.pipelined:
                pending += function.calls
            for loop in function.loops:
                if loop.pipelined:
                    pending += [n for n in loop.node.walk() if n.kind == CursorKind.CALL_EXPR]
        found: set[str] = {f.usr for f in self.functions.values() if f.pipelined}
        while pending:
            function = self.callee(pending.pop())
            if function is not None and function.usr not in found:
                found.add(function.usr)
                pending += function.calls
        return found

    @cached_property
    def passed(self) -> dict[int, list[Node]]:
        """Arguments that calls give for each parameter, by the parameter's number."""
        found: dict[int, list[Node]] = {}
        for function in self.functions.values():
            for call in function.calls:
                callee = self.callee(call)
                if callee is not None:
                    for parameter, argument in zip(
                        callee.parameters, arguments(call), strict=False
                    ):
                        found.setdefault(parameter.key, []).append(argument)
        return found


def _definition(target: Cursor | None) -> Cursor | None:
    if target is None or target.kind not in CALLABLE:
        return None
    return target.get_definition() or target


def _find_loops(function: Function) -> None:
    pending: list[tuple[Node, Loop | None, str]] = [(function.body, None, "")]
    while pending:
        node, parent, label = pending.pop()
        if node.kind in LOOPS:
            parent = Loop(node, function, parent, label)
            function.loops.append(parent)
        label = node.name if node.kind == CursorKind.LABEL_STMT else ""
        pending += [(child, parent, label) for child in reversed(node.children)]


def _attach(function: Function, unit: Unit) -> None:
    """Give every pragma to the innermost block that it stands in."""
    file = function.node.file
    blocks = [n for n in function.body.walk() if n.kind == CursorKind.COMPOUND_STMT]
    owners = {id(loop.body): loop for loop in function.loops}
    for pragma in unit.pragmas(file):
        around = [b for b in blocks if b.start <= pragma.offset < b.end]
        if not around:
            continue
        block = min(around, key=lambda b: b.end - b.start)
        if block is function.body:
            function.pragmas.append(pragma)
        elif id(block) in owners:
            owners[id(block)].pragmas.append(pragma)
        else:
            function.scoped.append((block, pragma))


def trip_count(loop: Loop) -> int | None:
    """Iterations of a loop where they are constant.

    The bound may depend on the variables of unrolled loops around it; their
    first values stand for them.
    """
    environment = Environment()
    around = []
    parent = loop.parent
    while parent is not None:
        around.append(parent)
        parent = parent.parent
    for outer in reversed(around):
        values = iterations(outer.node, environment) if outer.unrolled else None
        first = next(values, None) if values is not None else None
        if first is not None:
            environment[header(outer.node)[0].key] = Sum(first)
    values = iterations(loop.node, environment)
    return None if values is None else sum(1 for _ in values)


def arguments(call: Node) -> list[Node]:
    """The arguments of a call."""
    if not call.children:
        return []
    first = call.children[0].bare
    if first.kind in (CursorKind.MEMBER_REF_EXPR, CursorKind.DECL_REF_EXPR) and (
        first.name == call.name or not call.name
    ):
        return call.children[1:]
    return [c for c in call.children if c.kind.is_expression()]


def record(kind) -> Cursor | None:
    """The declaration of a struct or class type."""
    if kind.kind in (TypeKind.LVALUEREFERENCE, TypeKind.RVALUEREFERENCE):
        kind = kind.get_pointee()
    kind = kind.get_canonical()
    while kind.kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
        kind = kind.element_type.get_canonical()
    declaration = kind.get_declaration()
    return None if declaration.kind == CursorKind.NO_DECL_FOUND else declaration


def is_stream(kind) -> bool:
    """Whether a type is a stream, a reference to one or an array of them."""
    declaration = record(kind)
    return declaration is not None and declaration.spelling in STREAMS


def is_manual(kind) -> bool:
    """Whether a type is a port for manual bursts."""
    declaration = record(kind)
    return declaration is not None and declaration.spelling in MANUAL


def is_word(kind) -> bool:
    """Whether a type is a word of the hardware, as words.h or a vendor declares it."""
    declaration = record(kind)
    if declaration is None or declaration.location.file is None:
        return False
    if declaration.spelling in STREAMS + MANUAL:
        return False
    path = Path(declaration.location.file.name)
    return path.name == WORDS or path.parent.name == HOST
