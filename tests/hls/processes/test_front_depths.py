# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The matrix pass with the streams' stated depths: no order of events stops it.

matrix_pass.h is turned into threads, one a process, and its streams into ones of the
depths in its pragmas. Whether such a network stops does not depend on speeds. (Chunk
loops with a ping-pong run without their overlap here, which is stricter.)
"""

from __future__ import annotations

import re

import front_bench
import pytest
from pass_cases import SOURCE, Case, check

from m3vit_pynq.abi.isa import Activation, Opcode, Store

BOARDS = ("kv260", "pynq-z2")
STREAM = re.compile(
    r'    Stream<(.*)> (\w+)\("\w+"\);\n#pragma HLS STREAM variable = (\w+) depth = (.*)\n'
    r"(?:#pragma HLS BIND_STORAGE .*\n)?"
)


def threaded() -> dict[str, str]:
    """Headers that replace those of the sources."""
    text = (front_bench.SOURCES / "matrix_pass.h").read_text()
    head, body = text.split("#pragma HLS DATAFLOW\n")
    body, tail = body.split("\n}\n", 1)
    assert len(STREAM.findall(body)) == body.count("Stream<")

    def declared(match: re.Match) -> str:
        kind, name, same, depth = match.groups()
        assert name == same
        return f'    Stream<{kind}> {name}("{name}", {depth});\n'

    body = STREAM.sub(declared, body)
    calls = re.compile(r"^    (\w+(?:<\w+>)?\([^;]*\));", re.MULTILINE)
    streams, processes = body.split("    walk(")
    processes, count = calls.subn(
        r"    threads.emplace_back([&] { \1; });", "    walk(" + processes
    )
    assert count == processes.count(";") / 2 and count > 25
    body = f"{streams}    std::vector<std::thread> threads;\n{processes}\n"
    body += "    for (std::thread &thread : threads) thread.join();"
    words = (front_bench.SOURCES / "host" / "plain_words.h").read_text()
    start = words.index("// A queue without a limit")
    end = words.index("}  // namespace plain", start)
    bounded = (front_bench.FOLDER / "bounded_streams.h").read_text()
    return {
        "a_plain_words.h": words[:start] + words[end:] + bounded,
        "b_matrix_pass.h": head + "\n" + body + "\n}\n" + tail,
        "plain_words.h": "",
    }


def bench(board: str) -> front_bench.Bench:
    return front_bench.bench(SOURCE, board, ("-O1",), threaded)


CASES = {
    "linear": lambda: Case(1).linear(90, 128, 700, activation=Activation.GELU, src_stride=3),
    "planar": lambda: Case(2).linear(33, 64, 1500, planar=True),
    "residual": lambda: Case(3).linear(50, 192, 1100, store=Store.RESIDUAL),
    "scores": lambda: Case(4).linear(40, 64, 530, store=Store.SCORES),
    "conv": lambda: Case(5).conv3x3(7, 9, 64, 300, src_stride=3),
    "long queues": lambda: Case(6).experts(Opcode.EXPERTS_UP, 700, 2, 2, 64, 1100),
    "short queues": lambda: Case(7).experts(
        Opcode.EXPERTS_UP, 12, 60, 1, 64, 70, activation=Activation.GELU
    ),
    "long queues down": lambda: Case(8).experts(Opcode.EXPERTS_DOWN, 700, 2, 2, 64, 600),
    "short queues down": lambda: Case(9).experts(Opcode.EXPERTS_DOWN, 12, 60, 1, 64, 70),
    "hostile": lambda: Case(10).experts(Opcode.EXPERTS_DOWN, 100, 10, 8, 64, 70, "range"),
    "one key": lambda: Case(11).attention(1, 7, 16, passes=2),
    "many keys": lambda: Case(12).attention(300, 3, 32, passes=2),
    "heads": lambda: Case(13).attention(70, 10, 16),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("board", BOARDS)
def test_depths_suffice(board, name):
    check(board, CASES[name](), running=bench(board))


def test_streams_that_are_too_short_are_noticed(monkeypatch):
    """A group of runs needs the rows of several tiles before the first of them leaves."""
    monkeypatch.setenv("M3VIT_SHORT_STREAMS", "1")
    path = front_bench.compile_bench(SOURCE, "pynq-z2", ("-O1",), threaded())
    short = front_bench.Bench(path)
    check("pynq-z2", CASES["linear"](), running=short)
    with pytest.raises(AssertionError, match="the bench stopped"):
        check("pynq-z2", CASES["long queues down"](), running=short)
