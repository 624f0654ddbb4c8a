# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole frames through the top function, on every board, and damaged programs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hls_pair import GUARD, examples, library_of, run_program
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Instruction, Opcode, Program, TaskEntry, TaskKind
from m3vit_pynq.compiler.build import random_frames, random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.hostlib import HostLibrary
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.machine import Machine


@functools.cache
def micro() -> Package:
    return random_package(get_config("micro"), seed=3)


def frame_of(seed: int) -> np.ndarray:
    return random_frames(micro().config, 1, seed)[0]


def reference(board: str, program: bytes, task: int, frame: np.ndarray, output_bytes: int):
    """(error, pc, output bytes) of the specification."""
    machine = Machine(get_board(board))
    machine.load(program, micro().weights)
    try:
        machine.run(task, frame, output_bytes)
    except AcceleratorError as error:
        return error.code, error.pc, machine.output
    except ValueError:  # no OUTPUT instruction
        pass
    return 0, 0, machine.output


@pytest.mark.parametrize("task", ["segmentation", "depth"])
@pytest.mark.parametrize("seed", [0, 1])
def test_whole_frames_on_every_board(task, seed):
    package, frame = micro(), frame_of(seed)
    entry = package.task(task)
    size = int(np.prod(entry.output_shape)) * np.dtype(entry.dtype).itemsize
    results = {}
    for board in BOARDS:
        registers, output = run_program(
            library_of(board), package.program, package.weights, entry.index, frame, size
        )
        assert (registers["error"], registers["error_pc"]) == (0, 0)
        results[board] = output
    code, _, expected = reference("zcu104", package.program, entry.index, frame, size)
    assert code == 0
    assert len(np.unique(expected)) > 1
    for board, output in results.items():
        np.testing.assert_array_equal(output, expected, err_msg=board)


def test_state_does_not_leak_between_frames_and_tasks():
    package = micro()
    library = library_of("zcu104")
    sizes = [
        int(np.prod(t.output_shape)) * np.dtype(t.dtype).itemsize
        for t in map(package.task, package.task_names)
    ]
    frames = [frame_of(seed) for seed in range(2)]

    def run(task: int, frame: np.ndarray) -> bytes:
        return run_program(
            library, package.program, package.weights, task, frame, sizes[task]
        )[1].tobytes()  # fmt: skip

    first = {(t, f): run(t, frames[f]) for t in range(2) for f in range(2)}
    assert len(set(first.values())) == 4
    for key in [(1, 1), (0, 0), (0, 1), (1, 0), (1, 0)]:
        assert run(key[0], frames[key[1]]) == first[key]


@settings(max_examples=examples(60), deadline=None, database=None)
@given(data=st.data())
def test_damaged_programs(data):
    """Any bytes changed: the same refusal at the same place, or none.

    The picture of an accepted program is compared if its instructions are the
    same; others may read bytes that are unspecified.
    """
    package = micro()
    frame = frame_of(0)
    program = bytearray(package.program)
    in_header = data.draw(st.booleans(), "in the header")
    for _ in range(data.draw(st.integers(1, 3), "count")):
        last = (99 if in_header else len(program)) - 1
        program[data.draw(st.integers(0, last), "position")] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(program)), st.integers(0, len(program))), "length")
    program = bytes(program[:length])
    task = data.draw(st.integers(0, 2), "task")
    library = library_of("pynq-z2")
    size = 32 * 48 * 2
    registers, output = run_program(library, program, package.weights, task, frame, size)
    code, pc, expected = reference("pynq-z2", program, task, frame, size)
    assert (registers["error"], registers["error_pc"]) == (code, pc)
    entry = slice(64 + 16 * task + 4, 64 + 16 * task + 12)  # first, count
    if code == 0 and in_header and program[entry] == package.program[entry]:
        written = output != GUARD
        np.testing.assert_array_equal(output[written], expected[written])


def program_of(*instructions: Instruction, count: int | None = None, first: int = 0) -> bytes:
    length = len(instructions) if count is None else count
    entry = TaskEntry(TaskKind.CLASSES, first, length, 0)
    return Program(8, 8, 0, (entry,), instructions).encode()


END = Instruction(Opcode.END)
GATE = Instruction(Opcode.GATE, rows=1, experts=1, top_k=1, src=0, src_stride=1)


def error_of(program: bytes, command: int = 1, task: int = 0) -> tuple[int, int]:
    registers, _ = run_program(
        library_of("zcu104"), program, np.zeros((4, 0), np.uint8), task,
        np.zeros(0, np.uint8), 0, command,
    )  # fmt: skip
    return registers["error"], registers["error_pc"]


def test_checks_before_the_first_instruction():
    good = program_of(GATE, END)

    def patched(offset: int, value: int) -> bytes:
        return good[:offset] + value.to_bytes(4, "little") + good[offset + 4 :]

    assert error_of(good) == (ErrorCode.OK, 0)
    assert error_of(good, command=2) == (ErrorCode.BAD_COMMAND, 0)
    assert error_of(good[:319]) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(0, 1)) == (ErrorCode.BAD_MAGIC, 0)
    assert error_of(patched(4, ABI_VERSION + 1)) == (ErrorCode.BAD_ABI, 0)
    assert error_of(patched(8, 17)) == (ErrorCode.BAD_TASK, 0)
    assert error_of(good, task=1) == (ErrorCode.BAD_TASK, 0)
    assert error_of(patched(12, 3)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(12, 4097)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(64 + 8, 0)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(64 + 4, 0xFFFFFFFF)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(good[:-1]) == (ErrorCode.PROGRAM_RANGE, 0)


def test_error_pc_is_absolute():
    bad = Instruction(Opcode.GATE, rows=0, experts=1, top_k=1, src=0, src_stride=1)
    assert error_of(program_of(END, GATE, bad, END, first=1, count=3)) == (ErrorCode.SHAPE, 2)
    assert error_of(program_of(END, GATE, GATE, first=1, count=2)) == (ErrorCode.PROGRAM_RANGE, 3)


def test_queues_are_empty_at_the_start_of_a_run():
    library = library_of("zcu104")
    assert error_of(program_of(GATE, END)) == (0, 0)
    assert library.queues.rows == 1
    assert error_of(program_of(END)) == (0, 0)
    assert library.queues.rows == 0


@pytest.mark.parametrize("name", BOARDS)
def test_identification(name):
    board = get_board(name)
    registers = library_of(name).accel(0, 0, 0, 0, 0, (0, 0, 0, 0), 0, 0, 0, 0)
    assert registers == {
        "magic": MAGIC, "abi_version": ABI_VERSION, "config": board.config_word,
        "act_lines": board.act_lines, "residual_elements": board.residual_elements,
        "weight_tile_beats": board.weight_tile_beats, "queue_entries": board.queue_entries,
        "score_elements": board.score_elements, "error": 0, "error_pc": 0, "cycles_low": 0,
        "cycles_high": 0,
    }  # fmt: skip


def test_libraries_do_not_share_memories():
    one = library_of("zcu104")
    other = HostLibrary(one.path)
    one.residual[5] = 1234
    assert other.residual[5] == 0


def test_cycles_of_a_frame():
    package = micro()
    for board in BOARDS:
        library = library_of(board)
        registers, _ = run_program(
            library, package.program, package.weights, 0, frame_of(0), 32 * 48
        )
        records = library.cycles()
        instructions = Program.decode(package.program).instructions
        entry = Program.decode(package.program).tasks[0]
        executed = instructions[entry.first : entry.first + entry.count - 1]
        assert [r.opcode for r in records] == [i.opcode for i in executed]
        total = registers["cycles_low"] | registers["cycles_high"] << 32
        assert total == sum(r.total for r in records)
        # Each weight of a dense layer passes the ports exactly once.
        dense = sum(
            4 * 16 * -(-i.cols_out // 4) * (1 + 4 * -(-i.cols_in // 64))
            for i in executed if i.opcode == Opcode.LINEAR
        )  # fmt: skip
        assert sum(r.bytes for r in records) > dense
        for record in records:
            assert record.compute + record.stall <= record.total
            if record.opcode in (Opcode.LINEAR, Opcode.CONV3X3, Opcode.ATTENTION):
                assert record.compute > 0


def test_multiply_cycles_are_products_over_peak():
    """Full tiles: the engine does exactly TOKENS_PAR x OUT_PAR x IN_PAR products a cycle."""
    for board in map(get_board, BOARDS):
        library = library_of(board.name)
        library.clear()
        weights = np.zeros((4, 16 * 16 * 13), dtype=np.uint8)
        instruction = Instruction(
            Opcode.LINEAR, rows=64, cols_in=192, cols_out=64, src=0, src_stride=3, dst=1000,
            dst_stride=1, weights=0,
        )  # fmt: skip
        assert library.step(instruction, weights) == ErrorCode.OK
        (record,) = library.cycles()
        assert record.compute == 64 * 192 * 64 // board.macs_per_cycle
        assert record.bytes == weights.size
        transfer = weights.size / board.dram_bytes_per_cycle
        assert record.load >= transfer
        assert record.total >= max(record.compute, record.load)
