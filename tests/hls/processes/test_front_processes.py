# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Each process of the front half alone against a plain form of its contract."""

from __future__ import annotations

import struct

import front_bench
import front_spec as spec
import numpy as np
import pytest
from pass_cases import Case

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode, Store, lines

LINEAR, CONV = Opcode.LINEAR, Opcode.CONV3X3
UP, DOWN, ATTENTION = Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN, Opcode.ATTENTION
RUN_BEATS = RUN_GROUP = 16

CASES = {
    "linear": lambda: Case(1).linear(45, 130, 1100, store=Store.ACT16, src_stride=5),
    "one output": lambda: Case(2).linear(1, 1, 1),
    "gelu": lambda: Case(3).linear(24, 64, 300, activation=2),
    "planar": lambda: Case(4).linear(33, 64, 2000, planar=True, dst_gap=3),
    "scores": lambda: Case(5).linear(20, 64, 600, store=Store.SCORES, dst_gap=1),
    "residual": lambda: Case(6).linear(29, 192, 1100, store=Store.RESIDUAL),
    "narrow": lambda: Case(7).linear(29, 192, 60, store=Store.RESIDUAL),
    "conv": lambda: Case(8).conv3x3(5, 7, 64, 260, src_stride=2),
    "conv joined": lambda: Case(9).conv3x3(4, 3, 100, 16, store=Store.ACT16),
    "attention": lambda: Case(10).attention(45, 7, 32, src_gap=2, dst_gap=1),
    "three heads": lambda: Case(11).attention(8, 3, 16),
    "up": lambda: Case(12).experts(UP, 45, 5, 3, 130, 700, activation=2, src_stride=4),
    "up, hostile": lambda: Case(13).experts(UP, 70, 20, 8, 64, 64, "range"),
    "down": lambda: Case(14).experts(DOWN, 45, 5, 3, 130, 700, first_slot=2),
    "down, hostile": lambda: Case(15).experts(DOWN, 70, 9, 8, 64, 64, "range"),
    "down, nobody": lambda: Case(16).experts(DOWN, 5, 3, 1, 64, 64, "none"),
}


@pytest.fixture(params=sorted(BOARDS))
def board(request):
    return BOARDS[request.param]


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


def ask(board, name, case, *streams, flags=front_bench.QUICKLY):
    """Outputs of a process; the bank must not change."""
    bank, layout, instruction = case
    found = front_bench.bench("front.cpp", board.name, flags).ask(
        name.encode(), instruction.encode(), struct.pack("<I", layout.part_lines), bank, *streams
    )
    assert found[0].tobytes() == np.asarray(bank).tobytes(), "the bank has changed"
    return found[1:]


def walked(board, case):
    """The plan, the placed chunks and the streams beside them, by the contract."""
    bank, _, instruction = case
    plan = spec.Plan(board, instruction)
    records = None
    if plan.experts:
        records = bank.reshape(-1, 64)[instruction.records :][: instruction.rows]
    return plan, spec.walk(plan, records)


def test_job(board, case):
    plan, (placed, *_) = walked(board, case)
    outputs = plan.chunk_outputs()
    instruction = case[2]
    [found] = (n.view("<u4").tolist() for n in ask(board, "job", case))
    names = [
        "mode",
        "store",
        "activation",
        "planar",
        "passes",
        "rows",
        "row_lines",
        "k_lines",
        "outputs",
        "out_lines",
        "experts",
        "src_stride",
        "dst_stride",
        "first_groups",
        "chunk_groups",
        "chunks",
        "tiles",
        "last_rows",
        "slot_lines",
        "layer_chunks",
    ]
    job = dict(zip(names, found, strict=True))
    assert job["mode"] == spec.MODES[instruction.opcode]
    assert job["passes"] == max(1, instruction.passes)
    assert job["planar"] == instruction.planar
    for name in ("rows", "row_lines", "k_lines", "outputs", "out_lines", "dst_stride"):
        assert job[name] == getattr(plan, name), name
    assert job["chunks"] == len(placed)
    assert job["layer_chunks"] == len(outputs)
    if not plan.attention:
        assert min(4 * job["first_groups"], plan.outputs) == outputs[0]
        assert job["chunk_groups"] == plan.most_groups
    if not plan.experts:
        assert (job["tiles"], job["last_rows"]) == plan.tiles(plan.rows)


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 8, 9, 65519, 65535, 65536])
def test_tiles_of_a_job(board, rows):
    instruction = Instruction(LINEAR, rows=rows, cols_in=4096, cols_out=8192, dst_stride=128)
    case = (np.zeros(0, np.uint8), BankLayout(0, 0, 0, 0), instruction)
    [found] = (n.view("<u4").tolist() for n in ask(board, "job", case))
    plan = spec.Plan(board, instruction)
    assert (found[16], found[17]) == plan.tiles(rows)
    if plan.most_groups:  # within the board's capacity
        assert found[15] == len(plan.chunk_outputs())


def test_bits_of_other_opcodes_are_ignored(board):
    """Store, activation, planar and strides of instructions that have none."""
    words = [0xFFFFFFFF] * 16
    for opcode, store, activation, planar in [
        (UP, 0, 15, 0),
        (DOWN, 1, 0, 0),
        (ATTENTION, 0, 0, 0),
    ]:
        words[0] = 0xFFFFFF00 | opcode
        words[1] = 3
        words[5] = 64 | 64 << 16
        words[11] = 2 | (16 if opcode == ATTENTION else 1) << 16
        found = (
            front_bench.bench("front.cpp", board.name, front_bench.QUICKLY)
            .ask(b"job", struct.pack("<16I", *words), bytes(4), b"")[1]
            .view("<u4")
        )
        assert found[1:4].tolist() == [store, activation, planar]


def test_walk(board, case):
    _, wanted = walked(board, case)
    found = ask(board, "walk", case)
    placed = found[0].view(spec.PLACED)
    for name in spec.PLACED.names:
        if name == "table" and case[2].activation != 2 and case[2].opcode != ATTENTION:
            continue
        if case[2].opcode == UP and name == "tokens":
            continue
        assert placed[name].tolist() == wanted[0][name].tolist(), name
    for got, want in zip(found[1:], wanted[1:], strict=True):
        assert got.tobytes() == want.tobytes()


def test_share_chunks(board, case):
    plan, (placed, *_) = walked(board, case)
    found = ask(board, "share_chunks", case, placed)
    for part, wanted in enumerate(spec.weight_runs(plan, placed, case[1].part_lines)):
        runs = found[part].view(spec.PAIR)
        got = [(board.port_bytes * int(r["first"]), board.port_bytes * int(r["count"]))
               for r in runs]  # fmt: skip
        assert [g if g[1] else (0, 0) for g in got] == wanted, part
    assert found[4].view("<u4").tolist() == placed["tokens"].tolist()
    assert found[5].view("<u4").tolist() == placed["results"].tolist()
    assert len(found) == 6 + 17
    for copy in found[6:]:
        assert copy.tobytes() == placed["chunk"].tobytes()


def lines_of_runs(board, counts, runs) -> list[list[int]]:
    """Lines that each chunk's runs name; runs are short unless there is one alone."""
    per_line = 64 // board.port_bytes
    counts, runs = counts.view(spec.PAIR), list(runs.view(spec.PAIR).tolist())
    found = []
    for number, total in counts.tolist():
        of_chunk: list[int] = []
        for beat, beats in runs[:number]:
            assert beats > 0 and beat % per_line == 0 and beats % per_line == 0
            assert number == 1 or beats <= RUN_BEATS
            of_chunk += range(beat // per_line, (beat + beats) // per_line)
        assert len(of_chunk) == total
        del runs[:number]
        found.append(of_chunk)
    assert not runs
    return found


def test_plan_tokens(board, case):
    plan, (placed, sources, *_) = walked(board, case)
    found = ask(
        board, "plan_tokens", case, placed["chunk"].copy(), placed["tokens"].copy(), sources
    )
    left = sources.tolist()
    wanted = [spec.token_lines(plan, p["chunk"], int(p["tokens"]), left) for p in placed]
    assert lines_of_runs(board, *found) == wanted
    joined = plan.i.opcode in (DOWN, ATTENTION) or (
        plan.i.opcode != UP and plan.i.src_stride == plan.row_lines
    )
    if joined:
        counts = found[0].view(spec.PAIR)["first"]
        assert set(counts.tolist()) <= {0, 1}, "rows that follow each other are one run"


def test_plan_results(board, case):
    plan, (placed, _, targets, _) = walked(board, case)
    starts = placed["results"].copy()
    found = ask(board, "plan_results", case, placed["chunk"].copy(), starts, targets)
    left = targets.tolist()
    wanted = [spec.result_lines(plan, p["chunk"], int(p["results"]), left) for p in placed]
    assert lines_of_runs(board, *found[:2]) == wanted
    residual = plan.i.opcode in (LINEAR, CONV) and plan.i.store == Store.RESIDUAL
    assert lines_of_runs(board, *found[2:]) == (wanted if residual else [[] for _ in placed])


def random_runs(board, seed, size, distinct):
    """Counts and runs of some chunks within `size` lines of a bank."""
    rng = np.random.default_rng(seed)
    per_line = 64 // board.port_bytes
    places = rng.permutation(size // 4) if distinct else rng.integers(0, size // 4, 500)
    counts, runs, at = [], [], 0
    for number in (0, 5, 1, 16, 0, 17, 40):
        lengths = rng.integers(1, 16 // per_line + 1, number).tolist()
        starts = (4 * places[at : at + number]).tolist()
        if number == 1:
            starts, lengths = [size - 60], [60]
        at += number
        counts.append((number, sum(lengths)))
        runs += [(per_line * s, per_line * n) for s, n in zip(starts, lengths, strict=True)]
    wanted = [line for s, n in runs for line in range(s // per_line, (s + n) // per_line)]
    return np.array(counts, spec.PAIR), np.array(runs, spec.PAIR), wanted


@pytest.mark.parametrize("form", ["groups", "flat"])
def test_read_lines(board, form):
    flags = front_bench.QUICKLY
    if form == "flat":
        flags = (*flags, "-DM3VIT_FLAT_BURSTS")
        if board.name != "pynq-z2":
            pytest.skip("one board of the experimental form is enough")
    bank = np.random.default_rng(1).integers(0, 256, (1000, 64), dtype=np.uint8)
    counts, runs, wanted = random_runs(board, 2, 1000, distinct=False)
    case = (bank.reshape(-1), BankLayout(0, 0, 0, 0), Instruction(LINEAR))
    [found] = ask(board, "read_lines", case, counts, runs, flags=flags)
    assert found.tobytes() == bank[wanted].tobytes()


def test_write_lines(board):
    rng = np.random.default_rng(3)
    bank = rng.integers(0, 256, (1000, 64), dtype=np.uint8)
    counts, runs, places = random_runs(board, 4, 940, distinct=True)
    data = rng.integers(0, 256, (len(places), 64), dtype=np.uint8)
    wanted = bank.copy()
    for place, line in zip(places, data, strict=True):
        wanted[place] = line
    [found] = front_bench.bench("front.cpp", board.name, front_bench.QUICKLY).ask(
        b"write_lines", Instruction(LINEAR).encode(), bytes(4), bank, counts, runs, data
    )
    assert found.tobytes() == wanted.tobytes()


def test_read_weights(board):
    bank = np.random.default_rng(5).integers(0, 256, 64 * 300, dtype=np.uint8)
    beats = bank.reshape(-1, board.port_bytes)
    runs = [(7, 40), (3, 0), (len(beats) - 300, 300), (0, 1)]
    case = (bank, BankLayout(0, 0, 0, 0), Instruction(LINEAR))
    [found] = ask(board, "read_weights", case, np.array(runs, spec.PAIR))
    assert found.tobytes() == b"".join(beats[a : a + n].tobytes() for a, n in runs)


def beats_of_chunks(case, runs) -> bytes:
    """What a weight reader sends."""
    return b"".join(case[0][first : first + count].tobytes() for first, count in runs)


def test_widen(board, case):
    plan, (placed, *_) = walked(board, case)
    runs = spec.weight_runs(plan, placed, case[1].part_lines)
    beats = [beats_of_chunks(case, each) for each in runs]
    chunks = placed["chunk"].copy()
    tables, values, words, parameters = b"", b"", [b"", b""], [b"", b""]
    for number, entry in enumerate(placed):
        first, count = runs[0][2 * number]
        tables += case[0][first : first + count].tobytes()
        of_part = [runs[0][2 * number + 1], *(runs[part][number] for part in (1, 2, 3))]
        blobs = [case[0][first : first + count] for first, count in of_part]
        if plan.attention:
            keys = blobs[0].reshape(-1, 64)
            oh = board.out_par // 2
            padded = np.zeros((spec.ceil_div(len(keys), oh) * oh, 64), np.uint8)
            padded[: len(keys)] = keys
            pieces = padded.reshape(-1, oh, 64 // board.in_par, board.in_par)
            words[0] += pieces.swapaxes(1, 2).tobytes()
            values += blobs[2].tobytes()
        elif entry["chunk"]["tiles"]:
            rows = [blob.reshape(-1, 16 + 64 * plan.k_lines) for blob in blobs]
            for half in (0, 1):
                pair = rows[2 * half : 2 * half + 2]
                words[half] += spec.words(board, [row[:, 16:] for row in pair])
                parameters[half] += np.stack([row[:, :16] for row in pair], axis=1).tobytes()
    found = ask(board, "widen_a", case, chunks, beats[0], beats[1])
    assert [f.tobytes() for f in found] == [words[0], parameters[0], tables]
    found = ask(board, "widen_b", case, chunks, beats[2], beats[3])
    assert [f.tobytes() for f in found] == [words[1], parameters[1], values]


def test_window_and_split(board, case):
    plan, (placed, sources, *_) = walked(board, case)
    memory, left = case[0].reshape(-1, 64), sources.tolist()
    lines_in, windows, pieces = b"", b"", b""
    for entry in placed:
        chunk = entry["chunk"]
        places = spec.token_lines(plan, chunk, int(entry["tokens"]), left)
        rows = memory[places].reshape(spec.chunk_rows(plan, chunk), 64 * plan.row_lines)
        lines_in += rows.tobytes()
        if plan.i.opcode == CONV:
            rows = spec.neighbourhoods(plan, rows)
        windows += rows.tobytes()
        pieces += spec.split(plan, chunk, rows)
    chunks = placed["chunk"].copy()
    [found] = ask(board, "window", case, chunks, lines_in)
    assert found.tobytes() == windows
    to_a, to_b = ask(board, "split_tokens", case, chunks, windows)
    assert to_a.tobytes() == pieces
    assert to_b.tobytes() == (b"" if plan.attention else pieces)


@pytest.mark.parametrize("height, width, cols", [(1, 1, 64), (1, 5, 64), (5, 1, 64), (2, 2, 192)])
def test_window_of_small_maps(board, height, width, cols):
    case = Case(height).conv3x3(height, width, cols, 4, pad=-128)
    plan = spec.Plan(board, case[2])
    pixels = np.random.default_rng(6).integers(0, 256, (height * width, 64 * lines(cols)), np.uint8)
    chunk = np.zeros(2, spec.CHUNK)
    chunk["tiles"], chunk["rows"] = plan.tiles(height * width)
    two = np.concatenate([pixels, pixels[::-1]])
    wanted = np.concatenate([spec.neighbourhoods(plan, p) for p in (pixels, pixels[::-1])])
    bank, layout, instruction = case
    operands = dict(instruction.operands, cols_out=min(8192, 4 * board.first_groups + 4))
    if plan.most_groups == 0:
        pytest.skip("the board's weight memory is smaller")
    case = (bank, layout, Instruction(CONV, **operands))
    assert len(spec.Plan(board, case[2]).chunk_outputs()) == 2
    [found] = ask(board, "window", case, chunk, two)
    assert found.tobytes() == wanted.tobytes()


def test_bench_notices_what_is_left(board):
    """A line too many or too few, a beat that was requested and not taken."""
    case = CASES["gelu"]()
    plan, (placed, *_) = walked(board, case)
    total = sum(spec.chunk_rows(plan, p["chunk"]) for p in placed) * plan.row_lines
    for wrong in (total - 1, total + 1):
        with pytest.raises(AssertionError, match="the bench stopped"):
            ask(board, "window", case, placed["chunk"].copy(), bytes(64 * wrong))
    counts = np.array([(1, 3)], spec.PAIR)
    runs = np.array([(0, 2 * 64 // board.port_bytes)], spec.PAIR)
    for lines_left in (1, 3):
        with pytest.raises(AssertionError, match="the bench stopped"):
            ask(board, "write_lines", case, counts, runs, bytes(64 * lines_left))
