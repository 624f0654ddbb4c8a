# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A picture of a training log."""

from __future__ import annotations

import csv
import functools
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .checkpoint import write_atomically

log = logging.getLogger(__name__)

#: Begins the columns with metrics on held-out frames.
HELD_OUT = "held_out_"
_OTHER = ("epoch", "step", "seconds", "images_per_second", "lr_factor")
_ROUTING = ("_gap_", "_usage_", "_changed_")
#: Held-out metrics that are drawn: shares of one, and metres.
_SHARES = ("_miou", "_pixel_accuracy", "_delta1")


def is_loss(name: str) -> bool:
    """Whether a column of a log is a loss."""
    other = name in _OTHER or name.startswith(HELD_OUT)
    return not other and not any(part in name for part in _ROUTING)


@dataclass(frozen=True)
class Panel:
    """One diagram: its label, which columns it shows, and whether in decades."""

    label: str
    shows: Callable[[str], bool]
    decades: bool = False


PANELS = (
    Panel("loss", is_loss, decades=True),
    Panel("learning rate, factor", lambda name: name == "lr_factor"),
    Panel("held out: share", lambda name: name.startswith(HELD_OUT) and name.endswith(_SHARES)),
    Panel(
        "held out: RMSE in metres",
        lambda name: name.startswith(HELD_OUT) and name.endswith("_rmse"),
    ),
    Panel(
        "share of tokens whose\nexperts change under noise",
        lambda name: "_changed_" in name,
        decades=True,
    ),
)


def points_of(rows: Sequence[dict[str, str]], name: str) -> list[tuple[int, float]]:
    """(epoch, value) of a column, where it has one."""
    return [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]


@functools.cache
def _warn_once() -> None:
    log.warning("no pictures of the learning curves: Matplotlib is not installed")


def draw_curve(path: Path) -> Path | None:
    """Draw a log beside it as PNG.

    Returns
    -------
    Path or None
        The picture; `None` without Matplotlib or without rows.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        _warn_once()
        return None
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return None
    wanted = [(panel, [name for name in rows[0] if panel.shows(name)]) for panel in PANELS]
    wanted = [(panel, names) for panel, names in wanted if names]
    figure = Figure(figsize=(4.5 * len(wanted), 3.5), layout="constrained")
    for axes, (panel, names) in zip(
        figure.subplots(1, len(wanted), squeeze=False)[0], wanted, strict=True
    ):
        for name in names:
            points = points_of(rows, name)
            marker = "." if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), marker=marker, label=name.removeprefix(HELD_OUT))
        axes.set_xlabel("epoch")
        axes.set_ylabel(panel.label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if panel.decades and any(value > 0 for name in names for _, value in points_of(rows, name)):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    target = Path(path).with_suffix(".png")
    write_atomically(target, lambda file: file.write(data.getvalue()))
    return target
