# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The generated table of loops in the README of the sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import ceil
from pathlib import Path

from clang.cindex import TypeKind

from .context import Context
from .latency import depth, recurrence
from .memories import dimensions
from .model import Loop, trip_count
from .paths import LATENCIES
from .places import Access
from .ports import Use
from .rules.dataflow import Channel, Region, channels, regions
from .rules.ports import channels as words
from .values import header

BEGIN, END = "<!-- loops: generated -->", "<!-- loops: end -->"
_LOOPS = """\
| loop | iterations | interval | depth | memories | streams | bus |
|---|---|---|---|---|---|---|
"""
_CHANNELS = """\
| region | channel | kind | from | to | depth |
|---|---|---|---|---|---|
"""


def table(root: Path, parsed: list[Context]) -> str:
    """Both tables as Markdown, with the latencies that the depths come from."""
    board = ", ".join(sorted({d for context in parsed for d in context.unit.defines}))
    latencies = ", ".join(f"{name} {cycles:g}" for name, cycles in LATENCIES.items())
    loops = dict.fromkeys(row for c in parsed for loop in c.loops for row in _loop(root, c, loop))
    joined = dict.fromkeys(
        row for c in parsed for region in regions(c) for row in _region(c, region)
    )
    return (
        "Made by `python -m tools.hls_check hls_src --write`, for "
        + (f"`{board}`" if board else "the board that is built without a macro (ZCU104)")
        + ". Unrolled loops have no line of their own.\n"
        "Interval: what the pragma states; behind it, if larger, what ports and recurrences "
        "allow. Memories: reads and writes of the busiest bank in one iteration, and the kind of "
        "storage. Depths are estimates, the longest path of a body by these latencies in cycles "
        f"of about 4 ns: {latencies}. No HLS tool has confirmed them.\n\n"
        + _LOOPS
        + "".join(loops)
        + "\nChannels between processes; an array is a ping-pong of two halves.\n\n"
        + _CHANNELS
        + "".join(joined)
    )


def _loop(root: Path, context: Context, loop: Loop) -> Iterator[str]:
    if context.in_pipeline(loop) or (loop.unrolled and not loop.pipelined):
        return
    name = f"`{loop.function.name}` {loop.label or '(no label)'}"
    cells = [name, _iterations(loop)]
    if loop.pipelined:
        uses, accesses = context.uses(loop), context.accesses(loop)
        cells += [_interval(context, loop, uses), str(depth(context, loop))]
        cells += [_memories(uses), _words(accesses, "stream"), _words(accesses, "bus")]
    else:
        what = "dataflow" if loop.pragma("DATAFLOW") else "sequential"
        cells += [what, "", "", "", ""]
    yield "| " + " | ".join(cells) + " |\n"


def _iterations(loop: Loop) -> str:
    number = trip_count(loop)
    if number is not None:
        return str(number)
    parts = header(loop.node)
    if parts is None or len(parts[1].bare.children) != 2:
        return "variable"
    tokens = [t.spelling for t in parts[1].bare.children[1].cursor.get_tokens()]
    return "`" + "".join(tokens).replace("|", "\\|") + "`" if tokens else "variable"


def _interval(context: Context, loop: Loop, uses: list[Use]) -> str:
    stated = context.interval(loop) or 1
    cycles, _ = recurrence(context, loop)
    derived = max([1, ceil(cycles - 1e-9), *(use.interval for use in uses)])
    return str(stated) if derived <= stated else f"{stated}, derived {derived}"


def _memories(uses: list[Use]) -> str:
    rows = []
    for use in sorted(uses, key=lambda u: u.memory.name):
        kind = use.memory.storage or ("rom" if use.memory.constant else "ram")
        kind += f" {use.memory.impl}" if use.memory.impl else ""
        counts = [f"{n}{mode}" for n, mode in ((use.reads, "r"), (use.writes, "w")) if n]
        rows.append(f"{use.memory.name} {'+'.join(counts)} ({kind})")
    return ", ".join(rows)


def _words(accesses: list[Access], what: str) -> str:
    found: dict[str, str] = defaultdict(str)
    for (kind, name, mode), _ in words(accesses).items():
        if kind == what:
            found[name] += mode
    return ", ".join(f"{name} {''.join(sorted(modes))}" for name, modes in sorted(found.items()))


def _region(context: Context, region: Region) -> Iterator[str]:
    for channel in channels(context, region):
        if channel.local and channel.what in ("stream", "array"):
            yield (
                f"| `{region.function.name}` | {channel.name} | "
                f"{channel.what} of {_word(channel)} | {_end(context, channel, 'w')} | "
                f"{_end(context, channel, 'r')} | {_depth(region, channel)} |\n"
            )


def _word(channel: Channel) -> str:
    element = channel.node.cursor.type.get_canonical()
    while element.kind == TypeKind.CONSTANTARRAY:
        element = element.element_type.get_canonical()
    if channel.what == "stream":
        element = element.get_template_argument_type(0)
    size = element.get_canonical().get_size()
    return f"{8 * size} bits" if size > 0 else element.spelling


def _end(context: Context, channel: Channel, mode: str) -> str:
    names = []
    for _, does, argument in channel.users:
        reads = "r" in does and not (channel.what == "array" and "w" in does)
        if (mode == "w" and "w" in does) or (mode == "r" and reads):
            node = argument
            while node.parent is not None and not node["usr"]:
                node = node.parent
            callee = context.program.callee(node)
            names.append(callee.name if callee is not None else node.name)
    return ", ".join(f"`{name}`" for name in names)


def _depth(region: Region, channel: Channel) -> str:
    if channel.what == "array":
        return " × ".join(str(size) for size in dimensions(channel.node.cursor.type))
    for pragma in region.pragmas:
        if pragma.directive == "STREAM" and pragma.about(channel.name):
            return pragma.options.get("depth", "")
    return ""


def _readme(root: Path) -> Path:
    return root / "README.md"


def update(root: Path, text: str) -> None:
    """Put the table between its marks, or behind the README where there are none."""
    path = _readme(root)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    section = f"{BEGIN}\n{text}{END}\n"
    if BEGIN in old and END in old:
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2].removeprefix("\n")
    else:
        before, after = old.rstrip("\n") + "\n\n## Loops\n\n" if old else "", ""
    path.write_text(before + section + after, encoding="utf-8")


def current(root: Path, text: str) -> bool:
    """Whether the README holds exactly this table."""
    path = _readme(root)
    return path.is_file() and f"{BEGIN}\n{text}{END}\n" in path.read_text(encoding="utf-8")
