# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Ports of memories, streams and buses, and dependences that iterations carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import ceil

from ..context import Context
from ..faults import Fault
from ..latency import recurrence
from ..model import Loop
from ..places import Access
from ..ports import count_together


def ports(context: Context) -> Iterator[Fault]:
    """``ports``: no more accesses in an iteration than there are ports."""
    for loop in context.pipelines:
        interval = context.interval(loop) or 1
        for use in context.uses(loop):
            if use.interval > interval:
                yield context.fault(
                    use.access.node, "ports",
                    f"{loop.title} makes {use.reads} reads and {use.writes} writes of a bank of "
                    f"{use.memory.name} in one iteration, which takes {use.interval} cycles "
                    f"instead of {interval}; partition the array so that each lane has its own "
                    "bank, or keep the value in a register",
                )  # fmt: skip
        for (what, name, mode), accesses in channels(context.accesses(loop)).items():
            number = count_together(accesses)
            if number > interval:
                done = "reads" if mode == "r" else "writes"
                yield context.fault(
                    accesses[0].node, "ports",
                    f"{loop.title} {done} the {what} {name} {number} times in one iteration; "
                    "once a cycle is what it takes: widen its word",
                )  # fmt: skip


def channels(accesses: list[Access]) -> dict[tuple[str, str, str], list[Access]]:
    """Accesses of streams and buses, by what, name and direction."""
    found: dict[tuple, list[Access]] = defaultdict(list)
    for access in accesses:
        if access.what in ("stream", "bus", "manual") and access.mode in ("r", "w"):
            inside = access.key[1] if access.what == "stream" else ()
            name = access.name + "".join(f"[{i}]" if i != "" else "" for i in inside)
            what = "bus" if access.what == "manual" else access.what
            found[what, name, access.mode].append(access)
    return found


def flushed(context: Context) -> Iterator[Fault]:
    """``flush``: a pipeline between streams lets go of what it holds when it has to wait.

    The default style stops every stage when the first has nothing to read or the last
    cannot write; items inside stay there, and a region can wait for them for ever.
    """
    for loop in context.pipelines:
        moved = {mode for _, _, mode in channels(context.accesses(loop))}
        pipeline = loop.pragma("PIPELINE")
        if moved and not (pipeline.says("flp", "style") or pipeline.says("frp", "style")):
            yield context.fault(
                loop.node, "flush",
                f"{loop.title} reads or writes a stream or a port and would keep its items when "
                "it has to wait; add style = flp to its PIPELINE",
            )  # fmt: skip


def independent(loop: Loop, name: str) -> bool:
    """Whether a pragma in the loop says that iterations do not depend on `name`."""
    return any(
        pragma.directive == "DEPENDENCE"
        and pragma.about(name)
        and pragma.says("inter", "type")
        and pragma.says("false", "dependent")
        for pragma in loop.pragmas
    )


def _own(context: Context, loop: Loop, access: Access) -> bool:
    """Whether each iteration has the memory for itself."""
    key = access.key[0]
    owner, node = context.memories.owners.get(key), context.memories.declared.get(key)
    if owner is None or node is None:
        return False
    return owner is not loop.function or loop.body.start <= node.start < loop.body.end


def carried(context: Context) -> Iterator[Fault]:
    """``carried``: no iteration waits for what one before it wrote to a memory."""
    for loop in context.pipelines:
        for use in context.uses(loop):
            if not use.carried or _own(context, loop, use.access):
                continue
            if not independent(loop, use.memory.name):
                yield context.fault(
                    use.access.node, "carried",
                    f"{loop.title} reads and writes {use.memory.name}: the tool must assume that "
                    "an iteration reads what the one before it wrote; use registers or two "
                    f"memories, or, where it cannot happen, add #pragma HLS DEPENDENCE variable = "
                    f"{use.memory.name} type = inter dependent = false",
                )  # fmt: skip


def recurrences(context: Context) -> Iterator[Fault]:
    """``recurrence``: no iteration waits for the result of the one before (an estimate)."""
    for loop in context.pipelines:
        interval = context.interval(loop) or 1
        cycles, names = recurrence(context, loop)
        if ceil(cycles - 1e-9) > interval:
            yield context.fault(
                loop.node, "recurrence",
                f"{loop.title}: from {', '.join(names)} of one iteration to the next takes about "
                f"{cycles:.1f} cycles instead of {interval} (by the table of latencies); shorten "
                "the path, or delay the value by a register that the next iteration does not need",
            )  # fmt: skip
