# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole frames through the top function, on every board, and damaged programs."""

from __future__ import annotations

import functools
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hls_pair import GUARD, SANITIZE, aligned, aligned_copy, examples, library_of, run_bank

from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.abi.boards import BOARDS, LINE, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode, Program, TaskEntry, TaskKind, lines
from m3vit_pynq.abi.registers import ARGUMENTS, BANK_MASTERS, Command
from m3vit_pynq.compiler.build import random_frames, random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.machine import Machine

TOP = Path(__file__).resolve().parents[2] / "hls_src" / "m3vit_accel.cpp"


@functools.cache
def micro() -> Package:
    return random_package(get_config("micro"), seed=3)


def frame_of(seed: int) -> np.ndarray:
    return random_frames(micro().config, 1, seed)[0]


def reference(
    board: str, bank: np.ndarray, task: int, frame: np.ndarray, result_bytes: int
) -> tuple[int, int, np.ndarray]:
    """(error, pc, result) of the specification, which changes the bank."""
    machine = Machine(get_board(board))
    machine.attach(bank, BankLayout(0, 0, 0, 0))
    try:
        machine.run(task, frame, result_bytes)
    except AcceleratorError as error:
        return error.code, error.pc, machine.result
    except ValueError:  # no OUTPUT instruction
        pass
    return 0, 0, machine.result


def fresh_bank() -> np.ndarray:
    """Program and weights, and a workspace that holds anything."""
    bank, image = aligned(micro().bank_bytes, GUARD), micro().bank_image()
    bank[: image.size] = image
    return bank


def result_bytes(task: str) -> int:
    return LINE * lines(micro().task(task).output_bytes)


@pytest.mark.parametrize("task", ["segmentation", "depth"])
def test_whole_frames_on_every_board(task):
    """The result and everything that the run left in the workspace."""
    index, size = micro().task(task).index, result_bytes(task)
    expected_bank = fresh_bank()
    code, _, expected = reference("zcu104", expected_bank, index, frame_of(0), size)
    assert code == 0 and len(np.unique(expected)) > 1
    for board in BOARDS:
        bank = fresh_bank()
        registers, result = run_bank(library_of(board), bank, index, frame_of(0), size)
        assert (registers["run_error"], registers["run_pc"]) == (0, 0)
        np.testing.assert_array_equal(result, expected, err_msg=board)
        np.testing.assert_array_equal(bank, expected_bank, err_msg=board)


def test_state_does_not_leak_between_frames_and_tasks():
    library, bank = library_of("zcu104"), fresh_bank()
    sizes = [result_bytes(task) for task in micro().task_names]

    def run(task: int, seed: int) -> bytes:
        return run_bank(library, bank, task, frame_of(seed), sizes[task])[1].tobytes()

    first = {(t, f): run(t, f) for t in range(2) for f in range(2)}
    assert len(set(first.values())) == 4
    for key in [(1, 1), (0, 0), (0, 1), (1, 0), (1, 0)]:
        assert run(*key) == first[key]


@pytest.mark.parametrize("where", ["header", "directory", "instructions", "anywhere"])
def test_damaged_programs(where, board="pynq-z2"):
    """Any bytes changed: the same refusal at the same place, or the same bank and result."""
    pick, library = random.Random(where), library_of(board)
    spans = {"header": (0, 32), "directory": (64, 112)}
    end = 320 + 64 * len(micro().decoded.instructions)
    seen = set()
    for _ in range(examples(16)):
        bank = fresh_bank()
        low, high = spans.get(where, (320 if where == "instructions" else 0, end))
        for _ in range(pick.randint(1, 2)):
            bank[pick.randrange(low, high)] = pick.choice([0, 1, 2, 0x7F, 0x80, 0xFF])
        if pick.random() < 0.2:
            bank = aligned_copy(bank[: pick.randrange(bank.size)])
        task = pick.choice([0, 1, 1, 2])
        mine, theirs = aligned_copy(bank), bank.copy()
        registers, result = run_bank(library, mine, task, frame_of(0), 32 * 48 * 2)
        code, pc, expected = reference(board, theirs, task, frame_of(0), 32 * 48 * 2)
        assert (registers["run_error"], registers["run_pc"]) == (code, pc)
        np.testing.assert_array_equal(mine, theirs)
        if expected.size:  # else refused before the first instruction
            written = result != GUARD
            np.testing.assert_array_equal(result[written], expected[written])
        seen.add(code)
    assert SANITIZE or len(seen) > 1


END = Instruction(Opcode.END)
LAYOUT = BankLayout.of(4, 0, 8)
GATE = Instruction(
    Opcode.GATE, rows=1, experts=1, top_k=1, src=LAYOUT.workspace_line, src_stride=1,
    dst=LAYOUT.workspace_line + 1,
)  # fmt: skip


def program_of(*instructions: Instruction, count: int | None = None, first: int = 0) -> np.ndarray:
    """A bank with a program of one task."""
    length = len(instructions) if count is None else count
    entry = TaskEntry(TaskKind.CLASSES, first, length, 0)
    code = Program(8, 8, LAYOUT, (entry,), instructions).encode()
    bank = aligned(LINE * LAYOUT.lines)
    bank[: len(code)] = np.frombuffer(code, dtype=np.uint8)
    return bank


def error_of(bank: np.ndarray, command: int = 1, task: int = 0) -> tuple[int, int]:
    registers, _ = run_bank(
        library_of("zcu104"), aligned_copy(bank), task, np.zeros(0, np.uint8), 0, command
    )
    return registers["run_error"], registers["run_pc"]


def test_checks_before_the_first_instruction():
    good = program_of(GATE, END)
    weights, part, workspace, size = 16, 20, 24, 28

    def patched(offset: int, value: int) -> np.ndarray:
        bank = good.copy()
        bank[offset : offset + 4] = np.frombuffer(value.to_bytes(4, "little"), np.uint8)
        return bank

    assert error_of(good) == (ErrorCode.OK, 0)
    assert error_of(good, command=2) == (ErrorCode.BAD_COMMAND, 0)
    assert error_of(good[:319]) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(0, 1)) == (ErrorCode.BAD_MAGIC, 0)
    assert error_of(patched(4, ABI_VERSION + 1)) == (ErrorCode.BAD_ABI, 0)
    assert error_of(patched(8, 17)) == (ErrorCode.BAD_TASK, 0)
    assert error_of(patched(8, 0)) == (ErrorCode.BAD_TASK, 0)
    assert error_of(good, task=1) == (ErrorCode.BAD_TASK, 0)
    assert error_of(patched(12, 4097)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(12, 300)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(12, 6)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(weights, 6)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(part, 1)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(part, (1 << 32) - 1)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(workspace, (1 << 32) - 1)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(size, 9)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(size, (1 << 32) - 1)) == (ErrorCode.BANK_LAYOUT, 0)
    assert error_of(patched(64 + 8, 0)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(patched(64 + 4, 0xFFFFFFFF)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert error_of(good[:-1]) == (ErrorCode.BANK_LAYOUT, 0)


def test_error_pc_is_absolute():
    bad = Instruction(Opcode.GATE, **{**GATE.operands, "rows": 0})
    assert error_of(program_of(END, GATE, bad, END, first=1, count=3)) == (ErrorCode.SHAPE, 2)
    assert error_of(program_of(END, GATE, GATE, first=1, count=2)) == (ErrorCode.PROGRAM_RANGE, 3)
    assert error_of(program_of(END, GATE, GATE, END, first=1, count=3)) == (ErrorCode.OK, 0)


@pytest.mark.parametrize("pointer", [a.name for a in ARGUMENTS if a.kind == "pointer"])
def test_addresses_between_lines_are_refused(pointer):
    bank = program_of(GATE, END)
    buffers = {name: aligned(LINE).ctypes.data for name in ("frame_pixels", "result_pixels")}
    registers = {**dict.fromkeys(BANK_MASTERS, bank.ctypes.data), **buffers}
    registers[pointer] += 32
    library = library_of("zcu104")
    done = library.accel(run_command=Command.RUN, bank_bytes=bank.nbytes, **registers)
    assert (done["run_error"], done["run_pc"]) == (ErrorCode.ALIGNMENT, 0)
    assert library.accel(run_command=7, **registers)["run_error"] == ErrorCode.BAD_COMMAND
    assert library.accel(run_command=Command.IDENTIFY, **registers)["run_error"] == ErrorCode.OK


@pytest.mark.parametrize("name", BOARDS)
def test_identification(name):
    board = get_board(name)
    assert library_of(name).accel(run_command=Command.IDENTIFY) == {
        "id_magic": MAGIC, "id_abi": ABI_VERSION, "id_shape": board.shape_word,
        "cap_half_lines": board.half_lines, "cap_tokens": board.max_tokens,
        "cap_map_lines": board.map_lines, "run_error": 0, "run_pc": 0,
    }  # fmt: skip


def test_unknown_registers_are_named():
    with pytest.raises(TypeError, match="run_tusk"):
        library_of("zcu104").accel(run_tusk=1)


def test_arguments_and_their_registers():
    """Names, order and offsets in the sources are those of abi/registers.py."""
    text = TOP.read_text()
    declared = re.search(r"void m3vit_accel\((.*?)\)\s*{", text, re.S).group(1)
    names = [argument.split()[-1].lstrip("*") for argument in declared.split(",")]
    assert names == [a.name for a in ARGUMENTS]
    flat = text.replace("\\\n", " ")
    offsets = dict(re.findall(r"s_axilite port = (\w+) offset = (0x[0-9a-f]+)", flat))
    assert {n: int(o, 16) for n, o in offsets.items()} == {a.name: a.offset for a in ARGUMENTS}
    bundles = re.findall(r"m_axi port = (\w+) bundle = (\w+) offset = slave(.*)", flat)
    assert [b[:2] for b in bundles] == [(a.name, a.name) for a in ARGUMENTS if a.kind == "pointer"]
    for name, _, options in bundles:
        way = "write" if name in ("bank_results", "result_pixels") else "read"
        assert options.split() == (
            f"max_{way}_burst_length = 16 num_{way}_outstanding = 16".split()
        )
