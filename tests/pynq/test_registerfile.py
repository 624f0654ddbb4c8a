# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The register file behaves as UG1399 describes the generated AXI4-Lite slave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.abi import registers as reg
from m3vit_pynq.emulator.registerfile import RegisterFile

# Written down from UG1399 and the order of the arguments, not from the module.
TASK, FRAME_LOW, FRAME_HIGH, MAGIC, MAGIC_VALID = 0x18, 0x8C, 0x90, 0xBC, 0xC0
START, DONE, IDLE, READY, RESTART, INTERRUPT = 0x1, 0x2, 0x4, 0x8, 0x80, 0x200


@pytest.fixture
def starts():
    return []


@pytest.fixture
def edges():
    return []


@pytest.fixture
def registers(starts, edges):
    file = RegisterFile(lambda: starts.append(True), lambda: edges.append(file.interrupt))
    return file


def test_the_offsets_of_these_tests_are_those_of_the_map():
    assert reg.OFFSETS["run_task"] == TASK
    assert reg.OFFSETS["frame_pixels"] == FRAME_LOW
    assert reg.OFFSETS["id_magic"] == MAGIC


def test_idle_after_reset(registers):
    assert registers.read(0) == IDLE


def test_start_is_kept_until_ready(registers, starts):
    registers.write(0, START)
    assert starts == [True]
    assert registers.read(0) == START
    assert registers.read(0) == START
    registers.complete({})
    assert registers.read(0) == DONE | IDLE | READY


def test_done_and_ready_are_cleared_by_reading(registers):
    registers.write(0, START)
    registers.complete({})
    registers.read(0)
    assert registers.read(0) == IDLE


def test_start_while_running_starts_nothing(registers, starts):
    registers.write(0, START)
    registers.write(0, START)
    registers.complete({})
    assert len(starts) == 1
    assert registers.read(0) & IDLE


def test_writing_zero_does_not_stop(registers):
    registers.write(0, START)
    registers.write(0, 0)
    assert registers.read(0) == START
    assert registers.busy


def test_auto_restart_starts_again(registers, starts):
    registers.write(0, START | RESTART)
    registers.complete({})
    assert len(starts) == 2
    assert registers.read(0) == START | DONE | READY | RESTART
    registers.write(0, 0)
    registers.complete({})
    assert len(starts) == 2
    assert registers.read(0) == DONE | IDLE | READY


def test_pointer_halves_are_one_address(registers):
    registers.write(FRAME_LOW, 0x89ABCDEF)
    registers.write(FRAME_HIGH, 0x12)
    assert registers.arguments()["frame_pixels"] == 0x12_89ABCDEF


def test_inputs_read_back(registers):
    registers.write(TASK, 7)
    assert registers.read(TASK) == 7
    assert registers.arguments()["run_task"] == 7


def test_outputs_ignore_writes_and_their_valid_flag_clears_on_read(registers):
    registers.write(MAGIC, 5)
    assert registers.read(MAGIC) == 0
    assert registers.read(MAGIC_VALID) == 0
    registers.write(0, START)
    registers.complete({"id_magic": 0x1_0000_0007})
    assert registers.read(MAGIC) == 7
    assert registers.read(MAGIC) == 7
    assert registers.read(MAGIC_VALID) == 1
    assert registers.read(MAGIC_VALID) == 0


@pytest.mark.parametrize("offset", [0x14, 0x1C, 0x28, 0xFF0])
def test_reserved_words_read_zero(registers, offset):
    registers.write(offset, 0xFFFFFFFF)
    assert registers.read(offset) == 0


def test_no_status_without_enable(registers, edges):
    registers.write(0x04, 1)
    registers.write(0, START)
    registers.complete({})
    assert registers.read(0x0C) == 0
    assert edges == []


def test_status_without_global_enable_raises_no_line(registers, edges):
    registers.write(0x08, 3)
    registers.write(0, START)
    registers.complete({})
    assert registers.read(0x0C) == 3
    assert edges == []
    registers.write(0x04, 1)
    assert edges == [True]
    assert registers.read(0) & INTERRUPT


def test_status_toggles_where_ones_are_written(registers, edges):
    registers.write(0x04, 1)
    registers.write(0x08, 1)
    registers.write(0, START)
    registers.complete({})
    assert edges == [True]
    registers.write(0x0C, 1)
    assert registers.read(0x0C) == 0
    assert edges == [True, False]
    registers.write(0x0C, 1)  # toggles, so this sets it
    assert registers.read(0x0C) == 1
    assert edges == [True, False, True]


def test_reading_status_does_not_clear_it(registers):
    registers.write(0x08, 1)
    registers.write(0, START)
    registers.complete({})
    assert registers.read(0x0C) == 1
    assert registers.read(0x0C) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0x110).map(lambda x: x * 4), st.integers(0, 2**32 - 1))))
def test_any_writes_leave_words_that_fit_32_bits(writes):
    registers = RegisterFile()
    for offset, value in writes:
        registers.write(offset, value)
    for offset in range(0, 0x200, 4):
        assert 0 <= registers.read(offset) < 2**32
    assert registers.busy == any(offset == 0 and value & 1 for offset, value in writes)
