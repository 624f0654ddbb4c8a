# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator's program in words, and as a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store
from m3vit_pynq.analysis.workload import workload_of
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colour of every opcode in a map of the program.
COLOURS: dict[Opcode, str] = {
    Opcode.LOAD_RESIDUAL: theme.GREY,
    Opcode.LOAD_PATCHES: theme.GREY,
    Opcode.LAYERNORM: "#4a525c",
    Opcode.LINEAR: theme.SKY,
    Opcode.ATTENTION: theme.YELLOW,
    Opcode.GATE: theme.PURPLE,
    Opcode.EXPERTS: theme.ORANGE,
    Opcode.CONV3X3: theme.GREEN,
    Opcode.UPSAMPLE2X: "#4a525c",
    Opcode.OUTPUT_CLASSES: theme.GREY,
    Opcode.OUTPUT_DEPTH: theme.GREY,
    Opcode.END: theme.LINE,
}


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


def describe(instruction: Instruction) -> str:
    """What an instruction does, in words."""
    i = instruction
    if i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
        return _describe_matrix(i)
    grid = f"{i.height} x {i.width}"
    words = {
        Opcode.END: "stop and raise the interrupt",
        Opcode.LOAD_RESIDUAL: f"start {i.rows} tokens from the table of positions",
        Opcode.LOAD_PATCHES: f"read the frame, {grid}, as patches of {i.patch} x {i.patch} pixels",
        Opcode.LAYERNORM: f"normalise each of {i.rows} tokens",
        Opcode.ATTENTION: f"every token looks at all {i.rows}: {i.heads} heads of {i.head_dim}",
        Opcode.GATE: (
            f"the router's top {i.top_k} of {i.experts} experts for "
            + ("the whole image" if i.per_image else f"each of {i.rows} tokens")
        ),
        Opcode.EXPERTS: (
            f"each token through its {i.top_k} experts, {i.cols_in} → {i.hidden} → {i.cols_out}, "
            "added to the token"
        ),
        Opcode.UPSAMPLE2X: f"enlarge the map twofold, from {grid}",
        Opcode.OUTPUT_CLASSES: f"the largest of {i.cols_in} classes{_enlarged(i)}",
        Opcode.OUTPUT_DEPTH: f"logarithm to millimetres{_enlarged(i)}",
    }
    return words[i.opcode]


def _enlarged(i: Instruction) -> str:
    return f", map enlarged {i.factor}-fold" if i.factor > 1 else ""


def _describe_matrix(i: Instruction) -> str:
    rows = f"{i.rows} rows" if i.opcode == Opcode.LINEAR else f"map of {i.height} x {i.width}"
    text = f"{rows}: {i.cols_in} → {i.cols_out} channels"
    if i.opcode == Opcode.CONV3X3:
        text += ", from 3 x 3 neighbours"
    if i.activation:
        text += f", then {Activation(i.activation).name}"
    ends = {
        Store.RESIDUAL: ", added to the token",
        Store.SCORES: ": the router's scores",
        Store.ACT16: ", kept in 16 bits",
    }
    return text + ends.get(Store(i.store), "")


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
    found = (row.group for row in rows if row.instruction.opcode == Opcode.EXPERTS)
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

    colour = COLOURS[row.instruction.opcode]
    axes.add_patch(Rectangle((x + 0.02, y - 0.44), 0.96, 0.88, facecolor=colour, edgecolor="none"))
    detail = _short(row.instruction)
    text = row.instruction.opcode.name + (f"\n{detail}" if detail else "")
    axes.text(
        x + 0.5, y, text, ha="center", va="center", color=theme.ink_on(colour), fontsize=6.2,
        linespacing=1.15,
    )  # fmt: skip


def _short(i: Instruction) -> str:
    """The shape of an instruction in a few characters."""
    shapes = {
        Opcode.LOAD_RESIDUAL: f"{i.rows} x {i.cols_out}",
        Opcode.LOAD_PATCHES: f"{i.height} x {i.width}",
        Opcode.LAYERNORM: f"{i.rows} x {i.cols_in}",
        Opcode.LINEAR: f"{i.cols_in} → {i.cols_out}",
        Opcode.ATTENTION: f"{i.heads} heads of {i.head_dim}",
        Opcode.GATE: f"top {i.top_k} of {i.experts}",
        Opcode.EXPERTS: f"{i.cols_in} → {i.hidden} → {i.cols_out}",
        Opcode.CONV3X3: f"{i.cols_in} → {i.cols_out}",
        Opcode.UPSAMPLE2X: f"{i.height} x {i.width}",
        Opcode.OUTPUT_CLASSES: f"{i.cols_in} classes",
        Opcode.OUTPUT_DEPTH: "mm",
    }
    return shapes.get(i.opcode, "")
