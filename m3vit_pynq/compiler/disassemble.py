# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A package's program as text; what an instruction touches is its footprint."""

from __future__ import annotations

from collections.abc import Callable

from m3vit_pynq.abi.footprint import Region, Section, WeightRange, footprint
from m3vit_pynq.abi.isa import (
    Activation,
    BankLayout,
    GateMode,
    Instruction,
    Opcode,
    Store,
)
from m3vit_pynq.abi.limits import layernorm_eps
from m3vit_pynq.analysis.workload import workload_of
from m3vit_pynq.package import Package


def _layer(i: Instruction) -> str:
    return f"{i.rows} x {i.cols_in} -> {i.cols_out}"


def _experts(i: Instruction) -> str:
    return f"{_layer(i)}, {i.top_k} of {i.experts}"


def _gate(i: Instruction) -> str:
    scope = " for the image" if i.per_image else ""
    return f"{i.rows} tokens, {i.top_k} of {i.experts}{scope}"


#: Size of what each opcode computes.
_SHAPES: dict[Opcode, Callable[[Instruction], str]] = {
    Opcode.END: lambda i: "",
    Opcode.LOAD_PATCHES: lambda i: f"{i.height}x{i.width}, patches of {i.patch}",
    Opcode.LOAD_RESIDUAL: lambda i: f"{i.rows} x {i.cols_out}",
    Opcode.LAYERNORM: lambda i: f"{i.rows} x {i.cols_in}",
    Opcode.LINEAR: _layer,
    Opcode.ATTENTION: lambda i: f"{i.rows} tokens, {i.heads} heads of {i.head_dim}",
    Opcode.GATE: _gate,
    Opcode.EXPERTS_UP: _experts,
    Opcode.EXPERTS_DOWN: _experts,
    Opcode.CONV3X3: lambda i: f"{i.height}x{i.width} x {i.cols_in} -> {i.cols_out}",
    Opcode.UPSAMPLE2X: lambda i: (
        f"{i.height}x{i.width} x {i.cols_in} -> {2 * i.height}x{2 * i.width}"
    ),
    Opcode.OUTPUT_CLASSES: lambda i: f"{i.height}x{i.width} x {i.cols_in} -> x{i.factor}",
    Opcode.OUTPUT_DEPTH: lambda i: f"{i.height}x{i.width} -> x{i.factor}",
}


def _layernorm_notes(i: Instruction) -> list[str]:
    notes = [f">>{i.shift_a}", f"eps {layernorm_eps(i)}"]
    return [f"adds {i.slots} slots", *notes] if i.slots else notes


def _matrix_notes(i: Instruction) -> list[str]:
    notes = [Store(i.store).name.lower()] if i.store != Store.ACT8 else []
    return [*notes, "planar"] if i.planar else notes


#: Operands that are neither shape nor place, by opcode.
_NOTES: dict[Opcode, Callable[[Instruction], list[str]]] = {
    Opcode.LAYERNORM: _layernorm_notes,
    Opcode.LINEAR: _matrix_notes,
    Opcode.CONV3X3: lambda i: [f"pad {i.pad}", *_matrix_notes(i)],
    Opcode.ATTENTION: lambda i: [
        f"scores x{i.mult_a}>>{i.shift_a}",
        f"out x{i.mult_b}>>{i.shift_b}",
        f"{8 if i.passes == 1 else 12}-bit probabilities",
    ],
    Opcode.GATE: lambda i: [GateMode(i.gate_mode).name.lower()],
    Opcode.EXPERTS_UP: lambda i: [f"+{i.expert_lines} lines an expert"],
    Opcode.EXPERTS_DOWN: lambda i: [
        f"+{i.expert_lines} lines an expert",
        f"first slot {i.first_slot}",
    ],
    Opcode.OUTPUT_CLASSES: lambda i: ["int16"] if i.wide else ["int8"],
}

if set(_SHAPES) != set(Opcode):
    raise LookupError(f"no shape for {set(Opcode) - set(_SHAPES)}")


def place(region: Region, layout: BankLayout) -> str:
    """A region as its name and where it lies: ``normed workspace+120:+6``.

    The number behind the colon is the stride of its rows or planes, in lines.
    """
    if region.section != Section.WORKSPACE:
        return region.section.value
    return f"{region.what} workspace+{region.base - layout.workspace_line}:+{region.stride}"


def stored(part: WeightRange, layout: BankLayout) -> str:
    """Lines of the weight image: ``weights+82``, ``table weights+96``."""
    name = "" if part.what == "weights" else f"{part.what} "
    return f"{name}weights+{part.base - layout.weights_line}"


def line(index: int, name: str, instruction: Instruction, layout: BankLayout) -> str:
    """One instruction of a listing."""
    i = instruction
    touched = footprint(i)
    sources = [place(region, layout) for region in touched.reads]
    targets = [place(region, layout) for region in touched.writes]
    both = [f"{place(region, layout)} (updated)" for region in touched.updates]
    notes = [stored(part, layout) for part in touched.weights]
    notes += _NOTES[i.opcode](i) if i.opcode in _NOTES else []
    notes += [Activation(i.activation).name.lower()] if i.activation else []
    weight_bytes = workload_of(i).weight_bytes
    notes += [f"{weight_bytes:,} B"] if weight_bytes else []
    arrow = " -> " if targets or both else ""
    where = f"{', '.join(sources)}{arrow}{', '.join(targets + both)}"
    shape = _SHAPES[i.opcode](i)
    return (
        f"{index:4}  {i.opcode.name:<14} {name:<28} {shape:<34} {where:<58} {', '.join(notes)}"
    ).rstrip()


def _bank(layout: BankLayout, package: Package) -> str:
    return (
        f"bank: {package.bank_bytes:,} bytes; weights from line {layout.weights_line}, "
        f"4 parts of {layout.part_lines}; workspace from line {layout.workspace_line}, "
        f"{layout.workspace_lines} lines"
    )


def disassemble(package: Package, task: str | None = None) -> str:
    """Listing of a package's program: index, opcode, layer, shape, places, operands.

    Places are in lines of 64 bytes from the start of their section.

    Parameters
    ----------
    task : str, optional
        Only this task's instructions.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    program = package.decoded
    names = package.metadata.get("layers") or [""] * len(program.instructions)
    selected = package.task_names if task is None else (package.task(task).name,)
    text = [_bank(program.layout, package), ""]
    for name in selected:
        info, entry = package.task(name), program.tasks[package.task(name).index]
        height, width = info.output_shape
        text.append(
            f"task {info.index} {name}: {entry.count} instructions, frame "
            f"{program.frame_height}x{program.frame_width}, output {height}x{width} {info.dtype}"
        )
        for index in range(entry.first, entry.first + entry.count):
            text.append(line(index, names[index], program.instructions[index], program.layout))
        text.append("")
    return "\n".join(text)
