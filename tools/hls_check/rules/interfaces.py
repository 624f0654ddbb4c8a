# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Ports and registers of the top function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from clang.cindex import TypeKind

from ..context import Context
from ..faults import Fault
from ..memories import dimensions
from ..model import Function, is_manual, is_stream
from ..pragmas import Pragma
from ..sources import Node

RULE = "interface"


def interfaces(context: Context) -> Iterator[Fault]:
    """``interface``: a bundle and an address register for each bus, an offset for each register."""
    for function in context.functions:
        if function.top:
            yield from _top(context, function)


def _top(context: Context, function: Function) -> Iterator[Fault]:
    stated = [p for p in function.pragmas if p.directive == "INTERFACE"]
    bundles: Counter[str] = Counter()
    offsets: Counter[str] = Counter()
    for node in [None, *function.parameters]:
        name = node.name if node is not None else "return"
        mine = [p for p in stated if name in p.names("port")]
        masters = [p for p in mine if p.says("m_axi", "mode")]
        registers = [p for p in mine if p.says("s_axilite", "mode")]
        place = node if node is not None else function.node
        bundles.update(p.options.get("bundle", "") for p in masters)
        offsets.update(p.options["offset"] for p in registers if "offset" in p.options)
        for problem in _problems(node, mine, masters, registers):
            yield context.fault(place, RULE, f"{name}: {problem}")
    for what, counted in (("bundle", bundles), ("offset", offsets)):
        for value, number in counted.items():
            if value and number > 1:
                yield context.fault(
                    function.node, RULE, f"{what} {value} serves {number} arguments; give each one"
                )


def _problems(
    node: Node | None, mine: list[Pragma], masters: list[Pragma], registers: list[Pragma]
) -> Iterator[str]:
    if node is None:
        if not mine:
            yield "no INTERFACE s_axilite port = return: the core cannot be started"
        return
    kind = node.type
    if is_stream(kind) and not is_manual(kind):
        if not mine:
            yield "a stream without INTERFACE axis"
        return
    bus = is_manual(kind) or kind.kind == TypeKind.POINTER or bool(dimensions(node.cursor.type))
    if bus and masters:
        if not masters[0].options.get("bundle"):
            yield "m_axi without a bundle of its own"
        if not registers and masters[0].options.get("offset", "").lower() not in (
            "slave",
            "direct",
        ):
            yield "m_axi without offset = slave: the address has no register"
        for register in registers:
            if "offset" not in register.options:
                yield "s_axilite without offset: the register would move with the others"
    elif bus and not registers:
        yield "a pointer without INTERFACE m_axi"
    elif not registers:
        yield "no INTERFACE s_axilite"
    elif any("offset" not in p.options for p in registers):
        yield "s_axilite without offset: the register would move with the others"
