# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A miniature accelerator passes; with any one fault in it, the rule named says so."""

from __future__ import annotations

import pytest

pytest.importorskip("clang.cindex", reason="pip install libclang")
from hls_check.miniature import ACCELERATOR, WORDS, changed, check

PIPELINE = "#pragma HLS PIPELINE II = 1 style = flp\n"
TO_TOTAL = "    for (int i = 0; i < total; ++i) {\n" + PIPELINE
READ = "        lines.write(bus[i]);"


def test_miniature_is_accepted(tmp_path):
    assert check(tmp_path, ACCELERATOR) == []


#: Name, rule, passage, and what stands there instead.
FAULTS = {
    "variable of a pragma out of scope": (
        "pragma-scope", "variable = rows type = inter", "variable = tok type = inter",
    ),
    "constant of a pragma out of scope": (
        "pragma-scope", "variable = lines depth = 32", "variable = lines depth = FIFO",
    ),
    "port of a pragma out of scope": (
        "pragma-scope", "port = count offset", "port = counts offset",
    ),
    "interval of a pragma out of scope": (
        "pragma-scope", PIPELINE + READ, "#pragma HLS PIPELINE II = N\n" + READ,
    ),
    "pipeline that keeps its items": (
        "flush", PIPELINE + READ, "#pragma HLS PIPELINE II = 1\n" + READ,
    ),
    "interval stated by a variable": (
        "pragma-scope", PIPELINE + READ, "#pragma HLS PIPELINE II = i\n" + READ,
    ),
    "qualified name missing": (
        "pragma-scope", "port = return\n",
        "port = return\n#pragma HLS ALLOCATION instances = matrix_pass limit = 1 function\n",
    ),
    "unknown directive": ("pragma-form", PIPELINE + "        lines.write",
                          PIPELINE + "#pragma HLS PIPLINE\n lines.write"),
    "pragma outside": (
        "pragma-form", "constexpr int T = 4;",
        "constexpr int T = 4;\n#pragma HLS INLINE",
    ),
    "pragma in a block": (
        "pragma-form", "        if (++step == c.lines) {\n",
        "        if (++step == c.lines) {\n#pragma HLS PIPELINE II = 1 style = flp\n",
    ),
    "pragma by operator": (
        "pragma-form", PIPELINE + "        lines.write",
        '_Pragma("HLS PIPELINE II=1")\n' + PIPELINE + "        lines.write",
    ),
    "keyword as bundle": ("keyword", "bundle = results", "bundle = output"),
    "keyword as bundle, in capitals": ("keyword", "bundle = results", "bundle = Signal"),
    "inner loop not unrolled": (
        "inner-loop", "#pragma HLS UNROLL\n            table[t][i]", "            table[t][i]",
    ),
    "inner loop unrolled in part": (
        "inner-loop", "#pragma HLS UNROLL\n            table[t][i]",
        "#pragma HLS UNROLL factor = 2\n            table[t][i]",
    ),
    "inner loop with a variable bound": (
        "inner-loop",
        "t < T; ++t) {\n#pragma HLS UNROLL\n            const Line row",
        "t < c.tiles; ++t) {\n#pragma HLS UNROLL\n            const Line row",
    ),
    "loop in a function of the pipeline": (
        "inner-loop", "{ return TABLE[byte_at(line, t) & 15]; }",
        "{ int s = 0; for (int i = 0; i < 4; ++i) s += line.b[i]; return s; }\n"
        "void more(int n, Stream<Line> &a, Stream<int> &b) {\nMORE: for (int i = 0; i < n; ++i) {\n"
        "#pragma HLS PIPELINE II = 1 style = flp\n b.write(lane(a.read(), 1)); } }",
    ),
    "no interval": (
        "loop-form", PIPELINE + "        lines.write", "#pragma HLS PIPELINE\n        lines.write",
    ),
    "no pipeline": ("loop-form", PIPELINE + "        lines.write", "        lines.write"),
    "no label": ("loop-form", "READ:\n", ""),
    "pipeline behind a statement": (
        "loop-form", PIPELINE + "        lines.write(bus[i]);",
        "        lines.write(bus[i]);\n" + PIPELINE,
    ),
    "nest with a variable bound": (
        "loop-form", TO_TOTAL + READ,
        "    for (int r = 0; r < 4; ++r) {\nINNER:\n" + TO_TOTAL + READ + "\n    }",
    ),
    "rows not partitioned": (
        "ports", "#pragma HLS ARRAY_PARTITION variable = rows dim = 1 complete\n", "",
    ),
    "table not replicated": (
        "ports", "#pragma HLS ARRAY_PARTITION variable = table dim = 1 complete\n", "",
    ),
    "accumulators in a memory": (
        "ports", "#pragma HLS ARRAY_PARTITION variable = acc dim = 0 complete\n", "",
    ),
    "a table for all lanes": ("ports", "+ table[t][byte_at", "+ TABLE[byte_at"),
    "too many reads": (
        "ports", "const Line word = words[step];",
        "Line word = words[step]; if (words[step ^ 1].b[0]) word = words[step ^ 2];",
    ),
    "two writes of a stream": (
        "ports", "if (last) results.write(result);",
        "if (last) results.write(result); results.write(word);",
    ),
    "two reads of the bus": (
        "ports", "        lines.write(bus[i]);",
        "        Line l = bus[i]; set_byte(l, 0, bus[i + total].b[1]); lines.write(l);",
    ),
    "dependence not excluded": (
        "carried", "#pragma HLS DEPENDENCE variable = rows type = inter dependent = false\n", "",
    ),
    "dependence of another kind": (
        "carried", "type = inter dependent = false", "type = intra dependent = false",
    ),
    "conditional bus read": ("bus", "lines.write(bus[i]);", "if (i & 1) lines.write(bus[i]);"),
    "conditional bus write": (
        "bus", "bus[i] = results.read();", "const Line l = results.read(); if (l.b[0]) bus[i] = l;",
    ),
    "bus behind a short circuit": (
        "bus", "lines.write(bus[i]);", "Line l; l.b[0] = i > 3 && bus[i].b[0]; lines.write(l);",
    ),
    "bus behind a choice": (
        "bus", "lines.write(bus[i]);", "Line l; l.b[0] = i > 3 ? bus[i].b[0] : 0; lines.write(l);",
    ),
    "bus behind a continue": (
        "bus", "lines.write(bus[i]);", "if (i == 3) continue; lines.write(bus[i]);",
    ),
    "bus behind a function": (
        "bus", "void read_lines(int total, const Line *bus, Stream<Line> &lines) {",
        "inline void put(const Line *b, Stream<Line> &s, int i) { if (i) s.write(b[i]); }\n"
        "void more(int total, const Line *bus, Stream<Line> &lines) {\nMORE:\n"
        "for (int i = 0; i < total; ++i) {\n" + PIPELINE + "put(bus, lines, i); } }\n"
        "void read_lines(int total, const Line *bus, Stream<Line> &lines) {",
    ),
    "process under a condition": (
        "dataflow", "    write_lines(out, results, target);",
        "    if (out) write_lines(out, results, target);",
    ),
    "statement in a region": ("dataflow", "    describe(chunks, tiles, descriptors);",
                              "    tiles += 1;\n    describe(chunks, tiles, descriptors);"),
    "scalar in a region": ("dataflow", "    describe(chunks, tiles, descriptors);",
                           "    const int n = tiles + 1;\n    describe(chunks, n, descriptors);"),
    "computed argument": ("dataflow", "describe(chunks, tiles, descriptors);",
                          "describe(chunks, tiles + 1, descriptors);"),
    "two readers of a stream": (
        "dataflow", "    write_lines(out, results, target);",
        "    write_lines(out, results, target);\n    write_lines(out, lines, target);",
    ),
    "one bus in two processes": (
        "dataflow", "    write_lines(out, results, target);",
        "    write_lines(out, results, const_cast<Line *>(source));",
    ),
    "feedback": (
        "dataflow",
        "    read_lines(total, source, lines);\n"
        "    engine(chunks, descriptors, lines, results);\n",
        "    engine(chunks, descriptors, lines, results);\n"
        "    read_lines(total, source, lines);\n",
    ),
    "stream without a reader": ("dataflow", "    write_lines(out, results, target);\n", ""),
    "array shared by three": (
        "dataflow", "        fill(lines, words);\n",
        "        fill(lines, words);\n        fill(lines, words);\n",
    ),
    "array filled behind its reader": (
        "dataflow",
        "        fill(lines, words);\n        compute(descriptors, words, results);\n",
        "        compute(descriptors, words, results);\n        fill(lines, words);\n",
    ),
    "chunk loop with a neighbour": (
        "dataflow", "CHUNKS:\n    for (int c = 0; c < chunks; ++c) {",
        "    const int n = chunks + 1;\nCHUNKS:\n    for (int c = 0; c < n; ++c) {",
    ),
    "chunk loop with a computed bound": (
        "dataflow", "c < chunks; ++c) {\n#pragma HLS DATAFLOW",
        "c < chunks - 1; ++c) {\n#pragma HLS DATAFLOW",
    ),
    "process with a result": (
        "dataflow", "void fill(Stream<Line> &lines, Line words[DEPTH]) {",
        "int fill(Stream<Line> &lines, Line words[DEPTH]) {",
    ),
    "polled stream": (
        "blocking", "bus[i] = results.read();",
        "bus[i] = results.read(); if (results.empty()) i += 1;",
    ),
    "stream without a depth": (
        "stream-depth", "#pragma HLS STREAM variable = results depth = 32\n", "",
    ),
    "global": ("language", "constexpr int T = 4;", "constexpr int T = 4;\nstatic int calls;"),
    "static local": ("language", "int step = 0, side = 0;", "int step = 0; static int side = 0;"),
    "division in a pipeline": (
        "division", "acc[t] >> 4)", "acc[t] / c.lines)",
    ),
    "remainder in a pipeline": ("division", "acc[t] >> 4)", "acc[t] % 3)"),
    "vendor header": (
        "headers", '#include "words.h"\n',
        '#include "words.h"\n#if 0\n#include <hls_stream.h>\n#endif\n',
    ),
    "tool's macro": (
        "headers", "constexpr int T = 4;",
        "#ifdef __VITIS_HLS__\nconstexpr int T = 8;\n#else\nconstexpr int T = 4;\n#endif",
    ),
    "two conditions": (
        "headers", "constexpr int DEPTH = 64;",
        "constexpr int DEPTH = 64;\n#if defined(__SYNTHESIS__) && defined(__BAMBU__)\n"
        "constexpr int WIDE = 1;\n#endif",
    ),
    "odd record": ("width", "int32_t tiles, lines;", "int32_t tiles, lines, third;"),
    "odd memory": (
        "width", "int8_t table[T][16];",
        "struct Odd { int8_t b[3]; }; Odd odd[9]; int8_t table[T][16];",
    ),
    "memory of structs": (
        "aggregate", "int8_t table[T][16];", "Chunk more[9]; int8_t table[T][16];",
    ),
    "shared bundle": ("interface", "bundle = results", "bundle = tokens"),
    "no bundle": ("interface", "bundle = results ", ""),
    "no offset": ("interface", "port = count offset = 0x28", "port = count"),
    "no register": (
        "interface", "#pragma HLS INTERFACE mode = s_axilite port = count offset = 0x28\n", "",
    ),
    "one offset twice": ("interface", "offset = 0x28", "offset = 0x1C"),
    "pointer without a port": (
        "interface",
        "#pragma HLS INTERFACE mode = m_axi port = target bundle = results offset = slave\n"
        "#pragma HLS INTERFACE mode = s_axilite port = source offset = 0x10\n"
        "#pragma HLS INTERFACE mode = s_axilite port = target offset = 0x1C\n",
        "#pragma HLS INTERFACE mode = s_axilite port = source offset = 0x10\n",
    ),
    "does not compile": ("parse", "int step = 0, side = 0;", "int step = 0, side = zero;"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name, tmp_path):
    rule, old, new = FAULTS[name]
    found = check(tmp_path, changed(old, new))
    assert any(line.startswith(rule + ":") for line in found), found


@pytest.mark.parametrize(
    "name, keyword, what", [("count", "units", "argument"), ("descriptors", "Signal", "stream")]
)
def test_keyword_as_a_name(name, keyword, what, tmp_path):
    found = check(tmp_path, ACCELERATOR.replace(name, keyword))
    assert any(x.startswith("keyword:") and f"{what} {keyword} is" in x for x in found), found


MORE = changed(
    "void matrix_pass(",
    "void copy(int total, Stream<Line> &a, Stream<Line> &b) {\nCOPY:\n"
    + TO_TOTAL + "        b.write(a.read());\n    }\n}\n"
    "void split(int total, Stream<Line> &a, Stream<Line> b[2]) {\nSPLIT:\n"
    + TO_TOTAL + "        const Line l = a.read();\n"
    "        for (int k = 0; k < 2; ++k) {\n#pragma HLS UNROLL\n"
    "            b[k].write(l);\n        }\n    }\n}\n"
    "void join(int total, Stream<Line> &a, Stream<Line> &b, Stream<Line> &c) {\nJOIN:\n"
    + TO_TOTAL + "        Line l = a.read();\n        set_byte(l, 0, byte_at(b.read(), 1));\n"
    "        c.write(l);\n    }\n}\nvoid matrix_pass(",
)  # fmt: skip

#: Passages that may also stand there.
VARIANTS = {
    "conditional stream read": (
        "        lines.write(bus[i]);",
        "        const Line l = bus[i];\n        if (i & 1) lines.write(l);",
    ),
    "older dependence": (
        "variable = rows type = inter dependent = false", "variable=rows inter false",
    ),
    "lower case and a continued line": (
        "#pragma HLS STREAM variable = results depth = 32",
        "#pragma hls stream variable=results \\\n    depth=32",
    ),
    "named depth": (
        "#pragma HLS STREAM variable = results depth = 32",
        "#pragma HLS STREAM variable = results depth = DEPTH / 2",
    ),
    "storage by a macro": (
        "#pragma HLS BIND_STORAGE variable = words type = ram_s2p impl = uram",
        "#ifdef MINI_URAM\n#pragma HLS BIND_STORAGE variable = words type = ram_1p impl = uram\n"
        "#else\n#pragma HLS BIND_STORAGE variable = words type = ram_s2p impl = bram\n#endif",
    ),
    "array of streams": (
        "    describe(chunks, tiles, descriptors);\n"
        "    read_lines(total, source, lines);\n",
        "    Stream<Line> pair[2];\n#pragma HLS STREAM variable = pair depth = 4\n"
        "    describe(chunks, tiles, descriptors);\n"
        "    read_lines(total, source, pair[0]);\n"
        "    copy(total, pair[0], pair[1]);\n    copy(total, pair[1], lines);\n",
    ),
    "array of streams passed whole": (
        "    describe(chunks, tiles, descriptors);\n"
        "    read_lines(total, source, lines);\n",
        "    Stream<Line> pair[2], more;\n#pragma HLS STREAM variable = pair depth = 4\n"
        "#pragma HLS STREAM variable = more depth = 4\n"
        "    describe(chunks, tiles, descriptors);\n"
        "    read_lines(total, source, more);\n    split(total, more, pair);\n"
        "    join(total, pair[0], pair[1], lines);\n",
    ),
    "cyclic partition": (
        "#pragma HLS ARRAY_PARTITION variable = table dim = 1 complete",
        "#pragma HLS ARRAY_PARTITION variable = table dim = 1 cyclic factor = T",
    ),
    "exclusive writes": (
        "if (last) results.write(result);",
        "if (last) { results.write(result); } else if (step == 1) { results.write(word); }",
    ),
    "sequential with a reason": (
        "READ:\n" + TO_TOTAL + READ,
        "    // sequential: requests and reads of a run\nRUNS:\n"
        "    for (int r = 0; r < total; r += 16) {\nREAD:\n"
        "    for (int i = r; i < r + 16; ++i) {\n" + PIPELINE + READ + "\n    }",
    ),
    "constant division": ("acc[t] >> 4)", "acc[t] / 16)"),
    "two reads of one address": (
        "const Line word = words[step];", "Line word = words[step]; word.b[1] = words[step].b[2];",
    ),
    "condition on synthesis alone": (
        "constexpr int DEPTH = 64;",
        "#ifdef __SYNTHESIS__\nconstexpr int DEPTH = 64;\n#else\nconstexpr int DEPTH = 64;\n#endif",
    ),
    "a plain form for the host": (
        "constexpr int DEPTH = 64;",
        "#if defined(PLAIN) && !defined(__SYNTHESIS__) && !defined(__BAMBU__)\n"
        "constexpr int DEPTH = 64;\n#else\nconstexpr int DEPTH = 64;\n#endif",
    ),
    "template helper": (
        "inline int lane(const Line &line, int t)",
        "template <int N> inline int total(const Line &line) {\n    int s = 0;\n"
        "    for (int i = 0; i < N; ++i) {\n#pragma HLS UNROLL\n        s += line.b[i];\n    }\n"
        "    return s;\n}\n"
        "void more(int n, Stream<Line> &a, Stream<int> &b) {\nMORE:\n"
        "    for (int i = 0; i < n; ++i) {\n" + PIPELINE
        + "        b.write(total<8>(a.read()));\n    }\n}\n"
        "inline int lane(const Line &line, int t)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_accepted(name, tmp_path):
    old, new = VARIANTS[name]
    assert check(tmp_path, changed(old, new, MORE)) == []


def test_header_that_nobody_includes(tmp_path):
    found = check(tmp_path, ACCELERATOR, lost_h="#pragma once\n")
    assert [x.split(":")[0] for x in found] == ["headers"]


def test_host_sources_are_exempt(tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "model.cpp").write_text("#include <vector>\nint *p = new int;\n")
    assert check(tmp_path, ACCELERATOR, WORDS) == []
