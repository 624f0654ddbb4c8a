# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Ping-pong frame and output buffers in device memory."""

from __future__ import annotations

import numpy as np

from m3vit_pynq import buffers
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import lines
from m3vit_pynq.package import Package, PackageTask
from m3vit_pynq.sources.frames import as_rgb, resized


class FrameBuffer:
    """One input frame and one output, of which the accelerator uses one pair at a time.

    Attributes
    ----------
    frame : PynqBuffer
        uint8 [height, width, 3].
    output : PynqBuffer
        uint8, whole lines, large enough for every task of the package.
    """

    def __init__(self, device: object, package: Package, name: str) -> None:
        height, width = package.config.image_size
        largest = LINE * lines(max(package.task(t).output_bytes for t in package.task_names))
        self.frame = self.output = self._pixels = None
        try:
            self.frame = buffers.allocate((height, width, 3), np.uint8, device, f"frame {name}")
            self.output = buffers.allocate(largest, np.uint8, device, f"output {name}")
        except Exception:
            self.release()
            raise
        self._pixels = self.frame.view(np.ndarray)

    def fill(self, image: np.ndarray) -> None:
        """Resize an image straight into device memory.

        Parameters
        ----------
        image : numpy.ndarray
            uint8 RGB [h, w, 3] of any size; grey and RGBA are converted.

        Raises
        ------
        FrameError
            If the array cannot be an image.
        """
        image = as_rgb(image)
        small = resized(image, self._pixels.shape[:2], self._pixels)
        if small is not self._pixels:  # already of that size, or OpenCV did not write in place
            np.copyto(self._pixels, small)
        self.frame.flush()

    def read(self, task: PackageTask, into: np.ndarray) -> None:
        """Copy a task's result out of device memory."""
        self.output.invalidate()
        raw = self.output.view(np.ndarray)[: task.output_bytes]
        np.copyto(into, raw.view(task.dtype).reshape(task.output_shape))

    def release(self) -> None:
        """Return the buffers."""
        buffers.free(self.frame, self.output)
        self.frame = self.output = self._pixels = None


class PingPong:
    """Two `FrameBuffer` pairs, made for one package shape."""

    def __init__(self, device: object) -> None:
        self._device = device
        self._shape: tuple | None = None
        self._pairs: list[FrameBuffer] = []

    def fit(self, package: Package) -> None:
        """Have buffers for a package; nothing happens if those at hand fit.

        Raises
        ------
        DeviceMemoryError
            If device memory is exhausted; no buffers are held then.
        """
        outputs = tuple(package.task(name).output_bytes for name in package.task_names)
        shape = (package.config.image_size, max(outputs))
        if shape == self._shape:
            return
        self.release()
        try:
            for name in "AB":
                self._pairs.append(FrameBuffer(self._device, package, name))
        except Exception:
            self.release()
            raise
        self._shape = shape

    def __getitem__(self, index: int) -> FrameBuffer:
        return self._pairs[index % 2]

    def release(self) -> None:
        """Return all buffers."""
        for pair in self._pairs:
            pair.release()
        self._pairs = []
        self._shape = None
