# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weight banks: residency, chunks, replacement, device memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.banks import WeightBanks
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.errors import DeviceMemoryError, M3ViTError


@pytest.fixture
def banks(device):
    banks = WeightBanks(device)
    yield banks
    banks.release()


def size(package) -> int:
    return len(package.program) + package.weights.size


def assert_holds(bank, package) -> None:
    image = np.asarray(bank.buffer)
    assert image.nbytes == package.bank_bytes and bank.buffer.device_address % 4096 == 0
    assert image[: len(package.program)].tobytes() == package.program
    first = 64 * package.layout.weights_line
    for part in range(4):
        lines = image[first + part * 64 * package.layout.part_lines :][: package.weights.shape[1]]
        np.testing.assert_array_equal(lines, package.weights[part])


def test_loading_moves_every_byte_once(banks, micro):
    bank = banks.load(micro)
    assert_holds(bank, micro)
    assert banks.bytes_moved == size(micro)
    assert banks.load(micro) is bank
    assert banks.bytes_moved == size(micro)


def test_two_packages_are_resident_and_the_least_recent_is_replaced(banks, micro, others):
    first, second = banks.load(micro), banks.load(others[0])
    assert first is not second
    assert_holds(first, micro)
    banks.touch(first)
    third = banks.load(others[1])
    assert third is second
    assert banks.find(others[0]) is None
    assert banks.find(micro) is first


def test_kept_and_busy_banks_are_not_replaced(banks, micro, others):
    first = banks.load(micro)
    second = banks.load(others[0])
    assert banks.begin(others[1], keep=first).bank is second
    banks.load(others[0], keep=first)
    second.in_flight = True
    assert banks.begin(others[1]).bank is first


def test_a_package_of_the_same_size_needs_no_new_memory(banks, device, micro, others):
    banks.load(micro)
    banks.load(others[0])
    allocations = device.allocations
    banks.load(others[1])
    assert device.allocations == allocations


@pytest.mark.parametrize("chunk", [1, 977, 1 << 30])
def test_chunks_of_any_size(banks, others, chunk):
    package = others[0]
    limit = max(chunk, package.weights.size // 300)
    transfer = banks.begin(package)
    steps = 0
    while not banks.step(transfer, limit):
        assert banks.find(package) is None
        steps += 1
        assert steps <= 4 * 301 + 4
    assert transfer.moved == transfer.total == size(package)
    assert_holds(transfer.bank, package)


@settings(max_examples=15, deadline=None)
@given(limits=st.lists(st.integers(1, 40000), min_size=1, max_size=30))
def test_any_sequence_of_chunks(micro, limits):
    device = EmulatedDevice("zcu104", kernel=lambda board: None, memory_bytes=16 << 20)
    banks = WeightBanks(device)
    transfer = banks.begin(micro)
    for limit in limits:
        before = transfer.moved
        banks.step(transfer, limit)
        assert transfer.moved - before <= limit + len(micro.program)
    while not banks.step(transfer):
        pass
    assert_holds(transfer.bank, micro)
    banks.release()
    assert device.memory.live == 0


def test_a_transfer_that_lost_its_bank_says_so(banks, micro, others):
    banks.load(micro)
    lost = banks.begin(others[0], keep=banks.find(micro))
    banks.step(lost, 100)
    banks.load(others[1], keep=banks.find(micro))
    with pytest.raises(M3ViTError, match="another package was loaded"):
        banks.step(lost)


def test_asking_twice_continues_the_transfer(banks, micro):
    transfer = banks.begin(micro)
    banks.step(transfer, 100)
    assert banks.begin(micro) is transfer


def test_exhausted_memory_leaves_nothing_behind(micro, others):
    device = EmulatedDevice("zcu104", kernel=lambda board: None, memory_bytes=4 << 20)
    while device.memory.size - device.memory.used > micro.bank_bytes + (64 << 10):
        device.memory.allocate(16 << 10)
    live = device.memory.live
    banks = WeightBanks(device)
    banks.load(micro)
    with pytest.raises(DeviceMemoryError, match="bank B"):
        banks.load(others[0])
    assert banks.find(micro) is not None
    banks.release()
    assert device.memory.live == live
