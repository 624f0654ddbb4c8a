# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pragmas as read, the table of loops, depths, and the command line."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("clang.cindex", reason="pip install libclang")
from hls_check.miniature import ACCELERATOR, WORDS, changed, check
from tools.hls_check import pragmas
from tools.hls_check.__main__ import main
from tools.hls_check.check import contexts
from tools.hls_check.latency import depth, recurrence
from tools.hls_check.paths import LATENCIES
from tools.hls_check.table import BEGIN, END, current, table, update


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mini")
    assert check(path, ACCELERATOR) == []
    return path


@pytest.fixture(scope="module")
def parsed(folder):
    return contexts(folder)


def read(tmp_path, text):
    path = tmp_path / "pragmas.h"
    path.write_text(text)
    return list(pragmas.read(path))


def test_pragmas_are_read(tmp_path):
    first, second, third = read(
        tmp_path,
        "int a;\n#pragma HLS ARRAY_PARTITION variable = a dim=1 cyclic factor = 2 * N // why\n"
        "  #pragma hls dependence variable=t.b \\\n   inter false\n"
        "#pragma once\n// #pragma HLS PIPELINE\n#pragma HLS PIPELINE II=1 rewind\n",
    )
    assert (first.directive, first.line) == ("ARRAY_PARTITION", 2)
    assert first.options == {"variable": "a", "dim": "1", "factor": "2 * N"}
    assert first.flags == ("cyclic",)
    assert (second.directive, second.line, second.lines) == ("DEPENDENCE", 3, 2)
    assert second.about("t.b") and second.says("inter", "type") and second.says("false")
    assert third.options == {"ii": "1"} and third.flags == ("rewind",)
    assert third.line == 7


def test_pragmas_become_statements_of_the_same_lines(tmp_path):
    path = tmp_path / "pragmas.h"
    path.write_text("int a;\n#pragma HLS STREAM variable = a \\\n depth = 4\nint b;\n")
    lines = pragmas.replaced(path).split("\n")
    assert lines[0] == "int a;" and lines[3] == "int b;" and lines[2] == ""
    assert "sizeof(a)" in lines[1] and "(4)" in lines[1]


def rows(text):
    found = {}
    for line in text.splitlines():
        match = re.match(r"\| `(\w+)` (\w+) \|", line)
        if match:
            found[match.group(2)] = [cell.strip() for cell in line.strip("|").split("|")]
    return found


def test_table_has_every_loop(folder, parsed):
    found = rows(table(folder, parsed))
    assert set(found) >= {
        "READ", "FILL", "TABLES", "STEPS", "CHUNKS", "DESCRIBE", "WRITE", "INSTRUCTIONS",
    }  # fmt: skip
    assert found["FILL"][1:3] == ["64", "1"]
    assert found["READ"][1] == "`total`" and found["READ"][6] == "bus r"
    assert found["STEPS"][4] == (
        "rows 1r+1w (ram_s2p lutram), table 1r (ram), words 1r (ram_s2p uram)"
    )
    assert found["STEPS"][5] == "results w"
    assert found["CHUNKS"][2] == "dataflow"
    assert found["INSTRUCTIONS"][2] == "sequential"


def test_table_has_every_channel(folder, parsed):
    text = table(folder, parsed)
    assert "| `engine` | words | array of 512 bits | `fill` | `compute` | 64 |" in text
    assert "| `matrix_pass` | descriptors | stream of 64 bits | `describe` | `engine` | 4 |" in text


def test_table_names_the_interval_that_it_derives(tmp_path):
    check(
        tmp_path,
        changed("#pragma HLS ARRAY_PARTITION variable = table dim = 1 complete\n", ""),
    )
    found = rows(table(tmp_path, contexts(tmp_path)))
    assert found["STEPS"][2] == "1, derived 2" and found["TABLES"][2] == "1, derived 2"


def test_table_says_where_depths_come_from(folder, parsed):
    text = table(folder, parsed)
    assert all(f"{name} {cycles:g}" in text for name, cycles in LATENCIES.items())


def loop_of(folder, body, before="", words=WORDS):
    check(
        folder,
        '#include "words.h"\nvoid f(int n, Stream<int> &s, Stream<int> &r) {\n'
        f"{before}\nLOOP:\nfor (int i = 0; i < n; ++i) {{\n"
        f"#pragma HLS PIPELINE II = 1 style = flp\n{body}\n"
        "}\n}\n",
        words,
    )
    context = contexts(folder)[0]
    (loop,) = [each for each in context.loops if each.label == "LOOP"]
    return context, loop


UNROLLED = "for (int t = 0; t < 64; ++t) {\n#pragma HLS UNROLL\n"


@pytest.mark.parametrize(
    "body, before, cycles",
    [
        ("r.write(s.read());", "", 3),  # a read, a write, and the end
        ("r.write(s.read() * n);", "", 6),  # and a product of three cycles
        ("r.write(m[s.read() & 63]);", "int m[64];", 6),  # two cycles of a memory, a part for &
        (
            "int sum = 0;" + UNROLLED + "sum += (i + t) * n;\n}\nr.write(sum);",
            "",
            8,  # sum 0.35, product 3, a tree of 7 levels 2.45, write 1
        ),
        (
            "int big = 0;" + UNROLLED + "if (i + t > big) big = i + t;\n}\nr.write(big);",
            "",
            28,  # no tree: 64 comparisons and choices one behind the other
        ),
    ],
)
def test_depth_is_the_longest_path(body, before, cycles, tmp_path):
    context, loop = loop_of(tmp_path, body, before)
    assert depth(context, loop) == cycles


def test_recurrence_names_its_variable(tmp_path):
    context, loop = loop_of(tmp_path, "k = k * n + 1; j += k;", "int k = 0, j = 0;")
    cycles, names = recurrence(context, loop)
    assert cycles == pytest.approx(3.35) and names == ["k"]


def test_counters_do_not_wait(tmp_path):
    context, loop = loop_of(
        tmp_path, "if (++k == n) { k = 0; side ^= 1; } r.write(k + side);", "int k = 0, side = 0;"
    )
    assert recurrence(context, loop)[0] < 1


def test_readme_is_updated_between_its_marks(folder, parsed, tmp_path):
    text = table(folder, parsed)
    readme = tmp_path / "README.md"
    readme.write_text(f"# Head\n\n{BEGIN}\nold\n{END}\n\nTail\n")
    assert not current(tmp_path, text)
    update(tmp_path, text)
    assert current(tmp_path, text)
    assert readme.read_text().startswith(f"# Head\n\n{BEGIN}\n")
    assert readme.read_text().endswith(f"{END}\n\nTail\n")
    update(tmp_path, text)
    assert readme.read_text().count(BEGIN) == 1


def test_command_line(tmp_path, capsys):
    check(tmp_path, ACCELERATOR)
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 1
    assert "not current" in capsys.readouterr().out
    assert main([str(tmp_path), "--write"]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    assert main([str(tmp_path), "--table"]) == 0
    assert "`compute` STEPS" in capsys.readouterr().out
    check(tmp_path, changed("READ:\n", ""))
    assert main([str(tmp_path)]) == 1
    assert re.search(r"accel\.cpp:\d+: \[loop-form\] .*label", capsys.readouterr().out)
