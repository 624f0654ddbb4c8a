# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of semantic segmentation and of depth, accumulated over frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Label of pixels that count for nothing.
IGNORE = 255

#: Rows and columns of a 480x640 NYU frame on which depth is evaluated
#: (Eigen, Puhrsch, Fergus, NeurIPS 2014).
EIGEN_CROP = (slice(45, 471), slice(41, 601))


@dataclass
class SegmentationMetrics:
    """Confusion matrix over all pixels of all frames.

    Parameters
    ----------
    classes : int
        Number of classes; label 255 is ignored.
    """

    classes: int
    confusion: np.ndarray = field(init=False)  # [true, predicted]

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    def add(self, predicted: np.ndarray, label: np.ndarray) -> None:
        """Count one frame; both arrays are class ids of the same shape."""
        valid = label != IGNORE
        pairs = label[valid].astype(np.int64) * self.classes + predicted[valid]
        counts = np.bincount(pairs, minlength=self.classes**2)
        self.confusion += counts.reshape(self.classes, self.classes)

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class; NaN where a class never occurs."""
        hit = np.diag(self.confusion).astype(float)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        return np.divide(hit, union, out=np.full(self.classes, np.nan), where=union > 0)

    def summary(self) -> dict[str, float | None]:
        """``miou`` and ``pixel_accuracy``, both 0 to 1; None if no pixel has a label.

        The mean is over the classes that occur, as a label or as a prediction.
        """
        total = int(self.confusion.sum())
        if not total:
            return {"miou": None, "pixel_accuracy": None}
        return {
            "miou": float(np.nanmean(self.iou)),
            "pixel_accuracy": float(np.trace(self.confusion) / total),
        }


@dataclass
class DepthMetrics:
    """Errors of depth in metres, over all valid pixels of all frames."""

    pixels: int = 0
    squared: float = 0.0
    relative: float = 0.0
    log10: float = 0.0
    within: int = 0
    frame_rmse: list[float] = field(default_factory=list)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count one frame; metres, same shapes; truth ≤ 0 is unknown."""
        valid = truth > 0
        if not valid.any():
            return
        truth = truth[valid].astype(np.float64)
        predicted = np.maximum(predicted[valid].astype(np.float64), 1e-3)
        error = predicted - truth
        self.pixels += truth.size
        self.squared += float((error**2).sum())
        self.relative += float((np.abs(error) / truth).sum())
        self.log10 += float(np.abs(np.log10(predicted / truth)).sum())
        self.within += int((np.maximum(predicted / truth, truth / predicted) < 1.25).sum())
        self.frame_rmse.append(float(np.sqrt((error**2).mean())))

    def summary(self) -> dict[str, float | None]:
        """RMSE (metres) over all pixels and as mean of frames, AbsRel, log10, δ < 1.25.

        All None if no pixel has a depth.
        """
        if not self.pixels:
            return dict.fromkeys(("rmse", "rmse_frame_mean", "absrel", "log10", "delta1"))
        return {
            "rmse": float(np.sqrt(self.squared / self.pixels)),
            "rmse_frame_mean": float(np.mean(self.frame_rmse)),
            "absrel": self.relative / self.pixels,
            "log10": self.log10 / self.pixels,
            "delta1": self.within / self.pixels,
        }
