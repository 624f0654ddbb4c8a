# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A picture of a training log."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

from .checkpoint import write_atomically

log = logging.getLogger(__name__)

#: Columns of the log that are no curve.
_OTHER = ("epoch", "step", "seconds", "images_per_second", "lr_factor")


def draw_curve(path: Path) -> Path | None:
    """Draw the columns of a log beside it as PNG; `None` without Matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no picture of %s: Matplotlib is not installed", path)
        return None
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [n for n in rows[-1] if n not in _OTHER and "_" not in n]
    shares = [n for n in rows[-1] if n not in _OTHER and "changed" in n]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    panels = figure.subplots(1, 2 if shares else 1, squeeze=False)[0]
    for panel, names, label in zip(
        panels, (losses, shares), ("loss", "sets changed"), strict=False
    ):
        for name in names:
            points = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
            panel.plot(*zip(*points, strict=True), label=name)
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        panel.set_yscale("log")
        panel.legend(fontsize="small")
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    target = Path(path).with_suffix(".png")
    write_atomically(target, lambda file: file.write(data.getvalue()))
    return target
