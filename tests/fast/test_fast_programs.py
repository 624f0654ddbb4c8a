# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole frames, refused runs, and what the engine keeps from one run to the next."""

import os
import struct
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fast_pair import GENEROUS, PATHS, aligned, engine

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.abi.registers import Command
from m3vit_pynq.compiler.build import made_up_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.fast import FastEngine
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.machine import Machine

#: Variants of the smallest model that use what it does not.
VARIANTS = {
    "micro": {},
    "per-image": {"per_image": True},
    "noisy": {"router": "noisy", "top_k": 3},
    "dense": {"moe_blocks": ()},
    "shared": {"shared_hidden": 64},
}


def built(**changes):
    """A made-up model as a bank, frames, and what the machine makes of them."""
    config = get_config("micro", **changes)
    package = made_up_package(config, seed=7)
    machine = Machine(get_board("zcu104"))
    machine.load(package.program, package.weights)
    rng = np.random.default_rng(8)
    frames = rng.integers(0, 256, (2, *config.image_size, 3), np.uint8)
    bank, expected = machine.bank.copy(), {}
    for task in range(len(config.tasks)):
        for n, frame in enumerate(frames):
            machine.run(task, frame)
            expected[task, n] = machine.result.copy()
    return SimpleNamespace(bank=bank, frames=frames, expected=expected, package=package)


@pytest.fixture(scope="module", params=VARIANTS)
def model(request):
    return built(**VARIANTS[request.param])


@pytest.fixture(scope="module")
def micro():
    return built()


def run(each, bank, model, task=0, frame=0, **options):
    """Code, pc and result of a run."""
    result = aligned(np.full(model.expected[task, frame].size, 0xA5, np.uint8))
    return (*each.run(task, bank, model.frames[frame], result, **options), result)


def assert_right(each, bank, model, task=0, frame=0):
    code, pc, result = run(each, bank, model, task, frame)
    assert (code, pc) == (ErrorCode.OK, 0)
    assert np.array_equal(result, model.expected[task, frame])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", (1, 2, 3, 7))
def test_frames_of_every_task(model, path, threads):
    bank = aligned(model.bank)
    for task, frame in model.expected:
        assert_right(engine(path, threads), bank, model, task, frame)


def test_the_workspace_is_that_of_the_machine(micro):
    machine = Machine(get_board("zcu104"))
    machine.load(micro.package.program, micro.package.weights)
    machine.run(1, micro.frames[0])
    bank = aligned(micro.bank)
    assert_right(engine(PATHS[0], 2), bank, micro, task=1)
    assert np.array_equal(bank, machine.bank)


def damaged(bank, offset, value):
    copy = aligned(bank)
    struct.pack_into("<I", copy, offset, value)
    return copy


def test_runs_that_are_refused_before_the_first_instruction(micro):
    each, bank = engine(PATHS[0], 2), micro.bank
    count = int(bank[12:16].view("<u4")[0])
    entry = isa.HEADER_BYTES
    where = micro.package.layout
    cases = [
        (damaged(bank, 0, 1), ErrorCode.BAD_MAGIC), (damaged(bank, 4, 1), ErrorCode.BAD_ABI),
        (damaged(bank, 8, 0), ErrorCode.BAD_TASK), (damaged(bank, 8, 17), ErrorCode.BAD_TASK),
        (damaged(bank, 12, 4097), ErrorCode.PROGRAM_RANGE),
        (damaged(bank, 12, 2**32 - 1), ErrorCode.PROGRAM_RANGE),
        (damaged(bank, 16, 1), ErrorCode.BANK_LAYOUT),
        (damaged(bank, 20, 2**32 - 1), ErrorCode.BANK_LAYOUT),
        (damaged(bank, 24, where.workspace_line - 1), ErrorCode.BANK_LAYOUT),
        (damaged(bank, 28, where.workspace_lines + 1), ErrorCode.BANK_LAYOUT),
        (damaged(bank, entry + 8, 0), ErrorCode.PROGRAM_RANGE),
        (damaged(bank, entry + 4, count), ErrorCode.PROGRAM_RANGE),
        (damaged(bank, entry + 4, 2**32 - 1), ErrorCode.PROGRAM_RANGE),
        (aligned(bank[:256]), ErrorCode.PROGRAM_RANGE),
        (aligned(bank[:320]), ErrorCode.PROGRAM_RANGE),
        (aligned(bank[:0]), ErrorCode.PROGRAM_RANGE),
    ]  # fmt: skip
    for memory, code in cases:
        before = memory.copy()
        got, pc, result = run(each, memory, micro)
        assert (ErrorCode(got), pc) == (code, 0)
        assert np.array_equal(memory, before) and (result == 0xA5).all()
    bank = aligned(bank)
    assert run(each, bank, micro, command=2)[:2] == (ErrorCode.BAD_COMMAND, 0)
    assert run(each, bank, micro, misalignment=16)[:2] == (ErrorCode.ALIGNMENT, 0)
    assert run(each, bank, micro, command=Command.IDENTIFY)[:2] == (ErrorCode.OK, 0)
    assert each.run(2, bank, micro.frames[0], None) == (ErrorCode.BAD_TASK, 0)


def test_runs_that_are_refused_on_the_way(micro):
    """Whatever instruction is damaged, code, index and workspace are the machine's."""
    rng = np.random.default_rng(9)
    each = engine(PATHS[0], 2)
    machine = Machine(get_board("zcu104"))
    machine.load(micro.package.program, micro.package.weights)
    _, first, count, _ = struct.unpack_from("<4I", machine.bank, isa.HEADER_BYTES)
    codes = set()
    for _ in range(40):
        bank = micro.bank.copy()
        words = bank[isa.INSTRUCTIONS_OFFSET :][: 64 * (first + count)].view("<u4")
        word = 16 * int(rng.integers(first, first + count)) + int(rng.integers(0, 16))
        words[word] ^= np.uint32(1 << int(rng.integers(0, 32)))
        mine = aligned(bank)
        machine.attach(bank, micro.package.layout)
        try:
            machine.run(0, micro.frames[0])
            expected = (ErrorCode.OK, 0)
        except AcceleratorError as error:
            expected = (error.code, error.pc)
        code, pc, result = run(each, mine, micro)
        assert (code, pc) == expected
        assert np.array_equal(mine, bank)
        if not code:
            assert np.array_equal(result, machine.result)
        codes.add(code)
    assert len(codes) > 4


def test_frame_and_result_that_are_too_short(micro):
    each, bank = engine(PATHS[0], 1), aligned(micro.bank)
    result = aligned(np.zeros(micro.expected[0, 0].size - 64, np.uint8))
    assert each.run(0, bank, micro.frames[0].reshape(-1)[:-1], result)[0] == ErrorCode.FRAME_RANGE
    code, pc = each.run(0, bank, micro.frames[0], result)
    assert code == ErrorCode.RESULT_RANGE and pc > 10 and not result.any()
    assert each.run(0, bank, None, None)[0] == ErrorCode.FRAME_RANGE


def test_new_weights_in_a_bank_are_noticed(micro):
    bank, each = aligned(micro.bank), FastEngine(GENEROUS, threads=2)
    other = built(top_k=3)
    assert_right(each, bank, micro)
    if other.bank.size == micro.bank.size:
        bank[:] = other.bank
        assert_right(each, bank, other)
    bank[:] = micro.bank
    where = micro.package.layout
    image = bank[LINE * where.weights_line : LINE * where.workspace_line]
    machine = Machine(get_board("zcu104"))
    rng = np.random.default_rng(10)
    for _ in range(6):
        place = int(rng.integers(image.size))
        image[place] ^= 1 << int(rng.integers(8))
        machine.attach(bank.copy(), where)
        machine.run(0, micro.frames[0])
        _, _, result = run(each, bank, micro)
        assert np.array_equal(result, machine.result)
        assert np.array_equal(bank, machine.bank)


def test_without_verification_weights_hold_until_they_are_forgotten(micro):
    bank = aligned(micro.bank)
    each = FastEngine(GENEROUS, threads=1, verify=False)
    assert_right(each, bank, micro)
    packed = each.profile().panels
    assert_right(each, bank, micro)
    assert each.profile().panels == packed > 0
    each.forget(bank)
    assert_right(each, bank, micro)
    assert each.profile().panels == 2 * packed
    each.forget(bank[64:128])  # any part of it
    assert_right(each, bank, micro)
    assert each.profile().panels == 3 * packed
    each.forget(aligned(micro.bank))  # another bank
    assert_right(each, bank, micro)
    assert each.profile().panels == 3 * packed


def test_a_result_inside_the_bank_never_leaves_stale_weights(micro):
    """The result overwrites the weights of the first layer."""
    where = micro.package.layout
    bank, machine = aligned(micro.bank), Machine(get_board("zcu104"))
    each = FastEngine(GENEROUS, threads=1, verify=False)
    assert_right(each, bank, micro)
    size = micro.expected[0, 0].size
    start = LINE * (where.weights_line + 2 * where.part_lines)
    each.run(0, bank, micro.frames[0], bank[start : start + size])
    assert np.array_equal(bank[start : start + size], micro.expected[0, 0])
    machine.attach(bank.copy(), where)
    machine.run(0, micro.frames[0])
    _, _, result = run(each, bank, micro)
    assert np.array_equal(result, machine.result)


def test_many_banks_in_turn(micro):
    each = FastEngine(GENEROUS, threads=2)
    banks = [aligned(micro.bank) for _ in range(7)]
    for bank in (*banks, *banks[::-1]):
        assert_right(each, bank, micro)


def test_profile_and_experts_of_a_run(micro):
    each, bank = FastEngine(GENEROUS, threads=1), aligned(micro.bank)
    assert_right(each, bank, micro)
    profile = each.profile(clear=True)
    counted = [i.opcode for i in micro.package.decoded.instructions]
    counted = counted[: counted.index(Opcode.END)]
    assert {op: t.executions for op, t in profile.opcodes.items()} == {
        op: counted.count(op) for op in set(counted)
    }
    assert profile.opcodes[Opcode.LINEAR].products > 0 < profile.opcodes[Opcode.LINEAR].seconds
    assert not each.profile().opcodes
    ups = [pc for pc, op in enumerate(counted) if op == Opcode.EXPERTS_UP]
    assert list(each.experts_used()) == ups
    assert all(1 <= used <= 8 for used in each.experts_used().values())


def test_calls_from_several_threads_take_turns(micro):
    each = FastEngine(GENEROUS, threads=2)
    failures = []

    def work(task):
        bank = aligned(micro.bank)
        try:
            for _ in range(15):
                assert_right(each, bank, micro, task)
        except AssertionError as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(n % 2,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not failures and not any(w.is_alive() for w in workers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(micro):
    each, bank = FastEngine(GENEROUS, threads=3), aligned(micro.bank)
    assert_right(each, bank, micro)
    child = os.fork()
    if not child:
        right = False
        try:
            assert_right(each, bank, micro)
            assert_right(each, bank, micro, task=1)
            del each
            right = True
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_right(each, bank, micro)


def test_memory_of_any_kind(micro):
    each, room = engine(PATHS[0], 1), aligned(micro.bank)
    result = bytearray(micro.expected[0, 0].size)
    frame = memoryview(micro.frames[0].tobytes())
    assert each.run(0, memoryview(room), frame, result) == (ErrorCode.OK, 0)
    assert bytes(result) == micro.expected[0, 0].tobytes()
    nothing = memoryview(b"")
    assert each.run(0, nothing, nothing, bytearray()) == (ErrorCode.PROGRAM_RANGE, 0)
    each.forget(nothing)
    each.forget()


def test_memory_that_the_engine_cannot_use(micro):
    each, bank = engine(PATHS[0], 1), aligned(micro.bank)
    locked = bank.copy()
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="write"):
        each.run(0, locked, micro.frames[0], None)
    with pytest.raises(ValueError, match="contiguous"):
        each.run(0, bank[::2], micro.frames[0], None)
    with pytest.raises(ValueError, match="multiples of 8"):
        each.run(0, bank[1:], micro.frames[0], None)
