# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a frame costs: cycles and bytes by kind of layer, stages, boards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.bench.cycles import BoardCycles, FrameCycles
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.table import Table
from m3vit_pynq.pictures.timeline import Span, spans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Stages of a stream in the order of the way of a frame: words and colour.
_HOST = {
    "capture": ("capture", theme.GREY),
    "resize": ("resize", theme.GREEN),
    "wait": ("wait for the device", theme.LINE),
    "postprocess": ("copy", theme.YELLOW),
    "consumer": ("draw", theme.PURPLE),
}


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
    """The kind of layer an instruction works for."""
    if opcode in (Opcode.LOAD_PATCHES, Opcode.LOAD_RESIDUAL) or layer.startswith("patch_embed"):
        return "patch embedding"
    if not layer.startswith("blocks."):
        return "end" if opcode == Opcode.END else "task head"
    if opcode == Opcode.LAYERNORM:
        return "layer norm"
    if opcode == Opcode.EXPERTS:
        return "experts"
    if opcode == Opcode.GATE or ".gate." in layer:
        return "router"
    return "attention" if ".attn" in layer else "dense feed-forward"


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
    _stacked(left, kinds, parts)
    for y, cost in enumerate(costs.values()):
        _beside(left, cost.cycles, y, f"{cost.cycles / total:.1%}")
    left.set_title(f"cycles, {total:,} in all", loc="left", color=theme.INK, fontsize=9, pad=22)
    theme.key(
        left, {text: colour for text, (colour, _) in parts.items()}, loc="lower left",
        bbox_to_anchor=(-0.02, 0.98), borderaxespad=0.0,
    )  # fmt: skip
    moved = sum(cost.bytes for cost in costs.values())
    megabytes = [cost.bytes / 1e6 for cost in costs.values()]
    _stacked(right, kinds, {"bytes": (theme.ORANGE, megabytes)})
    for y, value in enumerate(megabytes):
        _beside(right, value, y, f"{value:.2f} MB")
    right.set_title(f"{moved / 1e6:.2f} MB moved", loc="left", color=theme.INK, fontsize=9, pad=22)
    return figure


def _stacked(axes: Axes, names: list[str], parts: Mapping[str, tuple[str, list[float]]]) -> None:
    """Horizontal bars, one for each name, from parts laid end to end."""
    theme.dress(axes, "x")
    starts = [0.0] * len(names)
    for colour, values in parts.values():
        axes.barh(range(len(names)), values, 0.72, starts, color=colour, linewidth=0)
        starts = [start + value for start, value in zip(starts, values, strict=True)]
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names, color=theme.INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.16 * max(starts))
    axes.ticklabel_format(axis="x", style="plain")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _beside(axes: Axes, end: float, y: int, text: str) -> None:
    axes.annotate(
        text, (end, y), (4, 0), textcoords="offset points", va="center", color=theme.INK,
        fontsize=8,
    )  # fmt: skip


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
    _beside(axes, busy, 1, f"{busy:.1f} ms")
    _beside(axes, start, 0, f"{start:.1f} ms a frame")
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
    """Modelled figures of boards, or why a package does not fit one."""
    rows = []
    for found in boards.values():
        title, clock = found.board.title, f"{found.board.clock_mhz:g} MHz"
        if found.problem:
            rows.append((title, clock, "", "does not fit: " + found.problem, "", "", ""))
        for task, frame in found.tasks.items():
            rows.append(
                (title, clock, task, f"{frame.total:,}", f"{found.milliseconds(task):.2f} ms",
                 f"{frame.utilisation:.0%}", f"{frame.bytes / 1e6:.2f} MB")
            )  # fmt: skip
    header = ("board", "clock", "task", "cycles", "modelled", "engine busy", "moved")
    return Table.of(header, rows)
