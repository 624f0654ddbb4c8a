# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes that go through the HLS compiler: their streams, and tests that give vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import recorded
from recorded import Board, Vector

# isort: split
import arith_bench
import front_bench
import test_arith_attention as attention
import test_arith_engine as engine
import test_arith_finish as finish
import test_front_processes as front
import test_row_maps as maps
import test_row_norm_gate as rows
from pass_cases import Case

from m3vit_pynq.abi.isa import Opcode, Store


@dataclass(frozen=True)
class Process:
    """A process and its arguments.

    Arguments of `call` are the streams' names, the job's and `memory`. Each input names
    the recorded array that fills it (the same one may fill two). `scalars` are further
    arguments: an expression for the bench, `size(i)` being the bytes of input i.
    """

    name: str
    header: str
    job: str  # "matrix", or a member of RowJob, or "" for none
    inputs: tuple[tuple[str, str, int], ...]  # name, type, place in the vector
    outputs: tuple[tuple[str, str], ...]
    call: str
    scalars: tuple[tuple[str, str], ...] = ()
    port: str = ""  # "read" or "write"
    records: str = ""  # name in the tests, if another
    vectors: int = 6  # at most so many

    @property
    def recorded_as(self) -> str:
        return self.records or self.name


def streams(*pairs: str) -> tuple[tuple[str, str, int], ...]:
    """Inputs from "type name", in the order of the recorded arrays."""
    return tuple((p.split()[1], p.split()[0], i) for i, p in enumerate(pairs))


def outs(*pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple((p.split()[1], p.split()[0]) for p in pairs)


def _engine(name: str, second: str) -> Process:
    return Process(
        name, "engine.h", "matrix",
        (("fill_chunks", "Chunk", 0), ("compute_chunks", "Chunk", 0), ("words", "Word", 1),
         ("tokens", "Piece", 2)),
        outs("Result results"),
        f"engine_half<{second}>(job, job.chunks, fill_chunks, compute_chunks, words, tokens, "
        "results)", vectors=5,
    )  # fmt: skip


PROCESSES = [
    Process(
        "packed_product", "packed_product.h", "",
        streams("int16_t first", "int16_t second", "int16_t weights"),
        outs("int32_t product1", "int32_t product0"),
        "products(count, first, second, weights, product1, product0)",
        scalars=(("count", "size(0) / 2 / CHAIN"),),
    ),
    _engine("engine_a", "false"),
    _engine("engine_b", "true"),
    Process(
        "read_lines", "runs.h", "", streams("Runs counts", "Run runs"), outs("Line lines"),
        "read_lines(chunks, Port<PortBeat>(memory), counts, runs, lines)",
        scalars=(("chunks", "size(0) / 8"),), port="read",
    ),
    Process(
        "softmax", "softmax.h", "matrix", streams("Result scores"),
        outs("Piece probabilities", "Sums sums"), "softmax(job, scores, probabilities, sums)",
        vectors=8,
    ),
    Process(
        "invert_sums", "inverse.h", "matrix", streams("Sums sums"), outs("Scales scales"),
        "invert_sums(job, sums, scales)", records="invert", vectors=4,
    ),
    Process(
        "transpose", "transpose.h", "matrix", streams("PortBeat values"), outs("Word turned"),
        "transpose(job, values, turned)",
    ),
    Process(
        "finish_unit", "finish.h", "matrix",
        (("parameter_chunks", "Chunk", 0), ("finish_chunks", "Chunk", 0),
         ("parameters_a", "Bytes<BEAT>", 1), ("parameters_b", "Bytes<BEAT>", 2),
         ("tables", "Line", 3), ("results_a", "Result", 4), ("results_b", "Result", 5),
         ("scales", "Scales", 6), ("gates", "Gates", 7)),
        outs("Line finished"),
        "finish_unit(job, job.chunks, parameter_chunks, finish_chunks, parameters_a, "
        "parameters_b, tables, results_a, results_b, scales, gates, finished)",
        records="finish", vectors=8,
    ),
    Process(
        "reorder", "reorder.h", "matrix", streams("Chunk chunks", "Line finished"),
        outs("Line ordered"), "reorder(job, job.chunks, chunks, finished, ordered)",
    ),
    Process(
        "merge", "merge.h", "matrix",
        streams("Chunk chunks", "Line ordered", "Line residual_lines"), outs("Line stored"),
        "merge(job, job.chunks, chunks, ordered, residual_lines, stored)",
    ),
    Process(
        "read_weights", "read_weights.h", "", streams("Run runs"), outs("PortBeat beats"),
        "read_weights<2>(chunks, Port<PortBeat>(memory), runs, beats)",
        scalars=(("chunks", "size(0) / 16"),), port="read",
    ),
    Process(
        "write_lines", "runs.h", "", streams("Runs counts", "Run runs", "Line lines"), (),
        "write_lines(chunks, Port<PortBeat>(memory), counts, runs, lines)",
        scalars=(("chunks", "size(0) / 8"),), port="write",
    ),
    Process(
        "norm_root", "norm_root.h", "norm", streams("Radicand radicands"),
        outs("RowScale roots"), "norm_root(job, radicands, roots)",
    ),
    Process(
        "norm_inverse", "norm_root.h", "norm", streams("RowScale roots"),
        outs("RowScale inverses"), "norm_inverse(job, roots, inverses)",
    ),
    Process(
        "normalise", "normalise.h", "norm",
        streams("PortBeat table", "PortBeat waiting", "RowScale inverses"),
        outs("PortBeat normalised"), "normalise(job, table, waiting, inverses, normalised)",
    ),
    Process(
        "norm_stats", "norm_stats.h", "norm", streams("PortBeat completed"),
        outs("PortBeat waiting", "Moments moments"),
        "norm_stats(job, completed, waiting, moments)",
    ),
    Process(
        "norm_scale", "norm_stats.h", "norm", streams("Moments moments"),
        outs("Radicand radicands"), "norm_scale(job, moments, radicands)",
    ),
    Process(
        "combine", "combine.h", "norm",
        streams("PortBeat rows", "PortBeat slots0", "PortBeat slots1", "PortBeat slots2",
                "PortBeat slots3"),
        outs("PortBeat completed", "PortBeat updated"),
        "combine(job, rows, slots0, slots1, slots2, slots3, completed, updated)",
    ),
    Process(
        "gate_divide", "gate.h", "gate", streams("Line decided", "uint32_t totals"),
        outs("PortBeat entries"), "gate_divide(job, decided, totals, entries)",
    ),
    Process(
        "gate_select", "gate.h", "gate", streams("PortBeat rows"),
        outs("int32_t logits", "Line decisions"), "gate_select(job, rows, logits, decisions)",
    ),
    Process(
        "gate_sum", "gate.h", "gate", streams("int32_t logits", "Line decisions"),
        outs("Line decided", "uint32_t totals"),
        "gate_sum(job, logits, decisions, decided, totals)",
    ),
    Process(
        "upsample", "upsample.h", "upsample", streams("Corners corners"),
        outs("PortBeat upsampled"), "upsample(job, corners, upsampled)",
    ),
    Process(
        "classes", "classes.h", "classes", streams("Corners corners"), outs("uint8_t ids"),
        "classes(job, corners, ids)",
    ),
    Process(
        "depth", "depth.h", "depth", streams("Corners corners"), outs("uint16_t distances"),
        "depth(job, corners, distances)",
    ),
    Process(
        "window", "window.h", "matrix", streams("Chunk chunks", "Line lines"),
        outs("Line windows"), "window(job, chunks, lines, windows)",
    ),
    Process(
        "split_tokens", "split_tokens.h", "matrix", streams("Chunk chunks", "Line windows"),
        outs("Piece lines_a", "Piece lines_b"),
        "split_tokens(job, chunks, windows, lines_a, lines_b)",
    ),
    Process(
        "widen_a", "widen.h", "matrix",
        streams("Chunk chunks", "PortBeat even", "PortBeat odd"),
        outs("Word words", "Bytes<BEAT> parameters", "Line tables"),
        "widen_a(job, chunks, even, odd, words, parameters, tables)",
    ),
    Process(
        "widen_b", "widen.h", "matrix",
        streams("Chunk chunks", "PortBeat even", "PortBeat odd"),
        outs("Word words", "Bytes<BEAT> parameters", "PortBeat values"),
        "widen_b(job, chunks, even, odd, words, parameters, values)",
    ),
    Process(
        "plan_tokens", "read_tokens.h", "matrix",
        streams("Chunk chunks", "uint32_t starts", "uint32_t sources"),
        outs("Runs counts", "Run runs"),
        "plan_tokens(job, chunks, starts, sources, counts, runs)",
    ),
    Process(
        "plan_results", "plan_results.h", "matrix",
        streams("Chunk chunks", "uint32_t starts", "uint32_t targets"),
        outs("Runs counts", "Run runs", "Runs residual_counts", "Run residual_runs"),
        "plan_results(job, chunks, starts, targets, counts, runs, residual_counts, "
        "residual_runs)",
    ),
    Process(
        "walk", "walk.h", "matrix", (),
        outs("PlacedChunk placed", "uint32_t sources", "uint32_t targets", "Gates gates"),
        "walk(job, Port<PortBeat>(memory), placed, sources, targets, gates)", port="read",
    ),
    Process(
        "neighbours", "neighbours.h", "map", streams("PortBeat pixels"),
        outs("Corners to_upsample", "Corners to_classes", "Corners to_depth"),
        "neighbours(job, pixels, to_upsample, to_classes, to_depth)",
    ),
    Process(
        "pack_result", "pack_result.h", "result",
        streams("uint8_t ids", "uint16_t distances"), outs("PortBeat image"),
        "pack_result(job, ids, distances, image)",
    ),
    Process(
        "patches", "patches.h", "patches", streams("PortBeat pixels"), outs("PortBeat rows"),
        "patches(job, pixels, rows)",
    ),
]  # fmt: skip


def products(board: Board) -> Vector:
    """Operands of the packed product: all signs and extremes, the rest drawn."""
    rng = np.random.default_rng(1)
    chain = 1 << (board.multiplier_bits - 25)  # products that one sum has
    ends, weights = (-128, -1, 0, 1, 127, 128, 255), (-128, -1, 0, 1, 127)
    corners = [(a, b, w) for a in ends for b in ends for w in weights]
    drawn = np.stack([rng.integers(-128, 256, 1003), rng.integers(-128, 256, 1003),
                      rng.integers(-128, 128, 1003)], axis=1)  # fmt: skip
    operands = np.concatenate([np.repeat(corners, chain, axis=0), drawn])
    first, second, weight = operands[: len(operands) // chain * chain].T
    sums = [(a * weight).reshape(-1, chain).sum(axis=1) for a in (first, second)]
    nothing = np.zeros(0, np.uint8)
    inputs, outputs = (
        tuple(np.frombuffer(a.astype(kind).tobytes(), np.uint8) for a in arrays)
        for kind, arrays in (("<i2", (first, second, weight)), ("<i4", sums))
    )
    return Vector("packed_product", {}, b"", 0, nothing, nothing, inputs, outputs)


def _unit(board: Board):
    return arith_bench.bench(board.name)


def _row(board: Board):
    return front_bench.bench(rows.SOURCE, board.name)


def _front_cases() -> list:
    up, down = Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN
    return [
        Case(1).linear(5, 70, 70, store=Store.ACT16, src_stride=3),
        Case(4).linear(3, 64, 140, planar=True, dst_gap=3, activation=2),
        Case(6).linear(5, 64, 100, store=Store.RESIDUAL),
        Case(8).conv3x3(3, 4, 64, 20, src_stride=2),
        Case(10).attention(5, 5, 16, src_gap=2, dst_gap=1),
        Case(12).experts(up, 7, 3, 2, 64, 70, activation=2, src_stride=4),
        Case(14).experts(down, 7, 3, 2, 64, 70, first_slot=2),
        Case(15).experts(down, 9, 3, 8, 64, 64, "range"),
    ]


def _front(name: str, cases: slice = slice(None)) -> list[Callable[[Board], None]]:
    test = getattr(front, name)
    return [lambda board, case=case: test(board, case) for case in _front_cases()[cases]]


_EVERY: dict[tuple[str, ...], list[Callable[[Board], None]]] = {
    ("engine_a",): [
        lambda b: engine.test_layers(_unit(b), [(1, 4, 64), (0, 4, 64), (3, 9, 64)], 0),
        lambda b: engine.test_layers(_unit(b), [(2, 3, 192), (2, 17, 192)], 0),
        lambda b: engine.test_scores(_unit(b), 3, 2, 32),
        lambda b: engine.test_scores(_unit(b), 17, 4, 16),
    ],
    ("engine_b",): [
        lambda b: engine.test_layers(_unit(b), [(1, 4, 64), (0, 4, 64), (3, 9, 64)], 1),
        lambda b: engine.test_values(_unit(b), 3, 2, 32, 2),
        lambda b: engine.test_values(_unit(b), 65, 1, 32, 1),
        lambda b: engine.test_values(_unit(b), 17, 4, 16, 2),
    ],
    ("softmax",): [
        lambda b: attention.test_softmax(_unit(b), 7, 2, 1),
        lambda b: attention.test_softmax(_unit(b), 7, 2, 2),
        lambda b: attention.test_softmax(_unit(b), 3, 1, 1),
    ],
    ("invert",): [
        lambda b: attention.test_scales(_unit(b), 1),
        lambda b: attention.test_scales(_unit(b), 2),
    ],
    ("transpose",): [
        lambda b: attention.test_transpose(_unit(b), 3, 1, 16),
        lambda b: attention.test_transpose(_unit(b), 65, 5, 16),
    ],
    ("finish",): [
        *(lambda b, c=c: finish.test_layers(_unit(b), *c) for c in (
            ("linear", "act8", 1, True), ("up", "act8", 2, False), ("linear", "residual", 0, True),
            ("linear", "scores", 0, False), ("down", "act8", 0, True))),
        lambda b: finish.test_attention(_unit(b), 3, 16, 2),
        lambda b: finish.test_attention(_unit(b), 1, 16, 1),
    ],
    ("reorder",): [
        lambda b: finish.test_reorder(_unit(b), "act8", 3, 1),
        lambda b: finish.test_reorder(_unit(b), "act8", 1000, 1),
        lambda b: finish.test_reorder(_unit(b), "scores", 700, 0),
    ],
    ("merge",): [
        lambda b: finish.test_merge(_unit(b), 40),
        lambda b: finish.test_merge(_unit(b), 544),
        lambda b: finish.test_merge_lets_others_pass(_unit(b), "down"),
    ],
    ("read_lines",): [lambda b: front.test_read_lines(b, "groups")],
    ("write_lines",): [front.test_write_lines],
    ("read_weights",): [front.test_read_weights],
    ("norm_root", "norm_inverse"): [lambda b: rows.test_norm_root_and_inverse(_row(b))],
    ("normalise",): [
        lambda b: rows.test_normalise(_row(b), 5, 8, 20),
        lambda b: rows.test_normalise(_row(b), 3, 33, 1),
        lambda b: rows.test_normalise(_row(b), 1, 192, 31),
    ],
    ("norm_stats",): [
        lambda b: rows.test_norm_stats(_row(b), 5, 8, "noise"),
        lambda b: rows.test_norm_stats(_row(b), 2, 1000, "lowest"),
    ],
    ("norm_scale",): [
        lambda b: rows.test_norm_scale(_row(b), 192, 12345),
        lambda b: rows.test_norm_scale(_row(b), 1, (1 << 63) - 1),
    ],
    ("combine",): [
        lambda b: rows.test_combine(_row(b), 5, 8, 0),
        lambda b: rows.test_combine(_row(b), 3, 33, 5),
        lambda b: rows.test_combine(_row(b), 3, 31, 16),
    ],
    ("gate_select", "gate_sum", "gate_divide"): [
        lambda b: rows.test_gate(_row(b), 7, 5, 5, "near", 0),
        lambda b: rows.test_gate(_row(b), 9, 16, 2, "ties", 1),
        lambda b: rows.test_gate(_row(b), 5, 17, 8, "extreme", 0),
    ],
    ("upsample",): [lambda b: maps.test_upsample(b, 16), lambda b: maps.test_upsample(b, 65)],
    ("classes",): [
        lambda b: maps.test_classes(b, 15, 2, 0, 1 << 15),
        lambda b: maps.test_classes(b, 40, 4, 1, 1 << 15),
        lambda b: maps.test_classes(b, 16, 1, 0, 1),
    ],
    ("depth",): [lambda b: maps.test_depth(b, 2), lambda b: maps.test_depth(b, 4)],
    ("neighbours",): [
        lambda b: maps.test_neighbours(b, 3, 4, 0, 70, 2, 0),
        lambda b: maps.test_neighbours(b, 3, 4, 1, 33, 4, 1),
        lambda b: maps.test_neighbours(b, 5, 1, 2, 1, 1, 0),
    ],
    ("pack_result",): [
        lambda b: maps.test_pack_result(b, 8, 8, False),
        lambda b: maps.test_pack_result(b, 8, 8, True),
    ],
    ("patches",): [
        lambda b: maps.test_patches(b, 2, 2, 7),
        lambda b: maps.test_patches(b, 7, 2, 9),
    ],
    ("window", "split_tokens"): _front("test_window_and_split"),
    ("widen_a", "widen_b"): _front("test_widen"),
    ("plan_tokens",): _front("test_plan_tokens"),
    ("plan_results",): _front("test_plan_results"),
    ("walk",): _front("test_walk"),
}  # fmt: skip


def vectors_of(process: Process, board: Board, folder) -> list[Vector]:
    """Vectors of a process; the tests that give them must pass on the way."""
    if process.name == "packed_product":
        return [products(board)]
    calls = next(c for names, c in _EVERY.items() if process.recorded_as in names)
    found = recorded.record(board, folder, calls)
    return [v for v in found if v.process == process.recorded_as][: process.vectors]
