# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A package's program as text."""

from __future__ import annotations

from m3vit_pynq.abi.isa import Activation, GateMode, Instruction, Opcode, Store
from m3vit_pynq.analysis.workload import workload_of
from m3vit_pynq.package import Package

_MEMORY = {Store.ACT8: "act", Store.ACT16: "act16", Store.RESIDUAL: "res", Store.SCORES: "scores"}


def _shape(i: Instruction) -> str:
    """Size of what an instruction computes."""
    if i.opcode == Opcode.LOAD_PATCHES:
        return f"{i.height}x{i.width}, patches of {i.patch}"
    if i.opcode == Opcode.LOAD_RESIDUAL:
        return f"{i.rows} x {i.cols_out}"
    if i.opcode == Opcode.LAYERNORM:
        return f"{i.rows} x {i.cols_in}"
    if i.opcode == Opcode.LINEAR:
        return f"{i.rows} x {i.cols_in} -> {i.cols_out}"
    if i.opcode == Opcode.ATTENTION:
        return f"{i.rows} tokens, {i.heads} heads of {i.head_dim}"
    if i.opcode == Opcode.GATE:
        scope = " for the image" if i.per_image else ""
        return f"{i.rows} tokens, {i.top_k} of {i.experts}{scope}"
    if i.opcode == Opcode.EXPERTS:
        return f"{i.rows} x {i.cols_in} -> {i.hidden} -> {i.cols_out}, {i.top_k} of {i.experts}"
    if i.opcode == Opcode.CONV3X3:
        return f"{i.height}x{i.width} x {i.cols_in} -> {i.cols_out}"
    if i.opcode == Opcode.UPSAMPLE2X:
        return f"{i.height}x{i.width} x {i.cols_in} -> {2 * i.height}x{2 * i.width}"
    if i.opcode == Opcode.OUTPUT_CLASSES:
        return f"{i.height}x{i.width} x {i.cols_in} -> x{i.factor}"
    if i.opcode == Opcode.OUTPUT_DEPTH:
        return f"{i.height}x{i.width} -> x{i.factor}"
    return ""


def _at(memory: str, base: int, stride: int) -> str:
    return f"{memory}[{base}:+{stride}]"


def _source(i: Instruction) -> str:
    memory = {Opcode.LOAD_PATCHES: "frame", Opcode.LOAD_RESIDUAL: f"table@{i.table}"}
    if i.opcode in memory:
        return memory[i.opcode]
    name = {Opcode.LAYERNORM: "res", Opcode.GATE: "scores"}.get(i.opcode, "act")
    if i.opcode in (Opcode.OUTPUT_CLASSES, Opcode.OUTPUT_DEPTH) and (i.wide or not i.cols_in):
        name = "act16"
    return _at(name, i.src, i.src_stride)


def _destination(i: Instruction) -> str:
    if i.opcode == Opcode.GATE:
        return "queues"
    if i.opcode in (Opcode.OUTPUT_CLASSES, Opcode.OUTPUT_DEPTH):
        return "output"
    memory = "act"
    if i.opcode in (Opcode.LOAD_RESIDUAL, Opcode.EXPERTS):
        memory = "res"
    elif i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
        memory = _MEMORY[Store(i.store)]
    return _at(memory, i.dst, i.dst_stride)


def _details(i: Instruction) -> list[str]:
    """Operands that are neither shape nor place of the data."""
    notes = []
    if i.opcode in (Opcode.LINEAR, Opcode.CONV3X3, Opcode.EXPERTS):
        notes.append(f"weights@{i.weights}")
    if i.opcode == Opcode.EXPERTS:
        notes += [f"+{i.expert_beats} each", f"tables@{i.table}", f"scratch[{i.scratch}]"]
    if i.opcode == Opcode.LAYERNORM:
        notes += [f"table@{i.table}", f">>{i.shift_a}", f"eps {i.eps_low | i.eps_high << 32}"]
    if i.opcode == Opcode.ATTENTION:
        notes += [
            f"scores x{i.mult_a}>>{i.shift_a}", f"out x{i.mult_b}>>{i.shift_b}",
            f"k+{i.k_offset}", f"v+{i.v_offset}",
        ]  # fmt: skip
    if i.opcode == Opcode.GATE:
        notes.append(GateMode(i.gate_mode).name.lower())
    if i.opcode == Opcode.CONV3X3:
        notes.append(f"pad {i.pad}")
    if i.activation:
        table = f" table@{i.table}" if i.activation == Activation.GELU else ""
        notes.append(f"{Activation(i.activation).name.lower()}{table}")
    return notes


def line(index: int, name: str, instruction: Instruction) -> str:
    """One instruction of a listing."""
    i = instruction
    if i.opcode == Opcode.END:
        return f"{index:4}  {'END':<14} {name}"
    work = workload_of(i)
    notes = _details(i)
    if work.weight_bytes:
        notes.append(f"{work.weight_bytes:,} B")
    where = f"{_source(i)} -> {_destination(i)}"
    return (
        f"{index:4}  {i.opcode.name:<14} {name:<28} {_shape(i):<34} {where:<34} {', '.join(notes)}"
    ).rstrip()


def disassemble(package: Package, task: str | None = None) -> str:
    """Listing of a package's program: index, opcode, layer, shape, places, weights.

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
    text = []
    for name in selected:
        info, entry = package.task(name), program.tasks[package.task(name).index]
        height, width = info.output_shape
        text.append(
            f"task {info.index} {name}: {entry.count} instructions, frame "
            f"{program.frame_height}x{program.frame_width}, output {height}x{width} {info.dtype}"
        )
        for index in range(entry.first, entry.first + entry.count):
            text.append(line(index, names[index], program.instructions[index]))
        text.append("")
    return "\n".join(text)
