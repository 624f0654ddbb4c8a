# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Expressions: what each operator makes of the widths of its operands."""

from __future__ import annotations

from clang.cindex import CursorKind

from tools.hls_check.sources import Node

from .widths import BIT, NOTHING, Name, Value, clipped, constant, digits, join, named

_CASTS = (
    CursorKind.CXX_STATIC_CAST_EXPR,
    CursorKind.CXX_FUNCTIONAL_CAST_EXPR,
    CursorKind.CSTYLE_CAST_EXPR,
    CursorKind.UNEXPOSED_EXPR,
    CursorKind.PAREN_EXPR,
)
_COMPARE = ("<", ">", "<=", ">=", "==", "!=")
_LOGIC = ("&&", "||")
#: Adders that stand in for a product with a constant; with more it is a multiplier.
_MOST_ADDERS = 3
#: Bits of the adder behind the multiplier of a DSP.
_POST_ADDER = 48


class Operators:
    """The part of `Walk` that evaluates expressions.

    Attributes
    ----------
    making : object
        Name of the value that the operator at hand makes.
    multiplied : set
        Names of products that a DSP makes: what is added to one is added there.
    """

    def __init__(self) -> None:
        self.making: object = None
        self.multiplied: set = set()

    def note(self, kind: str, *form: object, copies: int = 1) -> None:
        """Count a form, unless the value that it makes exists."""
        raise NotImplementedError

    def select(self, bits: int, kind: str = "select") -> None:
        """So many two-way multiplexers of a bit.

        `kind` is ``pick`` where one way is constant, and ``hold`` where it is what a
        variable held before.
        """
        if bits > 0:
            self.note("operator", kind, 1, copies=bits)

    def multiplexer(self, bits: int, ways: int) -> None:
        """A multiplexer of words."""
        if ways > 1:
            self.note("operator", f"mux{ways}", bits)

    def operate(self, name: str, bits: int) -> None:
        """An operator of a width."""
        if bits > 0:
            self.note("operator", name, bits)

    def expression(self, node: Node) -> Value:
        """The value of an expression; operators are counted."""
        kind = node.kind
        if kind == CursorKind.DECL_REF_EXPR:
            return self.variable(node)
        if kind in _CASTS:
            return self._cast(node)
        if kind in (CursorKind.BINARY_OPERATOR, CursorKind.COMPOUND_ASSIGNMENT_OPERATOR):
            return self._binary(node)
        if kind == CursorKind.UNARY_OPERATOR:
            return self._unary(node)
        if kind == CursorKind.CONDITIONAL_OPERATOR:
            return self._conditional(node)
        if kind == CursorKind.CALL_EXPR:
            return self.call(node)
        if kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
            return self.element(node)
        if kind == CursorKind.MEMBER_REF_EXPR:
            for child in node.children:
                if child.bare.kind in (CursorKind.ARRAY_SUBSCRIPT_EXPR, CursorKind.CALL_EXPR):
                    self.expression(child)
            number = node.static
            return constant(number) if number is not None else self._member(node)
        number = node.static
        if number is not None and kind.is_expression():
            return constant(number)
        for child in node.children:
            if child.kind.is_expression():
                self.expression(child)
        return self.type_of(node)

    def _member(self, node: Node) -> Value:
        """A member of a variable, or of what an expression gives."""
        owner = node.children[0].bare if node.children else node
        name = None
        if owner.kind == CursorKind.DECL_REF_EXPR:
            name = named("member", node.name, self.variable(owner).name)
        elif owner.kind == CursorKind.MEMBER_REF_EXPR:
            name = named("member", node.name, self._member(owner).name)
        return self.type_of(node)._replace(name=name)

    def _cast(self, node: Node) -> Value:
        inner = [c for c in node.children if c.kind.is_expression()]
        if not inner:
            number = node.static
            return constant(number) if number is not None else self.type_of(node)
        value = self.expression(inner[-1])
        limit = self.type_of(node)
        if value.constant is not None or not value.bits:
            return value
        return clipped(value, limit)

    def _conditional(self, node: Node) -> Value:
        condition, yes, no = node.children
        value = self.expression(condition)
        if value.constant is not None:
            return self.expression(yes if value.constant else no)
        ways = self.expression(yes), self.expression(no)
        joined = join(*ways)
        self.making = named("?", value.name, joined.name)
        fixed = any(way.constant is not None for way in ways)
        self.select(1 if _same_bits(*ways) else joined.bits, "pick" if fixed else "select")
        joined, self.making = joined._replace(name=self.making), None
        return joined

    def _unary(self, node: Node) -> Value:
        sign = node.operator
        target = node.children[0]
        if sign in ("++", "--", "x++", "x--"):
            limit = self.type_of(target.bare)
            now = self.expression(target)
            self.operate("add", now.bits if now.constant is None else limit.bits)
            if target.bare.kind == CursorKind.DECL_REF_EXPR:
                self.environment[target.bare.key] = (
                    clipped(Value(now.bits + 1, now.signed), limit)
                    if now.constant is None
                    else constant(now.constant + (1 if "+" in sign else -1))
                )
            return now
        value = self.expression(target)
        if sign == "-":
            if value.constant is not None:
                return constant(-value.constant)
            name = self.making = named("-x", value.name)
            self.operate("add", value.bits + 1)
            self.making = None
            return Value(value.bits + 1, True, None, 0, name)
        if sign == "!":
            if value.constant is not None:
                return constant(int(not value.constant))
            return BIT._replace(name=named("!", value.name))
        if sign == "~" and value.constant is not None:
            return constant(~value.constant)
        return value

    def _binary(self, node: Node) -> Value:
        sign = node.operator
        left, right = node.children
        if sign == "=":
            return self.store(left.bare, self.expression(right))
        if sign == ",":
            self.expression(left)
            return self.expression(right)
        if sign in _LOGIC:
            return self._logic(sign, left, right)
        a, b = self.expression(left), self.expression(right)
        limit = self.type_of(node)
        if node.kind == CursorKind.COMPOUND_ASSIGNMENT_OPERATOR:
            value = self._combine(sign[:-1], a, b, self.type_of(left.bare), node)
            return self.store(left.bare, value)
        return self._combine(sign, a, b, limit, node)

    def _logic(self, sign: str, left: Node, right: Node) -> Value:
        a = self.expression(left)
        stops = sign == "||"
        if a.constant is not None:
            if bool(a.constant) == stops:
                return constant(int(stops))
            b = self.expression(right)
            return constant(int(bool(b.constant))) if b.constant is not None else BIT
        b = self.expression(right)
        if b.constant is not None:
            return constant(int(stops)) if bool(b.constant) == stops else BIT
        name = self.making = named(sign, a.name, b.name)
        self.operate("logic", 1)
        self.making = None
        return BIT._replace(name=name)

    def _combine(self, sign: str, a: Value, b: Value, limit: Value, node: Node) -> Value:
        if a.constant is not None and b.constant is not None:
            folded = _folded(sign, a.constant, b.constant)
            if folded is not None:
                return constant(folded)
        name = self.making = named(sign, a.name, b.name)
        if sign in _COMPARE:
            self._compare(sign, a, b)
            value = BIT
        elif sign in ("+", "-"):
            value = self._sum(sign, a, b)
        elif sign == "*":
            value = self._product(a, b, limit, node)
        elif sign in ("/", "%"):
            value = self._quotient(sign, a, b, limit, node)
        elif sign in ("<<", ">>"):
            value = self._shift(sign, a, b, limit)
        else:
            value = self._bits(sign, a, b)
        self.making = None
        return clipped(value._replace(name=name), limit)

    def _compare(self, sign: str, a: Value, b: Value) -> None:
        bits = join(a, b).bits
        one = next((v.constant for v in (a, b) if v.constant is not None), None)
        other = b if a.constant is not None else a
        if one == 0 and other.signed and sign in ("<", ">="):
            return  # the sign
        if sign in ("==", "!="):
            self.operate("equal", other.bits if one is not None else bits)
        elif one is not None:
            self.operate("limit", other.bits)
        else:
            self.operate("compare", bits)

    def _sum(self, sign: str, a: Value, b: Value) -> Value:
        if a.constant == 0 and sign == "+":
            return b
        if b.constant == 0:
            return a
        joined = join(a, b)
        if joined.bits < _POST_ADDER and not self.multiplied.isdisjoint((a.name, b.name)):
            return Value(joined.bits + 1, True)
        signed = joined.signed or sign == "-"
        bits = max(a.as_signed, b.as_signed) + 1 if signed else joined.bits + 1
        low = max(a.zeros, b.zeros) if sign == "+" else b.zeros  # bits that pass through
        self.operate("add", bits - low)
        return Value(bits, signed, None, min(a.zeros, b.zeros))

    def _product(self, a: Value, b: Value, limit: Value, node: Node) -> Value:
        signed = a.signed or b.signed
        bits = a.bits + b.bits
        for one, other in ((a, b), (b, a)):
            if one.constant is not None:
                if one.constant == 0:
                    return constant(0)
                adders = digits(one.constant) - 1
                width = one.bits + other.bits
                if one.constant & (one.constant - 1) == 0:
                    width = other.bits + one.bits - 1
                if adders <= _MOST_ADDERS:
                    for _ in range(adders):
                        self.operate("add", width)
                    return Value(width, signed, None, a.zeros + b.zeros)
        first, second = sorted((a.as_signed, b.as_signed), reverse=True)
        if self.product(first, second, min(bits, limit.bits), node) and self.making is not None:
            self.multiplied.add(self.making)
        return Value(bits, signed)

    def product(self, first: int, second: int, bits: int, node: Node) -> bool:
        """A multiplier of operands with sign; whether a DSP may take it."""
        where, binding = f"{node.file.name}:{node.line}", self.binding(node)
        self.note("product", first, second, bits, binding, where)
        return binding != "fabric"

    def binding(self, node: Node) -> str:
        """``impl`` of the BIND_OP that is about the variable that a product defines."""
        above = node
        while above is not None and above.kind != CursorKind.VAR_DECL:
            above = above.parent
            if above is not None and above.kind == CursorKind.COMPOUND_STMT:
                return ""
        if above is None:
            return ""
        for function in self.program.functions.values():
            if function.node.file == node.file and (
                function.node.start <= node.start < function.node.end
            ):
                for pragma in function.every_pragma:
                    if pragma.directive == "BIND_OP" and pragma.about(above.name):
                        return pragma.options.get("impl", "").lower()
        return ""

    def _quotient(self, sign: str, a: Value, b: Value, limit: Value, node: Node) -> Value:
        if b.constant is None or b.constant <= 0:
            self.operate("divide", max(a.bits, b.bits))
            return a
        power = b.constant & (b.constant - 1) == 0
        if not power:
            self.product(a.as_signed, a.as_signed, 2 * a.bits, node)
        if a.signed and power and b.constant > 1:
            self.operate("add", a.bits)
        by = b.constant.bit_length() - 1
        if sign == "/":
            return Value(max(1, a.bits - by), a.signed)
        return Value(min(a.bits, max(1, (b.constant - 1).bit_length())), a.signed)

    def _shift(self, sign: str, a: Value, b: Value, limit: Value) -> Value:
        if b.constant is not None:
            bits = a.bits + b.constant if sign == "<<" else a.bits - b.constant
            zeros = a.zeros + b.constant if sign == "<<" else 0
            return Value(max(1, bits), a.signed, None, zeros)
        bits = limit.bits if sign == "<<" else a.bits
        self.operate(f"shift{min(b.bits, max(1, (bits - 1).bit_length()))}", bits)
        return Value(bits, a.signed)

    def _bits(self, sign: str, a: Value, b: Value) -> Value:
        known = next((v for v in (a, b) if v.constant is not None), None)
        if sign == "&" and known is not None and known.constant >= 0:
            other = b if known is a else a
            return Value(min(known.bits, other.bits) if not other.signed else known.bits)
        joined = join(a, b)
        if known is None:
            self.operate("logic", joined.bits if sign != "&" else min(a.bits, b.bits))
        if sign == "&" and not (a.signed and b.signed):
            return Value(min(v.bits for v in (a, b) if not v.signed))
        return joined


def _same_bits(one: Value, other: Value) -> bool:
    """Whether two values are the same bits, once with and once without a sign."""
    names = one.name, other.name
    for first, second in (names, names[::-1]):
        if isinstance(first, Name) and first.parts[:2] == ("clipped", second):
            return True
    return False


def _folded(sign: str, a: int, b: int) -> int | None:
    if sign in ("/", "%"):
        if b == 0:
            return None
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if sign == "/" else a - b * quotient
    if sign in ("<<", ">>"):
        if not 0 <= b < 64:
            return None
        return a << b if sign == "<<" else a >> b
    table = {
        "+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b,
        "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "==": a == b, "!=": a != b,
    }  # fmt: skip
    return int(table[sign]) if sign in table else None


__all__ = ["NOTHING", "Operators"]
