# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy on full-size labels: mIoU and depth errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..evaluation.metrics import EIGEN_CROP, DepthMetrics, SegmentationMetrics
from ..evaluation.nyuv2 import FRAME
from .dataset import Frames
from .device import device_of
from .model import M3ViT


def full_size(output: Tensor) -> Tensor:
    """Head outputs enlarged to the size of the labels."""
    return F.interpolate(output.float(), size=FRAME, mode="bilinear", align_corners=False)


def resize_images(images: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Frames ``[n, h, w, 3]`` to model input, uint8 ``[n, 3, *size]``."""
    small = [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)


@torch.no_grad()
def evaluate(
    model: M3ViT,
    frames: Frames,
    batch: int = 6,
    progress: Callable = tqdm,
    tasks: Sequence[str] = (),
) -> dict[str, dict[str, float]]:
    """Metrics of every task (or of ``tasks``) over a split, per task name.

    The logits (or the log depth) are enlarged bilinearly to 480x640 before the
    argmax (or the exponential).
    """
    model.eval()
    chosen = [task for task in model.config.tasks if not tasks or task.name in tasks]
    meters = {
        task.name: DepthMetrics() if task.kind == "depth" else SegmentationMetrics(task.outputs)
        for task in chosen
    }
    for start in progress(range(0, len(frames), batch)):
        rows = range(start, min(start + batch, len(frames)))
        images = resize_images(frames.images[rows.start : rows.stop], model.config.image_size)
        outputs = model(images.to(device_of(model)), [task.name for task in chosen])
        for position, row in enumerate(rows):
            for task in chosen:
                result = full_size(outputs[task.name][position : position + 1])[0]
                if task.kind == "depth":
                    metres = result[0].exp().cpu().numpy()
                    meters[task.name].add(metres[EIGEN_CROP], frames.metres(row)[EIGEN_CROP])
                else:
                    meters[task.name].add(result.argmax(0).cpu().numpy(), frames.labels[row])
    return {name: meter.summary() for name, meter in meters.items()}
