# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoint and calibration frames to a package, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from m3vit_pynq._version import __version__
from m3vit_pynq.abi.boards import Board
from m3vit_pynq.compiler.gauge import KEY as GAUGE
from m3vit_pynq.compiler.gauge import store_gauge
from m3vit_pynq.compiler.layers import QuantisedModel
from m3vit_pynq.compiler.limits import check_limits
from m3vit_pynq.compiler.lower import lower
from m3vit_pynq.compiler.made_up import made_up_model
from m3vit_pynq.compiler.quantise import quantise
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.package import Package
from m3vit_pynq.reference.checkpoint import random_checkpoint


def package_model(
    model: QuantisedModel, board: Board | None = None, metadata: Mapping[str, Any] | None = None
) -> Package:
    """Lower a quantised model and pack it.

    Raises
    ------
    CapacityError
        If the model does not fit the architecture or the board.
    """
    lowered = lower(model, board)
    contents = {
        **(metadata or {}),
        "compiler": f"m3vit-pynq {__version__}",
        "scales": model.scales,
        "layers": list(lowered.layers),
        GAUGE: store_gauge(model),
    }
    return Package(model.config, lowered.program.encode(), lowered.weights, contents)


def compile_checkpoint(
    config: ModelConfig,
    checkpoint: Mapping[str, np.ndarray],
    calibration_frames: Sequence[np.ndarray],
    board: Board | None = None,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
    *,
    split_experts: bool = False,
    passes: int = 1,
) -> Package:
    """Quantise a float checkpoint and compile it.

    Parameters
    ----------
    config : ModelConfig
    checkpoint : mapping of float arrays
        Names and shapes as in `m3vit_pynq.config`.
    calibration_frames : sequence of uint8 [height, width, 3]
        RGB frames of the model's size, like those it will see.
    board : Board, optional
        Refuse, or fit, what this board's buffers do not hold; a package that
        was compiled without one runs on every board that it fits.
    progress : bool
        Show a progress bar.
    metadata : mapping, optional
        Plain JSON to keep in the package: provenance, licence.
    split_experts : bool
        Cut every expert into two parts with a GELU table each: about 0.5 dB more
        precise, for twice as many slots to write and add.
    passes : int
        1 for 8-bit probabilities in attention, 2 for 12-bit ones.

    Raises
    ------
    CapacityError
        If the model does not fit the architecture or the board, or an
        accumulator would not fit; the message names the layer and the number.
    ValueError
        If the checkpoint does not fit the configuration, or `passes` is neither
        1 nor 2.
    FrameError
        If a calibration frame is not of the model's size.
    """
    check_limits(config)
    model = quantise(
        config, checkpoint, calibration_frames, split_experts=split_experts, passes=passes,
        progress=progress,
    )  # fmt: skip
    contents = {**(metadata or {}), "calibration_frames": len(calibration_frames)}
    return package_model(model, board, contents)


def made_up_package(config: ModelConfig, seed: int = 0, board: Board | None = None) -> Package:
    """A package of random integers, made in an instant even for large models.

    For measuring speed and testing machinery; its results mean nothing and no
    float model corresponds to it.

    Raises
    ------
    CapacityError
        If the model does not fit the architecture or the board.
    """
    check_limits(config)
    note = {"provenance": f"random integers, seed {seed}"}
    return package_model(made_up_model(config, seed), board, note)


def random_frames(config: ModelConfig, count: int, seed: int = 0) -> list[np.ndarray]:
    """Made-up frames with large and small structure, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    height, width = config.image_size
    frames = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
        smooth = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        noise = rng.integers(-32, 33, (height, width, 3))
        frames.append(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    return frames


def random_package(config: ModelConfig, seed: int = 0, board: Board | None = None) -> Package:
    """A package of made-up weights, calibrated on made-up frames.

    Raises
    ------
    CapacityError
        As `compile_checkpoint`.
    """
    checkpoint = random_checkpoint(config, seed)
    frames = random_frames(config, 2, seed)
    return compile_checkpoint(
        config, checkpoint, frames, board, progress=False,
        metadata={"provenance": f"random weights, seed {seed}", "random": True},
    )  # fmt: skip
