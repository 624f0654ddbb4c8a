# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hooks go where the pragmas are; sources of another form are refused by name."""

from __future__ import annotations

import json
import re

import pytest

from m3vit_pynq.emulator.hostbuild import source_directory
from m3vit_pynq.emulator.trace import depths
from m3vit_pynq.emulator.trace.instrument import InstrumentError, instrument

LOOP = """void f(int n) {{
{label}
    for (int i = 0; i < n; ++i) {{
#pragma HLS PIPELINE {options}
    }}
}}
"""


def copy(tmp_path, text):
    (tmp_path / "f.h").write_text(text)
    return instrument(tmp_path)


def test_every_pipeline_stream_and_process_of_the_sources_has_its_hook():
    root = source_directory()
    traced = instrument(root)
    for name, text in traced.files.items():
        if name.startswith(("host/", "generated/")):
            continue
        source = (root / name).read_text()
        count = source.count("#pragma HLS PIPELINE")
        assert text.count("M3VIT_TRACE_STEP;") == text.count("M3VIT_TRACE_LOOP(") == count, name
        assert text.count(".trace_depth(") == source.count("#pragma HLS STREAM"), name
        # But for the hooks it is the source.
        bare = "\n".join(
            re.sub(r"^M3VIT_TRACE_LOOP\([^)]*\); ", "", line)
            for line in text.splitlines()
            if not line.startswith("M3VIT_TRACE_") or "LOOP(" in line
        )
        bare = re.sub(r"^\w+\.trace_depth\(.*\);\n", "", bare, flags=re.M)
        if name != "words.h":
            squeezed = (re.sub(r"//[^\n]*|\\\n|\s+", "", t) for t in (bare, source))
            assert len(set(squeezed)) == 1, name
    regions = traced.files["matrix_pass.h"] + traced.files["row_pass.h"]
    titles = re.findall(r'M3VIT_TRACE_PROCESS\("(.*)"\)', regions)
    assert len(titles) > 40 and "engine_half:results_a" in titles
    assert traced.files["engine.h"].count("M3VIT_TRACE_PINGPONG") == 4


def test_interval_and_style_are_those_of_the_pragma(tmp_path):
    text = copy(tmp_path, LOOP.format(label="ALL:", options="II = 2 style = flp")).files["f.h"]
    assert "M3VIT_TRACE_LOOP(0, 2, true); ALL:" in text
    text = copy(tmp_path, LOOP.format(label="ALL:", options="II=1")).files["f.h"]
    assert "M3VIT_TRACE_LOOP(0, 1, false); ALL:" in text


@pytest.mark.parametrize(
    ("label", "options", "problem"),
    [
        ("", "II = 1", "f.h:4: a pipelined loop without a label"),
        ("ALL:", "II = n", "f.h:4: the interval is no number"),
        ("ALL:", "rewind", "f.h:4: a pipeline without a stated interval"),
    ],
)
def test_a_loop_of_another_form_is_refused(tmp_path, label, options, problem):
    with pytest.raises(InstrumentError, match=problem):
        copy(tmp_path, LOOP.format(label=label, options=options))


@pytest.mark.parametrize(
    ("region", "problem"),
    [
        ("    if (n) a(n);\n", "a region holds `if"),
        ("", ""),
    ],
)
def test_a_region_of_another_form_is_refused(tmp_path, region, problem):
    text = f"void f(int n) {{\n#pragma HLS DATAFLOW\n{region}    b(n);\n}}\n"
    if problem:
        with pytest.raises(InstrumentError, match=problem):
            copy(tmp_path, text)
    else:
        assert 'M3VIT_TRACE_PROCESS("b");' in copy(tmp_path, text).files["f.h"]


def test_three_processes_cannot_share_a_pingpong(tmp_path):
    text = (
        "void f(int n) {\nALL:\n    for (int c = 0; c < n; ++c) {\n#pragma HLS DATAFLOW\n"
        "        int half[4];\n        a(half);\n        b(half);\n        c(half);\n    }\n}\n"
    )
    with pytest.raises(InstrumentError, match="three processes share half"):
        copy(tmp_path, text)


def test_words_that_changed_their_form_are_refused(tmp_path):
    (tmp_path / "words.h").write_text("using Stream = something::Else<T>;\n")
    with pytest.raises(InstrumentError, match="no plain::Stream<T> to replace"):
        instrument(tmp_path)


def test_every_loop_of_the_sources_has_a_depth():
    known = depths.depths_of("zcu104")
    assert set(instrument(source_directory()).loops) == set(known)
    assert set(json.loads(depths.FILE.read_text())) >= {"zcu104", "pynq-z2"}


def test_depths_are_current():
    pytest.importorskip("clang.cindex", reason="pip install libclang")
    tools = source_directory().parent / "tools" / "hls_check"
    if not tools.is_dir():
        pytest.skip("no checkout")
    for board in ("zcu104", "pynq-z2"):
        found = depths.derive(source_directory(), (board,))[board]
        assert found == depths.depths_of(board), (
            "python -m m3vit_pynq.emulator.trace.depths writes it anew"
        )
