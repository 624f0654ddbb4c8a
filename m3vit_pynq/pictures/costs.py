# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a frame costs: cycles and bytes by kind of layer, stages, boards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.workload import EXPERTS
from m3vit_pynq.bench.cycles import NOT_COUNTED, BoardCycles, FrameCycles
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.bars import beside, head, stacked
from m3vit_pynq.pictures.table import Table
from m3vit_pynq.pictures.timeline import Span, spans

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Stages of a stream in the order of the way of a frame: words and colour.
_HOST = {
    "capture": ("capture", theme.GREY),
    "resize": ("resize", theme.GREEN),
    "wait": ("wait for the device", theme.LINE),
    "postprocess": ("copy", theme.YELLOW),
    "consumer": ("draw", theme.PURPLE),
}


#: Parts of a block's layer names, and their kinds.
_PARTS = {".attn": "attention", ".mlp.": "dense feed-forward"}


@dataclass(frozen=True)
class Cost:
    """Cycles and bytes of one kind of layer.

    Attributes
    ----------
    cycles : int
        From start to end of its instructions.
    compute : int
        Of those in which the matrix engine multiplies.
    stall : int
        Of those in which it waits for weights.
    bytes : int
        Moved between DRAM and the accelerator.
    """

    cycles: int = 0
    compute: int = 0
    stall: int = 0
    bytes: int = 0


def kind_of(layer: str, opcode: Opcode) -> str:
    """The kind of layer an instruction works for.

    Raises
    ------
    ValueError
        If a block has a layer of a name that is of no kind.
    """
    if opcode == Opcode.END:
        return "end"
    if opcode in (Opcode.LOAD_PATCHES, Opcode.LOAD_RESIDUAL) or layer.startswith("patch_embed"):
        return "patch embedding"
    if not layer.startswith("blocks."):
        return "task head"
    if opcode == Opcode.LAYERNORM:
        return "layer norm"
    if opcode in EXPERTS:
        return "experts"
    if opcode == Opcode.GATE or ".gate." in layer:
        return "router"
    for part, kind in _PARTS.items():
        if part in layer:
            return kind
    raise ValueError(f"{layer}: {opcode.name} is of no kind that is known")


def costs_by_kind(package: Package, task: str, frame: FrameCycles) -> dict[str, Cost]:
    """Cycles and bytes of a frame by kind of layer, dearest first.

    An instruction also fetches the first weights of the one behind it; these
    bytes count where they were fetched.

    Raises
    ------
    ValueError
        If the records are not those of this task of this package.
    """
    moved = {record.pc: record.bytes for record in frame.records}
    members: dict[str, list[Span]] = {}
    for span in spans(package, task, frame):
        members.setdefault(kind_of(span.layer, span.opcode), []).append(span)
    costs = {
        kind: Cost(
            sum(span.cycles for span in group), sum(span.compute for span in group),
            sum(span.stall for span in group), sum(moved[span.pc] for span in group),
        )
        for kind, group in members.items()
    }  # fmt: skip
    return dict(sorted(costs.items(), key=lambda item: -item[1].cycles))


def cost_bars(package: Package, task: str, frame: FrameCycles) -> Figure:
    """Cycles at the left and bytes at the right, a bar for every kind of layer.

    Raises
    ------
    ValueError
        If the records are not those of this task of this package.
    ImportError
        If Matplotlib is not installed.
    """
    costs = {
        kind: cost for kind, cost in costs_by_kind(package, task, frame).items() if cost.cycles
    }
    figure = theme.new_figure(11.5, 0.3 * len(costs) + 0.95)
    left, right = figure.subplots(1, 2)
    kinds, total = list(costs), sum(cost.cycles for cost in costs.values())
    rest = {kind: cost.cycles - cost.compute - cost.stall for kind, cost in costs.items()}
    parts = {
        "engine multiplies": (theme.SKY, [cost.compute for cost in costs.values()]),
        "other work": (theme.GREY, list(rest.values())),
        "waits for weights": (theme.VERMILION, [cost.stall for cost in costs.values()]),
    }
    stacked(left, kinds, parts)
    for y, cost in enumerate(costs.values()):
        beside(left, cost.cycles, y, f"{cost.cycles / total:.1%}")
    head(left, f"cycles, {total:,} in all", parts)
    moved = sum(cost.bytes for cost in costs.values())
    megabytes = [cost.bytes / 1e6 for cost in costs.values()]
    only = {"bytes": (theme.ORANGE, megabytes)}
    stacked(right, kinds, only)
    for y, value in enumerate(megabytes):
        beside(right, value, y, f"{value:.2f} MB")
    head(right, f"{moved / 1e6:.2f} MB moved", only)
    return figure


def stage_lanes(stages_ms: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """The stages of a stream as two lanes that run side by side.

    Parameters
    ----------
    stages_ms : mapping
        `StreamStatistics.stages_ms`.

    Returns
    -------
    host : dict
        Milliseconds of a frame on the processor by stage, one after the
        other; their sum is the time from frame to frame.
    device : float
        Milliseconds from start until the driver saw the end, meanwhile.

    Raises
    ------
    ValueError
        If there is nothing to show, or a stage is unknown.
    """
    unknown = set(stages_ms) - {*_HOST, "device"}
    if unknown or not stages_ms:
        what = f"unknown: {', '.join(sorted(unknown))}" if unknown else "there are none yet"
        raise ValueError(f"stages of a stream expected ({', '.join(_HOST)}, device); {what}")
    host = {_HOST[name][0]: stages_ms[name] for name in _HOST if name in stages_ms}
    return host, stages_ms.get("device", 0.0)


def stage_bars(stages_ms: Mapping[str, float], device: str = "accelerator") -> Figure:
    """The mean frame of a stream: processor and accelerator side by side.

    Parameters
    ----------
    stages_ms : mapping
        `StreamStatistics.stages_ms`.
    device : str
        What to call the device.

    Raises
    ------
    ValueError
        If there is nothing to show, or a stage is unknown.
    ImportError
        If Matplotlib is not installed.
    """
    host, busy = stage_lanes(stages_ms)
    colours = dict(_HOST.values())
    figure = theme.new_figure(11.5, 1.75)
    axes = theme.dress(figure.add_subplot(), "x")
    start = 0.0
    for name, value in host.items():
        axes.barh(0, value, 0.7, start, color=colours[name], linewidth=0)
        start += value
    axes.barh(1, busy, 0.7, 0.0, color=theme.SKY, linewidth=0)
    beside(axes, busy, 1, f"{busy:.1f} ms")
    beside(axes, start, 0, f"{start:.1f} ms a frame")
    axes.set_yticks([0, 1])
    axes.set_yticklabels(["processor", device], color=theme.INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(1.5, -0.5)
    axes.set_xlim(0, 1.15 * max(start, busy))
    axes.set_xlabel("milliseconds", fontsize=8)
    key = {f"{name} {value:.2f} ms": colours[name] for name, value in host.items()}
    theme.key(axes, {**key, f"device {busy:.2f} ms": theme.SKY}, loc="lower left",
              bbox_to_anchor=(0.0, 1.0))  # fmt: skip
    return figure


def board_table(boards: Mapping[str, BoardCycles]) -> Table:
    """Whether a package fits boards, with figures of a frame where cycles are counted."""
    counted = any(found.tasks for found in boards.values())
    rows = []
    for found in boards.values():
        board = (found.board.title, f"{found.board.clock_mhz:g} MHz")
        said = f"does not fit: {found.problem}" if found.problem else f"fits; {NOT_COUNTED}"
        if not counted:
            rows.append((*board, said))
        elif not found.tasks:
            rows.append((*board, "", said, "", "", ""))
        for task, frame in found.tasks.items():
            rows.append(
                (*board, task, f"{frame.total:,}", f"{found.milliseconds(task):.2f} ms",
                 f"{frame.utilisation:.0%}", f"{frame.bytes / 1e6:.2f} MB")
            )  # fmt: skip
    if not counted:
        return Table.of(("board", "clock aimed at", "cycles"), rows)
    header = ("board", "clock", "task", "cycles", "modelled", "engine busy", "moved")
    return Table.of(header, rows)
