# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a run gives back."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from m3vit_pynq.package import PackageTask


@dataclass(frozen=True)
class Result:
    """Result of one task for one frame; an ordinary array, independent of the device.

    Attributes
    ----------
    task : str
        Name of the task.
    data : numpy.ndarray
        Class ids, uint8 [h, w], or millimetres, uint16 [h, w].
    frame_index : int
        Number of the frame in its stream, from 0.
    device_seconds : float
        From start until the driver saw the end; in a stream the host works meanwhile.
    cycles : int or None
        Clock cycles of the accelerator; None where they are not counted.
    """

    task: str
    data: np.ndarray
    frame_index: int
    device_seconds: float
    cycles: int | None
    kind: str = field(repr=False)
    label_set: str = field(repr=False, default="")

    @property
    def metres(self) -> np.ndarray:
        """Depth in metres, float32 [h, w]; `ValueError` for other tasks."""
        if self.kind != "depth":
            raise ValueError(f"task {self.task!r} gives class ids, not distances")
        return self.data.astype(np.float32) * np.float32(1e-3)

    def colour(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """The result as a picture, uint8 RGB [height, width, 3].

        Parameters
        ----------
        size : tuple of int, optional
            (height, width); default: as computed.
        """
        from m3vit_pynq import tasks

        return tasks.colourise(self.data, self.kind, self.label_set, size)

    def overlay(self, frame: np.ndarray, opacity: float = 0.6) -> np.ndarray:
        """The coloured result blended over a frame, uint8 RGB of the frame's size."""
        from m3vit_pynq import tasks
        from m3vit_pynq.sources.frames import as_rgb

        frame = as_rgb(frame)
        return tasks.blend(frame, self.colour(frame.shape[:2]), opacity)


class ArrayPool:
    """Recycles result arrays that nobody else holds any more.

    A result stays valid as long as its user keeps it, and a loop that drops
    its results allocates nothing after the first few frames.
    """

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._arrays: dict[tuple, list[np.ndarray]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of arbitrary contents that nobody else refers to."""
        arrays = self._arrays.setdefault((shape, np.dtype(dtype)), [])
        for array in arrays:
            # Held by the list, the loop variable and getrefcount's argument alone.
            if sys.getrefcount(array) == 3:
                return array
        array = np.empty(shape, dtype)
        if len(arrays) < self._limit:
            arrays.append(array)
        return array


def make(
    task: PackageTask, data: np.ndarray, frame_index: int, seconds: float, cycles: int | None
) -> Result:
    """A `Result` of a task of a package."""
    kind = "depth" if task.kind.name == "DEPTH" else "segmentation"
    return Result(task.name, data, frame_index, seconds, cycles, kind, task.label_set)
