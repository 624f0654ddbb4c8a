# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The workspace: which lines each tensor occupies, by liveness.

A tensor lives from the first to the last instruction that touches it, both
included: what an instruction reads and what it writes never share a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """Rows of the workspace that do not have an address yet.

    Attributes
    ----------
    rows : int
        Tokens or pixels; planes of a planar tensor.
    stride : int
        Lines of a row or plane.
    """

    name: str
    rows: int
    stride: int

    @property
    def lines(self) -> int:
        return self.rows * self.stride


@dataclass(frozen=True)
class Lifetime:
    """First and last instruction that touch a tensor."""

    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def lifetimes(uses: Sequence[Iterable[Tensor]]) -> dict[int, tuple[Tensor, Lifetime]]:
    """Lifetime of every tensor, keyed by identity.

    Parameters
    ----------
    uses : sequence
        For each instruction the tensors it reads or writes.
    """
    spans: dict[int, tuple[Tensor, Lifetime]] = {}
    for index, tensors in enumerate(uses):
        for tensor in tensors:
            first = spans[id(tensor)][1].first if id(tensor) in spans else index
            spans[id(tensor)] = (tensor, Lifetime(first, index))
    return spans


def allocate(uses: Sequence[Iterable[Tensor]]) -> dict[int, int]:
    """First line of every tensor, keyed by identity.

    Largest tensors first, each at the lowest place that is free during its
    whole life.
    """
    spans = lifetimes(uses)
    order = sorted(spans.values(), key=lambda s: (-s[0].lines, s[1].first))
    placed: list[tuple[int, int, Lifetime]] = []
    addresses: dict[int, int] = {}
    for tensor, life in order:
        start = 0
        for low, high, _ in sorted(p for p in placed_during(placed, life)):
            if start + tensor.lines <= low:
                break
            start = max(start, high)
        placed.append((start, start + tensor.lines, life))
        addresses[id(tensor)] = start
    return addresses


def placed_during(
    placed: Iterable[tuple[int, int, Lifetime]], life: Lifetime
) -> list[tuple[int, int, int]]:
    """Ranges of lines that are taken at some time of ``life``."""
    return [(low, high, other.first) for low, high, other in placed if other.overlaps(life)]
