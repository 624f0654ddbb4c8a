# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cycles of a frame made up by a small simulation: one engine, two halves, one way in."""

from __future__ import annotations

import random

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.isa import OPERANDS, Instruction, Opcode
from m3vit_pynq.bench.cycles import BoardCycles, FrameCycles
from m3vit_pynq.emulator.cycle_records import CycleRecord, Passage, PassageLog

#: Cycles in which a chunk arrives at most; instructions without weights take longer.
LONGEST_LOAD = 90


class Simulation:
    """Runs instructions one after the other and writes down what happens."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = self.chunks = 0
        self.beside = 0  # since when the next chunk may arrive
        self.records: list[CycleRecord] = []
        self.passages: list[Passage] = []

    def step(self, pc: int, i: Instruction) -> None:
        """One instruction; a layer has two chunks, experts have one each."""
        start, compute, load, stall = self.now, 0, 0, 0
        if "weights" not in OPERANDS[i.opcode]:
            self.now += LONGEST_LOAD + self.random.randrange(60)
            self.beside = start
        elif i.opcode == Opcode.EXPERTS_UP:  # nobody knew before which experts have tokens
            self.beside = start
        for chunk in self._chunks(i):
            arrives = 30 + self.random.randrange(LONGEST_LOAD - 30)
            there = self.beside + arrives
            begin = max(self.now, there)
            end = begin + 20 + self.random.randrange(100)
            expert = chunk if "experts" in OPERANDS[i.opcode] else None
            self.passages.append(
                Passage(pc, expert, i.opcode == Opcode.EXPERTS_DOWN, self.chunks % 2, self.beside,
                        there, begin, end, end - begin - 5)
            )  # fmt: skip
            compute, load, stall = (
                compute + end - begin - 5,
                load + arrives,
                stall + begin - self.now,
            )
            self.now, self.beside = end, begin
            self.chunks += 1
        self.records.append(
            CycleRecord(pc, i.opcode, self.now - start, compute, load, stall, 16 * load + 64)
        )

    @staticmethod
    def _chunks(i: Instruction) -> range:
        if "weights" not in OPERANDS[i.opcode]:
            return range(0)
        return range(i.experts if "experts" in OPERANDS[i.opcode] else 2)


def made_frame(package, task: str, seed: int = 1) -> FrameCycles:
    """Every instruction of a task but END."""
    program = package.decoded
    entry = program.tasks[package.task(task).index]
    simulation = Simulation(seed)
    for pc in range(entry.first, entry.first + entry.count - 1):
        simulation.step(pc, program.instructions[pc])
    log = PassageLog(tuple(simulation.passages))
    return FrameCycles(simulation.now, tuple(simulation.records), log)


def made_cycles(package, board: str = "zcu104") -> BoardCycles:
    """A frame of every task on one board."""
    frames = {name: made_frame(package, name, n) for n, name in enumerate(package.task_names)}
    return BoardCycles(BOARDS[board], frames)
