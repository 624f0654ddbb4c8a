# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""How figures look: one dark card that reads on light and on dark pages.

A figure brings its own background, the one of `m3vit_pynq.drawing`, so that it
does not depend on the theme of the page. Colours are those of Okabe and Ito,
which people with and without a colour deficiency tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of Okabe and Ito, without black.
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE, GREY = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8a929c",
)  # fmt: skip


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


CARD = _hex(drawing.BACKGROUND)
INK = _hex(drawing.TEXT)
FAINT = _hex(drawing.FAINT)
#: Grid lines and empty cells on a card.
LINE = "#3a4048"

#: Pixels per inch of the figures.
DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty card.

    Parameters
    ----------
    width, height : float
        Inches.

    Raises
    ------
    ImportError
        If Matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "this picture is drawn by Matplotlib: pip install 'm3vit-pynq[notebook]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=CARD, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, grid: str = "") -> Axes:
    """Colours of axes, ticks and labels; ``grid`` is "x", "y" or "" for no lines."""
    axes.set_facecolor(CARD)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)
    axes.tick_params(colors=FAINT, labelsize=8, length=3)
    axes.xaxis.label.set_color(FAINT)
    axes.yaxis.label.set_color(FAINT)
    if grid:
        axes.grid(axis=grid, color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
    return axes


def blank(axes: Axes) -> Axes:
    """Axes for an image: no ticks, no frame."""
    axes.set_facecolor(CARD)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def key(axes: Axes, entries: dict[str, str], **place: object) -> None:
    """A legend of colour patches.

    Parameters
    ----------
    entries : dict
        Colour by text.
    place
        Passed on to ``Axes.legend``.
    """
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, label=text) for text, colour in entries.items()]
    axes.legend(
        handles=patches, frameon=False, labelcolor=INK, fontsize=8,
        ncol=min(len(patches), 32), handlelength=1.1, handleheight=1.0, columnspacing=1.4, **place,
    )  # fmt: skip


def towards_card(colour: str, share: float) -> str:
    """A colour mixed with that of the card: 0 leaves it as it is, 1 is the card."""
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(CARD[1:]), strict=True)
    return "#" + bytes(round((1 - share) * a + share * b) for a, b in pairs).hex()


def ink_on(colour: str | np.ndarray) -> str:
    """Black or white text, whichever reads better on a colour (WCAG contrast)."""
    if isinstance(colour, str):
        colour = np.array(list(bytes.fromhex(colour[1:])))
    srgb = np.asarray(colour, float)[:3] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
