# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions whose addresses are still tensors and lines of the weight image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from m3vit_pynq.abi.isa import BankLayout, Instruction, Opcode
from m3vit_pynq.compiler.allocate import Tensor, allocate


@dataclass(frozen=True)
class Place:
    """Some line of a tensor, as an operand."""

    tensor: Tensor
    offset: int = 0


@dataclass(frozen=True)
class Stored:
    """A line of the weight image, counted from its start, as an operand."""

    line: int


Operand = int | Place | Stored


@dataclass(frozen=True)
class Draft:
    """An instruction of the layer ``name``."""

    name: str
    opcode: Opcode
    operands: dict[str, Operand]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(v.tensor for v in self.operands.values() if isinstance(v, Place))


class Listing:
    """The instructions of one task, in order."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    def emit(self, name: str, opcode: Opcode, **operands: Operand | Tensor) -> None:
        """Append an instruction; a tensor stands for its first line."""
        places = {k: Place(v) if isinstance(v, Tensor) else v for k, v in operands.items()}
        self.drafts.append(Draft(name, opcode, places))

    @property
    def uses(self) -> Sequence[tuple[Tensor, ...]]:
        """The tensors each instruction touches."""
        return [draft.tensors for draft in self.drafts]

    @cached_property
    def first_line(self) -> dict[int, int]:
        """First line of every tensor in the workspace, by identity; nothing is emitted later."""
        return allocate(self.uses)

    @property
    def workspace_lines(self) -> int:
        """Lines of the workspace that the task needs."""
        ends = [self.first_line[id(t)] + t.lines for tensors in self.uses for t in tensors]
        return max(ends, default=0)

    def resolve(self, layout: BankLayout) -> list[Instruction]:
        """The instructions with the addresses they have in a bank."""

        def address(value: Operand) -> int:
            if isinstance(value, Place):
                return layout.workspace_line + self.first_line[id(value.tensor)] + value.offset
            if isinstance(value, Stored):
                return layout.weights_line + value.line
            return int(value)

        return [
            Instruction(draft.opcode, **{k: address(v) for k, v in draft.operands.items()})
            for draft in self.drafts
        ]
