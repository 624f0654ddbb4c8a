# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a task costs a frame, beside the dense ViT of the same shape.

The dense ViT has an MLP of ``mlp_ratio`` times the width in every block and the
same heads; its program comes from the compiler, so both are counted alike. The
third figure, every token through every expert, is what a model of all these
parameters would cost if it were not sparse.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from m3vit_pynq.abi.isa import Program
from m3vit_pynq.analysis.costs import (
    TaskCosts,
    every_expert_macs,
    layer_names,
    mixtures,
    most_experts,
    narrow_expert_bytes,
    single_expert,
    task_costs,
)
from m3vit_pynq.compiler import made_up_package
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError
from m3vit_pynq.evaluation.runner import ExpertUsage
from m3vit_pynq.package import Package

#: Bits of the expert weights whose saving is reported.
NARROW = 4


def program_of(config: ModelConfig) -> Package | None:
    """A package of made-up weights with this shape; None if no board can run it."""
    try:
        return made_up_package(config)
    except (CapacityError, ValueError):
        return None


def cost_report(
    config: ModelConfig, package: Package | None = None, usage: ExpertUsage | None = None
) -> dict[str, Any]:
    """Costs of every task, of the dense ViT, and of all tasks together.

    Parameters
    ----------
    package : Package, optional
        Whose program is counted; by default one of the same shape.
    usage : ExpertUsage, optional
        Experts that the frames used; where it knows nothing, the worst case.

    Returns
    -------
    dict
        Plain JSON: by task ``macs``, ``head_macs``, ``parameters``,
        ``weight_bytes``, ``experts_used`` and so on, with ``dense`` below it;
        and ``all_tasks``. Empty if the accelerator cannot run the shape.
    """
    package = package or program_of(config)
    if package is None:
        return {}
    dense = None
    if config.moe_blocks:
        dense = program_of(dataclasses.replace(config, moe_blocks=(), shared_hidden=0))
    report: dict[str, Any] = {}
    costs: dict[str, tuple[TaskCosts, TaskCosts | None]] = {}
    for name in config.task_names:
        used = usage.mean(name) if usage is not None else {}
        own = _costs(package, name, used)
        other = _costs(dense, name, {}) if dense is not None else None
        costs[name] = own, other
        report[name] = _task_entry(package, name, own, used)
        if other is not None:
            report[name]["dense"] = _dense_entry(other)
    report["all_tasks"] = _all_tasks(costs)
    return report


def _costs(package: Package, task: str, used: dict[str, float]) -> TaskCosts:
    program = package.decoded
    names = layer_names(program, package.metadata.get("layers"))
    return task_costs(program, package.task(task).index, names, task, used)


def _task_entry(
    package: Package, task: str, costs: TaskCosts, used: dict[str, float]
) -> dict[str, Any]:
    entry = dataclasses.asdict(costs)
    entry["routing"] = "measured" if entry.pop("measured") else "worst case"
    for key in ("parameters", "weight_bytes", "expert_bytes"):
        entry[key] = round(entry[key])
    if not costs.experts:
        del entry["routing"], entry["experts_used"], entry["experts"], entry["expert_bytes"]
        return entry
    index = package.task(task).index
    names = layer_names(package.decoded, package.metadata.get("layers"))
    entry["every_expert_macs"] = every_expert_macs(package.decoded, index)
    entry["weight_bytes_4bit_experts"] = round(
        costs.weight_bytes - _saved(package.decoded, mixtures(package.decoded, index, names), used)
    )
    return entry


def _saved(program: Program, blocks: dict[int, str], used: dict[str, float]) -> float:
    """Bytes a frame that narrower expert weights would not move."""
    total = 0.0
    for pc, block in blocks.items():
        instruction = program.instructions[pc]
        one = single_expert(instruction).weight_bytes - narrow_expert_bytes(instruction, NARROW)
        total += used.get(block, float(most_experts(instruction))) * one
    return total


def _dense_entry(costs: TaskCosts) -> dict[str, Any]:
    return {
        "macs": costs.macs,
        "head_macs": costs.head_macs,
        "parameters": round(costs.parameters),
        "weight_bytes": round(costs.weight_bytes),
    }


def _all_tasks(costs: dict[str, tuple[TaskCosts, TaskCosts | None]]) -> dict[str, Any]:
    """All tasks of one frame: a pathway each, or a dense encoder that they share."""
    own = [pair[0] for pair in costs.values()]
    dense = [pair[1] for pair in costs.values() if pair[1] is not None]
    entry: dict[str, Any] = {
        "macs": sum(c.macs for c in own),
        "weight_bytes": round(sum(c.weight_bytes for c in own)),
    }
    if dense:
        encoder = dense[0].macs - dense[0].head_macs
        entry["dense_shared_encoder_macs"] = encoder + sum(c.head_macs for c in dense)
        entry["dense_network_per_task_macs"] = sum(c.macs for c in dense)
    return entry
