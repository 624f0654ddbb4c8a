# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""HTML around the live picture: legend, depth scale, figures. Follows the page's theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from m3vit_pynq.labels import get_label_set
from m3vit_pynq.live.compose import Reading
from m3vit_pynq.live.status import FAILED, WAITING, Status
from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import DepthScale, depth_colours, is_depth

if TYPE_CHECKING:
    from m3vit_pynq.live.painter import Painted

#: Lab's theme variables, with colours that read on light and dark for pages without them.
STYLE = """
.m3vit-live { color: var(--jp-ui-font-color1, inherit); }
.m3vit-live .m3vit-chips { display: flex; flex-wrap: wrap; gap: 2px 14px; line-height: 1.5; }
.m3vit-live .m3vit-chip { white-space: nowrap; }
.m3vit-live .m3vit-chip i { display: inline-block; width: 13px; height: 13px; margin-right: 5px;
  vertical-align: -2px; border: 1px solid var(--jp-ui-font-color2, #888); border-radius: 2px; }
.m3vit-live a { color: var(--jp-content-link-color, #2a8fd0); text-decoration: underline; }
.m3vit-live .m3vit-faint { color: var(--jp-ui-font-color2, #888); }
.m3vit-live .m3vit-figures { font-variant-numeric: tabular-nums; line-height: 1.5; }
.m3vit-live .m3vit-scale { position: relative; height: 34px; margin: 0 22px 0 10px;
  max-width: 620px; line-height: 1; font-size: 12px; }
.m3vit-live .m3vit-ramp { position: absolute; left: 0; right: 0; top: 0; height: 14px;
  border: 1px solid var(--jp-border-color1, #888); border-radius: 2px; }
.m3vit-live .m3vit-tick { position: absolute; top: 18px; transform: translateX(-50%); }
.m3vit-live .m3vit-mark { position: absolute; top: -3px; height: 20px; width: 2px;
  transform: translateX(-50%); background: #fff; border: 1px solid #000; }
.m3vit-live .m3vit-alert { border-left: 4px solid #e69f00; padding: 1px 8px; line-height: 1.5; }
.m3vit-live .m3vit-alert, .m3vit-live .m3vit-note { white-space: normal; }
"""

_STOPS = 16


def legend(classes: Iterable[tuple[int, float]], label_set: str) -> str:
    """Colour, name and share of the classes in view."""
    labels, colours = get_label_set(label_set), palette(label_set)
    chips = [
        f'<span class="m3vit-chip"><i style="background:rgb({r},{g},{b})"></i>'
        f'{escape(labels.class_name(index))} <span class="m3vit-faint">{share:.0%}</span></span>'
        for index, share in classes
        for r, g, b in [colours[index].tolist()]
    ]
    return f'<div class="m3vit-chips">{"".join(chips)}</div>' if chips else ""


def depth_scale(scale: DepthScale, metres: float | None = None) -> str:
    """The depth colours with distances, and a mark at one of them."""
    ramp = depth_colours()[1:][::-1]  # near, bright, to far
    stops = [ramp[round(i * (len(ramp) - 1) / (_STOPS - 1))] for i in range(_STOPS)]
    colours = ",".join("rgb({},{},{})".format(*stop.tolist()) for stop in stops)
    parts = [f'<div class="m3vit-ramp" style="background:linear-gradient(90deg,{colours})"></div>']
    ticks = scale.ticks()
    for tick in ticks:
        unit = " m" if tick == ticks[-1] else ""
        place = 100 * float(scale.position(tick))
        parts.append(f'<span class="m3vit-tick" style="left:{place:.1f}%">{tick:g}{unit}</span>')
    if metres:
        place = 100 * float(scale.position(metres))
        parts.append(f'<span class="m3vit-mark" style="left:{place:.1f}%"></span>')
    return f'<div class="m3vit-scale">{"".join(parts)}</div>'


def scale_of(painted: Painted, scale: DepthScale) -> str:
    """The depth scale with a mark at the cross, if a picture shows depth; else nothing."""
    shots = painted.moment.shots.values() if painted.moment is not None else ()
    if not any(is_depth(shot.result.kind) for shot in shots):
        return ""
    metres = [r.metres for r in painted.composed.readings if r.metres is not None]
    return depth_scale(scale, metres[0] if metres else None)


def readout(readings: Sequence[Reading]) -> str:
    """Class and distance at the cross."""
    if not readings:
        return ""
    texts = ", ".join(
        f'<b data-task="{escape(reading.task)}">{escape(reading.text)}</b>' for reading in readings
    )
    return f'<span class="m3vit-faint">at the cross:</span> {texts}'


def figures(line: str) -> str:
    """The line of figures."""
    parts = [escape(part.strip()) for part in line.split("|")]
    return f'<div class="m3vit-figures m3vit-faint">{" &middot; ".join(parts)}</div>'


def message(status: Status, extra: str = "") -> str:
    """What there is to say: an alert where somebody has to do something, else a note."""
    text = ". ".join(part[:1].upper() + part[1:] for part in (status.text, extra) if part)
    alert = "m3vit-alert" if status.state in (FAILED, WAITING) else "m3vit-note m3vit-faint"
    return f'<div class="{alert}" role="status" data-state="{status.state}">{escape(text)}</div>'
