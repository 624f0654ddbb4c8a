# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cycles of instructions, and passages of weights through the ping-pong pair."""

from __future__ import annotations

from dataclasses import dataclass

from m3vit_pynq.abi.isa import Opcode


@dataclass(frozen=True)
class CycleRecord:
    """Modelled cycles of one instruction.

    Attributes
    ----------
    pc : int
        Absolute index of the instruction in the program.
    total : int
        Cycles from its start to its end.
    compute : int
        Cycles in which the matrix engine multiplies.
    load : int
        Cycles in which weights or tables arrive.
    stall : int
        Cycles in which computation waits for them.
    bytes : int
        Bytes moved from and to DRAM.
    """

    pc: int
    opcode: Opcode
    total: int
    compute: int
    load: int
    stall: int
    bytes: int


@dataclass(frozen=True)
class Passage:
    """How one chunk of weights passed through the ping-pong pair.

    Times are cycles since the start of the run.

    Attributes
    ----------
    pc : int
        Absolute index of the instruction that computes with the chunk. The
        first chunk of an instruction may arrive during the one before.
    expert : int or None
        Whose weights they are; None in a dense layer.
    second : bool
        Whether they belong to the second layer of the expert.
    half : int
        The half of the pair: 0 or 1.
    load_start, load_end : int
        When the weights, and a table with them, arrive from DRAM.
    compute_start, compute_end : int
        When all tokens of the layer meet them: gathered, multiplied, stored.
    multiply : int
        Cycles of those in which the matrix engine multiplies.
    """

    pc: int
    expert: int | None
    second: bool
    half: int
    load_start: int
    load_end: int
    compute_start: int
    compute_end: int
    multiply: int


@dataclass(frozen=True)
class PassageLog:
    """The passages of one run, in the order of computation.

    Attributes
    ----------
    records : tuple of Passage
        As many as fit into the library's log.
    dropped : int
        Those that came later and are missing; their cycles are counted in the
        instruction's record all the same.
    """

    records: tuple[Passage, ...] = ()
    dropped: int = 0

    @property
    def complete(self) -> bool:
        """Whether every chunk of the run is in the log."""
        return self.dropped == 0

    def of_instruction(self, pc: int) -> tuple[Passage, ...]:
        """The chunks that one instruction computes with."""
        return tuple(passage for passage in self.records if passage.pc == pc)
