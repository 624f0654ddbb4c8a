# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs on the machine: directory, fetching, state between runs, observers."""

import struct

import numpy as np
import pytest
import spec_image
from spec_image import at

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import (
    Activation,
    BankLayout,
    Instruction,
    Opcode,
    Program,
    Store,
    TaskEntry,
    TaskKind,
    concatenate,
)
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.image import WeightImage
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.reference.refusals import first_refusal

HEIGHT = WIDTH = 12  # nine patches of 4 x 4
DIM, CLASSES = 32, 5


# Lines of the workspace.
RESIDUAL, PATCHES, NORMED, QKV, MIXED, LOGITS, RECORDS, HIDDEN, SLOTS = range(0, 900, 100)
FEATURES, LARGER, MAP = 1000, 1100, 1300


def encoder(image, rng):
    """A small block: patches, attention, routed experts; ten tokens end in FEATURES."""

    def layer(outputs, cols, shift):
        rows = spec_image.random_layer(rng, outputs, cols)
        return image.layer([(w, b, m, shift) for w, b, m, _ in rows])

    def norm():
        return image.norm(rng.integers(500, 900, DIM).tolist(), [0] * DIM)

    def linear(src, dst, **operands):
        return Instruction(
            Opcode.LINEAR,
            src=at(src),
            dst=at(dst),
            **{"src_stride": 1, "dst_stride": 1, **operands},
        )

    def normalise(dst, **operands):
        return Instruction(
            Opcode.LAYERNORM, rows=10, cols_in=DIM, src=at(RESIDUAL), src_stride=1, dst=at(dst),
            dst_stride=1, table=norm(), shift_a=18, eps_low=1000, **operands,
        )  # fmt: skip

    gelu = (np.arange(-128, 128).clip(-10, None)).astype(np.int8).tobytes()
    position = rng.integers(-500, 500, (10, DIM))
    first = layer(48, DIM, 23)
    second = layer(DIM, 48, 18)
    step = layer(48, DIM, 23) - first
    layer(DIM, 48, 18)
    # Queries, keys and values each on a plane of their own.
    rows = [spec_image.random_layer(rng, DIM, DIM) + [([0] * DIM, 0, 0, 0)] * 32 for _ in range(3)]
    qkv = image.layer([(w, b, m, 26) for part in rows for w, b, m, _ in part])
    routed = {"rows": 10, "experts": 2, "top_k": 1}
    return [
        Instruction(
            Opcode.LOAD_PATCHES, height=HEIGHT, width=WIDTH, patch=4, dst=at(PATCHES), dst_stride=1
        ),
        Instruction(
            Opcode.LOAD_RESIDUAL, rows=10, cols_out=DIM, table=image.residual(position),
            dst=at(RESIDUAL), dst_stride=1,
        ),
        linear(
            PATCHES, RESIDUAL + 1, rows=9, cols_in=48, cols_out=DIM, weights=layer(DIM, 48, 22),
            store=Store.RESIDUAL,
        ),
        normalise(NORMED),
        linear(
            NORMED, QKV, rows=10, cols_in=DIM, cols_out=192, planar=1, dst_stride=10, weights=qkv
        ),
        Instruction(
            Opcode.ATTENTION, rows=10, heads=2, head_dim=16, src=at(QKV), src_stride=10, k_offset=1,
            v_offset=2, dst=at(MIXED), dst_stride=1, mult_a=40000, shift_a=20, mult_b=40000,
            shift_b=14,
        ),
        linear(
            MIXED, RESIDUAL, rows=10, cols_in=DIM, cols_out=DIM, weights=layer(DIM, DIM, 23),
            store=Store.RESIDUAL,
        ),
        normalise(NORMED),
        linear(
            NORMED, LOGITS, rows=10, cols_in=DIM, cols_out=2, weights=layer(2, DIM, 16),
            store=Store.SCORES,
        ),
        Instruction(Opcode.GATE, **routed, src=at(LOGITS), src_stride=1, dst=at(RECORDS)),
        Instruction(
            Opcode.EXPERTS_UP, **routed, cols_in=DIM, cols_out=48, src=at(NORMED), src_stride=1,
            dst=at(HIDDEN), weights=first, expert_lines=step, activation=Activation.GELU,
            table=image.table(gelu + gelu), records=at(RECORDS),
        ),
        Instruction(
            Opcode.EXPERTS_DOWN, **routed, cols_in=48, cols_out=DIM, src=at(HIDDEN), dst=at(SLOTS),
            weights=second, expert_lines=step, records=at(RECORDS),
        ),
        normalise(FEATURES, slots=1, slot_base=at(SLOTS)),
    ]  # fmt: skip


def two_task_program(seed=0):
    """A program with a classes and a depth task, and its weight image."""
    rng = np.random.default_rng(seed)
    image = spec_image.Image()
    classes = image.layer(spec_image.random_layer(rng, CLASSES, 9 * 64))
    depth_rows = [(w, 2**25, 40000, 26) for w, *_ in spec_image.random_layer(rng, 1, DIM)]
    depth = image.layer(depth_rows)
    body = encoder(image, rng)
    features = {"src": at(FEATURES + 1), "src_stride": 1}
    segment = [
        *body,
        Instruction(
            Opcode.UPSAMPLE2X, height=3, width=3, cols_in=DIM, **features, dst=at(LARGER),
            dst_stride=1,
        ),
        Instruction(
            Opcode.CONV3X3, height=6, width=6, cols_in=DIM, cols_out=CLASSES, src=at(LARGER),
            src_stride=1, dst=at(MAP), dst_stride=1, weights=classes, activation=Activation.RELU,
        ),
        Instruction(
            Opcode.OUTPUT_CLASSES, height=6, width=6, cols_in=CLASSES, src=at(MAP), src_stride=1,
            factor=2,
        ),
        Instruction(Opcode.END),
    ]  # fmt: skip
    measure = [
        *body,
        Instruction(
            Opcode.LINEAR, rows=9, cols_in=DIM, cols_out=1, **features, dst=at(MAP), dst_stride=1,
            weights=depth, store=Store.ACT16,
        ),
        Instruction(
            Opcode.OUTPUT_DEPTH, height=3, width=3, src=at(MAP), src_stride=1, factor=4
        ),
        Instruction(Opcode.END),
    ]  # fmt: skip
    array = image.array()
    tasks = (
        TaskEntry(TaskKind.CLASSES, 0, len(segment), 144),
        TaskEntry(TaskKind.DEPTH, len(segment), len(measure), 288),
    )
    instructions = concatenate([segment, measure])
    return program_of(tasks, instructions, array.shape[1] // 64), array


def program_of(tasks, instructions, part_lines):
    """A program whose sections lie where `spec_image` expects them."""
    size = isa.lines(isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * len(instructions))
    assert size <= spec_image.WEIGHTS
    layout = BankLayout(
        spec_image.WEIGHTS, part_lines, spec_image.WORKSPACE, spec_image.WORKSPACE_LINES
    )
    return Program(HEIGHT, WIDTH, layout, tasks, tuple(instructions))


def random_frame(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def made():
    program, weights = two_task_program()
    return loaded(program.encode(), weights)


def loaded(data, weights, seed=0, **capacity):
    """A machine with a program in its bank, and rubbish in the workspace."""
    machine = Machine(capacity)
    machine.load(data, weights)
    spec_image.fill_workspace(machine, seed)
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
    machine = loaded(program.encode(), weights)
    first = machine.run(1, random_frame(0))
    assert (machine.run(1, random_frame(1)) != first).any()
    other, weights = two_task_program(1)
    machine.load(other.encode(), weights)
    assert (machine.run(1, random_frame(0)) != first).any()


@pytest.mark.parametrize("task", [0, 1])
def test_results_do_not_depend_on_what_the_workspace_held(task):
    program, weights = two_task_program()
    results = []
    for seed in range(3):
        machine = loaded(program.encode(), weights, seed)
        if seed == 2:
            machine.run(1 - task, random_frame(9))
        results.append(machine.run(task, random_frame()))
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


def test_a_run_changes_nothing_but_the_workspace(made):
    first = 64 * made.layout.workspace_line
    before = made.bank[:first].copy()
    made.run(0, random_frame())
    assert (made.bank[:first] == before).all()


@pytest.mark.parametrize("value", [0, 255])
def test_frames_of_extreme_pixels(made, value):
    frame = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    assert made.run(0, frame).max() < CLASSES
    made.execute(two_task_program()[0].instructions[0])
    got = spec_image.get(made, PATCHES, 1, 9, 48)
    assert got == [[value - 128] * 48] * 9


def test_every_board_gives_the_same_result(made):
    program, weights = two_task_program()
    expected = made.run(0, random_frame())
    for board in BOARDS.values():
        machine = Machine(board)
        machine.load(program.encode(), weights)
        assert (machine.run(0, random_frame()) == expected).all()


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
    frame = random_frame()

    def run(data, task=0, bank_bytes=None):
        machine = loaded(good, weights)
        machine.bank[: len(good)] = 0
        machine.bank[: len(data)] = np.frombuffer(data, np.uint8)
        machine.attach(machine.bank[:bank_bytes], machine.layout)
        return code_of(lambda: machine.run(task, frame))

    def patched(offset, *words):
        return (
            good[:offset] + struct.pack(f"<{len(words)}I", *words) + good[offset + 4 * len(words) :]
        )

    assert run(good, bank_bytes=0) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(good, bank_bytes=isa.INSTRUCTIONS_OFFSET - 1) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(0, 5)) == (ErrorCode.BAD_MAGIC, 0)
    assert run(patched(4, ABI_VERSION + 1)) == (ErrorCode.BAD_ABI, 0)
    assert run(patched(0, 5, ABI_VERSION + 1)) == (ErrorCode.BAD_MAGIC, 0)
    assert run(good, task=2) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(8, 0)) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(8, 17)) == (ErrorCode.BAD_TASK, 0)
    assert run(patched(12, 4097)) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(good, bank_bytes=len(good) - 1) == (ErrorCode.PROGRAM_RANGE, 0)
    where = program.layout
    bank = 64 * where.lines
    assert run(good, bank_bytes=bank - 1) == (ErrorCode.BANK_LAYOUT, 0)
    layouts = [
        (where.weights_line, where.part_lines, where.workspace_line, where.workspace_lines + 1),
        (1, where.part_lines, where.workspace_line, 1),
        (where.weights_line, 2**30, where.workspace_line, 1),
        (where.weights_line, 2**32 - 1, where.workspace_line, 1),
        (where.weights_line, where.part_lines, where.weights_line, 1),
        (where.weights_line, where.part_lines, where.workspace_line, 2**32 - 1),
    ]
    assert [run(patched(16, *words)) for words in layouts] == [(ErrorCode.BANK_LAYOUT, 0)] * 6
    entry = isa.HEADER_BYTES + isa.TASK_ENTRY_BYTES
    first, count = program.tasks[1].first, program.tasks[1].count
    assert run(patched(entry + 4, first, 0), task=1) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(entry + 4, first, count + 1), task=1) == (ErrorCode.PROGRAM_RANGE, 0)
    assert run(patched(entry + 4, 2**32 - 1, 2), task=1) == (ErrorCode.PROGRAM_RANGE, 0)


def test_a_task_without_end_runs_out_of_program():
    program, weights = two_task_program()
    entry = program.tasks[0]
    tasks = (TaskEntry(entry.kind, 0, entry.count - 1, entry.output_bytes), program.tasks[1])
    cut = program_of(tasks, program.instructions, program.layout.part_lines)
    machine = loaded(cut.encode(), weights)
    code = code_of(lambda: machine.run(0, random_frame()))
    assert code == (ErrorCode.PROGRAM_RANGE, entry.count - 1)
    assert first_refusal(cut, 0) == code
    assert first_refusal(program, 0) == (ErrorCode.OK, entry.count - 1)


def test_unknown_opcodes_and_bits_outside_the_operands():
    program, weights = two_task_program()
    good = bytearray(program.encode())
    expected = loaded(bytes(good), weights).run(0, random_frame())
    at_layernorm = isa.INSTRUCTIONS_OFFSET + 3 * isa.INSTRUCTION_BYTES
    good[at_layernorm + 63] = 0xFF  # LAYERNORM has no operand there
    assert (loaded(bytes(good), weights).run(0, random_frame()) == expected).all()
    good[at_layernorm] = len(Opcode)
    code = code_of(lambda: loaded(bytes(good), weights).run(0, random_frame()))
    assert code == (ErrorCode.BAD_OPCODE, 3)


def test_a_refused_instruction_stops_the_run_and_the_next_run_is_sound(made):
    program, weights = two_task_program()
    expected = made.run(0, random_frame())
    seen = []
    half = program.layout.part_lines // 2
    short = program_of(program.tasks, program.instructions, half)
    other = loaded(short.encode(), weights[:, : 64 * half])
    other.observer = lambda pc, instruction, machine: seen.append(pc)
    code, pc = code_of(lambda: other.run(0, random_frame()))
    assert code == ErrorCode.WEIGHTS_RANGE
    assert seen == list(range(pc))
    other.load(program.encode(), weights)
    assert (other.run(0, random_frame()) == expected).all()


def test_buffers_too_small(made):
    program, _ = two_task_program()
    code = code_of(lambda: made.run(0, random_frame()[:-1]))
    assert code == (ErrorCode.FRAME_RANGE, 0)
    code = code_of(lambda: made.run(0, random_frame(), result_bytes=191))
    assert code == (ErrorCode.RESULT_RANGE, program.tasks[0].count - 2)
    made.run(0, random_frame(), result_bytes=192)


def test_pending_slots_do_not_outlive_a_run(made):
    program, weights = two_task_program()
    opcodes = [i.opcode for i in program.instructions]
    down = opcodes.index(Opcode.EXPERTS_DOWN)
    ended = [*program.instructions[: down + 1], Instruction(Opcode.END)]
    tasks = (
        TaskEntry(TaskKind.CLASSES, 0, len(ended), 144),
        TaskEntry(TaskKind.CLASSES, 0, 3, 144),
    )
    left = loaded(program_of(tasks, ended, program.layout.part_lines).encode(), weights)
    assert code_of(lambda: left.run(0, random_frame())) == (ErrorCode.SLOTS, down + 1)
    assert code_of(lambda: left.run(1, random_frame())) == (ErrorCode.PROGRAM_RANGE, 3)


def test_misuse_of_the_machine(made):
    with pytest.raises(ValueError, match="float64"):
        made.run(0, np.zeros((HEIGHT, WIDTH, 3)))
    program, weights = two_task_program()
    with pytest.raises(ValueError, match="header"):
        made.load(program.encode(), weights[:, 64:])
    with pytest.raises(ValueError, match="uint8 \\[4, n\\]"):
        WeightImage(np.zeros((3, 64), np.uint8))
    with pytest.raises(ValueError, match="uint8 \\[4, n\\]"):
        WeightImage(np.zeros((4, 64), np.int8))
    silent = program_of((TaskEntry(TaskKind.CLASSES, 0, 1, 4),), (Instruction(Opcode.END),), 0)
    made.load(silent.encode(), np.zeros((4, 0), np.uint8))
    with pytest.raises(ValueError, match="OUTPUT"):
        made.run(0, random_frame())
