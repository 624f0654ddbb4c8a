# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The residual streams that calibration frames leave behind, float and integer.

Both are carried through the model block by block. Tasks share a stream until
the first mixture of experts tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.compiler.layers import Norm
from m3vit_pynq.compiler.simulate import norm8, normalise
from m3vit_pynq.config import ModelConfig

Checkpoint = Mapping[str, np.ndarray]


@dataclass
class Stream:
    """Residual streams of all frames for some tasks.

    Attributes
    ----------
    tasks : tuple of int
        Tasks that share this stream.
    real : float32 [frames, tokens, D]
    integer : float32 [frames, tokens, D]
        int16 values.
    taps : list of (real, integer)
        Copies after the tapped blocks, class token dropped.
    """

    tasks: tuple[int, ...]
    real: np.ndarray
    integer: np.ndarray
    taps: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def split(self) -> list[Stream]:
        """One stream a task; nothing is copied, streams are never changed in place."""
        return [replace(self, tasks=(task,), taps=list(self.taps)) for task in self.tasks]

    def tap(self) -> None:
        """Keep the present state for the heads."""
        self.taps.append((self.real[:, 1:], self.integer[:, 1:]))


@dataclass(frozen=True)
class Context:
    """What every step of quantisation needs to know.

    Attributes
    ----------
    residual_scale : float
        Real value of one unit of the residual stream.
    split_experts : bool
        Cut experts into two parts with a GELU table each.
    passes : int
        1 for 8-bit probabilities in attention, 2 for 12-bit ones.
    grids : dict
        Meaning of the integers of every layer so far, by the layer's name.
    channels : dict
        The float model's channels of layers that hold only some of them, or in
        another order.
    """

    config: ModelConfig
    checkpoint: Checkpoint
    residual_scale: float
    split_experts: bool = False
    passes: int = 1
    grids: dict[str, Grid] = field(default_factory=dict)
    channels: dict[str, np.ndarray] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """A checkpoint array, float32."""
        return np.asarray(self.checkpoint[name], np.float32)

    @property
    def eps(self) -> int:
        """LayerNorm's epsilon in the integer units of LAYERNORM."""
        units = self.config.embed_dim / self.residual_scale
        return max(1, round(self.config.layernorm_eps * units**2))

    def norm(self, name: str, real: np.ndarray) -> np.ndarray:
        """LayerNorm ``name`` of real values."""
        z = normalise(real, self.config.layernorm_eps)
        return z * self.array(f"{name}.weight") + self.array(f"{name}.bias")

    def norm_of_integers(self, name: str, integer: np.ndarray) -> np.ndarray:
        """LayerNorm ``name`` of the integer stream, not yet rounded to int8."""
        z = normalise(integer, self.config.layernorm_eps / self.residual_scale**2)
        return z * self.array(f"{name}.weight") + self.array(f"{name}.bias")


def rows(array: np.ndarray) -> np.ndarray:
    """[frames, tokens, channels] to [frames * tokens, channels]."""
    return array.reshape(-1, array.shape[-1])


def stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Rows of several streams, one after the other."""
    return np.concatenate([rows(array) for array in arrays])


def folds(arrays: list[np.ndarray]) -> np.ndarray:
    """Which rows of `stacked` arrays come from every second frame, bool [rows].

    Ranges are taken from one half of the frames and judged on the other.
    """
    frames, tokens, _ = arrays[0].shape
    if frames == 1:
        return np.ones(len(arrays) * tokens, bool)
    return np.tile(np.repeat(np.arange(frames) % 2 == 0, tokens), len(arrays))


def norm_rows(norm: Norm, streams: list[Stream]) -> list[np.ndarray]:
    """int8 results of a LAYERNORM for every stream, [frames, tokens, D]."""
    return [norm8(norm, stream.integer) for stream in streams]
