# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The form of loops: flat pipelines of stated interval, with unrolled bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clang.cindex import CursorKind

from ..context import Context
from ..faults import Fault
from ..model import Loop, trip_count

#: A comment that allows a loop to run its inner loops one after another.
SEQUENTIAL = re.compile(r"//\s*sequential:\s*\S")
_FIRST = ("PIPELINE", "UNROLL", "DATAFLOW")


def inner_loops(context: Context) -> Iterator[Fault]:
    """``inner-loop``: what a pipeline contains is unrolled, with constant bounds."""
    for loop in context.loops:
        constant = trip_count(loop) is not None
        if context.in_pipeline(loop):
            if not loop.unrolled:
                yield context.fault(
                    loop.node, "inner-loop",
                    f"{loop.title} runs inside a pipeline and is not fully unrolled; put "
                    "#pragma HLS UNROLL without a factor first in its body",
                )  # fmt: skip
            elif not constant:
                yield context.fault(
                    loop.node, "inner-loop",
                    f"{loop.title} is unrolled inside a pipeline but its bound is no constant; "
                    "loop to a constant and guard the body (a template parameter is a constant)",
                )  # fmt: skip
        elif loop.pragma("UNROLL") is not None and not constant:
            yield context.fault(
                loop.node, "inner-loop",
                f"{loop.title}: UNROLL of a variable bound does not unroll; use a constant bound",
            )  # fmt: skip


def loop_forms(context: Context) -> Iterator[Fault]:
    """``loop-form``: labels, pragmas first, intervals stated, no sequential nests."""
    for loop in context.loops:
        yield from _placed(context, loop)
        if context.in_pipeline(loop) or (loop.unrolled and not loop.pipelined):
            continue
        if not loop.label:
            yield context.fault(
                loop.node, "loop-form", f"{loop.title} has no label; reports name loops by labels"
            )
        if loop.pragma("UNROLL") is not None:
            yield context.fault(
                loop.node, "loop-form",
                f"{loop.title} is unrolled in part; write the lanes as an inner loop with a "
                "constant bound and UNROLL",
            )  # fmt: skip
        if loop.pipelined:
            if context.interval(loop) is None:
                yield context.fault(
                    loop.node, "loop-form", f"{loop.title}: PIPELINE states no interval; add II = 1"
                )
        elif loop.pragma("DATAFLOW") is None:
            yield from _sequential(context, loop)


def _placed(context: Context, loop: Loop) -> Iterator[Fault]:
    statements = loop.body.children
    for pragma in loop.pragmas:
        if pragma.directive in _FIRST and statements and statements[0].start < pragma.offset:
            yield Fault(
                pragma.path, pragma.line, "loop-form",
                f"{pragma.directive} stands behind a statement; put it first behind the brace",
            )  # fmt: skip


def _sequential(context: Context, loop: Loop) -> Iterator[Fault]:
    below = list(_below(context, loop))
    running = [inner for inner in below if not inner.unrolled]
    if not running:
        yield context.fault(
            loop.node, "loop-form",
            f"{loop.title} is neither pipelined nor unrolled; add #pragma HLS PIPELINE II = 1",
        )  # fmt: skip
    elif not (loop.function.top and loop.parent is None) and not allowed(loop):
        variable = [inner for inner in running if trip_count(inner) is None]
        if variable:
            yield context.fault(
                loop.node, "loop-form",
                f"{loop.title} runs {variable[0].title} (variable bound) again and again, and "
                "drains its pipeline each time; make both one flat loop, or give the reason in "
                "a comment '// sequential: ...' above it",
            )  # fmt: skip


def _below(context: Context, loop: Loop) -> Iterator[Loop]:
    """Loops inside a loop, those of functions that it calls included."""
    for other in loop.function.loops:
        parent = other.parent
        while parent is not None and parent is not loop:
            parent = parent.parent
        if parent is loop:
            yield other
    seen: set[str] = set()
    pending = [n for n in loop.node.walk() if n.kind == CursorKind.CALL_EXPR]
    while pending:
        callee = context.program.callee(pending.pop())
        if callee is not None and callee.usr not in seen:
            seen.add(callee.usr)
            pending += callee.calls
            yield from callee.loops


def allowed(loop: Loop) -> bool:
    """Whether a comment above the loop gives a reason to run sequentially."""
    lines = loop.node.file.read_text(encoding="utf-8").splitlines()
    number = loop.node.line - 1
    above = lines[max(0, number - 4) : number + 1]
    return any(SEQUENTIAL.search(line) for line in above)
