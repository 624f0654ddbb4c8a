# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compiling a model for a test."""

from __future__ import annotations

from types import SimpleNamespace

from m3vit_pynq.compiler.build import package_model, random_frames
from m3vit_pynq.compiler.quantise import quantise
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel


def compiled(config, seed=0, **options):
    """Config, checkpoint, quantised model, package and float model together."""
    checkpoint = random_checkpoint(config, seed)
    frames = random_frames(config, 4, seed)
    model = quantise(config, checkpoint, frames, progress=False, **options)
    return SimpleNamespace(
        config=config,
        checkpoint=checkpoint,
        model=model,
        package=package_model(model),
        exact=FloatModel(config, checkpoint),
        frames=random_frames(config, 4, seed + 100),
    )
