# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What ``DEPENDENCE ... dependent = false`` states about double buffers is true.

The pragma lets a tool read a memory in an earlier stage of the pipeline than it writes
it. Copies of the sources, in which the words of those memories note when they are written
and read, run the processes' own tests: no word is read within SETTLE iterations of a
write, and none is written in the iteration that reads it or before.
"""

from __future__ import annotations

import re
import shutil

import arith_bench
import pytest
import test_arith_attention as attention
import test_arith_engine as engine
import test_arith_finish as finish

#: The memories, by header: element type and name as they are declared.
MEMORIES = {
    "engine.h": ("Piece", "rows"),
    "softmax.h": ("Bytes<SCORE_BYTES>", "rows"),
    "transpose.h": ("uint8_t", "bank"),
    "reorder.h": ("Line", "buffer"),
}
#: As many iterations as shapes.h promises (SETTLE), and the one that writes.
SETTLED = 8
BOARDS = ["kv260", "pynq-z2"]


def watched_sources(folder):
    """A copy of the sources with watched memories; nobody else carries the pragma."""
    shutil.copytree(arith_bench.SOURCES, folder, dirs_exist_ok=True)
    shutil.copy(arith_bench.BENCH.with_name("watched.h"), folder)
    for path in folder.glob("*.h"):
        text = path.read_text(encoding="utf-8")
        if path.name not in MEMORIES:
            continue
        kind, name = MEMORIES[path.name]
        assert len(re.findall("HLS DEPENDENCE variable = ", text)) == 1
        assert f"HLS DEPENDENCE variable = {name} " in text
        text, declared = re.subn(
            rf"^( +){re.escape(kind)} {name}\[", rf"\1watched::Word<{kind}> {name}[", text,
            flags=re.M,
        )  # fmt: skip
        assert declared == 1
        text = re.sub(r"#pragma HLS PIPELINE II = 1.*", "++watched::Clock::now();", text)
        path.write_text(text.replace("#define", '#include "watched.h"\n#define', 1))
    return folder


@pytest.fixture(scope="module", params=BOARDS)
def unit(request, tmp_path_factory):
    sources = watched_sources(tmp_path_factory.mktemp("watched") / "hls_src")
    flags = ("-O1", f"-DM3VIT_SETTLED={SETTLED}")
    running = arith_bench.Bench(request.param, flags, sources)
    yield running
    running.close()


def test_token_memory(unit):
    for chunks in engine.LAYERS:
        engine.test_layers(unit, chunks, 0)
    for keys, subs, head_dim in engine.HEADS:
        engine.test_scores(unit, keys, subs, head_dim)
        for passes in (1, 2):
            engine.test_values(unit, keys, subs, head_dim, passes)


def test_rows_of_scores(unit):
    for keys, heads in ((1, 1), (2, 3), (7, 2), (65, 2)):
        for passes in (1, 2):
            attention.test_softmax(unit, keys, heads, passes)


def test_transposer(unit):
    for shape in ((1, 1, 16), (64, 3, 32), (65, 5, 16), (130, 3, 64)):
        attention.test_transpose(unit, *shape)


def test_segments(unit):
    for store, outputs in (("act8", 3), ("act8", 1000), ("act16", 544), ("scores", 700)):
        finish.test_reorder(unit, store, outputs, 0)
    finish.test_reorder(unit, "act8", 1000, 1)


def test_a_shorter_round_is_noticed(tmp_path):
    """With no iterations to settle, the check refuses the engine."""
    sources = watched_sources(tmp_path / "hls_src")
    header = sources / "shapes.h"
    text = header.read_text(encoding="utf-8")
    assert text.count("constexpr int SETTLE = 8;") == 1
    header.write_text(text.replace("constexpr int SETTLE = 8;", "constexpr int SETTLE = 0;"))
    flags = ("-O1", f"-DM3VIT_SETTLED={SETTLED}")
    running = arith_bench.Bench("pynq-z2", flags, sources)
    with pytest.raises(AssertionError, match="stopped"):
        engine.test_layers(running, [(3, 4, 64)], 0)
    running.close()
