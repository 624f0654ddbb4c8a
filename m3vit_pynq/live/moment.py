# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What there is to see: frames with their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from m3vit_pynq.result import Result


@dataclass(frozen=True)
class Shot:
    """A frame with its result.

    Attributes
    ----------
    frame : numpy.ndarray
        uint8 RGB, as captured.
    result : Result
        Of one task.
    captured : float
        `time.perf_counter` when the frame had been captured.
    """

    frame: np.ndarray
    result: Result
    captured: float


@dataclass(frozen=True)
class Moment:
    """What there is to see: the newest result of every task that was asked for.

    Attributes
    ----------
    number : int
        Counts up.
    shots : mapping of str to Shot
        By task, in the order of the model's tasks.
    newest : Shot
        The one that came last.
    source : str
        Name of the source.
    """

    number: int
    shots: Mapping[str, Shot]
    newest: Shot
    source: str = ""


def same(new: Mapping[str, Shot], old: Mapping[str, Shot]) -> bool:
    """Whether two moments show the same frames for the same tasks."""
    return list(new) == list(old) and all(new[name].frame is old[name].frame for name in new)
