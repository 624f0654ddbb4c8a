# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A frame in time: what the matrix engine does while weights arrive.

Drawn from records of cycles, one for every instruction (nothing writes any at present). A
record says how many of its cycles the engine multiplied, how many weights
arrived, and how many were spent waiting for them; not at which moment, so a
lane is filled by that share over the whole instruction. `pingpong` draws the
moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.bench.cycles import FrameCycles
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.program import part_with_experts, program_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Lanes from the top: attribute of a `Span`, text, colour.
_LANES = (
    ("compute", "engine\nmultiplies", theme.SKY),
    ("load", "weights\narrive", theme.ORANGE),
    ("stall", "engine\nwaits", theme.VERMILION),
)


@dataclass(frozen=True)
class Span:
    """One instruction on the time line of a frame.

    Attributes
    ----------
    pc : int
        Absolute index in the program.
    group : str
        The part of the network, as in `program_rows`.
    start, end : int
        Cycles since the start of the frame.
    compute, load, stall : int
        Cycles of those in which the engine multiplies, in which something
        arrives from DRAM, and in which the engine waits for it. What arrives
        side by side (the frame and weights) is counted twice.
    """

    pc: int
    opcode: Opcode
    layer: str
    group: str
    start: int
    end: int
    compute: int
    load: int
    stall: int

    @property
    def cycles(self) -> int:
        return self.end - self.start


def spans(package: Package, task: str, frame: FrameCycles) -> list[Span]:
    """The instructions of a frame one after the other, END included.

    Raises
    ------
    ValueError
        If the records are not those of this task of this package.
    """
    rows = {row.pc: row for row in program_rows(package, task)}
    result, now = [], 0
    for record in frame.records:
        row = rows.get(record.pc)
        if row is None or row.instruction.opcode != record.opcode:
            raise ValueError(
                f"instruction {record.pc} ({record.opcode.name}) is not in task {task!r} of this "
                "package: give the records of the same package and task"
            )
        result.append(
            Span(record.pc, record.opcode, row.layer, row.group, now, now + record.total,
                 record.compute, record.load, record.stall)
        )  # fmt: skip
        now += record.total
    return result


def hidden_share(timeline: Sequence[Span]) -> float:
    """Share of the cycles of loading that passed behind computation; 1 if nothing is loaded."""
    load = sum(span.load for span in timeline)
    return 1.0 - sum(span.stall for span in timeline) / load if load else 1.0


def frame_timeline(
    package: Package,
    task: str,
    frame: FrameCycles,
    clock_mhz: float,
    zoom: str | None = None,
) -> Figure:
    """A frame from start to end, and one part of the network enlarged.

    Parameters
    ----------
    clock_mhz : float
        Turns cycles into milliseconds.
    zoom : str, optional
        Part of the network to enlarge, such as ``"block 1"``; default: the
        first with experts.

    Raises
    ------
    ValueError
        If the records are not those of this task, or there is no such part.
    ImportError
        If Matplotlib is not installed.
    """
    timeline = spans(package, task, frame)
    groups = _extents(timeline)
    zoom = zoom or part_with_experts(package, task)
    if zoom not in groups:
        raise ValueError(f"no part {zoom!r} to enlarge; this frame has: {', '.join(groups)}")
    figure = theme.new_figure(11.5, 4.6)
    above, below = figure.subplots(2, 1)
    _overview(above, timeline, groups, zoom, clock_mhz)
    above.set_title(
        f"{package.config.name}, {task}: {frame.total:,} cycles, modelled, "
        f"{frame.total / _per_ms(clock_mhz):.2f} ms at {clock_mhz:g} MHz",
        loc="left", color=theme.INK, fontsize=9, pad=16,
    )  # fmt: skip
    members = [span for span in timeline if span.group == zoom]
    _lanes(below, members, clock_mhz)
    _name_instructions(below, members, clock_mhz)
    below.set_title(f"{zoom} enlarged", loc="left", color=theme.INK, fontsize=9, pad=16)
    below.set_xlabel("milliseconds; a bar is as high as the share of the instruction's cycles")
    return figure


def _overview(
    axes: Axes,
    timeline: Sequence[Span],
    groups: dict[str, tuple[int, int]],
    zoom: str,
    clock_mhz: float,
) -> None:
    """The lanes of the whole frame, with a frame around the part that is enlarged."""
    _lanes(axes, timeline, clock_mhz)
    _name_groups(axes, groups, clock_mhz)
    start, end = (cycle / _per_ms(clock_mhz) for cycle in groups[zoom])
    axes.axvspan(start, end, facecolor="none", edgecolor=theme.INK, linewidth=0.9, zorder=5)


def _per_ms(clock_mhz: float) -> float:
    return clock_mhz * 1e3


def _extents(timeline: Sequence[Span]) -> dict[str, tuple[int, int]]:
    """First and last cycle of every part of the network."""
    extents: dict[str, tuple[int, int]] = {}
    for span in timeline:
        first = extents.get(span.group, (span.start, 0))[0]
        extents[span.group] = (first, span.end)
    return extents


def _lanes(axes: Axes, timeline: Sequence[Span], clock_mhz: float) -> None:
    theme.dress(axes)
    starts = [span.start / _per_ms(clock_mhz) for span in timeline]
    widths = [span.cycles / _per_ms(clock_mhz) for span in timeline]
    for lane, (name, _, colour) in enumerate(_LANES):
        base = 1.25 * (len(_LANES) - 1 - lane)
        axes.axhspan(base, base + 1, color=theme.LINE, alpha=0.35, linewidth=0)
        shares = [min(getattr(span, name) / max(span.cycles, 1), 1.0) for span in timeline]
        axes.bar(starts, shares, widths, base, align="edge", color=colour, linewidth=0)
    axes.set_yticks([1.25 * lane + 0.5 for lane in range(len(_LANES))])
    axes.set_yticklabels([text for _, text, _ in reversed(_LANES)], color=theme.INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.1, 1.25 * len(_LANES) - 0.15)
    axes.set_xlim(starts[0], starts[-1] + widths[-1])


def _name_groups(axes: Axes, groups: dict[str, tuple[int, int]], clock_mhz: float) -> None:
    for group, (start, end) in groups.items():
        axes.axvline(start / _per_ms(clock_mhz), color=theme.CARD, linewidth=1.2)
        centre = (start + end) / 2 / _per_ms(clock_mhz)
        axes.text(
            centre, 1.02, group.removeprefix("block "), transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", color=theme.FAINT, fontsize=7.5,
        )  # fmt: skip


def _name_instructions(axes: Axes, members: Sequence[Span], clock_mhz: float) -> None:
    total = members[-1].end - members[0].start
    for span in members:
        axes.axvline(span.start / _per_ms(clock_mhz), color=theme.CARD, linewidth=1.2)
        if span.cycles < 0.05 * total:
            continue  # no room for its name
        axes.text(
            (span.start + span.end) / 2 / _per_ms(clock_mhz), 1.02, span.opcode.name,
            transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=theme.FAINT,
            fontsize=7.5,
        )  # fmt: skip
