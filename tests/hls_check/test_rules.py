# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Each rule on small programs of its own: some that it refuses, some that it accepts."""

from __future__ import annotations

import pytest

pytest.importorskip("clang.cindex", reason="pip install libclang")
from hls_check.miniature import check

HEAD = """\
#include "words.h"
struct Row { int32_t v[4]; };
static const int16_t ROM[64] = {1};
constexpr int N = 8;
"""
PIPELINE = "\n#pragma HLS PIPELINE II = 1 style = flp\n"
UNROLL = "\n#pragma HLS UNROLL\n"


def loop(body: str, before: str = "", loop_pragmas: str = "", arguments: str = "") -> str:
    """A process of one pipelined loop."""
    return (
        f"{HEAD}void f(int n, Stream<int> &s, Stream<int> &r{arguments}) {{\n{before}\nLOOP:\n"
        f"    for (int i = 0; i < n; ++i) {{{PIPELINE}{loop_pragmas}{body}\n    }}\n}}\n"
    )


def lanes(body: str, bound: str = "N") -> str:
    return f"for (int t = 0; t < {bound}; ++t) {{{UNROLL}{body}\n}}"


COMPLETE = "int32_t m[64][N];\n#pragma HLS ARRAY_PARTITION variable = m dim = 2 complete\n"
CYCLIC = "int32_t m[512];\n#pragma HLS ARRAY_PARTITION variable = m cyclic factor = {} dim = 1\n"
BLOCK = "int32_t m[64];\n#pragma HLS ARRAY_PARTITION variable = m block factor = 8\n"
RAM = "int32_t m[512];\n"
SINGLE = RAM + "#pragma HLS BIND_STORAGE variable = m type = ram_1p impl = bram\n"
SIMPLE = RAM + "#pragma HLS BIND_STORAGE variable = m type = ram_s2p impl = bram\n"
SIMPLE_LANES = COMPLETE + "#pragma HLS BIND_STORAGE variable = m type = ram_s2p\n"
STRUCTS = "Row m[64];\n#pragma HLS AGGREGATE variable = m\n"
FALSE = "#pragma HLS DEPENDENCE variable = m type = inter dependent = false\n"

ACCEPTED = {
    "a bank for each lane": loop(lanes("m[i][t] = i;"), COMPLETE),
    "cyclic banks, known": loop(lanes("m[8 * i + t] = i;"), CYCLIC.format(8)),
    "cyclic banks, base unknown": loop(
        "const int base = s.read();" + lanes("m[base + t] = i;"), CYCLIC.format(8)
    ),
    "cyclic banks, base moves on": loop(
        lanes("m[at + t] = i;") + "at += 8;", "int at = 0;\n" + CYCLIC.format(8)
    ),
    "lanes read, one written by a variable": loop(
        "m[i & 63][n & 7] = i;" + lanes("k[t] = m[i & 31][t];"),
        SIMPLE_LANES + "int32_t k[N];\n#pragma HLS ARRAY_PARTITION variable = k complete\n",
        FALSE,
    ),
    "blocks": loop(lanes("m[8 * t] = i;"), BLOCK),
    "two reads": loop("r.write(m[i] + m[i + 1]);", RAM),
    "one read and one write, excluded": loop("m[i & 7] = m[(i & 7) + 8];", SIMPLE, FALSE),
    "one address read twice": loop("r.write(m[i] * m[i] + m[i]);", SINGLE),
    "reads that exclude each other": loop(
        "if (i & 1) r.write(m[i]); else r.write(m[i + 1]);", SINGLE
    ),
    "reads of a switch": loop(
        "int v = 0; switch (i & 3) { case 0: v = m[i]; break; case 1: v = m[i + 1]; break; "
        "default: v = m[i + 2]; } r.write(v);",
        SINGLE,
    ),
    "a branch never taken": loop("if (N > 9) { r.write(m[i] + m[i + 1]); }", SINGLE),
    "fields of one record": loop("r.write(m[i].v[0] + m[i].v[1] + m[i].v[3]);", STRUCTS),
    "read of a reference": loop("const Row &row = m[i]; r.write(row.v[0] + row.v[3]);", STRUCTS),
    "halves written and read, excluded": loop(
        lanes("m[side ^ 1][t] = m[side][t];"),
        COMPLETE.replace("64", "2") + "int side = 0;", FALSE,
    ),
    "halves in banks of their own": loop(
        "r.write(m[0][i]); m[1][i] = i;",
        "int32_t m[2][64];\n#pragma HLS ARRAY_PARTITION variable = m dim = 1 complete\n",
    ),
    "a memory of each iteration": loop("int k[4]; k[i & 3] = i; r.write(k[n & 3]);"),
    "registers, any use": loop(
        lanes("m[t] = m[(t + i) & 7] + m[0];"),
        "int32_t m[N];\n#pragma HLS ARRAY_PARTITION variable = m dim = 0 complete\n",
    ),
    "a table per lane": loop(
        lanes("r_[t] = m[t][(i + t) & 63];"),
        "int16_t m[N][64];\n#pragma HLS ARRAY_PARTITION variable = m dim = 1 complete\n"
        "int32_t r_[N];\n#pragma HLS ARRAY_PARTITION variable = r_ complete\n",
    ),
    "two reads of a table": loop("r.write(ROM[i & 63] + ROM[(i + 7) & 63]);"),
    "a word of many elements": loop(
        lanes("sum += m[i][t];") + "r.write(sum);",
        "int32_t m[64][N]; int sum = 0;\n#pragma HLS ARRAY_RESHAPE variable = m dim = 2 complete\n",
    ),
    "interval of two": loop(
        "r.write(m[i] + m[i + 1] + m[i + 2] + m[i + 3]);", RAM
    ).replace("II = 1", "II = 2"),
    "bus in every iteration": loop("r.write(bus[i]);", arguments=", const int32_t *bus"),
    "bus before the loop": loop(
        "r.write(head);", "const int head = n > 2 ? bus[0] : 0;", arguments=", const int32_t *bus"
    ),
    "manual bursts under a condition": loop(
        "if ((i & 15) == 0) bus.read_request(i, 16); r.write(bus.read());",
        arguments=", hls::burst_maxi<int32_t> bus",
    ),
    "recursion for constants": HEAD
    + "constexpr int power(int n) { return n <= 1 ? 1 : 2 * power((n + 1) / 2); }\n"
    "void f(int n, Stream<int> &r) { r.write(n + power(5)); }",
    "streams under conditions": loop("if (s.read() > 3) r.write(i);"),
    "triangular lanes": loop(
        lanes("for (int k = 0; k < t; ++k) {" + UNROLL + "m[t] += m[k];\n}"),
        "int32_t m[N];\n#pragma HLS ARRAY_PARTITION variable = m complete\n",
    ),
    "constant of lanes divided": loop(lanes("if (t % 3 == 0) m[i][t / 3] = i;"), COMPLETE),
    "counter with wrap": loop("if (++k == n) k = 0; r.write(k);", "int k = 0;"),
    "sum of lanes": loop(
        lanes("sum += static_cast<int>(m[i][t]);") + "r.write(sum);", COMPLETE + "int sum = 0;"
    ),
}  # fmt: skip

REFUSED = {
    "lanes of one memory": ("ports", loop(lanes("m[8 * i + t] = i;"), RAM)),
    "wrong dimension": (
        "ports", loop(lanes("m[i][t] = i;"), COMPLETE.replace("dim = 2", "dim = 1"))
    ),
    "cyclic factor too small": (
        "ports", loop(lanes("m[8 * i + t] = i;"), CYCLIC.format(2))
    ),
    "cyclic banks that meet": (
        "ports", loop(lanes("m[8 * t + i] = i;"), CYCLIC.format(8))
    ),
    "blocks that meet": ("ports", loop(lanes("m[t] = i;"), BLOCK)),
    "dynamic bank beside known ones": (
        "ports",
        loop(
            "r.write(m[i & 63][n & 7]);" + lanes("k[t] = m[i & 31][t];"),
            SIMPLE_LANES + "int32_t k[N];\n#pragma HLS ARRAY_PARTITION variable = k complete\n",
        ),
    ),
    "dynamic bank": ("ports", loop(lanes("m[t][i & 7] = i;"), COMPLETE)),
    "three reads": ("ports", loop("r.write(m[i] + m[i + 1] + m[i + 2]);", RAM)),
    "two reads of a single port": ("ports", loop("r.write(m[i] + m[i + 1]);", SINGLE)),
    "two reads of ram_s2p": ("ports", loop("r.write(m[i] + m[i + 1]);", SIMPLE)),
    "reads in two conditions": (
        "ports",
        loop("int v = 0; if (i & 1) v = m[i]; if (i & 2) v += m[i + 1]; r.write(v);", SINGLE),
    ),
    "reads by a function": (
        "ports",
        loop("r.write(three(m, i));", RAM).replace(
            "void f(",
            "inline int three(const int32_t a[512], int i) { return a[i] + a[i + 1] + a[i + 2]; }"
            "\nvoid f(",
        ),
    ),
    "three reads of a table": ("ports", loop("r.write(ROM[i & 7] + ROM[i & 15] + ROM[i & 31]);")),
    "a row declared in lanes": (
        "ports",
        loop(
            "const int at = s.read();" + lanes("const int row = at * t; m[row] = i;"),
            CYCLIC.format(8),
        ),
    ),
    "stream read by lanes": ("ports", loop(lanes("m[i][t] = s.read();"), COMPLETE)),
    "accumulation in a memory": ("carried", loop("m[i & 7] += s.read();", RAM)),
    "histogram": ("carried", loop("const int v = s.read() & 7; m[v] = m[v] + 1;", RAM)),
    "reads and writes by functions": (
        "carried",
        loop("bump(m[i & 7]);", RAM).replace(
            "void f(", "inline void bump(int32_t &v) { v = v + 1; }\nvoid f("
        ),
    ),
    "dependence of another memory": (
        "carried",
        loop("m[i & 7] += k[i];", RAM + "int32_t k[64];\n", FALSE.replace("= m", "= k")),
    ),
    "product that returns": ("recurrence", loop("k = k * k + i; r.write(k);", "int k = 0;")),
    "address that returns": (
        "recurrence", loop("k = m[k & 511]; r.write(k);", RAM + "int k = 0;")
    ),
    "ring of two": (
        "recurrence", loop("a = b * n; b = a + i; r.write(b);", "int a = 0, b = 0;")
    ),
    "chain through lanes": (
        "recurrence",
        loop(lanes("if (k > t) k = k - t - i;") + "r.write(k);", "int k = 0;"),
    ),
    "memory of partial writes": (
        "carried", loop("m[i].v[1] = i;", STRUCTS)
    ),
    "constant function called for a variable": (
        "language",
        HEAD + "constexpr int power(int n) { return n <= 1 ? 1 : 2 * power((n + 1) / 2); }\n"
        "void f(int n, Stream<int> &r) { r.write(power(n)); }",
    ),
    "two reads of a port": (
        "ports",
        loop(
            "const int a = bus.read(); r.write(a + bus.read());",
            arguments=", hls::burst_maxi<int32_t> bus",
        ),
    ),
    "two buses words": (
        "ports", loop("r.write(bus[2 * i] + bus[2 * i + 1]);", arguments=", const int32_t *bus")
    ),
    "bus in a switch": (
        "bus",
        loop("switch (i & 1) { case 0: r.write(bus[i]); break; default: r.write(0); }",
             arguments=", const int32_t *bus"),
    ),
    "bus of a pointer that moves": (
        "bus", loop("if (i & 1) r.write(*(bus + i));", arguments=", const int32_t *bus")
    ),
    "new": ("language", HEAD + "int *f() { return new int; }"),
    "delete": ("language", HEAD + "void f(int *p) { delete p; }"),
    "malloc": (
        "language",
        HEAD + 'extern "C" void *malloc(unsigned long); void *f() { return malloc(4); }',
    ),
    "recursion": ("language", HEAD + "int f(int n) { return n ? f(n - 1) : 0; }"),
    "mutual recursion": (
        "language",
        HEAD + "int g(int); int f(int n) { return g(n); }\n"
        "int g(int n) { return n ? f(n - 1) : 0; }",
    ),
    "virtual": ("language", HEAD + "struct A { virtual int f(); };"),
    "function pointer": ("language", HEAD + "int f(int (*g)(int)) { return g(1); }"),
    "pointer to pointer": ("language", HEAD + "int f(int **p) { return **p; }"),
    "while": ("language", HEAD + "int f(int n) { while (n) --n; return n; }"),
    "do": ("language", HEAD + "int f(int n) { do --n; while (n); return n; }"),
    "goto": ("language", HEAD + "void f() { again: goto again; }"),
    "float": ("language", HEAD + "int f(int x) { float y = x; return y > 1; }"),
    "double in a template": (
        "language", HEAD + "template <class T> T f(T x) { double y = 2; return x; }"
    ),
    "variable array": ("language", HEAD + "int f(int n) { int a[n]; return a[0]; }"),
    "exception": ("language", HEAD + "void f() { throw 1; }"),
    "lambda": ("language", HEAD + "int f() { auto g = [] { return 1; }; return 0; }"),
    "container": (
        "language",
        HEAD + "namespace std { template <class T> struct vector { T *data; }; }\n"
        "int f() { std::vector<int> v; return v.data[0]; }",
    ),
    "global": ("language", HEAD + "int counter;"),
    "global array": ("language", HEAD + "static int16_t table[4];"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name, tmp_path):
    assert check(tmp_path, ACCEPTED[name]) == []


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    rule, source = REFUSED[name]
    found = check(tmp_path, source)
    assert [x for x in found if x.startswith(rule + ":")], found
