# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Horizontal bars with a name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from m3vit_pynq.pictures import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A part of every bar: its colour, and how long it is in each.
Part = tuple[str, Sequence[float]]


def stacked(axes: Axes, names: Sequence[str], parts: Mapping[str, Part]) -> None:
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


def beside(axes: Axes, end: float, y: int, text: str) -> None:
    """Text to the right of a bar."""
    axes.annotate(
        text, (end, y), (4, 0), textcoords="offset points", va="center", color=theme.INK,
        fontsize=8,
    )  # fmt: skip


def head(axes: Axes, title: str, parts: Mapping[str, Part]) -> None:
    """A title above the bars and, where there are several parts, their key below it."""
    axes.set_title(title, loc="left", color=theme.INK, fontsize=9, pad=22)
    if len(parts) > 1:
        theme.key(
            axes, {text: colour for text, (colour, _) in parts.items()}, loc="lower left",
            bbox_to_anchor=(-0.02, 0.98), borderaxespad=0.0,
        )  # fmt: skip
