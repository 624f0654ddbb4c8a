# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The ping-pong pair of weight memories in time: a block for every chunk of weights.

Drawn from passages (nothing writes any at present): when a chunk arrived in
its half of the pair, and when the engine computed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from m3vit_pynq.abi.isa import OPERANDS, Opcode
from m3vit_pynq.analysis.workload import EXPERTS
from m3vit_pynq.bench.cycles import FrameCycles
from m3vit_pynq.emulator.cycle_records import Passage
from m3vit_pynq.package import Package
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.timeline import Span, spans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Lanes from the top: loads or computations, of which half.
_LANES = (
    ("DRAM → ping", True, 0), ("DRAM → pong", True, 1),
    ("engine on ping", False, 0), ("engine on pong", False, 1),
)  # fmt: skip
#: Opcodes whose weights pass through the ping-pong.
_WITH_WEIGHTS = tuple(opcode for opcode in Opcode if "weights" in OPERANDS[opcode])
_LOADS, _WORKS, _WAITS = theme.ORANGE, theme.SKY, theme.VERMILION
_SECOND = 0.4  # how far the colour of an expert's second layer is towards the card
#: Chunks of the enlarged part: so many that the parts of a block can be told apart.
ENLARGED = 12
_WIDTH = 11.5  # inches of the figure
_DIGIT, _MARGIN = 0.055, 0.035  # inches of a digit in a block, and beside all of them


@dataclass(frozen=True)
class Wait:
    """Cycles since the start of the frame in which the engine waits for a chunk."""

    start: int
    end: int
    passage: Passage

    @property
    def cycles(self) -> int:
        return self.end - self.start


def waits(frame: FrameCycles) -> list[Wait]:
    """Where the stalls of a frame's instructions are, in order of time.

    The engine waits if the chunk that arrives during a computation is not there
    when that ends, and while the first chunk of an instruction arrives if
    nothing could hide it. A chunk that arrives behind an instruction without
    weights of its own, such as ``ATTENTION``, makes nobody wait.
    """
    totals = [record.total for record in frame.records]
    begins = dict(
        zip((r.pc for r in frame.records), accumulate(totals, initial=0), strict=False)
    )  # the last sum is the end of the frame
    found, free = [], 0
    for passage in frame.passages.records:
        beside = passage.load_start < free  # the computation before
        start = free if beside else passage.load_start
        if (beside or start >= begins[passage.pc]) and passage.load_end > start:
            found.append(Wait(start, passage.load_end, passage))
        free = passage.compute_end
    return found


def pingpong_timeline(
    package: Package,
    task: str,
    frame: FrameCycles,
    clock_mhz: float,
    layer: str | None = None,
    window: tuple[int, int] | None = None,
) -> Figure:
    """Chunks of weights on their way through both halves of the ping-pong pair.

    A number is an expert; darker blocks are the second layer of an expert. Of a
    window with many chunks the part in which the engine waits most is enlarged.

    Parameters
    ----------
    clock_mhz : float
        Turns cycles into microseconds.
    layer : str, optional
        Name of a layer, such as ``"blocks.1.experts"``; default: of those with
        experts the one in which the engine waits longest.
    window : tuple of int, optional
        First and last cycle since the start of the frame, instead of a layer.

    Raises
    ------
    ValueError
        If the records are not those of this task, no chunk passes in the layer
        or window, or the log of chunks ended before it does.
    ImportError
        If Matplotlib is not installed.
    """
    timeline = spans(package, task, frame)
    if window is None:
        layer = layer or _layer_that_waits(timeline)
        window = _extent(timeline, frame, layer)
    members = _within(frame, window)
    zoom = _part_that_waits(members, waits(frame)) if len(members) > 1.5 * ENLARGED else None
    figure = theme.new_figure(_WIDTH, 4.4 if zoom else 2.4)
    panels = figure.subplots(2 if zoom else 1, 1, squeeze=False)[:, 0]
    _gantt(panels[0], frame, timeline, window, clock_mhz)
    panels[0].set_title(
        _title(f"{layer or 'a window'}, {task}", frame, window, clock_mhz),
        loc="left", color=theme.INK, fontsize=9, pad=16,
    )  # fmt: skip
    if zoom:
        _gantt(panels[1], frame, timeline, zoom, clock_mhz)
        panels[1].set_title(
            "the framed part enlarged", loc="left", color=theme.INK, fontsize=9, pad=16
        )
        start, end = (cycle / clock_mhz for cycle in zoom)
        panels[0].axvspan(start, end, facecolor="none", edgecolor=theme.INK, linewidth=0.9)
    panels[-1].set_xlabel(
        "microseconds since the start of the frame; a number is an expert", loc="left", fontsize=8
    )
    _key(panels[-1], members)
    return figure


def _layer_that_waits(timeline: Sequence[Span]) -> str:
    """The layer with experts that stalls most; without experts, of all layers with weights."""
    stalls: dict[str, int] = {}
    experts = any(span.opcode in EXPERTS for span in timeline)
    kinds = EXPERTS if experts else _WITH_WEIGHTS
    for span in timeline:
        if span.opcode in kinds:
            stalls[span.layer] = stalls.get(span.layer, 0) + span.stall
    if not stalls:
        raise ValueError("no layer of this program has weights: nothing passes the ping-pong")
    return max(stalls, key=stalls.__getitem__)


def _extent(timeline: Sequence[Span], frame: FrameCycles, layer: str) -> tuple[int, int]:
    """From the first instruction of a layer to the end of its last."""
    members = [span for span in timeline if span.layer == layer]
    if not members:
        owners = {passage.pc for passage in frame.passages.records}
        known = dict.fromkeys(span.layer for span in timeline if span.pc in owners)
        raise ValueError(f"no layer {layer!r} to draw; layers with weights: {', '.join(known)}")
    return members[0].start, members[-1].end


def _within(frame: FrameCycles, window: tuple[int, int]) -> list[Passage]:
    """The chunks that arrive or are computed with in a window."""
    log = frame.passages
    logged = log.records[-1].compute_end if log.records else 0
    if not log.complete and window[1] > logged:
        raise ValueError(
            f"the log of chunks was full at cycle {logged:,}, {log.dropped:,} are missing; "
            "choose a layer or a window before that"
        )
    members = [p for p in log.records if p.load_start < window[1] and p.compute_end > window[0]]
    if not members:
        raise ValueError(f"no weights pass in cycles {window[0]:,} to {window[1]:,}")
    return members


def _part_that_waits(members: Sequence[Passage], stalls: Sequence[Wait]) -> tuple[int, int]:
    """Start and end of the `ENLARGED` computations in a row with the longest waiting."""
    lost = {wait.passage: wait.cycles for wait in stalls}
    firsts = range(len(members) - ENLARGED + 1)
    parts = [members[first : first + ENLARGED] for first in firsts]
    best = max(parts, key=lambda part: sum(lost.get(passage, 0) for passage in part))
    return best[0].compute_start - lost.get(best[0], 0), best[-1].compute_end


def _title(what: str, frame: FrameCycles, window: tuple[int, int], clock_mhz: float) -> str:
    cycles = window[1] - window[0]
    clipped = (
        min(wait.end, window[1]) - max(wait.start, window[0])
        for wait in waits(frame) if wait.start < window[1] and wait.end > window[0]
    )  # fmt: skip
    return (
        f"{what}: {cycles:,} cycles, modelled, {cycles / clock_mhz:,.0f} µs at {clock_mhz:g} MHz; "
        f"waiting for weights {sum(clipped) / cycles:.1%}"
    )


def _gantt(
    axes: Axes,
    frame: FrameCycles,
    timeline: Sequence[Span],
    window: tuple[int, int],
    clock_mhz: float,
) -> None:
    """Four lanes with a block for everything that happens in a window."""
    theme.dress(axes)
    members = _within(frame, window)
    stalls = [w for w in waits(frame) if w.start < window[1] and w.end > window[0]]
    for lane, (_, loads, half) in enumerate(_LANES):
        y = len(_LANES) - 1 - lane
        axes.axhspan(y - 0.4, y + 0.4, color=theme.LINE, alpha=0.35, linewidth=0)
        mine = [passage for passage in members if passage.half == half]
        for passage in mine:
            colour = _tone(_LOADS if loads else _WORKS, passage)
            _block(axes, y, _times(passage, loads), colour, window, clock_mhz, _name(passage))
        if not loads:
            for wait in (w for w in stalls if w.passage.half == half):
                _block(axes, y, (wait.start, wait.end), _WAITS, window, clock_mhz)
    axes.set_yticks(range(len(_LANES)))
    axes.set_yticklabels([text for text, _, _ in reversed(_LANES)], color=theme.INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(_LANES) - 0.5)
    axes.set_xlim(window[0] / clock_mhz, window[1] / clock_mhz)
    _name_instructions(axes, timeline, window, clock_mhz)


def _times(passage: Passage, loads: bool) -> tuple[int, int]:
    if loads:
        return passage.load_start, passage.load_end
    return passage.compute_start, passage.compute_end


def _tone(colour: str, passage: Passage) -> str:
    return theme.towards_card(colour, _SECOND) if passage.second else colour


def _name(passage: Passage) -> str:
    return "" if passage.expert is None else str(passage.expert)


def _block(
    axes: Axes,
    y: int,
    times: tuple[int, int],
    colour: str,
    window: tuple[int, int],
    clock_mhz: float,
    text: str = "",
) -> None:
    """A bar over what of `times` is in the window, with its text if that fits."""
    start, end = max(times[0], window[0]), min(times[1], window[1])
    if end <= start:
        return
    axes.barh(y, (end - start) / clock_mhz, 0.8, start / clock_mhz, color=colour, linewidth=0)
    inches = (end - start) / (window[1] - window[0]) * 0.9 * _WIDTH
    if text and inches > _DIGIT * len(text) + _MARGIN:
        axes.text(
            (start + end) / 2 / clock_mhz, y, text, ha="center", va="center",
            color=theme.ink_on(colour), fontsize=6.5,
        )  # fmt: skip


def _name_instructions(
    axes: Axes, timeline: Sequence[Span], window: tuple[int, int], clock_mhz: float
) -> None:
    """Names above the lanes and lines between the instructions of a window."""
    shown = [span for span in timeline if span.start < window[1] and span.end > window[0]]
    for before, after in pairwise(shown):
        if before.pc != after.pc:
            axes.axvline(after.start / clock_mhz, color=theme.FAINT, linewidth=0.8)
    for span in shown:
        start, end = max(span.start, window[0]), min(span.end, window[1])
        if end - start < 0.07 * (window[1] - window[0]):
            continue  # no room for its name
        axes.text(
            (start + end) / 2 / clock_mhz, 1.02, span.opcode.name,
            transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=theme.FAINT,
            fontsize=7.5,
        )  # fmt: skip


def _key(axes: Axes, members: Sequence[Passage]) -> None:
    """What the colours mean, to the right below the lanes."""
    entries = {"weights arrive": _LOADS, "engine computes": _WORKS, "engine waits": _WAITS}
    if any(passage.second for passage in members):
        entries["darker: an expert's second layer"] = theme.towards_card(_WORKS, _SECOND)
    place = {"loc": "upper right", "bbox_to_anchor": (1.0, 0.0), "borderaxespad": 2.2}
    theme.key(axes, entries, **place)  # the pad, in heights of its text, leaves room for ticks
