# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Longest paths through the body of a loop, by a stated table of operator latencies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, inf, log2

from clang.cindex import CursorKind, TypeKind

from .context import Context
from .memories import Memory, dimensions, is_pointer
from .model import LOOPS, Function, Loop, arguments, is_manual, is_stream, trip_count
from .sources import WORDS, Node
from .values import header, initial

#: Latencies in cycles of about 4 ns; a fraction is a path that shares a cycle with others.
LATENCIES = {
    "add, subtract": 0.35,
    "compare": 0.3,
    "and, or, xor, not, select": 0.1,
    "shift by a variable": 0.35,
    "byte of a word by a variable, element of registers by a variable": 0.35,
    "multiply": 3.0,
    "divide": 36.0,
    "memory read": 2.0,
    "UltraRAM read": 3.0,
    "LUTRAM, table read": 1.0,
    "memory write": 1.0,
    "stream read, stream write": 1.0,
    "bus write": 1.0,
    "bus read": 64.0,
}
ADD = LATENCIES["add, subtract"]
COMPARE = LATENCIES["compare"]
LOGIC = LATENCIES["and, or, xor, not, select"]
SHIFT = LATENCIES["shift by a variable"]
PICK = LATENCIES["byte of a word by a variable, element of registers by a variable"]
CHANNEL = LATENCIES["stream read, stream write"]
_TREES = {"+": ADD, "|": LOGIC, "&": LOGIC, "^": LOGIC}


class Paths:
    """Longest paths through one iteration of a loop.

    Parameters
    ----------
    context : Context
        The source.
    source : int or None
        Number of the variable whose paths are wanted; None for the depth.
    """

    def __init__(self, context: Context, source: int | None = None) -> None:
        self.context = context
        self.idle = 0.0 if source is None else -inf
        self.times: dict[int, float] = {} if source is None else {source: 0.0}
        self.memories: dict[int, Memory] = {}
        self.end = 0.0
        self.condition = self.idle
        self.returned = self.idle
        self.around: list[tuple[int, int]] = []  # number of the variable, iterations
        self.declared: dict[int, int] = {}
        self.depth = 0

    def loop(self, loop: Loop) -> None:
        """Run one iteration, the step and the condition of the next included."""
        self.statement(loop.body)
        parts = header(loop.node)
        for part in parts[1:3] if parts else ():
            self.value(part)

    def statement(self, node: Node) -> None:
        """Run a statement."""
        kind = node.kind
        if kind == CursorKind.DECL_STMT:
            for child in node.children:
                if child.kind == CursorKind.VAR_DECL:
                    self._declaration(child)
        elif kind in (CursorKind.IF_STMT, CursorKind.SWITCH_STMT):
            with self._under(self.value(node.children[0])):
                for child in node.children[1:]:
                    self.statement(child)
        elif kind in LOOPS:
            self._loop(node)
        elif kind == CursorKind.RETURN_STMT:
            for child in node.children:
                self.returned = max(self.returned, self.value(child), self.condition)
        elif kind.is_expression():
            self.value(node)
        else:
            for child in node.children:
                self.statement(child)

    @contextmanager
    def _under(self, condition: float) -> Iterator[None]:
        before = self.condition
        self.condition = max(before, condition)
        yield
        self.condition = before

    def _declaration(self, node: Node) -> None:
        self.declared[node.key] = len(self.around)
        first = initial(node)
        self.times[node.key] = self.value(first) if first is not None else self.idle

    def _loop(self, node: Node) -> None:
        loop = self.context.program.loop(node)
        parts = header(node)
        number = trip_count(loop) or 1
        if parts:
            self.times[parts[0].key] = self.idle
            self.around.append((parts[0].key, number))
        self.statement(loop.body)
        if number > 1:
            before = dict(self.times)
            self.statement(loop.body)
            for key, time in self.times.items():
                step = time - before.get(key, time) if time > -inf else 0.0
                if 0 < step < inf:
                    self.times[key] = time + (number - 2) * step
        if parts:
            self.around.pop()

    def value(self, node: Node) -> float:
        """Time at which an expression's value is there."""
        kind = node.kind
        if node.static is not None:
            return self.idle
        if kind == CursorKind.DECL_REF_EXPR:
            return self.times.get(node.key, self.idle)
        if kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
            return self._element(node)
        if kind == CursorKind.CONDITIONAL_OPERATOR:
            return max(self.value(child) for child in node.children) + LOGIC
        if kind == CursorKind.UNARY_OPERATOR:
            return self._unary(node)
        if kind in (CursorKind.BINARY_OPERATOR, CursorKind.COMPOUND_ASSIGNMENT_OPERATOR):
            return self._binary(node)
        if kind == CursorKind.CALL_EXPR:
            return self._call(node)
        return max((self.value(child) for child in node.children), default=self.idle)

    def _unary(self, node: Node) -> float:
        operand = node.children[0]
        if node.operator in ("++", "--", "x++", "x--"):
            before = self.value(operand)
            after = self._store(operand, before + ADD)
            return before if node.operator.startswith("x") else after
        if node.operator == "*" and is_pointer(operand.type):
            return self.value(operand) + LATENCIES["bus read"]
        return self.value(operand) + (LOGIC if node.operator in ("~", "!") else 0.0)

    def _binary(self, node: Node) -> float:
        left, right = node.children
        sign = node.operator
        if sign == "=" or node.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR:
            tree = self._tree(node)
            if tree is not None:
                return tree
            value = self.value(right)
            if sign != "=":
                value = self._combine(sign[:-1], node, self.value(left), value)
            return self._store(left, value)
        return self._combine(sign, node, self.value(left), self.value(right))

    def _combine(self, sign: str, node: Node, left: float, right: float) -> float:
        constant = any(child.static is not None for child in node.children)
        latency = 0.0
        if sign in ("+", "-"):
            latency = ADD
        elif sign in ("<", ">", "<=", ">=", "==", "!="):
            latency = COMPARE
        elif sign in ("&", "|", "^", "&&", "||"):
            latency = LOGIC
        elif sign in ("<<", ">>"):
            latency = 0.0 if node.children[1].static is not None else SHIFT
        elif sign == "*":
            latency = ADD if constant else LATENCIES["multiply"]
        elif sign in ("/", "%"):
            latency = 0.0 if constant else LATENCIES["divide"]
        return max(left, right) + latency

    def _tree(self, node: Node) -> float | None:
        """A sum over unrolled loops: a tree of operators instead of a chain."""
        target, right = node.children[0].bare, node.children[1].bare
        sign = node.operator[:-1]
        if node.operator == "=" and right.operator in _TREES:
            sides = [side.bare for side in right.children]
            others = [side for side in sides if side.key != target.key or side is target]
            if target.kind != CursorKind.DECL_REF_EXPR or len(others) != 1:
                return None
            sign, right = right.operator, others[0]
        root = _root(target)
        if sign not in _TREES or root is None:
            return None
        inside = {n.key for n in target.walk() if n.kind == CursorKind.DECL_REF_EXPR}
        level = self.declared.get(root.key, 0)
        lanes = 1
        for key, number in self.around[level:]:
            lanes *= 1 if key in inside else number
        if lanes == 1:
            return None
        time = self.value(right) + _TREES[sign] * (ceil(log2(lanes)) + 1)
        return self._store(node.children[0], max(time, self.times.get(root.key, self.idle)))

    def _memory(self, root: Node) -> Memory | None:
        """The memory of a variable; None for registers, buses and scalars."""
        target = root.target
        if target is None or not dimensions(target.type):
            return None
        memory = self.memories.get(root.key) or self.context.memories.get(
            root.key, root.name, target.type
        )
        return None if memory.registers else memory

    def _indices(self, node: Node) -> tuple[float, bool]:
        """When the indices of a place are there, and whether one is a variable."""
        time, variable = self.idle, False
        node = node.bare
        counters = {key for key, _ in self.around}
        while node.kind in (CursorKind.ARRAY_SUBSCRIPT_EXPR, CursorKind.MEMBER_REF_EXPR):
            if node.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
                time = max(time, self.value(node.children[1]))
                variable = variable or any(
                    each.key not in counters and each.static is None
                    for each in node.children[1].walk()
                    if each.kind == CursorKind.DECL_REF_EXPR
                )
            if not node.children:
                break
            node = node.children[0].bare
        return time, variable

    def _element(self, node: Node) -> float:
        root = _root(node)
        time, variable = self._indices(node)
        if root is None:
            return max(time, self.value(node.children[0])) + (PICK if variable else 0.0)
        held = self.times.get(root.key, self.idle)
        if root.target is not None and is_pointer(root.target.type) and root.key not in (
            self.memories
        ):  # fmt: skip
            return max(time, held, self.condition) + LATENCIES["bus read"]
        memory = self._memory(root)
        if memory is None:
            return max(time, held) + (PICK if variable else 0.0)
        if memory.constant or "lutram" in memory.impl:
            return time + LATENCIES["LUTRAM, table read"]
        return time + LATENCIES["UltraRAM read" if "uram" in memory.impl else "memory read"]

    def _store(self, node: Node, value: float) -> float:
        value = max(value, self.condition + (LOGIC if self.condition > self.idle else 0.0))
        root = _root(node)
        if root is None:
            return value
        if node.bare.kind == CursorKind.DECL_REF_EXPR:
            old = self.times.get(root.key, self.idle) + LOGIC
            self.times[root.key] = max(value, old) if self.condition > self.idle else value
            self.end = max(self.end, value)
            return value
        time, variable = self._indices(node)
        done = max(value, time)
        target = root.target
        if (target is not None and is_pointer(target.type)) or self._memory(root) is not None:
            self.end = max(self.end, done + LATENCIES["memory write"])
            return done
        done += PICK if variable else 0.0
        self.times[root.key] = max(self.times.get(root.key, self.idle), done)
        self.end = max(self.end, done)
        return done

    def _call(self, node: Node) -> float:
        member = node.children[0].bare if node.children else None
        if member is not None and member.kind == CursorKind.MEMBER_REF_EXPR and member.children:
            kind = member.children[0].type
            if is_stream(kind) or is_manual(kind):
                return self._channel(node, member, is_manual(kind))
        if node.name.startswith("operator") and len(node.children) == 3:
            left, _, right = node.children
            value = self.value(right)
            return self._store(left, value) if node.name == "operator=" else (
                max(value, self.value(left)) + ADD
            )  # fmt: skip
        callee = self.context.program.callee(node)
        given = arguments(node)
        if callee is None or callee.node.file.name == WORDS or self.depth > 16:
            return self._word(given, node)
        return self._inline(callee, given)

    def _channel(self, node: Node, member: Node, bus: bool) -> float:
        time = max([self.condition, *(self.value(a) for a in node.children[1:])])
        if member.name == "read":
            return time + (LATENCIES["bus read"] if bus else CHANNEL)
        self.end = max(self.end, time + CHANNEL)
        return time

    def _word(self, given: list[Node], node: Node) -> float:
        """A function of words: wires, or a choice where an argument is a variable."""
        times = [self.value(argument) for argument in given]
        counters = {key for key, _ in self.around}
        variable = any(
            each.key not in counters
            for argument in given[1:2]
            if argument.static is None
            for each in argument.walk()
            if each.kind == CursorKind.DECL_REF_EXPR and each.static is None
        )
        time = max(times, default=self.idle) + (PICK if variable else 0.0)
        if node.type.kind == TypeKind.VOID and given:
            return self._store(given[0], time)
        return time

    def _inline(self, callee: Function, given: list[Node]) -> float:
        back = []
        for parameter, argument in zip(callee.parameters, given, strict=False):
            root = _root(argument.bare)
            memory = self._memory(root) if root is not None else None
            if memory is not None and dimensions(parameter.cursor.type):
                self.memories[parameter.key] = memory
                continue
            self.times[parameter.key] = self.value(argument)
            self.declared[parameter.key] = (
                self.declared.get(root.key, 0) if root is not None else len(self.around)
            )
            shared = parameter.type.kind == TypeKind.LVALUEREFERENCE or dimensions(
                parameter.cursor.type
            )
            if root is not None and shared:
                back.append((parameter, argument))
        before, self.returned = self.returned, self.idle
        self.depth += 1
        self.statement(callee.body)
        self.depth -= 1
        result, self.returned = self.returned, before
        for parameter, argument in back:
            after = self.times.get(parameter.key, self.idle)
            if not parameter.type.get_pointee().is_const_qualified() and after > self.value(
                argument
            ):
                self._store(argument, after)
        return result


def _root(node: Node) -> Node | None:
    """The variable that a place begins with."""
    node = node.bare
    while node.kind != CursorKind.DECL_REF_EXPR:
        if node.kind not in (
            CursorKind.ARRAY_SUBSCRIPT_EXPR,
            CursorKind.MEMBER_REF_EXPR,
            CursorKind.UNARY_OPERATOR,
        ) or not node.children:  # fmt: skip
            return None
        node = node.children[0].bare
    return node
