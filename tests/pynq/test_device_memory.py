# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Device memory: allocator, limits, bus errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3vit_pynq.emulator.memory import PAGE, BusError, DeviceMemory


def test_first_fit_and_reuse():
    memory = DeviceMemory(8 * PAGE, base=0x1000_0000)
    first = memory.allocate(PAGE + 1)
    second = memory.allocate(1)
    assert (first, second) == (0x1000_0000, 0x1000_0000 + 2 * PAGE)
    memory.free(first)
    assert memory.allocate(2 * PAGE) == first
    assert memory.allocate(PAGE) == second + PAGE


def test_exhaustion_names_the_numbers():
    memory = DeviceMemory(4 * PAGE)
    memory.allocate(3 * PAGE)
    with pytest.raises(MemoryError, match=rf"{2 * PAGE} bytes requested, {3 * PAGE} of {4 * PAGE}"):
        memory.allocate(2 * PAGE)
    assert memory.live == 1


def test_freed_memory_and_borders_are_bus_errors():
    memory = DeviceMemory(8 * PAGE, base=0x8_0000_0000)
    address = memory.allocate(100)
    view = memory.view(address + 10, 90)
    view[0] = 7
    assert memory.view(address, 100)[10] == 7
    for start, length in (
        (address, 101), (address - 1, 1), (address + 100, 1), (0, 1), (2**63, 1), (address, -1),
    ):  # fmt: skip
        with pytest.raises(BusError):
            memory.view(start, length)
    memory.free(address)
    with pytest.raises(BusError):
        memory.view(address, 1)
    with pytest.raises(ValueError):
        memory.free(address)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_live_allocations_never_overlap(data):
    memory = DeviceMemory(64 * PAGE, base=0x10000)
    live: dict[int, int] = {}
    for _ in range(data.draw(st.integers(1, 40))):
        if live and data.draw(st.booleans()):
            address = data.draw(st.sampled_from(sorted(live)))
            memory.free(address)
            del live[address]
            continue
        length = data.draw(st.integers(1, 20 * PAGE))
        try:
            address = memory.allocate(length)
        except MemoryError:
            gaps, place = [], 0x10000
            for start in sorted(live):
                gaps.append(start - place)
                place = -(-(start + live[start]) // PAGE) * PAGE
            gaps.append(0x10000 + 64 * PAGE - place)
            assert max(gaps) < length
            continue
        assert address % PAGE == 0
        assert address >= 0x10000 and address + length <= 0x10000 + 64 * PAGE
        assert all(address + length <= a or a + n <= address for a, n in live.items())
        live[address] = length
    assert memory.live == len(live)
