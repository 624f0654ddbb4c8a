# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a frame asks for by kind of layer: products, and bytes from and to DRAM.

All of it follows from the footprints of the instructions; only experts depend
on the frame, by the tokens that chose them. Nothing here says how long it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.costs import mixture_of
from m3vit_pynq.analysis.workload import EXPERTS, Workload, workload_of
from m3vit_pynq.inspection import Inspection
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.bars import beside, head, stacked
from m3vit_pynq.pictures.costs import kind_of
from m3vit_pynq.pictures.program import program_rows
from m3vit_pynq.pictures.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def work_by_layer(
    package: Package, task: str, inspection: Inspection | None = None
) -> dict[str, Workload]:
    """Work of every instruction of a task by the name of its layer, in program order.

    Parameters
    ----------
    inspection : Inspection, optional
        Whose choices of experts count; without it every expert is used that can be.

    Raises
    ------
    ValueError
        If there is no such task, or the inspection is of another one.
    """
    queues = _queues(task, inspection)
    found: dict[str, Workload] = {}
    for row in program_rows(package, task):
        i = row.instruction
        chosen = queues.get(mixture_of(row.layer)) if i.opcode in EXPERTS else None
        work = workload_of(i, None if chosen is None else chosen.tolist())
        found[row.layer] = found.get(row.layer, Workload()) + work
    return found


def _queues(task: str, inspection: Inspection | None) -> Mapping[str, np.ndarray]:
    """Tokens in every expert's queue, by block."""
    if inspection is None:
        return {}
    if inspection.task != task:
        raise ValueError(f"the inspection is of task {inspection.task!r}, not of {task!r}")
    return {choice.layer: choice.load() for choice in inspection.choices}


def work_by_kind(
    package: Package, task: str, inspection: Inspection | None = None
) -> dict[str, Workload]:
    """`work_by_layer` summed by kind of layer, most products first; END is left out."""
    opcodes = {row.layer: row.instruction.opcode for row in program_rows(package, task)}
    found: dict[str, Workload] = {}
    for layer, work in work_by_layer(package, task, inspection).items():
        if opcodes[layer] == Opcode.END:
            continue
        kind = kind_of(layer, opcodes[layer])
        found[kind] = found.get(kind, Workload()) + work
    return dict(sorted(found.items(), key=lambda item: (-item[1].macs, -item[1].dram_bytes)))


def work_table(package: Package, task: str, inspection: Inspection | None = None) -> Table:
    """Products and bytes by kind of layer, with their sums."""
    kinds = work_by_kind(package, task, inspection)
    kinds["all"] = sum(kinds.values(), Workload())
    rows = [
        (kind, f"{w.macs / 1e6:,.1f}", _megabytes(w.weight_bytes), _megabytes(w.read_bytes),
         _megabytes(w.written_bytes), _megabytes(w.frame_bytes + w.output_bytes))
        for kind, w in kinds.items()
    ]  # fmt: skip
    header = ("layers", "million products", "weights read, MB", "workspace read, MB",
              "workspace written, MB", "frame and result, MB")  # fmt: skip
    return Table.of(header, rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}" if size else ""


def work_bars(package: Package, task: str, inspection: Inspection | None = None) -> Figure:
    """Products at the left and bytes at the right, a bar for every kind of layer.

    Raises
    ------
    ValueError
        If there is no such task, or the inspection is of another one.
    ImportError
        If Matplotlib is not installed.
    """
    kinds = work_by_kind(package, task, inspection)
    names, works = list(kinds), list(kinds.values())
    total = sum(works, Workload())
    figure = theme.new_figure(11.5, 0.3 * len(names) + 0.95)
    left, right = figure.subplots(1, 2)
    products = {"products": (theme.SKY, [work.macs / 1e9 for work in works])}
    stacked(left, names, products)
    for y, work in enumerate(works):
        beside(left, work.macs / 1e9, y, f"{work.macs / total.macs:.1%}")
    head(left, f"{total.macs / 1e9:.2f} billion products", products)
    moved = {
        "weights": (theme.ORANGE, [work.weight_bytes / 1e6 for work in works]),
        "workspace, read": (theme.GREEN, [work.read_bytes / 1e6 for work in works]),
        "workspace, written": (theme.YELLOW, [work.written_bytes / 1e6 for work in works]),
        "frame and result": (
            theme.GREY, [(work.frame_bytes + work.output_bytes) / 1e6 for work in works]
        ),
    }  # fmt: skip
    stacked(right, names, moved)
    for y, work in enumerate(works):
        beside(right, work.dram_bytes / 1e6, y, f"{work.dram_bytes / 1e6:.1f} MB")
    head(right, f"{total.dram_bytes / 1e6:.1f} MB, each line once", moved)
    return figure
