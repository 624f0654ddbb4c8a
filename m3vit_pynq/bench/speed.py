# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board against PyTorch fp32 on the same shapes, in one run.

Both run the same tasks in turn, so that whatever else the computer does hits
both alike; what counts is the ratio.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from m3vit_pynq.computer import cores
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.overlay import M3ViTOverlay


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one thing.

    Attributes
    ----------
    milliseconds : tuple of float
        Wall time of every repeat.
    busy_cores : float
        Processor time by wall time: how many cores were at work.
    """

    milliseconds: tuple[float, ...]
    busy_cores: float

    @property
    def median(self) -> float:
        return median(self.milliseconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile."""
        low, high = np.percentile(self.milliseconds, (25, 75))
        return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """One task on the emulated board and, where it is installed, in PyTorch.

    Attributes
    ----------
    ratio : float or None
        Median over the repeats of PyTorch's time by the emulated board's:
        above 1 the emulated board is faster.
    torch_threads : int
        Threads of PyTorch.
    """

    emulated: Timing
    torch: Timing | None = None
    ratio: float | None = None
    torch_threads: int = 0


def torch_is_installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def torch_runner(config: ModelConfig) -> Callable[[np.ndarray, str], np.ndarray]:
    """The model in PyTorch fp32 with random weights: frame and task to result.

    It does what the accelerator does, from the uint8 frame to class ids or
    metres. The time does not depend on the weights: every token visits
    ``top_k`` experts whatever they hold.
    """
    import torch
    from torch.nn import functional

    from m3vit_pynq.training.model import M3ViT

    torch.manual_seed(0)
    model = M3ViT(config).eval()

    def run(frame: np.ndarray, task: str) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
            result = model(pixels, task)[task]
            result = functional.interpolate(
                result, scale_factor=config.head.output_upsample, mode="bilinear",
                align_corners=False,
            )  # fmt: skip
            if result.shape[1] == 1:
                return result[0, 0].exp().numpy()
            return result[0].argmax(dim=0).to(torch.uint8).numpy()

    return run


class _Stopwatch:
    """Collects wall and processor time of calls."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._processor = 0.0

    def __call__(self, function: Callable[[], object]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        function()
        self._processor += time.process_time() - processor
        self.milliseconds.append(1e3 * (time.perf_counter() - wall))

    def timing(self) -> Timing:
        busy = 1e3 * self._processor / sum(self.milliseconds)
        return Timing(tuple(self.milliseconds), busy)


def compare(
    overlay: M3ViTOverlay, frame: np.ndarray, repeats: int, with_torch: bool
) -> dict[str, Comparison]:
    """Time every task of the loaded package.

    Parameters
    ----------
    frame : ndarray
        uint8 RGB at the model's size.
    repeats : int
        Measurements of each, after one that does not count.
    with_torch : bool
        Whether to run PyTorch, in turn with the emulated board.

    Returns
    -------
    dict
        `Comparison` by task.
    """
    config = overlay.package.config
    reference, threads = None, 0
    if with_torch:
        reference = torch_runner(config)
        threads = _best_threads(lambda: reference(frame, config.task_names[0]))
    watches = {
        (task, who): _Stopwatch()
        for task in config.task_names
        for who in ("emulated", "torch")[: 2 if with_torch else 1]
    }
    for task, who in watches:  # first calls compile, allocate and fill caches
        reference(frame, task) if who == "torch" else overlay.run(frame, task)
    for _ in range(repeats):
        for (task, who), watch in watches.items():
            if who == "torch":
                watch(lambda task=task: reference(frame, task))
            else:
                watch(lambda task=task: overlay.run(frame, task))
    return {
        task: _comparison(watches[task, "emulated"], watches.get((task, "torch")), threads)
        for task in config.task_names
    }


def _best_threads(run: Callable[[], object]) -> int:
    """Set PyTorch to one thread or one per core, whichever is faster here and now.

    More threads are slower where other programs keep the cores busy.
    """
    import torch

    fastest: dict[int, float] = {}
    for threads in {1, cores()}:
        torch.set_num_threads(threads)
        run()
        watch = _Stopwatch()
        for _ in range(3):
            watch(run)
        fastest[threads] = min(watch.milliseconds)
    best = min(fastest, key=fastest.get)
    torch.set_num_threads(best)
    return best


def _comparison(emulated: _Stopwatch, other: _Stopwatch | None, threads: int) -> Comparison:
    if other is None:
        return Comparison(emulated.timing())
    pairs = zip(other.milliseconds, emulated.milliseconds, strict=True)
    ratio = median(a / b for a, b in pairs)
    return Comparison(emulated.timing(), other.timing(), ratio, threads)
