# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator's program in words, and as a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import Instruction
from m3vit_pynq.analysis.workload import EXPERTS, workload_of
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.opcodes import LOOKS, describe
from m3vit_pynq.pictures.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """One instruction of a task's program.

    Attributes
    ----------
    pc : int
        Absolute index in the program.
    layer : str
        The layer it belongs to.
    group : str
        The part of the network: ``"input"``, ``"block 3"``, ``"head"``.
    weight_bytes : int
        Read from the weight image if every expert is used.
    macs : int
        int8 multiply-accumulates.
    """

    pc: int
    layer: str
    group: str
    instruction: Instruction
    weight_bytes: int
    macs: int


def program_rows(package: Package, task: str) -> list[Row]:
    """The instructions of a task in the order in which they run.

    Raises
    ------
    ValueError
        If the package has no such task.
    """
    program = package.decoded
    entry = program.tasks[package.task(task).index]
    indices = range(entry.first, entry.first + entry.count)
    names = package.metadata.get("layers") or [f"instruction {pc}" for pc in indices]
    layers = [names[pc] if pc < len(names) else f"instruction {pc}" for pc in indices]
    rows = []
    for pc, layer, group in zip(indices, layers, _groups(layers), strict=True):
        instruction = program.instructions[pc]
        work = workload_of(instruction)
        rows.append(Row(pc, layer, group, instruction, work.weight_bytes, work.macs))
    return rows


def _groups(layers: list[str]) -> list[str]:
    """The part of the network of every layer; what runs between blocks counts to the one before."""
    blocks = [_block(layer) for layer in layers]
    last = max((i for i, block in enumerate(blocks) if block), default=-1)
    groups, current = [], "input"
    for index, block in enumerate(blocks):
        if index > last and last >= 0:
            current = "head"
        elif block:
            current = block
        groups.append(current)
    return groups


def _block(layer: str) -> str:
    parts = layer.split(".")
    return f"block {parts[1]}" if parts[0] == "blocks" and len(parts) > 1 else ""


def program_table(package: Package, task: str, group: str | None = None) -> Table:
    """The instructions of a task in words.

    Parameters
    ----------
    group : str, optional
        Only one part of the network, as in `Row.group`.

    Raises
    ------
    ValueError
        If there is no such task or part.
    """
    rows = program_rows(package, task)
    known = list(dict.fromkeys(row.group for row in rows))
    if group is not None and group not in known:
        raise ValueError(f"no part {group!r}; this program has: {', '.join(known)}")
    cells = [
        (row.pc, row.instruction.opcode.name, row.layer, describe(row.instruction),
         f"{row.weight_bytes / 1e3:,.1f} kB" if row.weight_bytes else "")
        for row in rows if group in (None, row.group)
    ]  # fmt: skip
    return Table.of(("", "instruction", "layer", "what it does", "weights"), cells)


def part_with_experts(package: Package, task: str) -> str:
    """The first part of the network that has experts; without any, the first of all."""
    rows = program_rows(package, task)
    found = (row.group for row in rows if row.instruction.opcode in EXPERTS)
    return next(found, rows[0].group)


def program_map(package: Package, task: str) -> Figure:
    """The whole program of a task as a map: a line for every part of the network.

    Cells are instructions in the order in which they run, coloured by opcode.

    Raises
    ------
    ValueError
        If the package has no such task.
    ImportError
        If Matplotlib is not installed.
    """
    rows = program_rows(package, task)
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.group, []).append(row)
    longest = max(map(len, parts.values()))
    figure = theme.new_figure(11.5, 0.34 * len(parts) + 0.45)
    axes = theme.blank(figure.add_subplot())
    for y, (group, members) in enumerate(parts.items()):
        axes.text(-0.1, y, group, ha="right", va="center", color=theme.INK, fontsize=8)
        for x, row in enumerate(members):
            _cell(axes, x, y, row)
        weights = sum(row.weight_bytes for row in members) / 1e6
        axes.text(
            longest + 0.1, y, f"{weights:5.2f} MB", va="center", color=theme.FAINT, fontsize=8
        )
    axes.set_xlim(-1.0, longest + 0.9)
    axes.set_ylim(len(parts) - 0.45, -0.55)
    axes.set_title(
        f"{package.config.name}, {task}: {len(rows)} instructions, left to right and top to "
        "bottom; right: weights", loc="left", color=theme.INK, fontsize=9,
    )  # fmt: skip
    return figure


def _cell(axes: object, x: int, y: int, row: Row) -> None:
    from matplotlib.patches import Rectangle

    look = LOOKS[row.instruction.opcode]
    colour, detail = look.colour, look.shape(row.instruction)
    axes.add_patch(Rectangle((x + 0.02, y - 0.44), 0.96, 0.88, facecolor=colour, edgecolor="none"))
    text = row.instruction.opcode.name + (f"\n{detail}" if detail else "")
    axes.text(
        x + 0.5, y, text, ha="center", va="center", color=theme.ink_on(colour), fontsize=6.2,
        linespacing=1.15,
    )  # fmt: skip
