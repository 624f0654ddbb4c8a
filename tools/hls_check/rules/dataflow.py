# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dataflow regions in the canonical form, the only one that overlaps as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from clang.cindex import CursorKind, TypeKind

from ..context import Context
from ..faults import Fault
from ..memories import dimensions, is_pointer
from ..model import Function, Loop, arguments, is_manual, is_stream
from ..places import assigned, mutable
from ..pragmas import Pragma
from ..sources import Node
from ..values import header, initial

RULE = "dataflow"


@dataclass(eq=False)
class Region:
    """A dataflow region: a function's body, or the body of a function's only loop."""

    function: Function
    loop: Loop | None
    body: Node
    pragmas: list[Pragma]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"region {self.function.name}"


@dataclass
class Channel:
    """What joins the processes of a region.

    Attributes
    ----------
    name, what : str
        The name, and ``stream``, ``array``, ``bus`` or ``scalar``.
    node : Node
        Its declaration.
    local : bool
        Whether the region declares it.
    users : list of (int, set of str, Node)
        Number of the call, what it does, and the argument.
    """

    name: str
    what: str
    node: Node
    local: bool
    users: list[tuple[int, set[str], Node]] = field(default_factory=list)


def regions(context: Context) -> Iterator[Region]:
    """The dataflow regions of a source."""
    for function in context.functions:
        if function.dataflow:
            yield Region(function, None, function.body, function.pragmas)
        for loop in function.loops:
            if loop.pragma("DATAFLOW") is not None:
                yield Region(function, loop, loop.body, loop.pragmas)


def canonical(context: Context) -> Iterator[Fault]:
    """``dataflow``: calls and channels, each channel from one process to one later one."""
    for region in regions(context):
        if region.loop is not None:
            yield from _loop_form(context, region)
        yield from _body_form(context, region)
        yield from _calls_form(context, region)
        for channel in channels(context, region):
            yield from _channel(context, region, channel)


def _loop_form(context: Context, region: Region) -> Iterator[Fault]:
    loop, function = region.loop, region.function
    others = [n for n in function.body.children if n.kind != CursorKind.NULL_STMT]
    inside = others[0] if others else None
    while inside is not None and inside.kind == CursorKind.LABEL_STMT:
        inside = inside.children[-1]
    if len(others) != 1 or inside is not loop.node:
        yield context.fault(
            loop.node, RULE,
            f"{loop.title} with DATAFLOW is not the only statement of {function.name}; give it "
            "a function of its own",
        )  # fmt: skip
    parts = header(loop.node)
    problem = None
    if parts is None:
        problem = "has no header of the form for (int i = 0; i < n; ++i)"
    else:
        variable, condition, step, _ = parts
        first = initial(variable)
        if first is None or first.static != 0 or step.operator not in ("++", "x++"):
            problem = "does not count from 0 in steps of 1"
        elif condition.bare.operator != "<" or not _scalar(function, condition.bare.children[1]):
            problem = "has a bound that is neither a constant nor an argument passed by value"
    if problem:
        yield context.fault(loop.node, RULE, f"{loop.title} with DATAFLOW {problem}")


def _scalar(function: Function, node: Node) -> bool:
    bare = node.bare
    if bare.static is not None:
        return True
    by_value = {p.key for p in function.parameters if p.type.kind not in
                (TypeKind.LVALUEREFERENCE, TypeKind.POINTER)}  # fmt: skip
    return bare.kind == CursorKind.DECL_REF_EXPR and bare.key in by_value


def _statements(region: Region) -> Iterator[Node]:
    for node in region.body.children:
        while node.kind == CursorKind.UNEXPOSED_EXPR and len(node.children) == 1:
            node = node.children[0]
        yield node


def _body_form(context: Context, region: Region) -> Iterator[Fault]:
    for node in _statements(region):
        if node.kind in (CursorKind.CALL_EXPR, CursorKind.NULL_STMT):
            continue
        if node.kind == CursorKind.DECL_STMT:
            for variable in node.children:
                yield from _declaration(context, region, variable)
            continue
        conditional = node.kind in (CursorKind.IF_STMT, CursorKind.SWITCH_STMT)
        what = (
            "calls a process under a condition; call it always, with a count of 0"
            if conditional
            else "holds a statement that is neither a declaration nor a call; move it into a "
            "process or out of the region"
        )
        yield context.fault(node, RULE, f"{region.title} {what}")


def _declaration(context: Context, region: Region, node: Node) -> Iterator[Fault]:
    if node.kind != CursorKind.VAR_DECL:
        return
    if is_stream(node.cursor.type):
        return
    if not dimensions(node.cursor.type):
        yield context.fault(
            node, RULE,
            f"{region.title} declares {node.name}, which is neither a stream nor an array; "
            "compute it outside and pass it as an argument",
        )  # fmt: skip
    elif initial(node) is not None and initial(node).kind != CursorKind.CALL_EXPR:
        yield context.fault(
            node, RULE,
            f"{region.title} initialises {node.name}: that is a process of its own; fill it in "
            "the process that writes it",
        )  # fmt: skip


def _calls(region: Region) -> list[Node]:
    return [node for node in _statements(region) if node.kind == CursorKind.CALL_EXPR]


def _calls_form(context: Context, region: Region) -> Iterator[Fault]:
    for call in _calls(region):
        callee = context.program.callee(call)
        if callee is None:
            yield context.fault(
                call, RULE,
                f"{region.title} calls {call.name}, whose body is not in this source: what it "
                "reads and writes is unknown",
            )  # fmt: skip
            continue
        if callee.node.cursor.result_type.kind != TypeKind.VOID:
            yield context.fault(
                call, RULE, f"process {callee.name} returns a value; write it to a stream"
            )
        for argument in arguments(call):
            if not _plain(argument):
                yield context.fault(
                    argument, RULE,
                    f"{region.title} computes an argument of {callee.name}; compute it outside "
                    "the region and pass the result",
                )  # fmt: skip


def _plain(node: Node) -> bool:
    node = node.bare
    if node.static is not None or node.kind == CursorKind.DECL_REF_EXPR:
        return True
    if node.kind == CursorKind.MEMBER_REF_EXPR:
        return bool(node.children) and _plain(node.children[0])
    if node.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
        return node.children[1].static is not None and _plain(node.children[0])
    if node.kind == CursorKind.UNARY_OPERATOR and node.operator in ("&", "*"):
        return _plain(node.children[0])
    if node.kind == CursorKind.CALL_EXPR and len(node.children) == 1:  # a copy
        return _plain(node.children[0])
    return False


def _root(node: Node) -> tuple[Node, tuple] | None:
    """The variable that an argument names, with members and constant indices."""
    steps: list = []
    node = node.bare
    while node.kind != CursorKind.DECL_REF_EXPR:
        if node.kind == CursorKind.MEMBER_REF_EXPR and node.children:
            steps.append(node.name)
        elif node.kind == CursorKind.ARRAY_SUBSCRIPT_EXPR:
            steps.append(node.children[1].static)
        elif not node.children:
            return None
        node = node.children[0].bare
    return node, tuple(reversed(steps))


def channels(context: Context, region: Region) -> list[Channel]:
    """The channels of a region, with the calls that use each."""
    found: dict[tuple, Channel] = {}
    local: dict[int, Node] = {}
    for node in _statements(region):
        if node.kind == CursorKind.DECL_STMT:
            local.update({v.key: v for v in node.children if v.kind == CursorKind.VAR_DECL})
    for key, node in local.items():
        what = "stream" if is_stream(node.cursor.type) else "array"
        if not dimensions(node.cursor.type) or what == "array":
            found[key, ()] = Channel(node.name, what, node, True)
    for number, call in enumerate(_calls(region)):
        callee = context.program.callee(call)
        if callee is None:
            continue
        directions = context.directions(callee)
        for parameter, argument in zip(callee.parameters, arguments(call), strict=False):
            root = _root(argument)
            if root is None:
                continue
            node, steps = root
            what = _what(parameter)
            does = set(directions[parameter.key])
            if what == "scalar":
                steps = ()
                if mutable(parameter.type) and parameter.key in assigned(callee.body):
                    does.add("w")
                does.add("r") if "w" not in does else None
            if (node.key, steps) not in found:
                declared = local.get(node.key) or Node(node.target)
                name = node.name + "".join(
                    f".{s}" if isinstance(s, str) else f"[{s}]" for s in steps
                )
                found[node.key, steps] = Channel(name, what, declared, node.key in local)
            found[node.key, steps].users.append((number, does, argument))
    return _elements(found)


def _elements(found: dict[tuple, Channel]) -> list[Channel]:
    """The channels, an array of streams that is also used element by element as its elements."""
    whole = {
        key: channel
        for (key, steps), channel in found.items()
        if not steps and channel.what == "stream" and any(k == key and s for k, s in found)
    }
    for (key, steps), channel in found.items():
        if steps and key in whole:
            channel.users.extend(whole[key].users)
            channel.users.sort(key=lambda user: user[0])
    return [c for (key, steps), c in found.items() if steps or key not in whole]


def _what(parameter: Node) -> str:
    kind = parameter.cursor.type
    if is_stream(kind):
        return "stream"
    if dimensions(kind):
        return "array"
    if is_manual(kind) or is_pointer(kind):
        return "bus"
    return "scalar"


def _channel(context: Context, region: Region, channel: Channel) -> Iterator[Fault]:
    users, name = channel.users, channel.name
    title = f"{region.title}: {channel.what} {name}"

    def fault(message: str) -> Fault:
        node = users[-1][2] if users else channel.node
        return context.fault(node, RULE, f"{title} {message}")

    for _, does, node in users:
        if "poll" in does:
            yield context.fault(
                node, "blocking",
                f"{title} is polled (empty, full, read_nb or write_nb): results would depend on "
                "timing; count the words instead",
            )  # fmt: skip
    if channel.what == "scalar":
        writers = [u for u in users if "w" in u[1]]
        if writers and len(users) > 1:
            yield fault("is modified inside the region; pass it by a stream")
        return
    if channel.what == "bus" or not channel.local:
        if len(users) > 1:
            yield fault(
                f"is used by {len(users)} processes; "
                + ("give each its own port" if channel.what == "bus" else "each needs its own")
            )
        return
    writers = [u for u in users if "w" in u[1]]
    readers = [u for u in users if "r" in u[1] and not (channel.what == "array" and "w" in u[1])]
    idle = [u for u in users if not u[1] & {"r", "w"}]
    if idle:
        yield fault("is passed to a process that neither reads nor writes it")
    elif len(writers) != 1 or len(readers) != 1:
        yield fault(
            f"has {len(writers)} writing and {len(readers)} reading processes; it needs one of each"
        )
    elif writers[0][0] == readers[0][0]:
        yield fault("is written and read by one process; make it local to that process")
    elif writers[0][0] > readers[0][0]:
        yield fault("is read by a process before the one that writes it: feedback")


def stream_depths(context: Context) -> Iterator[Fault]:
    """``stream-depth``: every stream of a region states its depth."""
    for region in regions(context):
        for node in _statements(region):
            if node.kind != CursorKind.DECL_STMT:
                continue
            for variable in node.children:
                if variable.kind != CursorKind.VAR_DECL or not is_stream(variable.cursor.type):
                    continue
                stated = [
                    p
                    for p in region.pragmas
                    if p.directive == "STREAM" and p.about(variable.name) and "depth" in p.options
                ]
                if not stated:
                    yield context.fault(
                        variable, "stream-depth",
                        f"stream {variable.name} states no depth; add #pragma HLS STREAM "
                        f"variable = {variable.name} depth = ...",
                    )  # fmt: skip
