# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What one frame of a task costs, given how many experts its tokens choose.

The arithmetic of a mixture of experts does not depend on the routing: every
token takes ``top_k`` of them. What is read from memory does: an expert that no
token chose is not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m3vit_pynq.abi.boards import BEAT, LINE
from m3vit_pynq.abi.footprint import TABLE_LINES
from m3vit_pynq.abi.isa import WEIGHT_PARTS, Activation, Instruction, Opcode, Program, lines
from m3vit_pynq.analysis.workload import EXPERTS, Workload, workload_of


@dataclass(frozen=True)
class TaskCosts:
    """Costs of one frame of one task.

    Attributes
    ----------
    macs : int
        Multiply-accumulates; `head_macs` of them belong to the task's head.
    parameters, weight_bytes : float
        Weights and biases touched, and bytes of weights, tables and padding read.
    expert_bytes : float
        Part of ``weight_bytes`` that belongs to routed experts.
    experts_used : float
        Experts that are loaded, summed over the mixtures of the model.
    experts : int
        Experts that could be.
    measured : bool
        Whether ``experts_used`` is a mean over frames; otherwise the largest
        number that is possible.
    """

    macs: int
    head_macs: int
    parameters: float
    weight_bytes: float
    expert_bytes: float
    experts_used: float
    experts: int
    measured: bool


def layer_names(program: Program, layers: Sequence[str] | None) -> list[str]:
    """Name of the layer behind each instruction, made up where there is none."""
    if layers is not None and len(layers) == len(program.instructions):
        return list(layers)
    return [f"instruction {pc}" for pc in range(len(program.instructions))]


def mixture_of(layer: str) -> str:
    """The block of an EXPERTS layer: ``blocks.1.experts.0.up`` gives ``blocks.1``."""
    return layer.partition(".experts")[0]


def mixtures(program: Program, task: int, names: Sequence[str]) -> dict[int, str]:
    """Index of every EXPERTS_UP and EXPERTS_DOWN of a task, with the block it belongs to."""
    entry, found = program.tasks[task], {}
    block = ""
    for pc in range(entry.first, entry.first + entry.count):
        opcode = program.instructions[pc].opcode
        if opcode == Opcode.EXPERTS_UP:
            block = mixture_of(names[pc])
        if opcode in EXPERTS:
            found[pc] = block
    return found


def single_expert(instruction: Instruction) -> Workload:
    """Bytes and parameters of one expert's layer of EXPERTS, and its work for one token."""
    return workload_of(instruction, [1])


def most_experts(instruction: Instruction) -> int:
    """Experts that can be in use at once."""
    return min(instruction.experts, instruction.rows * instruction.top_k)


def task_costs(
    program: Program,
    task: int,
    names: Sequence[str],
    task_name: str,
    experts_used: Mapping[str, float] | None = None,
) -> TaskCosts:
    """Costs of one frame.

    Parameters
    ----------
    task : int
        Index into the task directory.
    names : sequence of str
        Layer behind each instruction, see `layer_names`; those that begin with
        ``"{task_name}."`` are the head.
    experts_used : mapping of str to float, optional
        Mean number of experts that are loaded, by block; blocks that are not in
        it, or all, count as the worst case.
    """
    entry, used_by = program.tasks[task], experts_used or {}
    blocks = mixtures(program, task, names)
    macs = head = 0
    parameters = weight_bytes = expert_bytes = 0.0
    passes: dict[str, list[float]] = {}
    for pc in range(entry.first, entry.first + entry.count):
        instruction = program.instructions[pc]
        work = workload_of(instruction)
        macs += work.macs
        head += work.macs if names[pc].startswith(f"{task_name}.") else 0
        if pc in blocks:
            used = used_by.get(blocks[pc], float(most_experts(instruction)))
            one = single_expert(instruction)
            passes.setdefault(blocks[pc], []).append(used)
            parameters += used * one.parameters
            weight_bytes += used * one.weight_bytes
            expert_bytes += used * one.weight_bytes
        else:
            parameters += work.parameters
            weight_bytes += work.weight_bytes
    counts = {block: program.instructions[pc].experts for pc, block in blocks.items()}
    return TaskCosts(
        macs, head, parameters, weight_bytes, expert_bytes,
        sum(sum(used) / len(used) for used in passes.values()), sum(counts.values()),
        bool(blocks) and set(blocks.values()) <= set(used_by),
    )  # fmt: skip


def every_expert_macs(program: Program, task: int) -> int:
    """Multiply-accumulates if every token took every expert."""
    entry = program.tasks[task]
    total = 0
    for instruction in program.instructions[entry.first : entry.first + entry.count]:
        macs = workload_of(instruction).macs
        if instruction.opcode in EXPERTS:
            macs = macs // instruction.top_k * instruction.experts
        total += macs
    return total


def narrow_expert_bytes(instruction: Instruction, bits: int) -> int:
    """Bytes of one expert's layer of EXPERTS with weights of fewer bits.

    The layout is that of the image (a beat of parameters a row, columns padded
    to whole lines, layers to whole lines, a GELU table), with the weights packed
    more densely.
    """
    i = instruction
    row = BEAT + -(-LINE * lines(i.cols_in) * bits // 8)
    part = lines(-(-i.cols_out // WEIGHT_PARTS) * row)
    table = TABLE_LINES if i.activation == Activation.GELU else 0
    return LINE * (WEIGHT_PARTS * part + table)
