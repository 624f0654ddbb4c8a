# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions whose activation addresses are still tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.compiler.allocate import Tensor, allocate


@dataclass(frozen=True)
class Place:
    """Some line of a tensor, as an operand."""

    tensor: Tensor
    offset: int = 0


@dataclass(frozen=True)
class Draft:
    """An instruction of the layer ``name``; operands are integers or places."""

    name: str
    opcode: Opcode
    operands: dict[str, int | Place]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(v.tensor for v in self.operands.values() if isinstance(v, Place))


class Listing:
    """The instructions of one task, in order."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    def emit(self, name: str, opcode: Opcode, **operands: int | Place | Tensor) -> None:
        """Append an instruction; a tensor stands for its first line."""
        places = {k: Place(v) if isinstance(v, Tensor) else v for k, v in operands.items()}
        self.drafts.append(Draft(name, opcode, places))

    @property
    def uses(self) -> Sequence[tuple[Tensor, ...]]:
        """The tensors each instruction touches."""
        return [draft.tensors for draft in self.drafts]

    def resolve(self) -> list[Instruction]:
        """Give every tensor its lines and every instruction its addresses."""
        first_line = allocate(self.uses)
        return [
            Instruction(
                draft.opcode,
                **{
                    name: first_line[id(value.tensor)] + value.offset
                    if isinstance(value, Place)
                    else int(value)
                    for name, value in draft.operands.items()
                },
            )
            for draft in self.drafts
        ]
