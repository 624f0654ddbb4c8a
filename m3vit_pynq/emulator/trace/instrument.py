# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of HLS sources that writes down what it does.

Hooks go where the pragmas are, and nowhere else: what is pipelined, how deep a
stream is and what runs side by side is what an HLS tool would read.

==========================  ======================================================
in the source               in the copy
==========================  ======================================================
label of a pipelined loop   the loop begins; interval and style are those of the
                            pragma
``PIPELINE II = n``         an iteration begins and ends
``STREAM variable depth``   the depth of the stream
call in a DATAFLOW region   a process of that name
call in a DATAFLOW loop     a process inside that one; arrays are ping-pongs, which
                            the first call fills and the next one empties
``plain::Stream, Port``     those of ``native/channels.h``
==========================  ======================================================
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from m3vit_pynq.errors import M3ViTError

_FUNCTION = re.compile(r"^(?!static_assert|namespace|using|struct|template|#|//)[\w:<>,*&\s]*?"
                       r"\b(\w+)\($|^(?!static_assert|namespace|using|struct|template|#|//)"
                       r"[\w:<>,*&\s]*?\b(\w+)\((?=.)")  # fmt: skip
_LABEL = re.compile(r"^\s*([A-Z][A-Z0-9_]*):\s*$")
_PIPELINE = re.compile(r"^\s*#pragma HLS PIPELINE\b.*?\bII\s*=\s*(\w+)")
_FLUSHED = re.compile(r"\bstyle\s*=\s*(flp|frp)\b")
_STREAM = re.compile(r"^\s*#pragma HLS STREAM\b.*?\bvariable\s*=\s*(\w+).*?\bdepth\s*=\s*(.+?)\s*$")
_CALL = re.compile(r"^\s*(\w+)(<[^;()]*?>)?\s*\((.*)\)\s*$", re.DOTALL)
_ARRAY = re.compile(r"^\s*(?:[\w:]+)(?:<[^;]*>)?\s+(\w+)\s*\[", re.DOTALL)
_WORDS = (
    ("plain::Stream<T>", "trace::Stream<T>"),
    ("plain::Port<T>", "trace::Port<T>"),
    ('#include "host/plain_port.h"', '#include "channels.h"'),
)


class InstrumentError(M3ViTError):
    """The sources do not have the form that the hooks need."""


@dataclass
class Traced:
    """An instrumented copy.

    Attributes
    ----------
    files : dict of str to str
        Text by path relative to the folder.
    loops : list of str
        ``function LABEL`` of each pipelined loop, by its number in the trace.
    """

    files: dict[str, str] = field(default_factory=dict)
    loops: list[str] = field(default_factory=list)


def instrument(root: Path) -> Traced:
    """Instrument every source below `root`.

    Raises
    ------
    InstrumentError
        A pipelined loop without a label, an interval that is no number, a
        region that holds something else than declarations and calls.
    """
    traced = Traced()
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".h", ".cpp")):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        if not name.startswith(("host/", "generated/")):
            text = _instrument(name, text, traced)
        traced.files[name] = text
    return traced


def write(traced: Traced, target: Path) -> None:
    """Write the copy below `target`."""
    for name, text in traced.files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _instrument(name: str, text: str, traced: Traced) -> str:
    if name == "words.h":
        for old, new in _WORDS:
            if old not in text:
                raise InstrumentError(f"words.h: no {old} to replace; mend instrument.py")
            text = text.replace(old, new)
        return text
    lines = _joined(text)
    lines = _loops(name, lines, traced)
    return _regions(name, "\n".join(lines) + "\n")


def _joined(text: str) -> list[str]:
    """Lines, pragmas that go on behind a backslash in one."""
    lines: list[str] = []
    open_pragma = False
    for line in text.splitlines():
        if open_pragma:
            lines[-1] = lines[-1][:-1].rstrip() + " " + line.strip()
        else:
            lines.append(line)
        open_pragma = lines[-1].lstrip().startswith("#pragma") and lines[-1].endswith("\\")
    return lines


def _loops(name: str, lines: list[str], traced: Traced) -> list[str]:
    """Hooks of pipelined loops and depths of streams."""
    result: list[str] = []
    function, label, place = "", "", -1
    for number, line in enumerate(lines, 1):
        if line[:1].isalpha():
            found = _FUNCTION.match(line)
            if found:
                function = found.group(1) or found.group(2)
        found = _LABEL.match(line)
        if found:
            label, place = found.group(1), len(result)
            result.append(line)
            continue
        found = _PIPELINE.match(line)
        if found:
            if place < 0:
                raise InstrumentError(f"{name}:{number}: a pipelined loop without a label")
            if not found.group(1).isdigit():
                raise InstrumentError(f"{name}:{number}: the interval is no number")
            loop = len(traced.loops)
            traced.loops.append(f"{function} {label}")
            flushed = "true" if _FLUSHED.search(line) else "false"
            hook = f"M3VIT_TRACE_LOOP({loop}, {found.group(1)}, {flushed}); "
            result[place] = hook + result[place].strip()
            result += [line, "M3VIT_TRACE_STEP;"]
            place = -1
            continue
        if line.strip().startswith("#pragma HLS PIPELINE"):
            raise InstrumentError(f"{name}:{number}: a pipeline without a stated interval")
        found = _STREAM.match(line)
        if found:
            result += [line, f"{found.group(1)}.trace_depth({found.group(2)});"]
            continue
        if "#pragma HLS" in line and ("UNROLL" in line or "DATAFLOW" in line):
            place = -1  # the label before belongs to this loop
        result.append(line)
    return result


def _regions(name: str, text: str) -> str:
    """Hooks of the processes of every DATAFLOW region of a file."""
    mark = "#pragma HLS DATAFLOW"
    done, rest = "", text
    while mark in rest:
        before, _, after = rest.partition(mark)
        head, brace, _ = before.rpartition("{")
        is_loop = bool(re.search(r"\bfor\s*\([^{}]*\)\s*$", head))
        end = _closing(after)
        if not brace or end < 0:
            raise InstrumentError(f"{name}: {mark} stands in no block")
        done += before + mark
        done += _inner(name, after[:end]) if is_loop else _outer(name, after[:end])
        rest = after[end:]
    return done + rest


def _closing(text: str) -> int:
    """Place of the brace that closes the block that is open where `text` begins."""
    depth = 1
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return place
    return -1


def _statements(body: str) -> list[tuple[str, str]]:
    """Statements of a block, each with the comments and pragmas in front of it."""
    found: list[tuple[str, str]] = []
    front: list[str] = []
    statement = ""
    for line in body.splitlines(keepends=True):
        bare = line.split("//")[0]
        own = bare.strip()
        hook = own.endswith(";") and ".trace_depth(" in own
        if not statement and (not own or own.startswith("#") or hook):
            front.append(line)
            continue
        statement += bare if bare.endswith("\n") else bare + "\n"
        if own.endswith(";"):
            found.append(("".join(front), statement))
            front, statement = [], ""
    found.append(("".join(front), statement))
    return found


def _parts(name: str, body: str) -> list[tuple[str, str, str, list[str]]]:
    """Front, statement, callee (or nothing) and arguments of each statement."""
    parts = []
    for front, statement in _statements(body):
        if re.match(r"\s*(if|for|while|do|switch|return)\b", statement):
            raise InstrumentError(f"{name}: a region holds `{statement.strip()[:60]}`")
        call = _CALL.match(statement.strip().rstrip(";"))
        if not call:
            parts.append((front, statement, "", []))
            continue
        arguments = [a.strip() for a in call.group(3).split(",")]
        parts.append((front, statement, call.group(1), arguments))
    return parts


def _outer(name: str, body: str) -> str:
    """A region in a function: a process of its own for every call."""
    parts = _parts(name, body)
    often = Counter(callee for _, _, callee, _ in parts)
    text = ""
    for front, statement, callee, arguments in parts:
        if callee:
            title = callee if often[callee] == 1 else f"{callee}:{_telling(arguments)}"
            text += f'{front}M3VIT_TRACE_PROCESS("{title}");\n{statement}'
        else:
            text += front + statement
    return text


def _telling(arguments: list[str]) -> str:
    """The argument that tells one call of a process from another: its last."""
    return re.sub(r"\W", "", arguments[-1])


def _inner(name: str, body: str) -> str:
    """A region in a loop of chunks: processes inside a process, joined by ping-pongs."""
    parts = _parts(name, body)
    arrays = [m.group(1) for _, s, callee, _ in parts if not callee and (m := _ARRAY.match(s))]
    used: dict[str, int] = {}
    text = ""
    for front, statement, callee, arguments in parts:
        if not callee:
            text += front + statement
            continue
        opened = closed = ""
        for array in (a for a in arguments if a in arrays):
            used[array] = used.get(array, 0) + 1
            if used[array] > 2:
                raise InstrumentError(f"{name}: three processes share {array}")
            start, end = ("RESERVE", "FILLED") if used[array] == 1 else ("TAKE", "DROP")
            opened += f'M3VIT_TRACE_PINGPONG({start}, "{array}");\n'
            closed += f'M3VIT_TRACE_PINGPONG({end}, "{array}");\n'
        text += f'{front}M3VIT_TRACE_INNER("{callee}");\n{opened}{statement}{closed}'
        text += "M3VIT_TRACE_OUTER();\n"
    return text
