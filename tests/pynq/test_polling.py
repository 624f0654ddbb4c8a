# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Polling on a clock of its own: when the driver looks, and what a pause of the host teaches it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pynq.buffer import PynqBuffer

from m3vit_pynq import driver as driver_module
from m3vit_pynq.driver import Completion, M3ViTDriver
from m3vit_pynq.errors import AcceleratorTimeout

BASE, CTRL = 0xA000_0000, 0x0
START, IDLE = 0x1, 0xE
RUN = 0.010  # seconds that the accelerator takes, unless a test says otherwise
PAUSE = 2.0  # seconds for which the host is stopped
SLACK = 0.0025  # the longest pause between two looks, and a little


class Clock:
    """Stands in for the module ``time``; moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stop_at: float | None = None  # the host is stopped when the clock gets there

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        if self.stop_at is not None and self.now >= self.stop_at:
            self.now, self.stop_at = self.now + PAUSE, None


class Board:
    """A device whose accelerator is busy for `run` seconds after each start."""

    def __init__(self, clock: Clock) -> None:
        self.capabilities = {"REGISTER_RW": True}
        self.timestamp = "loaded once"
        self.clock_mhz = 300.0
        self.clock = clock
        self.run = RUN
        self.pause_after_look = False
        self.started = 0.0
        self.looks: list[float] = []  # seconds after the start, of the last run

    def has_capability(self, name: str) -> bool:
        return self.capabilities.get(name, False)

    def write_registers(self, address: int, data: bytes) -> None:
        if address - BASE == CTRL:
            self.started, self.looks = self.clock.now, []

    def read_registers(self, address: int, length: int) -> bytes:
        value = 0
        if address - BASE == CTRL:
            self.looks.append(self.clock.now - self.started)
            value = IDLE if self.looks[-1] >= self.run else START
            if self.pause_after_look:
                self.clock.now, self.pause_after_look = self.clock.now + PAUSE, False
        return value.to_bytes(length, "little")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(driver_module, "time", clock)
    return clock


@pytest.fixture
def board(clock):
    return Board(clock)


@pytest.fixture
def driver(board):
    return M3ViTDriver(
        {"phys_addr": BASE, "addr_range": 0x1000, "device": board, "fullpath": "m3vit_accel_0"}
    )


@pytest.fixture
def frame(board, driver):
    """A function that runs a frame; `late` seconds pass between start and wait."""
    buffers = [
        PynqBuffer((16, 16), np.uint8, buffer=bytearray(256), device=board,
                   device_address=address, bo=0, coherent=True)
        for address in (0x1000_0000, 0x1001_0000)
    ]  # fmt: skip
    for buffer in buffers:
        buffer.freed = False
    bank = SimpleNamespace(name="A", package=SimpleNamespace(metadata={}), in_flight=False,
                           buffer=buffers[0])  # fmt: skip

    def run(late: float = 0.0) -> Completion:
        driver.start(0, *buffers, bank)
        board.clock.now += late
        return driver.wait()

    return run


@pytest.fixture
def learned(frame, board):
    """The same, after as many runs as it takes to know how long one is."""
    for _ in range(6):
        frame()
    assert 0.7 * RUN < board.looks[0] < RUN
    return frame


def test_a_known_run_is_slept_through(frame, board):
    frame()
    assert board.looks[0] == 0.0  # nothing is known yet
    unknown = len(board.looks)
    for _ in range(5):
        assert RUN <= frame().seconds <= RUN + SLACK
    assert 0.7 * RUN < board.looks[0] < RUN
    assert len(board.looks) < unknown


def assert_nothing_was_learned(frame, board):
    """The next run is over as soon as ever, and so is the one after."""
    for _ in range(2):
        assert RUN <= frame().seconds <= RUN + SLACK
        assert board.looks[0] < RUN


def test_a_pause_before_the_first_look(learned, clock, board):
    clock.stop_at = clock.now + 0.5 * RUN
    assert learned().seconds > PAUSE
    assert len(board.looks) == 1  # over when looked at
    assert_nothing_was_learned(learned, board)


def test_a_pause_between_the_last_two_looks(learned, clock, board):
    clock.stop_at = clock.now + 0.95 * RUN
    assert learned().seconds > PAUSE
    assert board.looks[-2] < RUN  # seen busy, then not for two seconds
    assert_nothing_was_learned(learned, board)


def test_a_pause_right_after_a_look(learned, driver, board):
    """Longer than the timeout, too: what the driver then sees counts, not the clock."""
    driver.timeout = PAUSE / 4
    board.pause_after_look = True
    assert learned().seconds > PAUSE
    assert_nothing_was_learned(learned, board)


def test_a_caller_who_comes_late(learned, board):
    for _ in range(3):
        assert learned(late=PAUSE).seconds == pytest.approx(PAUSE)
        assert len(board.looks) == 1
    assert_nothing_was_learned(learned, board)


def test_a_pause_in_the_first_run_of_all(frame, clock, board):
    clock.stop_at = clock.now + 0.5 * RUN
    assert frame().seconds > PAUSE
    assert_nothing_was_learned(frame, board)


def test_a_shorter_run_is_learned(learned, board):
    """Over at the first look: the driver comes earlier until it sees the end."""
    board.run = RUN / 10
    times = [learned().seconds for _ in range(6)]
    assert times[0] > 5 * board.run
    assert times[-1] <= board.run + SLACK / 5
    assert board.looks[0] < board.run


def test_a_longer_run_is_learned(learned, board):
    board.run = 3 * RUN
    for _ in range(8):
        assert learned().seconds <= board.run + SLACK
    assert 0.7 * board.run < board.looks[0] < board.run


def test_a_run_without_end_is_given_up(learned, driver, board):
    board.run, driver.timeout = float("inf"), 0.5
    with pytest.raises(AcceleratorTimeout):
        learned()
    assert 0.5 < board.clock.now - board.started < 0.5 + 2 * SLACK
