# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which experts the tokens of a frame took, and how the ways of two tasks differ.

The choices come from `m3vit_pynq.inspection.expert_choices`: they never leave
the accelerator, and the integer specification computes the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3vit_pynq.inspection import ExpertChoice, Inspection
from m3vit_pynq.palette import palette
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of the expert's colour over the grey frame.
OPACITY = 0.7


@dataclass(frozen=True)
class Comparison:
    """The ways of two tasks through the experts, for one frame.

    Attributes
    ----------
    tasks : tuple of str
        The two tasks.
    layers : tuple of str
        Layers with experts.
    shared : ndarray
        float64 ``[layers, tokens]``: share of a token's experts that both
        tasks chose, 0 to 1. Token 0 is the class token.
    alike : ndarray
        float64 ``[layers, tokens]``: whether a token has the same company in
        both tasks. It is the correlation, over all other tokens, of how many
        experts they share with it: 1 if both tasks put the same tokens
        together, 0 if the one says nothing of the other, NaN if a task
        tells no tokens apart.
    by_chance : float
        What ``shared`` is for routers that know nothing of each other.
    grid : tuple of int
        Rows and columns of patches.
    """

    tasks: tuple[str, str]
    layers: tuple[str, ...]
    shared: np.ndarray
    alike: np.ndarray
    by_chance: float
    grid: tuple[int, int]

    def table(self) -> Table:
        """Means over the tokens of every layer, and over all layers."""
        rows = [
            (_short(layer), f"{shared.mean():.0%}", f"{_mean(alike):.2f}")
            for layer, shared, alike in zip(self.layers, self.shared, self.alike, strict=True)
        ]
        rows.append(("all", f"{self.shared.mean():.0%}", f"{_mean(self.alike):.2f}"))
        chance = f"experts in common (by chance {self.by_chance:.0%})"
        return Table.of(("layer", chance, "same company (by chance 0)"), rows)

    def on_patches(self, values: np.ndarray) -> np.ndarray:
        """``[layers, rows, columns]``: values of tokens where their patches are."""
        return values[:, 1:].reshape(len(self.layers), *self.grid)


def _mean(values: np.ndarray) -> float:
    """Mean of what is a number; NaN where nothing is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


def _layers(inspections: Sequence[Inspection]) -> tuple[str, ...]:
    """Names of the layers with experts, which all inspections must share."""
    if not inspections:
        raise ValueError("no inspections: give the result of expert_choices for every task")
    shapes = [
        [(choice.layer, choice.experts.shape, choice.count) for choice in inspection.choices]
        for inspection in inspections
    ]
    if not shapes[0]:
        raise ValueError("this model has no layers with experts: nothing to draw")
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("the inspections are of different models; inspect the same package")
    return tuple(layer for layer, _, _ in shapes[0])


def compare(first: Inspection, second: Inspection) -> Comparison:
    """Compare the ways of two tasks through the experts, token by token.

    Raises
    ------
    ValueError
        If the inspections are of different models, or of one without experts.
    """
    layers = _layers((first, second))
    pairs = list(zip(first.choices, second.choices, strict=True))
    choice = first.choices[0]
    return Comparison(
        (first.task, second.task),
        layers,
        np.stack([_shared(a, b) for a, b in pairs]),
        np.stack([_alike(a, b) for a, b in pairs]),
        choice.experts.shape[1] / choice.count,
        choice.grid,
    )


def _shared(a: ExpertChoice, b: ExpertChoice) -> np.ndarray:
    """float64 [tokens]: share of the experts that two choices have in common."""
    return (a.experts[:, :, None] == b.experts[:, None, :]).any(axis=2).mean(axis=1)


def _company(choice: ExpertChoice) -> np.ndarray:
    """float64 [tokens, tokens - 1]: experts that each token shares with each other one."""
    tokens = len(choice.experts)
    chosen = np.zeros((tokens, choice.count))
    np.put_along_axis(chosen, choice.experts, 1.0, axis=1)
    others = ~np.eye(tokens, dtype=bool)
    return (chosen @ chosen.T)[others].reshape(tokens, tokens - 1)


def _alike(a: ExpertChoice, b: ExpertChoice) -> np.ndarray:
    """float64 [tokens]: correlation of a token's company in two choices."""
    one, two = _company(a), _company(b)
    one -= one.mean(axis=1, keepdims=True)
    two -= two.mean(axis=1, keepdims=True)
    scale = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    alike = np.full(len(scale), np.nan)
    np.divide((one * two).sum(axis=1), scale, out=alike, where=scale > 1e-9)
    return alike


def expert_loads(inspections: Sequence[Inspection]) -> np.ndarray:
    """int64 [tasks, layers, experts]: tokens in every expert's queue.

    Raises
    ------
    ValueError
        If the inspections are of different models, or of one without experts.
    """
    _layers(inspections)
    return np.stack(
        [np.stack([choice.load() for choice in inspection.choices]) for inspection in inspections]
    )


def expert_map(frame: np.ndarray, choice: ExpertChoice) -> np.ndarray:
    """The frame in grey, every patch tinted by the expert with the largest weight.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB, as the accelerator read it.

    Returns
    -------
    ndarray
        uint8 RGB of the same size.
    """
    rows, columns = choice.grid
    height, width = frame.shape[:2]
    tint = palette("")[choice.first_choice()]
    tint = tint.repeat(height // rows, axis=0).repeat(width // columns, axis=1)
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(tint, OPACITY, grey, 1.0 - OPACITY, 0.0)


def _short(layer: str) -> str:
    return layer.replace("blocks.", "block ")


def expert_picture(inspections: Sequence[Inspection]) -> Figure:
    """The expert of every token: a row for each task, a column for each layer.

    A colour is the same expert in all rows of a column. Expert 3 of one layer
    has nothing to do with expert 3 of another.

    Raises
    ------
    ValueError
        If the inspections are of different models, or of one without experts.
    ImportError
        If Matplotlib is not installed.
    """
    layers = _layers(inspections)
    height, width = inspections[0].frame.shape[:2]
    cell = _cell(len(layers) + 1)
    high, key = cell * height / width + 0.25, 0.45
    figure = theme.new_figure(max(cell * (len(layers) + 1), 7.0), len(inspections) * high + key)
    grid = figure.add_gridspec(
        len(inspections) + 1, len(layers) + 1, height_ratios=[high] * len(inspections) + [key]
    )
    panels = [
        [figure.add_subplot(grid[row, column]) for column in range(len(layers) + 1)]
        for row in range(len(inspections))
    ]
    for row, inspection in zip(panels, inspections, strict=True):
        _image(row[0], inspection.frame, inspection.task)
        for axes, layer, choice in zip(row[1:], layers, inspection.choices, strict=True):
            used = int(np.count_nonzero(choice.load()))
            _image(axes, expert_map(inspection.frame, choice), f"{_short(layer)}: {used} used")
    count = max(choice.count for choice in inspections[0].choices)
    _name_experts(figure.add_subplot(grid[-1, :]), count)
    return figure


def _cell(columns: int) -> float:
    """Inches of a panel: as many as fit a page, but no larger than need be."""
    return min(11.5 / columns, 2.4)


def _image(axes: Axes, picture: np.ndarray, title: str) -> None:
    theme.blank(axes).imshow(picture, interpolation="nearest")
    axes.set_title(title, color=theme.INK, fontsize=8, pad=3)


def _name_experts(axes: Axes, count: int) -> None:
    """Numbered patches in the experts' colours."""
    colours = palette("")
    entries = {str(e): "#" + colours[e].tobytes().hex() for e in range(count)}
    theme.key(theme.blank(axes), entries, loc="center", title="expert", title_fontsize=8)
    axes.get_legend().get_title().set_color(theme.FAINT)


def comparison_picture(frame: np.ndarray, found: Comparison) -> Figure:
    """How the ways of two tasks differ: a panel for each layer, brighter where they agree.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB, as the accelerator read it.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    cell = _cell(len(found.layers) + 1)
    high = cell * frame.shape[0] / frame.shape[1] + 0.25
    figure = theme.new_figure(max(cell * (len(found.layers) + 1), 7.0), 2 * high + 0.75)
    panels = figure.subplots(2, len(found.layers) + 1, squeeze=False)
    texts = ("experts in common", "same company")
    for row, values, text in zip(panels, (found.shared, found.alike), texts, strict=True):
        _image(row[0], frame, text)
        patches = found.on_patches(values)
        for axes, layer, mean, picture in zip(row[1:], found.layers, values, patches, strict=True):
            theme.blank(axes).set_facecolor(theme.LINE)
            drawn = axes.imshow(
                picture, cmap="cividis", vmin=0, vmax=1, interpolation="nearest",
                extent=(0, frame.shape[1], frame.shape[0], 0),
            )  # fmt: skip
            title = f"{_short(layer)}: {_mean(mean):.2f}"
            axes.set_title(title, color=theme.INK, fontsize=8, pad=3)
    bar = figure.colorbar(
        drawn, ax=panels.ravel().tolist(), orientation="horizontal", shrink=0.4, aspect=40
    )
    bar.set_ticks([0, found.by_chance, 1])
    bar.ax.set_xticklabels(["0", f"{found.by_chance:.2f}", "1"])
    bar.set_label(
        f"{found.tasks[0]} and {found.tasks[1]}: 0 nothing in common, 1 the same",
        color=theme.FAINT, fontsize=8,
    )  # fmt: skip
    bar.ax.tick_params(colors=theme.FAINT, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def load_picture(inspections: Sequence[Inspection]) -> Figure:
    """Tokens in every expert's queue: a panel for each task, a row for each layer.

    Raises
    ------
    ValueError
        If the inspections are of different models, or of one without experts.
    ImportError
        If Matplotlib is not installed.
    """
    layers, loads = _layers(inspections), expert_loads(inspections)
    figure = theme.new_figure(11.5, 0.27 * len(layers) + 0.85)
    panels = figure.subplots(1, len(inspections), squeeze=False)[0]
    for axes, inspection, table in zip(panels, inspections, loads, strict=True):
        theme.dress(axes).imshow(table, cmap="cividis", vmin=0, vmax=loads.max(), aspect="auto")
        for (layer, expert), tokens in np.ndenumerate(table):
            bright = tokens > 0.55 * loads.max()
            axes.text(
                expert, layer, str(tokens), ha="center", va="center", fontsize=7,
                color="#000000" if bright else "#ffffff",
            )  # fmt: skip
        axes.set_yticks(range(len(layers)))
        axes.set_yticklabels([_short(layer) for layer in layers])
        axes.set_xticks(range(table.shape[1]))
        axes.set_xlabel("expert", fontsize=8)
        axes.set_title(f"{inspection.task}: tokens in the queue", color=theme.INK, fontsize=9)
        axes.spines["bottom"].set_visible(False)
    return figure
