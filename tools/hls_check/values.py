# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Values of integer expressions: constants, and sums of symbols with a constant.

An expression's value is a :class:`Sum`. Two reads whose addresses have equal
sums are one read; two addresses whose sums differ by a constant only are known
to lie that far apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from clang.cindex import CursorKind

from .sources import Node

#: Iterations beyond which a loop is not taken apart.
LIMIT = 1 << 14

_fresh = count(1)
_ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: int(a / b) if b else None,
    "%": lambda a, b: a - b * int(a / b) if b else None,
    "<<": lambda a, b: a << b if 0 <= b < 128 else None,
    ">>": lambda a, b: a >> b if 0 <= b < 128 else None,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b),
    "<=": lambda a, b: int(a <= b),
    ">=": lambda a, b: int(a >= b),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
}
_CASTS = (
    CursorKind.CXX_STATIC_CAST_EXPR,
    CursorKind.CXX_FUNCTIONAL_CAST_EXPR,
    CursorKind.CSTYLE_CAST_EXPR,
    CursorKind.UNEXPOSED_EXPR,
    CursorKind.PAREN_EXPR,
)


@dataclass(frozen=True)
class Sum:
    """A constant plus symbols with coefficients."""

    constant: int = 0
    symbols: tuple[tuple[object, int], ...] = ()

    @property
    def known(self) -> int | None:
        """The value where it is a constant."""
        return None if self.symbols else self.constant

    def plus(self, other: Sum, factor: int = 1) -> Sum:
        """The sum plus `factor` times another."""
        symbols = dict(self.symbols)
        for symbol, coefficient in other.symbols:
            symbols[symbol] = symbols.get(symbol, 0) + factor * coefficient
        kept = tuple(sorted(((s, c) for s, c in symbols.items() if c), key=repr))
        return Sum(self.constant + factor * other.constant, kept)

    def times(self, factor: int) -> Sum:
        """The sum times a constant."""
        return Sum().plus(self, factor)


def symbol(name: object) -> Sum:
    """A sum of one symbol."""
    return Sum(0, ((name, 1),))


def fresh() -> Sum:
    """A symbol that equals no other."""
    return symbol(("new", next(_fresh)))


class Environment(dict):
    """Values of variables, by the number of their declaration."""

    def of(self, node: Node) -> Sum:
        """The value of an integer expression."""
        kind = node.kind
        if kind in _CASTS and node.children:
            return self.of(node.children[-1])
        if kind in (CursorKind.DECL_REF_EXPR, CursorKind.MEMBER_REF_EXPR):
            return self._reference(node)
        if node.static is not None:
            return Sum(node.static)
        if kind == CursorKind.BINARY_OPERATOR:
            return self._binary(node)
        if kind == CursorKind.UNARY_OPERATOR:
            return self._unary(node)
        if kind == CursorKind.CONDITIONAL_OPERATOR:
            condition, yes, no = (self.of(child) for child in node.children)
            if condition.known is not None:
                return yes if condition.known else no
            return yes if yes == no else symbol(("?", condition, yes, no))
        values = tuple(self.of(child) for child in node.children)
        return symbol((kind.value, node.name, values))

    def _reference(self, node: Node) -> Sum:
        if node.kind == CursorKind.DECL_REF_EXPR and node.key in self:
            return self[node.key]
        if node.static is not None:
            return Sum(node.static)
        path = tuple(self.of(child) for child in node.children)
        return symbol((node.name, node.key, path))

    def _binary(self, node: Node) -> Sum:
        left, right = (self.of(child) for child in node.children)
        sign = node.operator
        if sign == "+":
            return left.plus(right)
        if sign == "-":
            return left.plus(right, -1)
        if sign == "*":
            if right.known is not None:
                return left.times(right.known)
            if left.known is not None:
                return right.times(left.known)
        if sign == "<<" and right.known is not None and 0 <= right.known < 64:
            return left.times(1 << right.known)
        if sign in ("&&", "||"):
            stops = 0 if sign == "&&" else 1
            for value in (left, right):
                if value.known is not None and bool(value.known) == bool(stops):
                    return Sum(stops)
            if left.known is not None and right.known is not None:
                return Sum(1 - stops)
        if sign in _ARITHMETIC and left.known is not None and right.known is not None:
            value = _ARITHMETIC[sign](left.known, right.known)
            if value is not None:
                return Sum(value)
        return symbol((sign, left, right))

    def _unary(self, node: Node) -> Sum:
        operand = self.of(node.children[0])
        sign = node.operator
        steps = {"x++": 0, "x--": 0, "++": 1, "--": -1}
        if sign in steps:
            return operand.plus(Sum(steps[sign]))
        if sign == "-":
            return operand.times(-1)
        if sign == "+":
            return operand
        if operand.known is not None and sign in ("~", "!"):
            return Sum(~operand.known if sign == "~" else int(not operand.known))
        return symbol((sign, operand))

    def assign(self, node: Node) -> None:
        """Take over what an assignment, or a step by one, does to a variable."""
        target = node.children[0].bare
        if target.kind != CursorKind.DECL_REF_EXPR:
            return
        value = self.of(target)
        if node.kind == CursorKind.UNARY_OPERATOR:
            self[target.key] = value.plus(Sum(1 if "++" in node.operator else -1))
            return
        other = self.of(node.children[1])
        if node.operator == "=":
            self[target.key] = other
        elif node.operator in ("+=", "-="):
            self[target.key] = value.plus(other, 1 if node.operator == "+=" else -1)
        elif node.operator[:-1] in _ARITHMETIC and None not in (value.known, other.known):
            result = _ARITHMETIC[node.operator[:-1]](value.known, other.known)
            self[target.key] = fresh() if result is None else Sum(result)
        else:
            self[target.key] = fresh()


def header(loop: Node) -> tuple[Node, Node, Node, Node] | None:
    """Declaration, condition, step and body of a ``for``; None where one is missing."""
    if len(loop.children) != 4 or loop.children[0].kind != CursorKind.DECL_STMT:
        return None
    declaration, condition, step, body = loop.children
    variables = declaration.children
    if len(variables) != 1 or variables[0].kind != CursorKind.VAR_DECL:
        return None
    return variables[0], condition, step, body


def initial(variable: Node) -> Node | None:
    """The initial value of a variable."""
    kinds = (CursorKind.TYPE_REF, CursorKind.NAMESPACE_REF, CursorKind.TEMPLATE_REF)
    values = [child for child in variable.children if child.kind not in kinds]
    return values[-1] if values and values[-1].kind.is_expression() else None


def iterations(loop: Node, environment: Environment) -> Iterator[int] | None:
    """The values of a loop's variable; None where they are no constants."""
    parts = header(loop)
    if parts is None or (first := initial(parts[0])) is None:
        return None
    variable, condition, step, _ = parts
    values: list[int] = []
    scope = Environment(environment)
    value = scope.of(first)
    while len(values) < LIMIT and value.known is not None:
        scope[variable.key] = value
        again = scope.of(condition).known
        if again is None:
            return None
        if not again:
            return iter(values)
        values.append(value.known)
        scope.assign(step.bare)
        value = scope[variable.key]
        if value.known == values[-1]:
            return None
    return None
