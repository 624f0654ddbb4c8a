# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole frames of the shipped packages: HLS sources, fast engine and specification agree.

By default one task of `small` on one board; with ``M3VIT_ALL_FRAMES=1`` (``make
test-frames``) every task of every package on every board.
"""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

from m3vit_pynq.abi.boards import BOARDS, DEFAULT_BOARD
from m3vit_pynq.emulator.device import EmulatedDevice
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.package import Package, shipped
from m3vit_pynq.reference.machine import Machine

ALL = os.environ.get("M3VIT_ALL_FRAMES") == "1"
CASES = (
    [(name, board) for name in shipped() for board in BOARDS] if ALL else [("small", DEFAULT_BOARD)]
)


@functools.lru_cache(maxsize=1)
def _package(name: str) -> Package:
    return Package.load(name)


def _image(package: Package) -> np.ndarray:
    """A frame with large and small structure, of the model's own size."""
    height, width = package.config.image_size
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 224, (-(-height // 24), -(-width // 24), 3))
    smooth = coarse.repeat(24, axis=0).repeat(24, axis=1)[:height, :width]
    return (smooth + rng.integers(0, 32, (height, width, 3))).astype(np.uint8)


@functools.lru_cache(maxsize=4)
def _specification(name: str, task: str) -> np.ndarray:
    package = _package(name)
    machine = Machine()
    machine.load(package.program, package.weights)
    return machine.run(package.task(task).index, _image(package))


@pytest.mark.parametrize(("name", "board"), CASES)
def test_whole_frames(name, board):
    package = _package(name)
    tasks = package.task_names if ALL else package.task_names[:1]
    for engine in ("hls", "fast"):
        device = EmulatedDevice(board, engine=engine, memory_bytes=128 << 20)
        with M3ViTOverlay(package, device=device) as overlay:
            for task in tasks:
                result = overlay.run(_image(package), task=task)
                assert len(np.unique(result.data)) > 1, "the frame has something to see"
                np.testing.assert_array_equal(result.data, _specification(name, task))
