# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the integers before and after a GELU table mean, from the table alone.

A table holds ``round((gelu(s i + o) - o') / s')`` for the 256 integers i. The
compiler's tables follow from the two ends of their input (`GeluFit.covering`),
so those two numbers are looked for first; of any other table all four are
fitted by least squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from m3vit_pynq.compiler.grids import INT8_HIGH, INT8_LOW
from m3vit_pynq.compiler.search import GELU_LOW, GELU_VALLEY
from m3vit_pynq.reference.float_model import gelu

_INTEGERS = np.arange(INT8_LOW, INT8_HIGH + 1)
_LEVELS = INT8_HIGH - INT8_LOW
#: Where the ends of a table's input are looked for.
_LOWEST, _SPANS = (-8.0, 2.0), (0.5, 400.0)
_POINTS, _ROUNDS, _DEAR = 13, 14, 64.0
#: Mean square distance to the table, in steps; rounding alone leaves 1/12.
_FITS, _MARGIN, _FAR, _NO_GELU = 0.092, 0.002, 0.115, 1.0


@dataclass(frozen=True)
class TableGrids:
    """Scale and offset of a GELU's integer input and output, ``real = s i + o``."""

    before: tuple[float, float]
    after: tuple[float, float]


def table_grids(table: np.ndarray) -> TableGrids:
    """Grids of a GELU table.

    Parameters
    ----------
    table : int8 [256]
        Result for the integers -128 to 127.

    Raises
    ------
    ValueError
        If no GELU gives anything like this table.
    """
    wanted = np.asarray(table, np.float64)
    if np.ptp(wanted) < 2:
        raise ValueError("the table is constant")
    best = _Search(wanted, _covered).run(GELU_LOW)
    if best.error > _FAR:
        best = min(best, _Search(wanted, _regressed).run(), key=_error)
    if best.error > _NO_GELU:
        raise ValueError("the table is no GELU between uniform grids")
    return best.table_grids


@dataclass(frozen=True)
class _Candidate:
    low: float
    high: float
    after: tuple[float, float]
    error: float

    @property
    def table_grids(self) -> TableGrids:
        scale = (self.high - self.low) / _LEVELS
        return TableGrids((scale, (self.low + self.high + scale) / 2), self.after)


def _error(candidate: _Candidate) -> float:
    return candidate.error


def _covered(real: np.ndarray, ends: np.ndarray, wanted: np.ndarray) -> tuple:
    """Output grids as the compiler chooses them: from the least to the greatest result."""
    low, high = ends
    valley = gelu(np.minimum(np.maximum(low, GELU_VALLEY), high))
    top = np.maximum(np.maximum(valley, gelu(high)), 0.02)
    bottom = np.minimum(valley, gelu(high))
    scale = np.maximum(top - bottom, 1e-9) / _LEVELS
    return scale, (bottom + top) / 2 + scale / 2


def _regressed(real: np.ndarray, ends: np.ndarray, wanted: np.ndarray) -> tuple:
    """Output grids of least squares over the entries that are not saturated."""
    inside = (wanted > INT8_LOW) & (wanted < INT8_HIGH)
    x, y = wanted[inside], real[:, inside]
    centred = x - x.mean()
    scale = np.maximum((y @ centred) / max(float(centred @ centred), 1e-9), 1e-9)
    return scale, y.mean(axis=1) - scale * x.mean()


class _Search:
    """Looks for the ends of the input, coarsely and then ever finer."""

    def __init__(self, wanted: np.ndarray, after: Callable[..., tuple]) -> None:
        self.wanted, self.after = wanted, after

    def best(self, low: np.ndarray, span: np.ndarray) -> _Candidate:
        """The best of some lower ends and spans, [n] each."""
        real = gelu(low[:, None] + span[:, None] * ((_INTEGERS - INT8_LOW) / _LEVELS))
        step, offset = self.after(real, (low, low + span), self.wanted)
        exact = (real - offset[:, None]) / step[:, None]
        np.clip(exact, INT8_LOW - 0.5, INT8_HIGH + 0.5, out=exact)
        distance = np.abs(exact - self.wanted)
        # What is farther than rounding brings it is dear: any table that fits beats all others.
        missed = np.maximum(distance - 0.5, 0)
        error = np.mean(np.square(distance) + _DEAR * np.square(missed), axis=1)
        at = int(np.argmin(error))
        return _Candidate(
            float(low[at]), float(low[at] + span[at]), (float(step[at]), float(offset[at])),
            float(error[at]),
        )  # fmt: skip

    def run(self, lows: Sequence[float] = ()) -> _Candidate:
        """The best candidate; one of the lower ends given is preferred where it fits."""
        found = min((self._from(low) for low in lows), key=_error, default=None)
        if found is not None and found.error < _FITS:
            return found
        free = self._from(None)
        return free if found is None or free.error < found.error - _MARGIN else found

    def _from(self, low: float | None) -> _Candidate:
        lows = np.linspace(*_LOWEST, 41) if low is None else np.array([low])
        found = self.best(*_pairs(lows, np.geomspace(*_SPANS, 100)))
        width = 1.0
        for _ in range(_ROUNDS):
            near = width * np.linspace(-1, 1, _POINTS)
            span = found.high - found.low
            if low is None:
                # Where the zero is, is certain; how far the ends are from it, much less.
                share, spans = _pairs(found.low / span + 0.02 * near, span * (1 + 0.07 * near))
                lows = share * spans
            else:
                spans = span * (1 + 0.07 * near)
                lows = np.full_like(spans, low)
            found = min(found, self.best(lows, spans), key=_error)
            width *= 0.6
        return found


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of two lists."""
    return np.repeat(first, len(second)), np.tile(second, len(first))
