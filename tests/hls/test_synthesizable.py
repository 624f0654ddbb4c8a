# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The sources hold nothing that an HLS compiler refuses, and the check would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("clang.cindex", reason="pip install libclang")
import hls_rules

HLS = Path(__file__).resolve().parents[2] / "hls_src"
HEADERS = sorted(HLS.glob("*.h"))


@pytest.mark.parametrize("source", ["m3vit_accel.cpp", "kernels.cpp"])
def test_sources_are_synthesizable(source):
    assert hls_rules.findings(hls_rules.parse(HLS / source), HLS) == []


def test_every_header_is_checked():
    seen = set()
    for source in ("m3vit_accel.cpp", "kernels.cpp"):
        unit = hls_rules.parse(HLS / source)
        seen |= {Path(i.include.name).resolve() for i in unit.get_includes()}
    assert set(HEADERS) <= seen


@pytest.mark.parametrize("path", HEADERS, ids=lambda p: p.name)
def test_pipelines_state_their_interval(path):
    assert hls_rules.pragma_findings(path) == []


PRELUDE = """
#include <stdint.h>
constexpr int LIMIT = 64;
inline int minimum(int a, int b) { return a < b ? a : b; }
"""

#: Code, and what the check says about it.
BAD = {
    "new": ("int *f() { return new int; }", "heap: new"),
    "delete": ("void f(int *p) { delete p; }", "heap: delete"),
    "malloc": (
        'extern "C" void *malloc(unsigned long); void *f() { return malloc(4); }',
        "heap: malloc",
    ),
    "recursion": ("int f(int n) { return n ? f(n - 1) : 0; }", "recursion: f"),
    "mutual recursion": (
        "int g(int); int f(int n) { return g(n); } int g(int n) { return n ? f(n - 1) : 0; }",
        "recursion: f",
    ),
    "virtual": ("struct A { virtual int f(); };", "virtual method"),
    "function pointer": ("int f(int (*g)(int)) { return g(1); }", "function pointer"),
    "call through pointer": ("int f(int (*g)(int)) { return g(1); }", "call through a pointer"),
    "pointer to pointer": ("int f(int **p) { return **p; }", "pointer to pointer"),
    "while": ("int f(int n) { while (n) --n; return n; }", "while loop"),
    "do": ("int f(int n) { do --n; while (n); return n; }", "do loop"),
    "unbounded for": (
        "int f(int n) { int s = 0; L: for (int i = 0; i < n; ++i) s += i; return s; }",
        "for loop without a constant bound",
    ),
    "endless for": ("void f() { L: for (;;) {} }", "for loop without a constant bound"),
    "for that steps back": (
        "void f() { L: for (int i = 0; i < LIMIT; ++i) { i -= 1; } }",
        "for loop without a constant bound",
    ),
    "for with a useless clamp": (
        "void f(int a, int b) { L: for (int i = 0; i < minimum(a, b); ++i) {} }",
        "for loop without a constant bound",
    ),
    "for by a variable step": (
        "void f(int n) { L: for (int i = 0; i < LIMIT; i += n) {} }",
        "for loop without a constant bound",
    ),
    "unlabelled for": (
        "void f() { for (int i = 0; i < LIMIT; ++i) {} }", "for loop without a label",
    ),
    "goto": ("void f() { again: goto again; }", "goto"),
    "container": (
        "namespace std { template <class T> struct vector { T *data; }; } "
        "int f() { std::vector<int> v; return v.data[0]; }",
        "standard container: std::vector<int>",
    ),
    "standard function": (
        "namespace std { int abs(int); } int f(int x) { return std::abs(x); }",
        "standard library: abs",
    ),
    "float": ("int f(int x) { float y = x; return y > 1; }", "floating point"),
    "variable array": ("int f(int n) { int a[n]; return a[0]; }", "array of variable length"),
    "exception": ("void f() { throw 1; }", "exception"),
    "lambda": ("int f() { auto g = [] { return 1; }; return 0; }", "lambda"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_check_refuses(name, tmp_path):
    code, rule = BAD[name]
    path = tmp_path / "bad.cpp"
    path.write_text(PRELUDE + code)
    found = hls_rules.findings(hls_rules.parse(path), tmp_path)
    assert any(finding.endswith(rule) for finding in found), found


def test_check_refuses_a_library(tmp_path):
    (tmp_path / "library.h").write_text("int f();\n")
    path = tmp_path / "root" / "bad.cpp"
    path.parent.mkdir()
    path.write_text('#include "../library.h"\n')
    assert hls_rules.findings(hls_rules.parse(path), path.parent) == [
        "bad.cpp: includes <library.h>"
    ]


def test_check_accepts_bounded_loops(tmp_path):
    path = tmp_path / "good.cpp"
    path.write_text(
        PRELUDE
        + """
int f(int n, const int a[LIMIT]) {
    int sum = 0;
A:  for (int i = 0; i < LIMIT; ++i) sum += a[i];
B:  for (int i = 0; i < minimum(n, LIMIT) + 2; ++i) sum += i;
C:  for (int i = LIMIT - 1; i >= 0; --i) if (i < n) sum -= a[i];
D:  for (int i = 16; n > 0 && i >= 1; i /= 2) sum ^= i;
    return sum;
}
"""
    )
    assert hls_rules.findings(hls_rules.parse(path), tmp_path) == []


def test_check_finds_a_pipeline_without_interval(tmp_path):
    path = tmp_path / "bad.h"
    path.write_text("#pragma HLS PIPELINE\n#pragma HLS PIPELINE II = 2\n")
    assert hls_rules.pragma_findings(path) == ["bad.h:1: PIPELINE without II"]
