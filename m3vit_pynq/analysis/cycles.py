# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What counted cycles say: classes of layers, the roofline, what limits.

The roofline of work is the longer of two times: its products, without any
padding, at the peak of the matrix engine, and its bytes, as the board moved
them, at the bandwidth of its DRAM. Counted cycles come from
`m3vit_pynq.emulator.trace`; here they are numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.isa import Opcode, Program
from m3vit_pynq.analysis.workload import workload_of

#: Class of an instruction by the end of its layer's name, for those that opcodes do not tell.
_LINEAR = (
    (".attn.qkv", "attention: queries, keys, values"),
    (".attn.proj", "attention: projection"),
    (".mlp.fc1", "dense FFN, first layer"),
    (".mlp.fc2", "dense FFN, second layer"),
    (".gate", "router"),
    ("patch_embed", "patch embedding"),
)
_OPCODES = {
    Opcode.LOAD_PATCHES: "patch embedding",
    Opcode.LOAD_RESIDUAL: "patch embedding",
    Opcode.LAYERNORM: "LayerNorm",
    Opcode.ATTENTION: "attention: scores and values",
    Opcode.GATE: "router",
    Opcode.EXPERTS_UP: "experts, first layer",
    Opcode.EXPERTS_DOWN: "experts, second layer",
    Opcode.CONV3X3: "task head: 3x3",
    Opcode.UPSAMPLE2X: "task head: enlarging",
    Opcode.OUTPUT_CLASSES: "task head: output",
    Opcode.OUTPUT_DEPTH: "task head: output",
    Opcode.END: "end",
}
ENGINE = "matrix engine"
START = "start and end"
#: A process that is occupied hardly longer than the engine keeps pace with it.
_NEARLY = 0.95


class Occupied(Protocol):
    """A process of an instruction: what it did and how long it waited for memory."""

    name: str
    busy: int
    memory: int


class Counted(Protocol):
    """An instruction with its cycles, as `m3vit_pynq.emulator.trace` counts them."""

    record: Any
    region: int
    processes: Sequence[Occupied]


@dataclass(frozen=True)
class ClassCycles:
    """All instructions of one class.

    Attributes
    ----------
    instructions : int
        How many.
    products : int
        Multiply-accumulates without padding.
    bytes : int
        Moved from and to DRAM.
    cycles : int
    engine : int
        Cycles of those in which the matrix engine multiplies.
    roofline : float
        Cycles that products or bytes need at least.
    limit : str
        What is occupied longest: the matrix engine (also if a process is hardly longer),
        a process, or starting and ending.
    limit_share : float
        For which share of the cycles.
    """

    instructions: int
    products: int
    bytes: int
    cycles: int
    engine: int
    roofline: float
    limit: str
    limit_share: float

    @property
    def roofline_share(self) -> float:
        """Share of the time that the roofline needs."""
        return self.roofline / self.cycles if self.cycles else 0.0


def class_of(opcode: Opcode, layer: str) -> str:
    """Class of an instruction.

    Raises
    ------
    KeyError
        If an opcode has none.
    """
    if opcode != Opcode.LINEAR:
        return _OPCODES[opcode]
    for mark, title in _LINEAR:
        if mark in layer:
            return title
    return "layers of unknown name" if layer.startswith("instruction ") else "task head: linear"


def roofline(board: Board, products: int, moved: int) -> float:
    """Cycles that products at the engine's peak, or bytes at the board's bandwidth, need."""
    peak = board.tokens_par * board.out_par * board.in_par
    return max(products / peak, moved / board.dram_bytes_per_cycle)


def layer_classes(
    board: Board, program: Program, layers: Sequence[str], counted: Iterable[Counted]
) -> dict[str, ClassCycles]:
    """Cycles by class of layer, dearest first.

    Parameters
    ----------
    layers : sequence of str
        Name of the layer behind each instruction of the program.
    counted : iterable of Counted
        The instructions of one frame.
    """
    members: dict[str, list[Counted]] = {}
    for one in counted:
        title = class_of(one.record.opcode, layers[one.record.pc])
        members.setdefault(title, []).append(one)
    found = {title: _together(board, program, group) for title, group in members.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1].cycles))


def total(classes: Mapping[str, ClassCycles], board: Board) -> ClassCycles:
    """All classes as one; its roofline is that of the whole frame."""
    products = sum(c.products for c in classes.values())
    moved = sum(c.bytes for c in classes.values())
    cycles = sum(c.cycles for c in classes.values())
    engine = sum(c.engine for c in classes.values())
    return ClassCycles(
        sum(c.instructions for c in classes.values()), products, moved, cycles, engine,
        roofline(board, products, moved), ENGINE, engine / cycles,
    )  # fmt: skip


def _together(board: Board, program: Program, group: Sequence[Counted]) -> ClassCycles:
    products = sum(workload_of(program.instructions[c.record.pc]).macs for c in group)
    moved = sum(c.record.bytes for c in group)
    cycles = sum(c.record.total for c in group)
    engine = sum(c.record.compute for c in group)
    occupied = {ENGINE: engine, START: sum(c.record.total - c.region for c in group)}
    for one in group:
        for process in one.processes:
            if not process.name.endswith((".compute", ".fill")):
                here = process.busy + process.memory
                occupied[process.name] = occupied.get(process.name, 0) + here
    limit = max(occupied, key=occupied.__getitem__)
    if engine >= _NEARLY * occupied[limit]:
        limit = ENGINE
    return ClassCycles(
        len(group), products, moved, cycles, engine, roofline(board, products, moved), limit,
        occupied[limit] / cycles,
    )  # fmt: skip
