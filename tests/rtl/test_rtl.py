# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The copy and the benches that `make rtl` makes; with Bambu on PATH, one process in RTL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import processes
import pytest
import recorded

from tools.rtl import bambu, bench, sources

ROOT = Path(__file__).resolve().parents[2]


def test_unroll_moves_in_front_of_its_loop_and_other_pragmas_go():
    text = (
        "OUTER:\n    for (int i = 0; i < n; ++i) {\n#pragma HLS PIPELINE II = 1\n"
        "    INNER:\n        for (int a_long_name = 0; a_long_name < 4;\n"
        "             ++a_long_name) {\n#pragma HLS UNROLL\n            f();\n"
    )
    assert sources.adapted(text) == (
        "OUTER:\n    for (int i = 0; i < n; ++i) {\n#pragma clang loop unroll(full)\n"
        "        for (int a_long_name = 0; a_long_name < 4;\n"
        "             ++a_long_name) {\n            f();\n"
    )


def test_structs_travel_as_words():
    sizes = {"uint8_t": 8, "int16_t": 16}
    code = sources.codec("Pair", "    int16_t a[2];  // first\n    uint8_t b;\n", sizes)
    assert sizes["Pair"] == 40
    assert "item.a[1] = static_cast<int16_t>(word.range(31, 16).to_uint64());" in code
    assert "word.range(39, 32) = ap_uint<8>(static_cast<uint8_t>(item.b));" in code
    assert sources.codec("Other", "    Unknown a;\n", sizes) == ""


@pytest.mark.parametrize("process", processes.PROCESSES, ids=lambda p: p.name)
def test_arguments_are_those_of_the_source(process, tmp_path):
    """Top functions are written, and every stream has a type that the sources know."""
    folder = tmp_path / "hls_src"
    sources.copy_sources(ROOT / "hls_src", folder, bambu.BENCHES)
    bench.write_top(process, folder, tmp_path)
    top = (tmp_path / "top.cpp").read_text()
    assert process.call in top
    assert "#pragma HLS" not in "".join(p.read_text() for p in folder.glob("*.h"))


def test_vectors_are_those_of_the_specification(tmp_path):
    """What is recorded has passed the comparison with numpy in the test that sent it."""
    process = next(p for p in processes.PROCESSES if p.name == "upsample")
    vectors = processes.vectors_of(process, recorded.small_board(2), tmp_path)
    assert vectors and all(len(v.inputs) == 1 and v.outputs[0].size for v in vectors)


def test_without_the_tool_it_says_how_to_get_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.rtl", "classes"], cwd=ROOT, env={"PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "panda" in done.stderr


@pytest.mark.skipif(not bambu.found(), reason="needs bambu on PATH")
@pytest.mark.timeout(1200)
def test_a_process_in_rtl(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tools.rtl", "packed_product", "--work", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "equal, 1 vectors, 0 mismatches" in done.stdout
