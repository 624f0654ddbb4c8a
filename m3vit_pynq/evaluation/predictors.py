# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who computes the predictions: the board, the integer specification, or floats.

A predictor is called with an image (uint8 RGB of any size) and a task's name
and gives what the accelerator gives: uint8 class ids or uint16 millimetres at
the task's output size. After each call ``experts_used`` holds how many experts
every mixture loaded, by block, or nothing where that cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.costs import layer_names, mixtures
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.package import Package
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.sources.frames import resized

if TYPE_CHECKING:
    from m3vit_pynq.overlay import M3ViTOverlay

#: An image and a task in, the raw result out.
Predict = Callable[[np.ndarray, str], np.ndarray]


def _blocks(package: Package, task: str) -> dict[int, str]:
    """Block of every EXPERTS_UP of a task."""
    names = layer_names(package.decoded, package.metadata.get("layers"))
    return mixtures(package.decoded, package.task(task).index, names)


def _mean_by_block(used: Mapping[int, float], blocks: Mapping[int, str]) -> dict[str, float]:
    """A block's instructions (row tiles, parts of experts) load the same kind of expert."""
    found: dict[str, list[float]] = {}
    for pc, count in used.items():
        found.setdefault(blocks[pc], []).append(count)
    return {block: sum(counts) / len(counts) for block, counts in found.items()}


class BoardPredictor:
    """Predictions of the accelerator: a board, or the emulated one."""

    def __init__(self, overlay: M3ViTOverlay) -> None:
        self.overlay = overlay
        self.backend = f"{'emulated ' if overlay.emulated else ''}{overlay.board.name}"
        self.experts_used: dict[str, float] = {}
        self._blocks = {name: _blocks(overlay.package, name) for name in overlay.package.task_names}

    def __call__(self, image: np.ndarray, task: str) -> np.ndarray:
        data = self.overlay.run(image, task=task).data
        self.experts_used = self._loaded(task) if self.overlay.emulated else {}
        return data

    def _loaded(self, task: str) -> dict[str, float]:
        """As the engine of the emulated board noted; nothing where it does not."""
        noted = getattr(self.overlay.device.fabric.kernel, "experts_used", None)
        return _mean_by_block(noted(), self._blocks[task]) if noted is not None else {}


class IntegerPredictor:
    """Predictions of the numpy integer specification."""

    backend = "integer"

    def __init__(self, package: Package) -> None:
        self.package = package
        self.experts_used: dict[str, float] = {}
        self._blocks = {name: _blocks(package, name) for name in package.task_names}
        self._machine = Machine()
        self._machine.load(package.program, package.weights)
        self._used: dict[int, float] = {}
        self._machine.observer = self._observe

    def _observe(self, pc: int, instruction, machine: Machine) -> None:
        if instruction.opcode == Opcode.EXPERTS_UP:
            self._used[pc] = sum(1 for q in machine.queues(instruction) if q.tokens.size)

    def __call__(self, image: np.ndarray, task: str) -> np.ndarray:
        self._used = {}
        frame = resized(image, self.package.config.image_size)
        data = self._machine.run(self.package.task(task).index, frame)
        self.experts_used = _mean_by_block(self._used, self._blocks[task])
        return data


class FloatPredictor:
    """Predictions of a float checkpoint, float32 in numpy.

    Logits and log depth are enlarged as the accelerator enlarges them, to the
    same output size, so that a difference is a difference of the arithmetic.
    """

    backend = "float"

    def __init__(self, config: ModelConfig, checkpoint: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self.model = FloatModel(config, checkpoint)
        self.experts_used: dict[str, float] = {}

    def __call__(self, image: np.ndarray, task: str) -> np.ndarray:
        result = self.model.run(resized(image, self.config.image_size), task)
        self.experts_used = {
            f"blocks.{block}": float(len(np.unique(routing.experts)))
            for block, routing in result.routing.items()
        }
        if result.task.kind == "depth":
            return np.clip(np.rint(result.metres() * 1000.0), 0, 65535).astype(np.uint16)
        return result.classes()
