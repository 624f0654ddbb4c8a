# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs over the sources as a tool would unroll and inline them, and notes what it meets.

Everything is noted as a form with the number of its copies: operators with their
widths, products, memories, streams, tables. Unrolled loops are gone through iteration
by iteration, other loops once; calls are inlined with the widths of their arguments.
"""

from __future__ import annotations

from collections import Counter

from clang.cindex import CursorKind, TypeKind

from tools.hls_check.context import Context
from tools.hls_check.memories import Memory
from tools.hls_check.model import LOOPS, Function, arguments, is_stream, is_word
from tools.hls_check.places import assigned, cases
from tools.hls_check.sources import Node
from tools.hls_check.values import Environment, Sum, header, iterations

from .places import Places
from .widths import (
    NOTHING,
    Name,
    Value,
    clipped,
    constant,
    evaluated,
    join,
    of_type,
    renamed,
)

_ARRAYS = (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY)
_TYPES = (CursorKind.TYPE_REF, CursorKind.NAMESPACE_REF, CursorKind.TEMPLATE_REF)


class Walk(Places):
    """One source on one board.

    Attributes
    ----------
    trace : list
        Forms, tuples (kind, process, ...), with their copies and the names of what they make.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.program = context.program
        self.trace: list[tuple[tuple, int, object]] = []
        self.made: set = set()  # names of the values that exist
        self.process = ""
        self.environment: dict[int, Value] = {}
        self.returned: list[Value] = []
        self.structs: set[int] = set()  # variables of several members
        self.conditions = 0  # branches around the statement at hand
        self._inlined: dict[tuple, tuple[list, Value, list[Name]]] = {}
        self._names: dict[str, int | None] = {}
        self._shared: set[tuple[str, str]] = set()

    @property
    def found(self) -> Counter:
        """Copies by form."""
        found: Counter = Counter()
        for form, copies, _ in self.trace:
            found[form] += copies
        return found

    # What it is called with ---------------------------------------------------------

    def named(self, name: str) -> int | None:
        """Value of a named constant."""
        if name not in self._names:
            self._names[name] = self.context.memories.constant(name)
        return self._names[name]

    def type_of(self, node: Node) -> Value:
        """The widest value of a node's type."""
        found = node["width"]
        if found is None:
            found = node["width"] = of_type(node.cursor.type, self.named)
        return found

    def note(self, kind: str, *form: object, copies: int = 1) -> None:
        """Count a form, unless the value that it makes exists."""
        self._trace((kind, self.process, *form), copies, self.making)

    def _trace(self, form: tuple, copies: int, name: object) -> None:
        if name is not None:
            if (name, form) in self.made:
                return
            self.made.add((name, form))
        self.trace.append((form, copies, name))

    def variable(self, node: Node) -> Value:
        """What a variable holds."""
        found = self.environment.get(node.key)
        if found is None:
            number = node.static
            found = constant(number) if number is not None else self.type_of(node)
            if number is None:
                found = self.environment[node.key] = found._replace(name=Name())
        return found

    def run(self, function: Function, values: list[Value] | None = None) -> Value:
        """Inline a function; what it returns."""
        once = any(p.directive == "INLINE" and "off" in p.flags for p in function.pragmas)
        if values is None or once:  # one copy serves all calls of a process
            values = [self.type_of(p) for p in function.parameters]
        given = [v.name for v in values]
        values = [v._replace(name=None) for v in values]
        key = (function.usr, self.process, tuple(values))
        if key not in self._inlined:
            self._inlined[key] = self._body(function, values)
        trace, result, names = self._inlined[key]
        if once:
            if (function.usr, self.process) in self._shared:
                return result._replace(name=None)
            self._shared.add((function.usr, self.process))
        known: dict = {
            name: Name() if g is None else g for name, g in zip(names, given, strict=False)
        }
        for form, copies, name in trace:
            self._trace(form, copies, renamed(name, known))
        return result._replace(name=renamed(result.name, known))

    def _body(self, function: Function, values: list[Value]) -> tuple[list, Value, list[Name]]:
        outside = self.trace, self.environment, self.returned, self.made, self.making
        self.trace, self.returned, self.made, self.making = [], [], set(), None
        names = [Name() for _ in values]
        self.environment = {
            p.key: (v if v.constant is not None else clipped(v, self.type_of(p)))._replace(
                name=v.constant if v.constant is not None else name
            )
            for p, v, name in zip(function.parameters, values, names, strict=False)
            if v.bits or v.constant is not None
        }
        region = function if function.dataflow else None
        self.statement(function.body, function, region)
        result = join(*self.returned) if self.returned else NOTHING
        for value in self.returned[1:]:
            self.select(value.bits)
        if len(self.returned) > 1:
            result = result._replace(name=Name())
        trace = self._limited(function)
        self.trace, self.environment, self.returned, self.made, self.making = outside
        return trace, result, names

    def _limited(self, function: Function) -> list:
        """What was found, with no more multipliers than an ALLOCATION of the function allows."""
        limits = [
            evaluated(p.options.get("limit", ""), self.named)
            for p in function.pragmas
            if p.directive == "ALLOCATION"
            and "operation" in p.flags
            and p.options.get("instances", "").lower() == "mul"
        ]
        if not limits:
            return self.trace
        products = [e for e in self.trace if e[0][0] == "product" and e[0][5] != "fabric"]
        kept = [e for e in self.trace if e not in products]
        if products:
            widest = max((e[0] for e in products), key=lambda form: (form[2], form[3]))
            total = sum(e[1] for e in products)
            shared = (*widest[:6], f"shared in {function.name}")
            kept.append((shared, min(limits[0], total), None))
        return kept

    # Statements ---------------------------------------------------------------------

    def statement(self, node: Node, function: Function, region: object = None) -> None:
        """Go through a statement; `region` is the dataflow region it stands in directly."""
        kind = node.kind
        if kind == CursorKind.COMPOUND_STMT:
            for child in node.children:
                self.statement(child, function, region)
        elif kind == CursorKind.DECL_STMT:
            for child in node.children:
                if child.kind == CursorKind.VAR_DECL:
                    self._declaration(child, function, region)
        elif kind == CursorKind.LABEL_STMT:
            self.statement(node.children[-1], function, region)
        elif kind in LOOPS:
            self._loop(node, function)
        elif kind == CursorKind.IF_STMT:
            self._if(node, function)
        elif kind == CursorKind.SWITCH_STMT:
            self._switch(node, function)
        elif kind in (CursorKind.CASE_STMT, CursorKind.DEFAULT_STMT):
            self.statement(node.children[-1], function, region)
        elif kind == CursorKind.RETURN_STMT:
            if node.children:
                self.returned.append(self.expression(node.children[0]))
        elif kind.is_expression():
            if region is not None and node.bare.kind == CursorKind.CALL_EXPR:
                self._start(node.bare)
            else:
                self.expression(node)

    def _start(self, call: Node) -> None:
        """A call in a dataflow region: a process of its own."""
        callee = self.program.callee(call)
        if callee is None:
            self.expression(call)
            return
        values = [self.expression(a) for a in arguments(call)]
        outside, self.process = self.process, callee.name
        self.note("process")
        self.run(callee, values)
        self.process = outside

    def _declaration(self, node: Node, function: Function, region: object) -> None:
        kind = node.cursor.type.get_canonical()
        if is_stream(kind):
            self._stream(node, function)
            return
        if kind.kind in _ARRAYS:
            self._memory(node, region is not None)
            self.environment[node.key] = self.type_of(node)._replace(name=Name())
            return
        if kind.kind == TypeKind.RECORD and not is_word(kind):
            self.structs.add(node.key)
        initial = [c for c in node.children if c.kind not in _TYPES]
        value = self.expression(initial[-1]) if initial else self.type_of(node)
        value = clipped(value, self.type_of(node)) if value.bits else self.type_of(node)
        if value.name is None:
            value = value._replace(name=Name())
        self.environment[node.key] = value

    def _stream(self, node: Node, function: Function) -> None:
        element = node.cursor.type.get_canonical().get_template_argument_type(0)
        bits = 8 * element.get_canonical().get_size()
        depth, impl = 2, ""
        for pragma in function.every_pragma:
            if pragma.about(node.name) and pragma.directive == "STREAM":
                depth = evaluated(pragma.options["depth"], self.named)
            elif pragma.about(node.name) and pragma.directive == "BIND_STORAGE":
                impl = pragma.options.get("impl", "").lower()
        self.note("stream", node.name, bits, depth, impl)

    def _memory(self, node: Node, pingpong: bool) -> None:
        memory: Memory = self.context.memories.get(node.key, node.name, node.cursor.type)
        if memory.registers:
            return
        banks, depth = 1, 1
        for dim, size in enumerate(memory.sizes, 1):
            kind, factor = memory.partitions.get(dim, ("", 0))
            parts = size if kind == "complete" else min(factor, size) if kind else 1
            banks *= parts
            depth *= -(-size // parts)
        bits = of_type(node.cursor.type, self.named).bits
        self.note(
            "memory", node.name, bits, depth, banks, 2 if pingpong else 1, memory.storage,
            memory.impl,
        )  # fmt: skip

    def _loop(self, node: Node, function: Function) -> None:
        loop = self.program.loop(node)
        if loop.unrolled:
            scope = Environment(
                {k: Sum(v.constant) for k, v in self.environment.items() if v.constant is not None}
            )
            values = iterations(node, scope)
            if values is not None:
                key = header(node)[0].key
                for number in values:
                    self.environment[key] = constant(number)
                    self.statement(loop.body, function)
                return
        self._forget(assigned(node))
        parts = header(node)
        if parts is not None:
            self.environment[parts[0].key] = self.type_of(parts[0])
            self.expression(parts[1])
            self.expression(parts[2])
        else:
            for child in node.children[:-1]:
                if child.kind.is_expression():
                    self.expression(child)
        self._forget(assigned(node))
        region = loop if loop.pragma("DATAFLOW") else None
        self.note("loop", "pipelined" if loop.pipelined else "sequential")
        self.statement(loop.body, function, region)
        self._forget(assigned(node))

    def _forget(self, keys: frozenset[int]) -> None:
        for key in keys:
            self.environment.pop(key, None)

    def _if(self, node: Node, function: Function) -> None:
        condition = self.expression(node.children[0])
        branches = node.children[1:]
        if condition.constant is not None:
            if condition.constant:
                self.statement(branches[0], function)
            elif len(branches) > 1:
                self.statement(branches[1], function)
            return
        self._branches([[branch] for branch in branches], function)

    def _switch(self, node: Node, function: Function) -> None:
        self.expression(node.children[0])
        self._branches(cases(node.children[-1]), function)

    def _branches(self, branches: list[list[Node]], function: Function) -> None:
        before = dict(self.environment)
        self.conditions += 1
        ends = []
        for branch in branches:
            self.environment = dict(before)
            for statement in branch:
                self.statement(statement, function)
            ends.append(self.environment)
        kind = "hold" if len(ends) == 1 else "select"
        if len(ends) == 1:
            ends.append(before)
        self.conditions -= 1
        self.environment = {}
        keys = frozenset().union(*(assigned(s) for branch in branches for s in branch))
        for key in set().union(*ends):
            values = [end[key] for end in ends if key in end]
            if key in keys and key in before:
                joined = join(*values)
                if key not in self.structs:
                    self.select((len(ends) - 1) * joined.bits, kind)
                self.environment[key] = joined._replace(name=Name())
            elif len(values) == len(ends):
                self.environment[key] = join(*values)
