# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which frames are trained on and which are held out."""

from __future__ import annotations

import numpy as np

from .dataset import DatasetError, Frames

#: Runs of neighbouring frames that are held out.
RUNS = 5


def training_rows(frames: Frames, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out: five runs of neighbouring frames.

    Runs of neighbours, because the frames of one room follow each other: a room
    should not be on both sides.

    Raises
    ------
    DatasetError
        If nothing would be left to train on.
    """
    rows = np.arange(len(frames))
    if not held_out:
        return rows, rows[:0]
    if held_out >= len(frames):
        raise DatasetError(f"cannot hold out {held_out} of {len(frames)} frames")
    runs = min(RUNS, held_out)
    lengths = [len(part) for part in np.array_split(np.arange(held_out), runs)]
    # The frames between the runs, spread evenly; the first and the last run touch the ends.
    between = np.linspace(0, len(frames) - held_out, runs).round().astype(int)
    starts = between + np.concatenate(([0], np.cumsum(lengths)[:-1]))
    pieces = [np.arange(a, a + n) for a, n in zip(starts, lengths, strict=True)]
    kept_back = np.concatenate(pieces)
    return np.setdiff1d(rows, kept_back), kept_back


def select(frames: Frames, rows: np.ndarray) -> Frames:
    """Some frames of a split."""
    return Frames(
        tuple(frames.ids[row] for row in rows),
        frames.images[rows],
        frames.labels[rows],
        frames.depth_mm[rows],
    )
