# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Random chains of pipelines against a simulation that takes one cycle after the other."""

from __future__ import annotations

import random

import pytest


class Stage:
    """A pipeline that shifts by a cycle, or stands still."""

    def __init__(self, interval: int, depth: int, flushed: bool, count: int) -> None:
        self.interval, self.depth, self.flushed, self.count = interval, depth, flushed, count
        self.tick = 0  # of a stalled pipeline
        self.flight: list[int] = []  # ages of the iterations in a flushed one
        self.entered = self.left = 0
        self.since = interval  # cycles since the last one entered
        self.end = 0

    @property
    def is_done(self) -> bool:
        return self.left == self.count

    def step(self, has_word: bool, has_room: bool, now: int) -> tuple[bool, bool]:
        """One cycle; whether a word was taken and one given."""
        taken, given = (self._flushed if self.flushed else self._stalled)(has_word, has_room)
        self.entered += taken
        self.left += given
        if self.is_done and not self.end:
            self.end = now + 1
        return taken, given

    def _stalled(self, has_word: bool, has_room: bool) -> tuple[bool, bool]:
        turn, late = self.tick % self.interval == 0, self.tick - self.depth + 1
        takes = turn and self.entered < self.count
        gives = late >= 0 and late % self.interval == 0 and self.left < self.count
        if (takes and not has_word) or (gives and not has_room):
            return False, False
        self.tick += 1
        return takes, gives

    def _flushed(self, has_word: bool, has_room: bool) -> tuple[bool, bool]:
        room = len(self.flight) < -(-self.depth // self.interval)  # before anything leaves
        self.flight = [age + 1 for age in self.flight]
        self.since += 1
        takes = self.entered < self.count and self.since >= self.interval and room and has_word
        if takes:
            self.flight.append(0)
            self.since = 0
        gives = bool(self.flight) and self.flight[0] >= self.depth - 1 and has_room
        if gives:
            self.flight.pop(0)
        return takes, gives


def slowly(count: int, shapes: list[tuple[int, int, bool, int]], limit: int = 20000):
    """End of the chain, or None if it stops for ever."""
    stages = [Stage(i, d, f, count) for i, d, f, _ in shapes]
    words = [0] * (len(stages) - 1)
    for now in range(1, limit):
        before = list(words)
        for s, stage in enumerate(stages):
            if stage.is_done:
                continue
            has_word = s == 0 or before[s - 1] > 0
            has_room = s == len(words) or before[s] < shapes[s][3]
            taken, given = stage.step(has_word, has_room, now)
            if s > 0:
                words[s - 1] -= taken
            if s < len(words):
                words[s] += given
        if all(stage.is_done for stage in stages):
            return max(stage.end for stage in stages)
    return None


@pytest.mark.parametrize("seed", range(60))
def test_a_chain_takes_as_long_as_cycle_by_cycle(networks, seed):
    rng = random.Random(seed)
    count = rng.randint(1, 60)
    shapes = [
        (rng.choice([1, 1, 1, 2, 3]), rng.randint(1, 12), rng.random() < 0.5, rng.randint(1, 6))
        for _ in range(rng.randint(2, 5))
    ]
    found = networks.chain(count, shapes)
    expected = slowly(count, shapes)
    assert (found["problem"] == "") == (expected is not None)
    if expected is not None:
        assert found["cycles"] == expected, shapes
