# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""How many ports of each memory one iteration takes, against those that it has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil

from .memories import Memory
from .places import Access
from .values import Sum


@dataclass(frozen=True)
class Use:
    """Ports of the busiest bank of a memory that one iteration takes.

    Attributes
    ----------
    memory : Memory
        The memory.
    reads, writes : int
        Accesses of the busiest bank.
    interval : int
        Cycles that the ports need for them.
    carried : bool
        Whether a bank is read and written.
    access : Access
        One of the accesses.
    """

    memory: Memory
    reads: int
    writes: int
    interval: int
    carried: bool
    access: Access


def bank(memory: Memory, address: tuple[Sum, ...]) -> tuple:
    """Which bank an address lies in, one entry per partitioned dimension.

    An entry is a number where it is known; a pair of the unknown part and a
    number where two accesses with the same unknown part can be told apart;
    None otherwise.
    """
    entries: list = []
    for dim, (kind, factor) in sorted(memory.partitions.items()):
        if dim > len(address):
            continue
        index = address[dim - 1]
        size = memory.sizes[dim - 1]
        if kind == "complete":
            entries.append(index.known)
        elif kind == "cyclic" and factor:
            rest = tuple((s, c % factor) for s, c in index.symbols if c % factor)
            place = index.constant % factor
            entries.append(place if not rest else (rest, place))
        elif kind == "block" and factor and size and index.known is not None:
            entries.append(index.known // ceil(size / factor))
        else:
            entries.append(None)
    return tuple(entries)


def _meet(a: tuple, b: tuple) -> bool:
    """Whether two banks may be one."""
    for x, y in zip(a, b, strict=True):
        if x is None or y is None or x == y:
            continue
        pairs = isinstance(x, tuple), isinstance(y, tuple)
        if pairs == (False, False) or (pairs == (True, True) and x[0] == y[0]):
            return False
    return True


def word_address(memory: Memory, address: tuple[Sum, ...]) -> tuple:
    """The address of a word: dimensions that lie side by side in it left out."""
    return tuple(a for dim, a in enumerate(address, 1) if dim not in memory.reshaped)


def _count(accesses: list[tuple[tuple, tuple]], depth: int = 0) -> int:
    """Most accesses that can happen together: branches of one ``if`` exclude each other."""
    here = {address for address, tags in accesses if len(tags) == depth}
    branches: dict = defaultdict(lambda: defaultdict(list))
    for address, tags in accesses:
        if len(tags) > depth and address not in here:
            number, index = tags[depth]
            branches[number][index].append((address, tags))
    # A read of the same address in two branchings is one read only if both happen; count it once.
    total = len(here)
    for alternatives in branches.values():
        total += max(_count(each, depth + 1) for each in alternatives.values())
    return total


def _form(name: tuple) -> tuple:
    """Which entries of a bank are known, and what the unknown part of the others is."""
    return tuple(
        "?" if entry is None else entry[0] if isinstance(entry, tuple) else "known"
        for entry in name
    )


def _meeting(name: tuple, groups: dict[tuple, dict[str, list]], mode: str) -> list:
    """Accesses that may go to the bank of `name` in one iteration.

    Banks of one form lie apart from each other, so that one of each form can
    be that bank: the one with most accesses stands for its form.
    """
    most: dict[tuple, list] = {}
    for other, group in groups.items():
        if _meet(name, other) and len(group[mode]) > len(most.get(_form(other), ())):
            most[_form(other)] = group[mode]
    return [access for accesses in most.values() for access in accesses]


def use(memory: Memory, accesses: list[Access]) -> Use:
    """Ports that the accesses of one iteration to one memory take."""
    groups: dict[tuple, dict[str, list]] = defaultdict(lambda: {"r": [], "w": []})
    for number, access in enumerate(accesses):
        address: tuple = word_address(memory, access.address)
        if access.mode == "w":
            address = (address, number)
        groups[bank(memory, access.address)][access.mode].append((address, access.tags))
    reads = writes = both = 0
    interval, carried = 1, False
    limits = (2, 0, 2) if memory.constant and not memory.storage else memory.ports
    for name in groups:
        met = [_meeting(name, groups, mode) for mode in ("r", "w")]
        read, written = (_count(accesses) for accesses in met)
        carried = carried or bool(read and written)
        reads, writes, both = max(reads, read), max(writes, written), read + written
        for count, limit in zip((read, written, both), limits, strict=True):
            if limit:
                interval = max(interval, ceil(count / limit))
    return Use(memory, reads, writes, interval, carried, accesses[0])


def count_together(accesses: list[Access]) -> int:
    """Most of some accesses that can happen in one iteration, each for itself."""
    return _count([((number,), access.tags) for number, access in enumerate(accesses)])
