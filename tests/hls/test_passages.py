# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Passages of weights through the ping-pong: complete, in order, and of the right experts."""

from __future__ import annotations

import functools
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hls_pair import library_of, run_program

from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Instruction, Opcode, Program, Store, TaskEntry, TaskKind, lines
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.compiler.build import random_frames, random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.hostlib import HostLibrary
from m3vit_pynq.package import Package
from m3vit_pynq.reference.machine import Machine

LAYERS = (Opcode.LINEAR, Opcode.CONV3X3, Opcode.EXPERTS)
EXPERTS = 16
#: Queue of every expert of `run_by_hand`: many tokens, few, or none, the first and last without.
QUEUES = [0, 17, 1, 0, 0, 24, 8, 3, 0, 1, 1, 0, 33, 31, 1, 0]


@functools.cache
def micro() -> Package:
    return random_package(get_config("micro"), seed=3)


def run_micro(board: str, task: str, seed: int = 0) -> HostLibrary:
    entry = micro().task(task)
    registers, _ = run_program(
        library_of(board), micro().program, micro().weights, entry.index,
        random_frames(micro().config, 1, seed)[0], entry.output_bytes,
    )  # fmt: skip
    assert registers["error"] == 0
    return library_of(board)


def run_instructions(board: str, *instructions: Instruction, weight_bytes: int) -> HostLibrary:
    """A program on weights of zero and on the scores that the library holds."""
    entry = TaskEntry(TaskKind.CLASSES, 0, len(instructions) + 1, 0)
    program = Program(8, 8, 0, (entry,), (*instructions, Instruction(Opcode.END))).encode()
    registers, _ = run_program(
        library_of(board), program, np.zeros((4, weight_bytes), np.uint8), 0,
        np.zeros(0, np.uint8), 0,
    )  # fmt: skip
    assert (registers["error"], registers["error_pc"]) == (0, 0)
    return library_of(board)


def choose(library: HostLibrary, queues: list[int]) -> Instruction:
    """Scores that give each expert a queue of this length, and the GATE that reads them."""
    chosen = np.repeat(np.arange(len(queues)), queues)
    scores = np.zeros((len(chosen), len(queues)), np.int32)
    scores[np.arange(len(chosen)), chosen] = 1 << 20
    library.scores[: scores.size] = scores.reshape(-1)
    return Instruction(
        Opcode.GATE, rows=len(chosen), experts=len(queues), top_k=1, src=0, src_stride=len(queues)
    )


def run_by_hand(board: str) -> HostLibrary:
    """Layers of several chunks each, a prefetch behind LAYERNORM, and idle experts."""
    library = library_of(board)
    library.clear()
    gate = choose(library, QUEUES)
    rows, cols, wide = sum(QUEUES), 192, 600
    common = {"rows": rows, "weights": 0}
    return run_instructions(
        board,
        Instruction(Opcode.LAYERNORM, rows=rows, cols_in=cols, src=0, src_stride=cols, dst=0,
                    dst_stride=3, table=0, shift_a=1, eps_low=1),
        Instruction(Opcode.LINEAR, cols_in=cols, cols_out=wide, src=0, src_stride=3, dst=1000,
                    dst_stride=lines(wide), **common),
        Instruction(Opcode.LINEAR, cols_in=wide, cols_out=cols, src=1000, src_stride=lines(wide),
                    dst=0, dst_stride=cols, store=Store.RESIDUAL, **common),
        gate,
        Instruction(Opcode.EXPERTS, experts=EXPERTS, top_k=1, cols_in=cols, hidden=300,
                    cols_out=cols, src=0, src_stride=3, dst=0, dst_stride=cols, scratch=1000,
                    scratch_stride=5, expert_beats=64, table=0, **common),
        weight_bytes=16 << 14,
    )  # fmt: skip


RUNS = {
    "segmentation": lambda board: run_micro(board, "segmentation"),
    "depth": lambda board: run_micro(board, "depth"),
    "by hand": run_by_hand,
}


@pytest.fixture(params=RUNS)
def run(request):
    """A function from the name of a board to its library after a run."""
    return RUNS[request.param]


def spans_of(library: HostLibrary) -> dict[int, tuple[int, int]]:
    """First and last cycle of every instruction."""
    records = library.cycles()
    edges = pairwise(accumulate((r.total for r in records), initial=0))
    return {record.pc: edge for record, edge in zip(records, edges, strict=True)}


def stalls_of(library: HostLibrary) -> dict[int, int]:
    """Cycles of waiting by the instruction in which they pass."""
    spans, stalls, before = spans_of(library), dict.fromkeys(spans_of(library), 0), None
    for passage in library.passages().records:
        if before is not None and passage.load_start == before.compute_start:
            stalls[before.pc] += max(0, passage.load_end - before.compute_end)
        elif passage.load_start >= spans[passage.pc][0]:
            stalls[passage.pc] += passage.load_end - passage.load_start
        before = passage
    return stalls


@pytest.mark.parametrize("board", BOARDS)
def test_passages_account_for_every_cycle_of_an_instruction(board, run):
    """Load, computation and stall of a record are exactly those of its chunks."""
    library = run(board)
    spans, stalls, log = spans_of(library), stalls_of(library), library.passages()
    assert log.complete and log.records
    for record in library.cycles():
        start, end = spans[record.pc]
        arrived = sum(p.load_end - p.load_start for p in log.records if start <= p.load_start < end)
        if record.opcode in LAYERS:
            assert sum(p.multiply for p in log.of_instruction(record.pc)) == record.compute > 0
            assert arrived == record.load
        else:
            assert log.of_instruction(record.pc) == ()
            assert arrived <= record.load  # the frame and tables of LAYERNORM arrive too
        assert stalls[record.pc] == record.stall


@pytest.mark.parametrize("board", BOARDS)
def test_passages_lie_inside_their_instruction(board, run):
    library = run(board)
    spans = spans_of(library)
    before = {pc: spans.get(pc - 1, spans[pc]) for pc in spans}
    early = 0
    for passage in library.passages().records:
        start, end = spans[passage.pc]
        assert start <= passage.compute_start < passage.compute_end <= end
        assert 0 < passage.multiply <= passage.compute_end - passage.compute_start
        owner = spans[passage.pc] if passage.load_start >= start else before[passage.pc]
        assert owner[0] <= passage.load_start < passage.load_end <= owner[1]
        early += passage.load_start < start
    assert early > 0  # some weights are fetched during the instruction before


@pytest.mark.parametrize("board", BOARDS)
def test_the_halves_take_turns(board, run):
    records = run(board).passages().records
    assert [passage.half for passage in records] == [i % 2 for i in range(len(records))]


@pytest.mark.parametrize("board", BOARDS)
def test_no_half_is_overwritten_while_it_is_needed(board, run):
    """A chunk is there before the engine starts with it, and stays until it has ended."""
    records = run(board).passages().records
    for half in (0, 1):
        mine = [passage for passage in records if passage.half == half]
        assert all(p.load_end <= p.compute_start for p in mine)
        assert all(a.compute_end <= b.load_start for a, b in pairwise(mine))
    assert all(a.compute_end <= b.compute_start for a, b in pairwise(records))  # one engine
    assert all(a.load_end <= b.load_start for a, b in pairwise(records))  # one set of ports


def multiply_cycles(board: str, tokens: int, columns: int, outputs: int) -> int:
    """Of a layer, at the engine's peak on whole tiles of tokens, lines and groups of outputs."""
    b = get_board(board)
    padded = -(-tokens // b.tokens_par) * b.tokens_par
    return padded * lines(columns) * 64 * -(-outputs // 4) * 4 // b.macs_per_cycle


@pytest.mark.parametrize("board", BOARDS)
def test_experts_are_those_with_tokens(board):
    """By hand: idle experts do not appear, and each computes for as long as its queue takes."""
    passages = run_by_hand(board).passages()
    assert {p.expert for p in passages.of_instruction(1) + passages.of_instruction(2)} == {None}
    members = passages.of_instruction(4)
    assert list(dict.fromkeys(p.expert for p in members)) == [
        expert for expert, tokens in enumerate(QUEUES) if tokens
    ]
    for expert in dict.fromkeys(p.expert for p in members):
        mine = [p for p in members if p.expert == expert]
        layers = [p.second for p in mine]
        assert layers == sorted(layers) and set(layers) == {False, True}
        shapes = {False: (192, 300), True: (300, 192)}
        for second, shape in shapes.items():
            spent = sum(p.multiply for p in mine if p.second == second)
            assert spent == multiply_cycles(board, QUEUES[expert], *shape)
    assert max(len([p for p in members if p.expert == e]) for e in range(EXPERTS)) > 2


@pytest.mark.parametrize("task", ["segmentation", "depth"])
@pytest.mark.parametrize("seed", [0, 1])
def test_experts_of_a_frame_are_those_of_the_specification(task, seed):
    """The queues of the integer machine, at every EXPERTS of the program."""
    expected: dict[int, list[tuple[int, int]]] = {}

    def observe(pc: int, instruction: Instruction, machine: Machine) -> None:
        if instruction.opcode == Opcode.EXPERTS:
            shapes = (instruction.cols_in, instruction.hidden), (
                instruction.hidden, instruction.cols_out,
            )  # fmt: skip
            expected[pc] = [
                (expert, sum(multiply_cycles("zcu104", len(queue), *shape) for shape in shapes))
                for expert, queue in enumerate(machine.queues.tokens) if len(queue)
            ]  # fmt: skip

    machine = Machine()
    machine.load(micro().program, micro().weights)
    machine.observer = observe
    machine.run(micro().task(task).index, random_frames(micro().config, 1, seed)[0])
    spent: dict[int, dict[int, int]] = {}
    for passage in run_micro("zcu104", task, seed).passages().records:
        if passage.expert is not None:
            of = spent.setdefault(passage.pc, {})
            of[passage.expert] = of.get(passage.expert, 0) + passage.multiply
    assert {pc: list(of.items()) for pc, of in spent.items()} == expected
    assert expected


def test_a_full_log_says_what_it_left_out():
    """16384 fit. Those that come later are counted, and no cycle of theirs is lost."""
    library = library_of("pynq-z2")
    library.clear()
    gate = choose(library, [1] * 64)
    experts = Instruction(
        Opcode.EXPERTS, rows=64, experts=64, top_k=1, cols_in=4, hidden=4, cols_out=4, src=0,
        src_stride=1, dst=0, dst_stride=4, scratch=100, scratch_stride=1, weights=0,
        expert_beats=10, table=0,
    )  # fmt: skip
    run_instructions("pynq-z2", gate, *[experts] * 130, weight_bytes=16 * 1024)
    log = library.passages()
    assert len(log.records) == 16384
    assert log.dropped == 130 * 64 * 2 - 16384 and not log.complete
    assert log.records[-1].pc == 128  # of 128 chunks each, after the GATE
    records = library.cycles()
    assert len(records) == 131
    # Alike, but for the first, whose weights nothing hides, and the last, which fetches none.
    assert len({(r.total, r.compute, r.load, r.stall) for r in records[2:-1]}) == 1
    run_micro("pynq-z2", "depth")
    assert library.passages().complete


def test_a_run_without_weights_leaves_no_passages():
    run_micro("pynq-z2", "depth")
    library = library_of("pynq-z2")
    library.accel(Command.IDENTIFY, 0, 0, 0, 0, (0, 0, 0, 0), 0, 0, 0, 0)
    assert library.passages().records == () and library.passages().dropped == 0


def test_a_single_step_has_its_passages():
    library = library_of("pynq-z2")
    library.clear()
    linear = Instruction(
        Opcode.LINEAR, rows=8, cols_in=64, cols_out=4, src=0, src_stride=1, dst=100, dst_stride=1,
        weights=0,
    )  # fmt: skip
    assert library.step(linear, np.zeros((4, 16 * 5), np.uint8)) == ErrorCode.OK
    (passage,) = library.passages().records
    assert (passage.pc, passage.expert, passage.second, passage.half) == (0, None, False, 0)
    (record,) = library.cycles()
    assert passage.load_end == passage.compute_start  # nothing hides the first load
    assert passage.load_end - passage.load_start == record.load == record.stall
    assert passage.compute_end == record.total
