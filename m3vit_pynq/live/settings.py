# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""How a live view shows what it has."""

from __future__ import annotations

from dataclasses import dataclass

#: Frame with the result laid over it; frame and result beside each other; result alone.
OVERLAY, SIDE_BY_SIDE, RESULT = "overlay", "side by side", "result"
MODES = (OVERLAY, SIDE_BY_SIDE, RESULT)


@dataclass(frozen=True)
class ViewSettings:
    """Choices of the person who looks.

    Attributes
    ----------
    mode : str
        ``"overlay"``, ``"side by side"`` or ``"result"``.
    opacity : float
        Of the result over the frame, 0 to 1.
    point : tuple of float
        (y, x) from 0 to 1 within a frame: where distance and class are read.
    names : bool
        Whether class names stand in their regions.
    strips : bool
        Whether legend and depth scale stand below the picture.
    height : int
        Pixels of a single picture; several beside each other are smaller, so
        that the whole costs about the same.
    quality : int
        Of the JPEG, 1 to 100.
    """

    mode: str = OVERLAY
    opacity: float = 0.6
    point: tuple[float, float] = (0.5, 0.5)
    names: bool = True
    strips: bool = True
    height: int = 480
    quality: int = 82

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; known: {', '.join(MODES)}")
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity is from 0 to 1, not {self.opacity}")
        if not all(0.0 <= p <= 1.0 for p in self.point) or len(self.point) != 2:
            raise ValueError(f"point is (y, x), each from 0 to 1, not {self.point}")
        if not 48 <= self.height <= 2160:
            raise ValueError(f"height is from 48 to 2160 pixels, not {self.height}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is from 1 to 100, not {self.quality}")
