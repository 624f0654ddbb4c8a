# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Exactly which registers the driver touches, in which order, against a script."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pynq.buffer import PynqBuffer

from m3vit_pynq.driver import M3ViTDriver
from m3vit_pynq.errors import (
    AcceleratorError,
    AcceleratorTimeout,
    BitstreamError,
    DeviceBufferError,
)

BASE = 0xA000_0000

# Offsets from the documented map, written out so that the map cannot drift unnoticed.
COMMAND, TASK = 0x10, 0x18
BANK = (0x20, 0x2C, 0x38, 0x44, 0x50, 0x5C, 0x68, 0x74, 0x80)
FRAME, OUTPUT = 0x8C, 0x98
BANK_BYTES, FRAME_BYTES, OUTPUT_BYTES = 0xA4, 0xAC, 0xB4
MAGIC, ABI, CONFIG = 0xBC, 0xCC, 0xDC
CAPACITIES = (0xEC, 0xFC, 0x10C)
CAPACITY_VALUES = (4096, 2048, 512)
ERROR, ERROR_PC = 0x11C, 0x12C
CTRL, GIER, ISR = 0x0, 0x4, 0xC


class ScriptedDevice:
    """Registers that answer by a script and fail on anything else."""

    def __init__(self) -> None:
        self.capabilities = {"REGISTER_RW": True}
        self.timestamp = "loaded once"
        self.bitfile_name = "/boards/m3vit.bit"
        self.clock_mhz = 300.0
        self.script: list[tuple[str, int, int]] = []

    def has_capability(self, name: str) -> bool:
        return self.capabilities.get(name, False)

    def _next(self, kind: str, address: int) -> int:
        assert self.script, f"unexpected {kind} of {address - BASE:#x}"
        wanted, offset, value = self.script.pop(0)
        assert (kind, address - BASE) == (wanted, offset)
        return value

    def read_registers(self, address: int, length: int) -> bytes:
        return self._next("read", address).to_bytes(length, "little")

    def write_registers(self, address: int, data: bytes) -> None:
        value = int.from_bytes(bytes(data), "little")
        assert self._next("write", address) == value, f"offset {address - BASE:#x}: {value:#x}"

    def expect(self, *steps: tuple[str, int, int]) -> None:
        self.script = list(steps)


def read(offset: int, value: int) -> tuple[str, int, int]:
    return "read", offset, value


def write(offset: int, value: int) -> tuple[str, int, int]:
    return "write", offset, value


@pytest.fixture
def device():
    device = ScriptedDevice()
    yield device
    assert device.script == [], "accesses of the script were not made"


@pytest.fixture
def driver(device):
    driver = M3ViTDriver(
        {"phys_addr": BASE, "addr_range": 0x1000, "device": device, "fullpath": "m3vit_accel_0"}
    )
    driver.timeout = 0.05
    return driver


def buffer_at(device, address: int, shape) -> PynqBuffer:
    memory = bytearray(int(np.prod(shape)))
    buffer = PynqBuffer(
        shape, np.uint8, buffer=memory, device=device, device_address=address, bo=0, coherent=True
    )
    buffer.freed = False
    return buffer


@pytest.fixture
def board(device):
    """Buffers of a frame, partly above 4 GiB."""
    return SimpleNamespace(
        frames=[buffer_at(device, 0x1000_0000 + i * 0x10000, (8, 16, 3)) for i in range(2)],
        outputs=[buffer_at(device, 0x3000_0000 + i * 0x10000, 512) for i in range(2)],
        bank=SimpleNamespace(
            name="A", package=SimpleNamespace(metadata={}), in_flight=False,
            buffer=buffer_at(device, 0x2_0000_4000, 4096),
        ),
    )  # fmt: skip


DONE = (read(CTRL, 0xE), read(ERROR, 0))


def first_frame() -> tuple:
    """Everything is written once: 27 input words, GIER and the start bit."""
    return (
        write(COMMAND, 1), write(TASK, 0),
        write(FRAME, 0x1000_0000), write(FRAME + 4, 0), write(FRAME_BYTES, 8 * 16 * 3),
        write(OUTPUT, 0x3000_0000), write(OUTPUT + 4, 0), write(OUTPUT_BYTES, 512),
        *(step for at in BANK for step in (write(at, 0x4000), write(at + 4, 2))),
        write(BANK_BYTES, 4096), write(GIER, 0), write(CTRL, 1), *DONE,
    )  # fmt: skip


def run(driver, board, slot: int, task: int = 0):
    driver.start(task, board.frames[slot], board.outputs[slot], board.bank)
    return driver.wait()


def test_first_frame_then_steady_frames_then_a_switch(driver, device, board):
    device.expect(*first_frame())
    assert run(driver, board, 0).cycles is None, "there is no counter beside the core"
    assert board.bank.in_flight is False
    for slot in (1, 0, 1):
        # Steady state: two addresses, start, and what a run reports. Four accesses
        # without the status; the interrupt would add the acknowledgement.
        device.expect(
            write(FRAME, 0x1000_0000 + slot * 0x10000),
            write(OUTPUT, 0x3000_0000 + slot * 0x10000), write(CTRL, 1), *DONE,
        )  # fmt: skip
        before = driver.port.accesses
        run(driver, board, slot)
        assert driver.port.accesses - before == 4
    # A task switch is one register more.
    device.expect(
        write(TASK, 1), write(FRAME, 0x1000_0000), write(OUTPUT, 0x3000_0000), write(CTRL, 1), *DONE
    )
    before = driver.port.accesses
    run(driver, board, 0, task=1)
    assert driver.port.accesses - before == 5


def test_status_is_read_once_per_poll_until_done(driver, device, board):
    device.expect(*first_frame())
    run(driver, board, 0)
    device.expect(
        write(FRAME, 0x1001_0000), write(OUTPUT, 0x3001_0000), write(CTRL, 1),
        read(CTRL, 0x1), read(CTRL, 0x1), read(CTRL, 0x1), *DONE,
    )  # fmt: skip
    driver.timeout = 20.0
    run(driver, board, 1)
    assert driver.port.polls == 5


def test_a_done_bit_taken_by_somebody_else_is_no_hang(driver, device, board):
    device.expect(*first_frame()[:-2], read(CTRL, 0x4), *DONE[1:])
    run(driver, board, 0)


def test_error_code(driver, device, board):
    device.expect(*first_frame()[:-2], read(CTRL, 0xE), read(ERROR, 15), read(ERROR_PC, 12))
    with pytest.raises(AcceleratorError, match="WEIGHTS_RANGE at instruction 12") as caught:
        run(driver, board, 0)
    assert (caught.value.code, caught.value.pc) == (15, 12)
    assert not driver.busy and not board.bank.in_flight


def identify_script(magic=0x4D335654, abi=2, config=0x400408) -> tuple:
    return (
        write(COMMAND, 0), write(GIER, 0), write(CTRL, 1), read(CTRL, 0xE),
        read(MAGIC, magic), read(ABI, abi), read(CONFIG, config),
        *(read(offset, value) for offset, value in zip(CAPACITIES, CAPACITY_VALUES, strict=True)),
    )  # fmt: skip


def test_identify(driver, device):
    device.expect(*identify_script())
    found = driver.identification
    assert found.parallelism == (8, 4, 64)
    assert found.capacities == {"half_lines": 4096, "tokens": 2048, "map_lines": 512}
    assert driver.identification is found  # asked once
    assert found.board_name == "zcu104"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": 0xDEADBEEF}, "0xdeadbeef.*not m3vit_accel.*Rebuild /boards/m3vit.bit"),
        ({"abi": 7}, "ABI version 7, this package speaks 2. Rebuild /boards/m3vit.bit"),
    ],
)
def test_foreign_bitstreams_are_refused(driver, device, changes, message):
    device.expect(*identify_script(**changes))
    with pytest.raises(BitstreamError, match=message):
        driver.identify()


def test_a_second_overlay_makes_the_driver_stale(driver, device, board):
    device.timestamp = "loaded twice"
    with pytest.raises(BitstreamError, match="another overlay was loaded"):
        driver.start(0, board.frames[0], board.outputs[0], board.bank)
    with pytest.raises(BitstreamError, match="another overlay was loaded"):
        driver.identify()
    driver.close()


def test_timeout_reads_the_status_for_its_diagnosis(driver, device, board):
    answers = {CTRL: 0x1, ISR: 0x0, ERROR_PC: 9}
    device.read_registers = lambda address, length: answers[address - BASE].to_bytes(4, "little")
    device.write_registers = lambda address, data: None
    driver.start(3, board.frames[0], board.outputs[0], board.bank)
    with pytest.raises(
        AcceleratorTimeout, match=r"task 3, last run_pc 9, CTRL = 0x1 \(start\).*300.0 MHz"
    ) as caught:
        driver.wait(0.02)
    assert "overlay.recover()" in str(caught.value)
    assert not driver.busy and not board.bank.in_flight
    with pytest.raises(AcceleratorTimeout, match="recover"):
        driver.start(0, board.frames[0], board.outputs[0], board.bank)


def test_starting_twice_and_waiting_for_nothing(driver, device, board):
    with pytest.raises(RuntimeError, match="no run was started"):
        driver.wait()
    device.expect(*first_frame()[:-2])
    driver.start(0, board.frames[0], board.outputs[0], board.bank)
    with pytest.raises(RuntimeError, match="in progress"):
        driver.start(0, board.frames[0], board.outputs[0], board.bank)
    device.expect(read(CTRL, 0xE))
    driver.close()


def test_misaligned_buffers_never_reach_the_bus(driver, device, board):
    odd = buffer_at(device, 0x1000_0020, (8, 16, 3))
    with pytest.raises(DeviceBufferError, match="not a multiple of 64"):
        driver.start(0, odd, board.outputs[0], board.bank)
    assert not driver.busy


def test_values_that_do_not_fit_32_bits_never_reach_the_bus(driver):
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        driver.port.write(TASK, 1 << 32)
    with pytest.raises(ValueError):
        driver.port.write(TASK, -1)


def test_numpy_integers_become_plain_ones(driver, device):
    device.expect(write(TASK, 3))
    driver.port.write(TASK, np.uint32(3))


def test_debug_knob_shows_every_access(monkeypatch, device, caplog):
    monkeypatch.setenv("M3VIT_DEBUG", "registers")
    caplog.set_level("DEBUG", logger="m3vit_pynq.registers")
    driver = M3ViTDriver(
        {"phys_addr": BASE, "addr_range": 0x1000, "device": device, "fullpath": "m3vit_accel_0"}
    )
    device.expect(write(TASK, 1), read(ERROR, 0), read(CTRL, 4))
    driver.port.write(TASK, 1)
    driver.port.read(ERROR)
    driver.port.status()
    lines = [record.getMessage().split() for record in caplog.records]
    assert [line[:2] for line in lines] == [
        ["write", "run_task"],
        ["read", "run_error"],
        ["read", "CTRL"],
    ]
    assert lines[0][2:] == ["0x018", "<-", "0x00000001"]
