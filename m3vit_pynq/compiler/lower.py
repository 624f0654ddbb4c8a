# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantised layers to instructions and weight image.

Weights shared by tasks are stored once. The image is in the order in which the
first task reads it; what only a later task needs (its routers, its head)
follows. All tasks share one workspace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.footprint import capacities_of, footprint
from m3vit_pynq.compiler.image import ImageBuilder
from m3vit_pynq.compiler.layers import QuantisedModel
from m3vit_pynq.compiler.limits import check_limits
from m3vit_pynq.compiler.lower_task import Plan, TaskLowering
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.package.checks import KINDS


@dataclass(frozen=True)
class Lowered:
    """A program with its image and the layer behind every instruction."""

    program: isa.Program
    weights: np.ndarray
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """All tasks lowered under one plan; the image is still to be made."""

    config: ModelConfig
    image: ImageBuilder
    program: isa.Program
    layers: tuple[str, ...]

    def finish(self) -> Lowered:
        """Program and weight image."""
        return Lowered(self.program, self.image.finish(), self.layers)

    def overflow(self, board: Board) -> CapacityError | None:
        """The first instruction that needs more than the board has, as an error."""
        buffers = capacities_of(board)
        for name, instruction in zip(self.layers, self.program.instructions, strict=True):
            for resource, needed in footprint(instruction).needs.items():
                available = buffers[resource]
                if needed > available:
                    where = f"{self.config.name} on {board.title}, layer {name}"
                    return CapacityError(resource, needed, available, where)
        return None


def draft(model: QuantisedModel, plan: Plan | None = None) -> Candidate:
    """Lower all tasks, whatever buffers that takes.

    Raises
    ------
    CapacityError
        If the program has more instructions than the accelerator fetches.
    """
    image, config = ImageBuilder(), model.config
    listings = [
        TaskLowering(model, index, plan or Plan(), image).lower()
        for index in range(len(config.tasks))
    ]
    count = sum(len(listing.drafts) for listing in listings)
    if count > isa.MAX_INSTRUCTIONS:
        raise CapacityError("instructions", count, isa.MAX_INSTRUCTIONS, config.name)
    workspace = max(listing.workspace_lines for listing in listings)
    layout = isa.BankLayout.of(count, image.lines, workspace)
    lists = [listing.resolve(layout) for listing in listings]
    program = isa.Program(
        *config.image_size, layout, _directory(config, lists), isa.concatenate(lists)
    )
    names = tuple(item.name for listing in listings for item in listing.drafts)
    return Candidate(config, image, program, names)


def _directory(
    config: ModelConfig, lists: list[list[isa.Instruction]]
) -> tuple[isa.TaskEntry, ...]:
    pixels = config.grid[0] * config.grid[1] * config.head.enlargement**2
    entries, first = [], 0
    for task, instructions in zip(config.tasks, lists, strict=True):
        kind = KINDS[task.kind]
        size = pixels * (2 if kind == isa.TaskKind.DEPTH else 1)
        entries.append(isa.TaskEntry(kind, first, len(instructions), size))
        first += len(instructions)
    return tuple(entries)


def lower(model: QuantisedModel, board: Board | None = None) -> Lowered:
    """Compile quantised layers, for a board if one is given.

    The program is the same for every board that it fits, unless the board's map
    rows hold class logits of 8 bits only.

    Raises
    ------
    CapacityError
        If the model exceeds the architecture's limits or cannot fit the
        board; the message names the layer and the number.
    """
    check_limits(model.config)
    candidate = draft(model)
    error = candidate.overflow(board) if board is not None else None
    if error is not None and error.resource == "map_lines":
        candidate = draft(model, Plan(wide_logits=False))
        error = candidate.overflow(board)
    if error is not None:
        raise error
    return candidate.finish()
