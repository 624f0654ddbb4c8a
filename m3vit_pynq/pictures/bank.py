# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bank in device memory: its sections, and what each instruction touches of the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import Region, Section, footprint
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.program import Row, program_rows
from m3vit_pynq.pictures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How a region is touched: colour, and place and width in the column of its instruction.
_WAYS = {
    "read": (theme.SKY, 0.04, 0.44),
    "written": (theme.ORANGE, 0.52, 0.44),
    "updated in place": (theme.VERMILION, 0.04, 0.92),
}
#: A region that is lower than this share of the workspace has no room for its name.
_TALL = 0.05


@dataclass(frozen=True)
class Touch:
    """A region of the workspace that an instruction touches.

    Attributes
    ----------
    pc : int
        Absolute index of the instruction.
    what : str
        Name of the region.
    way : str
        ``"read"``, ``"written"`` or ``"updated in place"``.
    start, end : int
        Lines from the start of the workspace; rows of another tensor may lie
        between those of this one.
    """

    pc: int
    what: str
    way: str
    start: int
    end: int


def bank_table(package: Package) -> Table:
    """The sections of a package's bank."""
    layout = package.layout
    sections = [("program", 0, layout.weights_line)]
    for part in range(package.weights.shape[0]):
        sections.append(
            (f"weights, part {part}", layout.weights_line + part * layout.part_lines,
             layout.part_lines)
        )  # fmt: skip
    sections.append(("workspace", layout.workspace_line, layout.workspace_lines))
    rows = [
        (what, f"{first:,}", f"{lines:,}", f"{LINE * lines / 1e6:.2f} MB")
        for what, first, lines in sections
    ]
    rows.append(("bank", "0", f"{layout.lines:,}", f"{LINE * layout.lines / 1e6:.2f} MB"))
    return Table.of(("section", "first line", "lines of 64 bytes", "size"), rows)


def touches(package: Package, task: str) -> list[Touch]:
    """What the instructions of a task touch of the workspace, in program order.

    Raises
    ------
    ValueError
        If the package has no such task.
    """
    base = package.layout.workspace_line
    found = []
    for row in program_rows(package, task):
        touched = footprint(row.instruction)
        ways: dict[str, tuple[Region, ...]] = {
            "read": touched.reads, "written": touched.writes,
            "updated in place": touched.updates,
        }  # fmt: skip
        found += [
            Touch(row.pc, region.what, way, region.base - base, region.end - base)
            for way, regions in ways.items()
            for region in regions
            if region.section == Section.WORKSPACE
        ]
    return found


def workspace_picture(package: Package, task: str, group: str | None = None) -> Figure:
    """The workspace from top to bottom, the program from left to right.

    Parameters
    ----------
    group : str, optional
        Only one part of the network, as in `program_rows`; with names.

    Raises
    ------
    ValueError
        If there is no such task or part.
    ImportError
        If Matplotlib is not installed.
    """
    rows = program_rows(package, task)
    known = list(dict.fromkeys(row.group for row in rows))
    if group is not None and group not in known:
        raise ValueError(f"no part {group!r}; this program has: {', '.join(known)}")
    shown = [row for row in rows if group in (None, row.group)]
    place = {row.pc: x for x, row in enumerate(shown)}
    lines = package.layout.workspace_lines
    figure = theme.new_figure(11.5, 3.6)
    axes = theme.dress(figure.add_subplot())
    for touch in touches(package, task):
        if touch.pc in place:
            _draw(axes, place[touch.pc], touch)
            if group is not None and touch.end - touch.start > _TALL * lines:
                _label(axes, place[touch.pc], touch)
    axes.set_xlim(0, len(shown))
    axes.set_ylim(LINE * lines / 1e6, 0)
    axes.set_ylabel("MB from the start of the workspace", fontsize=8)
    axes.set_xticks([])
    names = [row.instruction.opcode.name for row in shown] if group else None
    _name(axes, shown, names)
    axes.set_title(
        f"{package.config.name}, {task}{f', {group}' if group else ''}: what each instruction "
        "touches of the workspace", loc="left", color=theme.INK, fontsize=9, pad=18,
    )  # fmt: skip
    key = {way: colour for way, (colour, _, _) in _WAYS.items()}
    theme.key(axes, key, loc="upper left", bbox_to_anchor=(0.0, 0.0), borderaxespad=0.4)
    return figure


def _draw(axes: Axes, x: int, touch: Touch) -> None:
    """One region in its instruction's column: reads at the left, writes at the right."""
    colour, left, width = _WAYS[touch.way]
    top, size = touch.start * LINE / 1e6, (touch.end - touch.start) * LINE / 1e6
    axes.bar(x + left, size, width, top, align="edge", color=colour, linewidth=0)


def _label(axes: Axes, x: int, touch: Touch) -> None:
    """The name of a region in it."""
    colour, left, width = _WAYS[touch.way]
    axes.text(
        x + left + width / 2, (touch.start + touch.end) / 2 * LINE / 1e6, touch.what, ha="center",
        va="center", color=theme.ink_on(colour), fontsize=6.5,
    )  # fmt: skip


def _name(axes: Axes, shown: list[Row], names: list[str] | None) -> None:
    """Instructions, or parts of the network, above their columns."""
    if names is not None:
        spans = [(name, x, x + 1) for x, name in enumerate(names)]
    else:
        spans, x = [], 0
        for part, members in groupby(shown, key=lambda row: row.group):
            count = len(list(members))
            spans.append((part.removeprefix("block "), x, x + count))
            x += count
    for text, start, end in spans:
        axes.axvline(start, color=theme.LINE, linewidth=0.8)
        axes.text(
            (start + end) / 2, 1.02, text, transform=axes.get_xaxis_transform(), ha="center",
            va="bottom", color=theme.FAINT, fontsize=6.5 if names else 7.5,
        )  # fmt: skip
