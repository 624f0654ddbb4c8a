# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board behind plain `pynq`, without this package's overlay class."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import numpy as np
import pynq
import pytest
from pynq.pl_server.device import Device

from m3vit_pynq import locate
from m3vit_pynq.abi import registers as reg
from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.emulator.device import EmulatedDevice

CTRL, GIER, IER, ISR = 0x0, 0x4, 0x8, 0xC


@pytest.fixture
def plain(device):
    """A plain pynq.Overlay on the emulated board."""
    Device.active_device = device
    return pynq.Overlay(str(locate.emulated_bitfile(device.board)), device=device)


def wait_idle(ip) -> int:
    deadline = time.monotonic() + 10
    while True:
        status = ip.read(CTRL)
        if status & 2:
            return status
        assert time.monotonic() < deadline, "the kernel did not end"
        time.sleep(1e-3)


def test_the_driver_is_bound_by_vlnv(plain):
    from m3vit_pynq.driver import M3ViTDriver

    assert isinstance(plain.m3vit_accel_0, M3ViTDriver)
    assert plain.is_loaded()


def test_identify_by_hand(plain, device):
    ip = plain.m3vit_accel_0
    ip.write(reg.OFFSETS["run_command"], 0)
    ip.write(CTRL, 1)
    wait_idle(ip)
    assert ip.read(reg.OFFSETS["id_magic"]) == 0x4D335654
    assert ip.read(reg.OFFSETS["cap_half_lines"]) == device.board.half_lines
    assert int(ip.register_map.id_magic_ctrl.id_magic_ap_vld) == 1
    assert int(ip.register_map.id_magic_ctrl.id_magic_ap_vld) == 0


def test_printing_the_register_map_takes_the_done_bit(plain):
    ip = plain.m3vit_accel_0
    ip.write(CTRL, 1)
    while ip.read(CTRL) & 1:
        time.sleep(1e-3)
    ip.write(CTRL, 1)
    while plain.device.fabric.runs != 2:
        time.sleep(1e-3)
    repr(ip.register_map)
    assert ip.read(CTRL) & 2 == 0


def test_numpy_integers_are_refused_by_pynq_itself(plain):
    with pytest.raises(ValueError):
        plain.m3vit_accel_0.write(reg.OFFSETS["run_task"], np.uint32(1))


def test_allocate_gives_device_memory(plain, device):
    with pynq.allocate((4, 5), "uint16", target=device) as buffer:
        assert buffer.shape == (4, 5) and buffer.dtype == np.uint16
        buffer[1, 2] = 0xABCD
        buffer.flush()
        raw = device.memory.view(buffer.device_address + 2 * 7, 2)
        assert bytes(raw) == b"\xcd\xab"
        assert buffer[1:].device_address == buffer.device_address + 10
        buffer.invalidate()
    assert device.memory.live == 0


def test_dropping_the_last_reference_frees(device):
    buffer = pynq.allocate(10, "uint8", target=device)
    assert device.memory.live == 1
    del buffer
    assert device.memory.live == 0


def test_exhausted_memory(device):
    with pytest.raises(MemoryError, match="exhausted"):
        pynq.allocate(65 << 20, "uint8", target=device)


def interrupt_once(ip):
    """Run IDENTIFY and await its interrupt as PYNQ's own DMA driver does."""

    async def run():
        ip.write(GIER, 1)
        ip.write(IER, 1)
        ip.write(CTRL, 1)
        status = 0
        while not status & 2:
            await asyncio.wait_for(ip.interrupt.wait(), 10)
            status = ip.read(CTRL)
        ip.write(ISR, 1)
        return status

    return run()


def test_await_interrupt_in_plain_asyncio(plain):
    assert asyncio.run(interrupt_once(plain.m3vit_accel_0)) & 2


def test_await_interrupt_in_a_running_loop(plain):
    """As in Jupyter: the loop runs already and serves several waits."""

    async def notebook():
        return [await interrupt_once(plain.m3vit_accel_0) for _ in range(3)]

    loop = asyncio.new_event_loop()
    try:
        assert all(status & 2 for status in loop.run_until_complete(notebook()))
    finally:
        loop.close()


def test_no_interrupt_when_disabled(plain):
    ip = plain.m3vit_accel_0

    async def run():
        ip.write(GIER, 0)
        ip.write(CTRL, 1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ip.interrupt.wait(), 0.2)

    asyncio.run(run())
    assert ip.read(CTRL) & 2


def test_a_wild_address_hangs_the_accelerator_instead_of_the_process(plain, device):
    ip = plain.m3vit_accel_0
    ip.write(reg.OFFSETS["run_command"], 1)
    for name in reg.SIZE_OF:
        ip.write(reg.OFFSETS[name], 0x7F000000)
    for name in set(reg.SIZE_OF.values()):
        ip.write(reg.OFFSETS[name], 64)
    ip.write(CTRL, 1)
    deadline = time.monotonic() + 10
    while not device.failure:
        assert time.monotonic() < deadline
        time.sleep(1e-3)
    assert "bus error: frame_pixels: 0x7f000000" in device.failure
    assert ip.read(CTRL) == 1


def test_an_address_where_nothing_is(plain, device):
    with pytest.raises(RuntimeError, match="no register answers"):
        pynq.MMIO(0xB000_0000, 16, device=device).read(0)


def test_registers_need_a_bitstream():
    device = EmulatedDevice("zcu104")
    with pytest.raises(RuntimeError, match="no bitstream"):
        pynq.MMIO(0xA000_0000, 16, device=device).read(0)


def test_accesses_are_counted(plain, device):
    before = device.accesses["m3vit_accel_0", "write", 0x18]
    plain.m3vit_accel_0.write(0x18, 1)
    assert device.accesses["m3vit_accel_0", "write", 0x18] == before + 1


def test_board_from_the_environment(monkeypatch):
    monkeypatch.setenv("M3VIT_BOARD", "kv260")
    assert EmulatedDevice().board is get_board("kv260")


def test_probe_follows_the_environment(monkeypatch):
    monkeypatch.setenv("M3VIT_EMULATE", "0")
    assert EmulatedDevice._probe_() == []
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    assert len(EmulatedDevice._probe_()) == 1


def test_plain_pynq_finds_the_emulated_board_by_itself():
    """``M3VIT_EMULATE=1`` and an import are all that other people's code needs."""
    code = (
        "import m3vit_pynq.emulator.device, m3vit_pynq.locate as locate, pynq\n"
        "device = pynq.Device.active_device\n"
        "print(device.name, device.board.name)\n"
        "print(pynq.allocate(4, 'uint8').device_address >= 0x1000_0000)\n"
    )
    environment = {**os.environ, "M3VIT_EMULATE": "1", "M3VIT_BOARD": "kv260"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.split("\n")[:2] == ["emulated Kria KV260 kv260", "True"], done.stderr
