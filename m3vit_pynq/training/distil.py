# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Teach a small model with a larger one that is already trained.

The student starts as the teacher's first blocks and learns, beside
the labels, the teacher's class probabilities, its depth and the direction of
the token features its heads read (Hinton et al., *Distilling the Knowledge in a
Neural Network*, 2015).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig
from .checkpoint import average_of, load_checkpoint
from .model import M3ViT
from .pretrained import resample_grid, resample_patches

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistilConfig:
    """Weights of what the student takes from the teacher."""

    classes: float = 1.0
    depth: float = 0.5
    features: float = 0.5
    temperature: float = 2.0


def load_teacher(path: Path) -> M3ViT:
    """The averaged weights inside a training state (``dense.pt`` or ``moe.pt``), frozen."""
    return average_of(load_checkpoint(path), path).requires_grad_(False)


def kept_blocks(teacher_depth: int, depth: int) -> list[int]:
    """Teacher blocks that the student's blocks start from: the first ones.

    They compute what they did in the teacher, so only the heads start over. Every
    so many blocks (as DistilBERT takes them) was tried for `tiny`: after ten
    epochs it was behind where this is after one.
    """
    if depth > teacher_depth:
        raise ValueError(f"a student of {depth} blocks cannot start from {teacher_depth} blocks")
    return list(range(depth))


def student_start(teacher: M3ViT, config: ModelConfig) -> dict[str, Tensor]:
    """Weights of a dense student of ``config``: those of the teacher's first blocks.

    Raises
    ------
    ValueError
        If the teacher is routed, or its width or its heads are not the student's.
    """
    ours, theirs = config, teacher.config
    if theirs.moe_blocks:
        raise ValueError("the teacher of a dense student must be dense: give a dense.pt")
    same = ("embed_dim", "heads", "mlp_ratio", "tasks")
    different = [
        f"{name} ({getattr(theirs, name)}, not {getattr(ours, name)})"
        for name in same
        if getattr(ours, name) != getattr(theirs, name)
    ]
    if ours.head.channels != theirs.head.channels or len(ours.head.taps) != len(theirs.head.taps):
        different.append("shape of the heads")
    if different:
        raise ValueError(
            f"variant {ours.name} cannot start from teacher {theirs.name}: the teacher has another "
            f"{', another '.join(different)}"
        )
    state = teacher.state_dict()
    kept = kept_blocks(theirs.depth, ours.depth)
    ours_too = tuple(f"backbone.blocks.{index}." for index in kept)  # under the same names
    out = {
        name: value
        for name, value in state.items()
        if name.startswith(ours_too) or not name.startswith("backbone.blocks.")
    }
    out["backbone.pos_embed"] = resample_grid(state["backbone.pos_embed"], theirs.grid, ours.grid)
    patch = "backbone.patch_embed.proj.weight"
    out[patch] = resample_patches(state[patch], ours.patch_size)
    log.info("student starts from the teacher's blocks %s", kept)
    return {name: value.clone() for name, value in out.items()}


class Teacher:
    """Runs the teacher on the student's views and compares.

    Parameters
    ----------
    grid : tuple of int, optional
        Token grid on which the teacher looks at a view; its own by default. On the
        student's grid it costs less than the student's step, not more.
    """

    def __init__(
        self,
        model: M3ViT,
        config: DistilConfig | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.model, self.config = model, config or DistilConfig()
        self.grid = grid or model.config.grid

    def see(
        self, images: Tensor, task: str | Sequence[str] | None
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        """Outputs and taps of the teacher for uint8 ``images`` of any size."""
        size = tuple(side * self.model.config.patch_size for side in self.grid)
        taps: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            if tuple(images.shape[-2:]) != size:
                images = F.interpolate(
                    images.float(), size=size, mode="bilinear", align_corners=False, antialias=True
                )
            return self.model(images, task, taps), taps

    def losses(
        self,
        config: ModelConfig,
        images: Tensor,
        outputs: Mapping[str, Tensor],
        taps: Mapping[str, list[Tensor]],
        task: str | Sequence[str] | None,
    ) -> dict[str, Tensor]:
        """Weighted losses of the student's ``outputs`` and ``taps`` against the teacher's."""
        told, seen = self.see(images, task)
        losses = {}
        for t in config.tasks:
            if t.name not in outputs:
                continue
            ours = outputs[t.name].float()
            theirs = F.interpolate(
                told[t.name].float(), size=ours.shape[-2:], mode="bilinear", align_corners=False
            )
            if t.kind == "depth":
                value = self.config.depth * (ours - theirs).abs().mean()
            else:
                value = self.config.classes * self._divergence(ours, theirs)
            losses[f"taught_{t.name}"] = value
        pairs = [
            (ours, theirs)
            for name in outputs
            for ours, theirs in zip(taps[name], seen[name], strict=True)
        ]
        grid = tuple(side // config.patch_size for side in images.shape[-2:])
        features = [self._direction(grid, ours, theirs) for ours, theirs in pairs]
        losses["taught_features"] = self.config.features * torch.stack(features).mean()
        return losses

    def _divergence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Kullback-Leibler divergence per pixel at the temperature."""
        warm = self.config.temperature
        wanted = (theirs / warm).log_softmax(1)
        given = (ours / warm).log_softmax(1)
        return warm**2 * (wanted.exp() * (wanted - given)).sum(1).mean()

    def _direction(self, grid: tuple[int, ...], ours: Tensor, theirs: Tensor) -> Tensor:
        """One minus the cosine between normalised tokens, on the student's grid."""
        image = theirs.float().transpose(1, 2).unflatten(2, self.grid)
        image = F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
        wanted = F.layer_norm(image.flatten(2).transpose(1, 2), ours.shape[-1:])
        given = F.layer_norm(ours.float(), ours.shape[-1:])
        return 1.0 - F.cosine_similarity(given, wanted, dim=-1).mean()
