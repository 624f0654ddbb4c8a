# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Depth and recurrence of a pipeline, estimated from a stated table of operator latencies.

The depth is the longest path through the body, functions inlined. The
recurrence is the longest path from the value that a variable has at the start
of an iteration to the value that it has at its end: the next iteration cannot
start earlier. Sums over unrolled loops are trees. Both are estimates: the
scheduler of an HLS tool knows the device.
"""

from __future__ import annotations

from math import ceil, inf

from clang.cindex import CursorKind

from .context import Context
from .memories import dimensions
from .model import Loop, is_stream
from .paths import Paths
from .places import assigned

#: How often variables can depend on each other in a ring before a value returns.
_RING = 3


def depth(context: Context, loop: Loop) -> int:
    """Cycles from the start of an iteration to its last write."""
    paths = Paths(context)
    paths.loop(loop)
    return max(1, ceil(paths.end - 1e-9)) + 1


def recurrence(context: Context, loop: Loop) -> tuple[float, list[str]]:
    """Cycles that an iteration waits for the one before, and the variables that make it wait."""
    carried = _carried(loop)
    rows = {}
    for key in carried:
        paths = Paths(context, key)
        paths.loop(loop)
        rows[key] = {other: paths.times.get(other, -inf) for other in carried}
    best, names = 0.0, []
    for start in carried:
        reach = {start: (0.0, [start])}
        for length in range(1, _RING + 1):
            following: dict[int, tuple[float, list[int]]] = {}
            for key, (time, ring) in reach.items():
                for other, step in rows[key].items():
                    if step > -inf and time + step > following.get(other, (-inf, []))[0]:
                        following[other] = (time + step, [*ring, other])
            reach = following
            if start in reach and reach[start][0] / length > best + 1e-9:
                best = reach[start][0] / length
                names = [carried[key] for key in reach[start][1][:-1]]
    return best, names


def _carried(loop: Loop) -> dict[int, str]:
    """Variables of the function that the loop's body reads and changes: number to name."""
    inside = {n.key for n in loop.body.walk() if n.kind == CursorKind.VAR_DECL}
    changed = assigned(loop.body)
    return {
        node.key: node.name
        for node in loop.body.walk()
        if node.kind == CursorKind.DECL_REF_EXPR
        and node.key in changed
        and node.key not in inside
        and node.target is not None
        and not dimensions(node.target.type)
        and not is_stream(node.target.type)
    }
