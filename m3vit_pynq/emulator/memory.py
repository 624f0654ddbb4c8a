# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Device memory of the emulated board: addresses, a limited pool, bus errors."""

from __future__ import annotations

import bisect
import mmap
import threading

#: Granularity of the pool, as of the kernel's contiguous memory allocator.
PAGE = 4096


class BusError(Exception):
    """An access outside live allocations; on a board the bus would not answer."""


class DeviceMemory:
    """Contiguous device memory of limited size.

    Parameters
    ----------
    size : int
        Bytes in the pool; memory of the computer is used as it is touched.
    base : int
        Device address of the first byte, a multiple of the page size.
    """

    def __init__(self, size: int, base: int = 0x1000_0000) -> None:
        if size <= 0 or size % PAGE or base % PAGE:
            raise ValueError(f"size {size:#x} and base {base:#x} must be multiples of {PAGE}")
        self.base = base
        self.size = size
        self._arena = memoryview(mmap.mmap(-1, size))
        self._lock = threading.Lock()
        self._starts: list[int] = []  # ascending addresses of live allocations
        self._lengths: dict[int, int] = {}  # requested bytes by address

    @property
    def live(self) -> int:
        """Number of live allocations."""
        return len(self._lengths)

    @property
    def used(self) -> int:
        """Bytes of the pool in use, whole pages."""
        return sum(_pages(length) for length in self._lengths.values())

    def allocate(self, length: int) -> int:
        """Address of `length` fresh bytes, the lowest place that fits.

        Raises
        ------
        MemoryError
            If no gap of the pool is large enough.
        """
        if length <= 0:
            raise ValueError(f"cannot allocate {length} bytes")
        with self._lock:
            address = self._gap(_pages(length))
            bisect.insort(self._starts, address)
            self._lengths[address] = length
        return address

    def _gap(self, needed: int) -> int:
        place = self.base
        for start in self._starts:
            if start - place >= needed:
                return place
            place = start + _pages(self._lengths[start])
        if self.base + self.size - place >= needed:
            return place
        raise MemoryError(
            f"device memory exhausted: {needed} bytes requested, {self.used} of {self.size} in use "
            f"by {self.live} buffers; free buffers or use a larger pool"
        )

    def free(self, address: int) -> None:
        """Return an allocation; `ValueError` if there is none at `address`."""
        with self._lock:
            if address not in self._lengths:
                raise ValueError(f"no live allocation at {address:#x}")
            del self._lengths[address]
            self._starts.remove(address)

    def view(self, address: int, length: int) -> memoryview:
        """Writable view of `length` bytes inside one live allocation.

        Raises
        ------
        BusError
            If any of the bytes is outside.
        """
        with self._lock:
            index = bisect.bisect_right(self._starts, address) - 1
            start = self._starts[index] if index >= 0 else -1
            if length < 0 or index < 0 or address + length > start + self._lengths[start]:
                raise BusError(f"{address:#x} + {length} bytes is outside live device memory")
        offset = address - self.base
        return self._arena[offset : offset + length]


def _pages(length: int) -> int:
    return -(-length // PAGE) * PAGE
