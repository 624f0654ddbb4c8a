# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs on the machine: directory, fetching, state between runs, observers."""

import struct

import numpy as np
import pytest
import spec_image

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import (
    Activation,
    Instruction,
    Opcode,
    Program,
    Store,
    TaskEntry,
    TaskKind,
    concatenate,
)
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.machine import Machine

HEIGHT = WIDTH = 12  # nine patches of 4 x 4
DIM, CLASSES = 32, 5


def encoder(image, rng):
    """A small block: patches, attention, routed experts; tokens 1 to 9 end in line 300."""

    def layer(outputs, cols, shift):
        rows = spec_image.random_layer(rng, outputs, cols)
        return image.layer([(w, b, m, shift) for w, b, m, _ in rows])

    def norm():
        return image.norm(rng.integers(500, 900, DIM).tolist(), [0] * DIM)

    def linear(**operands):
        return Instruction(Opcode.LINEAR, **operands)

    def normalise(dst, rows=10, src=0):
        return Instruction(
            Opcode.LAYERNORM, rows=rows, cols_in=DIM, src=src, src_stride=DIM, dst=dst,
            dst_stride=1, table=norm(), shift_a=18, eps_low=1000,
        )  # fmt: skip

    gelu = (np.arange(-128, 128).clip(-10, None)).astype(np.int8).tobytes()
    position = rng.integers(-500, 500, (10, DIM)).astype("<i2").tobytes()
    first = layer(48, DIM, 23)
    layer(DIM, 48, 18)
    step = len(image.parts[0]) // 16 - first
    layer(48, DIM, 23)
    layer(DIM, 48, 18)
    return [
        Instruction(
            Opcode.LOAD_PATCHES, height=HEIGHT, width=WIDTH, patch=4, dst=0, dst_stride=1
        ),
        Instruction(
            Opcode.LOAD_RESIDUAL, rows=10, cols_out=DIM, table=image.table(position),
            dst=0, dst_stride=DIM,
        ),
        linear(
            rows=9, cols_in=48, cols_out=DIM, src=0, src_stride=1, dst=DIM, dst_stride=DIM,
            weights=layer(DIM, 48, 22), store=Store.RESIDUAL,
        ),
        normalise(20),
        linear(
            rows=10, cols_in=DIM, cols_out=3 * DIM, src=20, src_stride=1, dst=40, dst_stride=2,
            weights=layer(3 * DIM, DIM, 26),
        ),
        Instruction(
            Opcode.ATTENTION, rows=10, heads=2, head_dim=16, src=40, src_stride=2, k_offset=DIM,
            v_offset=2 * DIM, dst=70, dst_stride=1, mult_a=40000, shift_a=20, mult_b=40000,
            shift_b=30,
        ),
        linear(
            rows=10, cols_in=DIM, cols_out=DIM, src=70, src_stride=1, dst=0, dst_stride=DIM,
            weights=layer(DIM, DIM, 23), store=Store.RESIDUAL,
        ),
        normalise(20),
        linear(
            rows=10, cols_in=DIM, cols_out=2, src=20, src_stride=1, dst=0, dst_stride=2,
            weights=layer(2, DIM, 16), store=Store.SCORES,
        ),
        Instruction(Opcode.GATE, rows=10, experts=2, top_k=1, src=0, src_stride=2),
        Instruction(
            Opcode.EXPERTS, rows=10, experts=2, top_k=1, cols_in=DIM, hidden=48, cols_out=DIM,
            src=20, src_stride=1, dst=0, dst_stride=DIM, scratch=100, scratch_stride=1,
            weights=first, expert_beats=step, table=image.table(gelu + gelu),
        ),
        normalise(300, rows=9, src=DIM),
    ]  # fmt: skip


def two_task_program(seed=0):
    """A program with a classes and a depth task, and its weight image."""
    rng = np.random.default_rng(seed)
    image = spec_image.Image()
    classes = image.layer(spec_image.random_layer(rng, CLASSES, 9 * 64))
    depth_rows = [(w, 2**25, 40000, 26) for w, *_ in spec_image.random_layer(rng, 1, DIM)]
    depth = image.layer(depth_rows)
    body = encoder(image, rng)
    segment = [
        *body,
        Instruction(
            Opcode.UPSAMPLE2X, height=3, width=3, cols_in=DIM, src=300, src_stride=1, dst=320,
            dst_stride=1,
        ),
        Instruction(
            Opcode.CONV3X3, height=6, width=6, cols_in=DIM, cols_out=CLASSES, src=320, src_stride=1,
            dst=400, dst_stride=1, weights=classes, activation=Activation.RELU,
        ),
        Instruction(
            Opcode.OUTPUT_CLASSES, height=6, width=6, cols_in=CLASSES, src=400, src_stride=1,
            factor=2,
        ),
        Instruction(Opcode.END),
    ]  # fmt: skip
    measure = [
        *body,
        Instruction(
            Opcode.LINEAR, rows=9, cols_in=DIM, cols_out=1, src=300, src_stride=1, dst=320,
            dst_stride=1, weights=depth, store=Store.ACT16,
        ),
        Instruction(Opcode.OUTPUT_DEPTH, height=3, width=3, src=320, src_stride=1, factor=4),
        Instruction(Opcode.END),
    ]  # fmt: skip
    array = image.array()
    tasks = (
        TaskEntry(TaskKind.CLASSES, 0, len(segment), 144),
        TaskEntry(TaskKind.DEPTH, len(segment), len(measure), 288),
    )
    program = Program(HEIGHT, WIDTH, array.shape[1], tasks, concatenate([segment, measure]))
    return program, array


def random_frame(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def made():
    program, weights = two_task_program()
    machine = spec_image.machine()
    machine.load(program.encode(), weights)
    return machine


def code_of(call):
    with pytest.raises(AcceleratorError) as caught:
        call()
    return caught.value.code, caught.value.pc


def test_tasks_of_a_program(made):
    classes = made.run(0, random_frame())
    assert classes.dtype == np.uint8 and classes.shape == (12, 12)
    assert len(np.unique(classes)) > 1
    depth = made.run(1, random_frame())
    assert depth.dtype == np.uint16 and depth.shape == (12, 12)
    assert len(np.unique(depth)) > 1


def test_results_depend_on_the_frame_and_the_weights():
    program, weights = two_task_program()
    machine = spec_image.machine()
    machine.load(program.encode(), weights)
    first = machine.run(1, random_frame(0))
    assert (machine.run(1, random_frame(1)) != first).any()
    other, weights = two_task_program(1)
    machine.load(other.encode(), weights)
    assert (machine.run(1, random_frame(0)) != first).any()


@pytest.mark.parametrize("task", [0, 1])
def test_results_do_not_depend_on_what_memories_held(task):
    program, weights = two_task_program()
    results = []
    for seed in range(3):
        machine = spec_image.machine(seed=seed)
        machine.load(program.encode(), weights)
        if seed == 2:
            machine.run(1 - task, random_frame(9))
        results.append(machine.run(task, random_frame()))
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


@pytest.mark.parametrize("value", [0, 255])
def test_frames_of_extreme_pixels(made, value):
    frame = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    assert made.run(0, frame).max() < CLASSES
    made.execute(two_task_program()[0].instructions[0])
    got = spec_image.get_act(made, 0, 1, 9, 48)
    assert got == [[value - 128] * 48] * 9


def test_generous_capacity_gives_the_same_result(made):
    program, weights = two_task_program()
    machine = Machine()
    machine.load(program.encode(), weights)
    assert (machine.run(0, random_frame()) == made.run(0, random_frame())).all()


def test_frames_may_have_gaps_between_rows(made):
    wide = np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)
    wide[:, :WIDTH] = random_frame()
    assert (made.run(0, wide[:, :WIDTH]) == made.run(0, random_frame())).all()


def test_observer_sees_every_instruction_with_its_absolute_index(made):
    seen = []
    made.observer = lambda pc, instruction, machine: seen.append((pc, instruction.opcode))
    made.run(1, random_frame())
    program, _ = two_task_program()
    entry = program.tasks[1]
    assert seen == [
        (pc, program.instructions[pc].opcode)
        for pc in range(entry.first, entry.first + entry.count - 1)
    ]


def test_header_faults():
    program, weights = two_task_program()
    good = program.encode()
    machine = spec_image.machine()
    frame = random_frame()

    def run(data, task=0):
        machine.load(data, weights)
        return code_of(lambda: machine.run(task, frame))

    def patched(offset, *words):
        return (
            good[:offset] + struct.pack(f"<{len(words)}I", *words) + good[offset + 4 * len(words) :]
        )

    assert run(b"") == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(good[: isa.INSTRUCTIONS_OFFSET - 1]) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(0, 5)) == (ErrorCode.BAD_MAGIC, 0)
    assert run(patched(4, ABI_VERSION + 1)) == (ErrorCode.BAD_ABI, 0)
    assert run(patched(0, 5, ABI_VERSION + 1)) == (ErrorCode.BAD_MAGIC, 0)
    assert run(good, task=2) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(8, 0)) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(8, 17)) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(12, 4097)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(12, len(program.instructions) + 1)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(good[:-1]) == (ErrorCode.PROGRAM_RANGE, 0)
    entry = isa.HEADER_BYTES + isa.TASK_ENTRY_BYTES
    first, count = program.tasks[1].first, program.tasks[1].count
    assert run(patched(entry + 4, first, 0), task=1) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(entry + 4, first, count + 1), task=1) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(entry + 4, 2**32 - 1, 2), task=1) == (ErrorCode.PROGRAM_RANGE, 0)
    machine.load(good + bytes(100), weights)
    machine.run(0, frame)  # a larger buffer than the program is no fault


def test_a_task_without_end_runs_out_of_program():
    program, weights = two_task_program()
    entry = program.tasks[0]
    tasks = (TaskEntry(entry.kind, 0, entry.count - 1, entry.output_bytes), program.tasks[1])
    cut = Program(HEIGHT, WIDTH, program.weights_bytes, tasks, program.instructions)
    machine = spec_image.machine()
    machine.load(cut.encode(), weights)
    code = code_of(lambda: machine.run(0, random_frame()))
    assert code == (ErrorCode.PROGRAM_RANGE, entry.count - 1)


def test_unknown_opcodes_and_bits_outside_the_operands():
    program, weights = two_task_program()
    good = bytearray(program.encode())
    machine = spec_image.machine()
    machine.load(bytes(good), weights)
    expected = machine.run(0, random_frame())
    at = isa.INSTRUCTIONS_OFFSET + 3 * isa.INSTRUCTION_BYTES
    good[at + 63] = 0xFF  # LAYERNORM has no operand there
    machine.load(bytes(good), weights)
    assert (machine.run(0, random_frame()) == expected).all()
    good[at] = 12
    machine.load(bytes(good), weights)
    code = code_of(lambda: machine.run(0, random_frame()))
    assert code == (ErrorCode.BAD_OPCODE, 3)


def test_a_refused_instruction_stops_the_run_and_the_next_run_is_sound(made):
    program, weights = two_task_program()
    expected = made.run(0, random_frame())
    seen = []
    made.observer = lambda pc, instruction, machine: seen.append(pc)
    made.load(program.encode(), weights[:, : weights.shape[1] // 2])
    code, pc = code_of(lambda: made.run(0, random_frame()))
    assert code == ErrorCode.WEIGHTS_RANGE
    assert seen == list(range(pc))
    made.load(program.encode(), weights)
    assert (made.run(0, random_frame()) == expected).all()


def test_buffers_too_small(made):
    program, _ = two_task_program()
    code = code_of(lambda: made.run(0, random_frame()[:-1]))
    assert code == (ErrorCode.FRAME_RANGE, 0)
    code = code_of(lambda: made.run(0, random_frame(), output_bytes=143))
    assert code == (ErrorCode.OUTPUT_RANGE, program.tasks[0].count - 2)


def test_queues_do_not_outlive_a_run(made):
    """EXPERTS before any GATE of the same run is refused."""
    program, weights = two_task_program()
    made.run(0, random_frame())
    opcodes = [i.opcode for i in program.instructions]
    gate = opcodes.index(Opcode.GATE)
    skipping = (TaskEntry(TaskKind.CLASSES, gate + 1, 5, 144),)
    late = Program(HEIGHT, WIDTH, program.weights_bytes, skipping, program.instructions)
    made.load(late.encode(), weights)
    assert code_of(lambda: made.run(0, random_frame())) == (ErrorCode.QUEUE, gate + 1)


def test_misuse_of_the_machine(made):
    with pytest.raises(ValueError, match="float64"):
        made.run(0, np.zeros((HEIGHT, WIDTH, 3)))
    with pytest.raises(ValueError, match="uint8 \\[4, n\\]"):
        made.load(b"", np.zeros((3, 16), np.uint8))
    with pytest.raises(ValueError, match="uint8 \\[4, n\\]"):
        made.load(b"", np.zeros((4, 16), np.int8))
    silent = Program(
        HEIGHT, WIDTH, 0, (TaskEntry(TaskKind.CLASSES, 0, 1, 4),), (Instruction(Opcode.END),)
    )
    made.load(silent.encode(), np.zeros((4, 0), np.uint8))
    with pytest.raises(ValueError, match="OUTPUT"):
        made.run(0, random_frame())
