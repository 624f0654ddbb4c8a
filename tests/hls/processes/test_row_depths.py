# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The row pass with the streams' stated depths: no order of events stops it.

row_pass.h is turned into threads, one a process, and its streams into ones of the depths
in its pragmas. Whether such a network stops does not depend on speeds.
"""

from __future__ import annotations

import re
from functools import cache

import front_bench
import numpy as np
import pytest

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode, lines
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.reference.refusals import Pending

STREAM = re.compile(r'    Stream<(.*)> (\w+)\("\w+"\);\n')
DEPTH = re.compile(r"#pragma HLS STREAM variable = (\w+) depth = (\w+)\n")
CALL = re.compile(r"^    (\w+\([^;]*\));\n", re.MULTILINE)


def threaded(depths: dict[str, str]) -> dict[str, str]:
    """Headers that replace those of the sources; some depths may be changed."""
    text = (front_bench.SOURCES / "row_pass.h").read_text()
    head, body = text.split("#pragma HLS DATAFLOW\n")
    body, tail = body.split("\n}\n", 1)
    stated = {**dict(DEPTH.findall(body)), **depths}
    names = [m.group(2) for m in STREAM.finditer(body)]
    assert sorted(names) == sorted(stated), "each stream has one depth"
    body = re.sub(r"#pragma HLS BIND_STORAGE.*\n", "", DEPTH.sub("", body + "\n"))
    processes = len(CALL.findall(STREAM.sub("", body)))
    body = CALL.sub(
        lambda m: m.group(0) if "Stream<" in m.group(0)
        else f"    threads.emplace_back([&] {{ {m.group(1)}; }});\n",
        body,
    )  # fmt: skip
    body = STREAM.sub(
        lambda m: f'    Stream<{m.group(1)}> {m.group(2)}("{m.group(2)}", {stated[m.group(2)]});\n',
        body,
    )
    assert body.count("emplace_back") == processes > 20
    # Threads end before the streams, which are destroyed in the order of their text, reversed.
    body = "    std::vector<std::thread> threads;\n" + body
    body += "    for (std::thread &thread : threads) thread.join();"
    words = (front_bench.SOURCES / "host" / "plain_words.h").read_text()
    start = words.index("// A queue without a limit")
    end = words.index("}  // namespace plain", start)
    bounded = (front_bench.FOLDER / "bounded_streams.h").read_text()
    return {
        "a_plain_words.h": words[:start] + words[end:] + bounded,
        "b_row_pass.h": head + "\n" + body + "\n}\n" + tail,
        "plain_words.h": "",
    }


@cache
def bench(board: str, **depths: str) -> front_bench.Bench:
    flags = ("-O1",)
    path = front_bench.compile_bench("row_pass.cpp", board, flags, threaded(depths))
    return front_bench.Bench(path)


#: Sections of the bank: tables, then the workspace.
LAYOUT = BankLayout(10, 300, 1210, 6000)
W = LAYOUT.workspace_line


def layernorm(rows: int, n: int, slots: int = 0, gap: int = 0) -> Instruction:
    wide, narrow = lines(2 * n), lines(n)
    src = W + slots * rows * wide
    return Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=n, src=src, src_stride=wide + gap,
        dst=src + rows * (wide + gap), dst_stride=narrow, table=10, shift_a=20, eps_low=9,
        slots=slots, slot_base=W,
    )  # fmt: skip


def gate(rows: int, experts: int, **options: int) -> Instruction:
    width = lines(4 * experts)
    return Instruction(
        Opcode.GATE, rows=rows, experts=experts, top_k=min(8, experts), src=W, src_stride=width,
        dst=W + rows * width, **options,
    )  # fmt: skip


CASES = {
    "norm": layernorm(200, 192),
    "long rows": layernorm(40, 1024),
    "short rows": layernorm(300, 5),
    "one row": layernorm(1, 1024),
    "slots": layernorm(150, 192, 4),
    "slots of long rows": layernorm(37, 1024, 2),
    "slots of rows apart": layernorm(100, 192, 2, 1),
    "slots of short rows": layernorm(100, 5, 16),
    "many slots": layernorm(20, 600, 7),
    "gate": gate(300, 16),
    "many experts": gate(60, 64, gate_mode=1),
    "one decision": gate(200, 3, per_image=1),
    "upsample": Instruction(
        Opcode.UPSAMPLE2X, height=9, width=12, cols_in=128, src=W, src_stride=2, dst=W + 300,
        dst_stride=3,
    ),
    "classes": Instruction(
        Opcode.OUTPUT_CLASSES, height=9, width=30, cols_in=40, src=W, src_stride=1, factor=4
    ),
    "depth": Instruction(Opcode.OUTPUT_DEPTH, height=9, width=30, src=W, src_stride=1, factor=1),
    "patches": Instruction(
        Opcode.LOAD_PATCHES, height=48, width=176, patch=16, dst=W, dst_stride=12
    ),
    "odd patches": Instruction(
        Opcode.LOAD_PATCHES, height=21, width=77, patch=7, dst=W, dst_stride=5
    ),
    "residual": Instruction(
        Opcode.LOAD_RESIDUAL, rows=40, cols_out=200, table=10, dst=W, dst_stride=7
    ),
}  # fmt: skip


def run(instruction: Instruction, running: front_bench.Bench) -> None:
    """Equal banks and results, whatever the instruction is."""
    rng = np.random.default_rng(1)
    machine = Machine()
    machine.attach(rng.integers(0, 256, LINE * LAYOUT.lines).astype(np.uint8), LAYOUT)
    machine.frame = rng.integers(0, 256, 48 * 176 * 3).astype(np.uint8)
    machine.result = np.zeros(1 << 14, np.uint8)
    if instruction.slots:
        machine.pending = Pending(instruction.slots, W, instruction.rows, instruction.cols_in)
    before = machine.bank.copy(), machine.result.copy()
    machine.execute(instruction)
    frame = np.pad(machine.frame, (0, 64))
    bank, result = running.ask(instruction.encode(), before[0], frame, before[1])
    np.testing.assert_array_equal(bank, machine.bank)
    np.testing.assert_array_equal(result, machine.result)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("board", ["kv260", "pynq-z2"])
def test_depths_suffice(board, name):
    run(CASES[name], bench(board))


@pytest.mark.parametrize("stream, name", [("waiting", "one row"), ("logits", "many experts")])
def test_streams_that_are_too_short_are_noticed(stream, name):
    """A row waits for its inverse, the logits of a token for their largest."""
    with pytest.raises(AssertionError, match="the bench stopped"):
        run(CASES[name], bench("pynq-z2", **{stream: "16"}))


def test_normalised_rows_wait_for_the_residual_rows_of_their_turn():
    with pytest.raises(AssertionError, match="the bench stopped"):
        run(CASES["slots of long rows"], bench("pynq-z2", normalised="16", waiting="300"))
