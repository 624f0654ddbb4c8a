# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What every frame source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np


class Source(ABC):
    """An iterator of frames that holds a device or file until it is closed.

    Iterating ends with `StopIteration` where a clip ends; a source that fails
    raises `SourceError` whose message says what to do. A source is a context
    manager, and closing it twice does no harm.

    Attributes
    ----------
    name : str
        What to call it before a person.
    kind : str
        ``"camera"``, ``"browser"``, ``"video"``, ``"image"``, ``"stills"`` or
        ``"synthetic"``.
    fps : float
        Nominal frames per second.
    scene : str
        ``"indoor"``, ``"street"`` or ``"unknown"``.
    note : str
        Why this source and not another, where ``"auto"`` chose it; else empty.
    """

    kind = "unknown"

    def __init__(self, name: str, fps: float, scene: str = "unknown") -> None:
        self.name = name
        self.fps = fps
        self.scene = scene
        self.note = ""
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether frames come at their own time (a camera) instead of on demand."""
        return self.kind in ("camera", "browser")

    @property
    def may_go_on(self) -> bool:
        """Whether a frame that did not come may only be late, so that asking again helps."""
        return False

    @abstractmethod
    def _next_frame(self) -> np.ndarray:
        """The next frame, uint8 RGB; `StopIteration` at the end."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self._closed:
            raise StopIteration
        return self._next_frame()

    @property
    def closed(self) -> bool:
        return self._closed

    def cancel(self) -> None:
        """Wake a reader that waits in another thread: it gets `StopIteration`.

        The one method that may be called while another thread reads.
        """
        self._closed = True

    def close(self) -> None:
        """Release what the source holds."""
        self._closed = True

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.fps:g} frames/s, {self.scene}>"
