# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The M³ViT in floating point: the yardstick for accuracy, straight from a checkpoint.

`FloatModel.run` can report every intermediate to an observer, a callable
``observe(name, value)``. Names follow the checkpoint; N = tokens with the class
token, n = N - 1, b = ``backbone.blocks.{i}``, d = ``decoders.{task}``:

==============================  ==============  =====================================
name                            shape           meaning
==============================  ==============  =====================================
``backbone.patches``            [n, 3 P²]       normalised pixels, order (ky, kx, c)
``backbone.residual``           [N, D]          after patch and position embedding
b ``.norm1``                    [N, D]          attention's input
b ``.attn.qkv``                 [N, 3D]         queries, keys, values
b ``.attn.scores``              [H, N, N]       scaled scores, natural units
b ``.attn.mixed``               [N, D]          attention's output, heads concatenated
b ``.attn.proj``                [N, D]          what is added to the residual stream
b ``.residual.attn``            [N, D]          residual stream after the first half
b ``.norm2``                    [N, D]          feed-forward input
b ``.mlp.fc1`` / ``.mlp.gelu``  [N, 4D]         dense block: before / after GELU
b ``.mlp.logits``               [N, E]          MoE block: router logits
b ``.mlp.chosen``               [N, k] int64    experts, best first
b ``.mlp.gates``                [N, k]          their weights
b ``.mlp.experts.{e}.tokens``   [q] int64       the expert's queue, if not empty
b ``.mlp.experts.{e}.htoh4``    [q, h]          before GELU
b ``.mlp.experts.{e}.gelu``     [q, h]          after GELU
b ``.mlp.experts.{e}.h4toh``    [q, D]          the expert's output, not yet weighted
b ``.mlp.shared.fc1``/``.gelu`` [N, h]          shared expert: before / after GELU
b ``.mlp``                      [N, D]          what is added to the residual stream
b ``.residual.mlp``             [N, D]          residual stream after the block
d ``.norm.{j}``                 [n, D]          normalised tokens of tap j
d ``.proj``                     [gh, gw, C0]    first map
d ``.up.{j}``                   [h, w, Cj]      enlarged map, input of convolution j
d ``.conv.{j}``                 [h, w, Cj+1]    before ReLU
d ``.relu.{j}``                 [h, w, Cj+1]    after ReLU
d ``.out``                      [h, w, outputs] logits or log-depth
==============================  ==============  =====================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from m3vit_pynq.config import ModelConfig, TaskConfig
from m3vit_pynq.errors import FrameError
from m3vit_pynq.reference.checkpoint import (
    Checkpoint,
    gate_bias_name,
    random_checkpoint,
    validate_checkpoint,
)

__all__ = ["FloatModel", "FloatResult", "Routing", "bilinear", "gelu", "random_checkpoint"]

Observe = Callable[[str, np.ndarray], None]

# Nodes of the normal distribution function, 1/64 apart; beyond 8.5 it is 0 or 1
# to within 1e-17.
_STEP = 64
_REACH = 8.5
_NODES = np.arange(-int(_REACH * _STEP), int(_REACH * _STEP) + 1) / _STEP
_CDF = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in _NODES])
_PDF = np.exp(-0.5 * _NODES**2) / math.sqrt(2.0 * math.pi)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact GELU, ``x * Phi(x)``, in the dtype of `x`.

    Phi comes from a third-order expansion about the nearest of nodes 1/64
    apart: its error is below 3e-10 (float64); in float32 rounding dominates.
    """
    x = np.asarray(x)
    inside = np.clip(x, -_REACH, _REACH)
    index = np.rint(inside * _STEP).astype(np.intp) + len(_NODES) // 2
    cdf, pdf, node = (t.astype(x.dtype)[index] for t in (_CDF, _PDF, _NODES))
    d = inside - node
    # Phi' = phi, Phi'' = -x phi, Phi''' = (x^2 - 1) phi
    return x * (cdf + pdf * d * (1 - d * (node / 2 - d * (node * node - 1) / 6)))


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def bilinear(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge [h, w, c] by an integer factor, sample points at pixel centres.

    Equals ``interpolate(..., mode="bilinear", align_corners=False)``.
    """
    for axis in (0, 1):
        size = image.shape[axis]
        at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, size - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        weight = (at - low).astype(image.dtype).reshape(shape)
        image = image.take(low, axis) * (1 - weight) + image.take(high, axis) * weight
    return image


def convolve3x3(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 convolution with zero padding: [h, w, c] and [o, c, 3, 3] to [h, w, o]."""
    height, width, channels = image.shape
    framed = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    shifted = [framed[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    columns = np.concatenate(shifted, axis=2)
    kernel = weight.transpose(2, 3, 1, 0).reshape(9 * channels, -1)
    return columns @ kernel + bias


class Routing(NamedTuple):
    """What one MoE block decided.

    Attributes
    ----------
    experts : int64 [tokens, k]
        Ascending in each row.
    gates : float [tokens, k]
        Weights of those experts.
    """

    experts: np.ndarray
    gates: np.ndarray


@dataclass
class FloatResult:
    """Result of one frame and task.

    Attributes
    ----------
    task : TaskConfig
    output : float [h, w, outputs]
        Logits, or natural logarithm of metres, at the head's resolution.
    upsample : int
        Enlargement from there to the output resolution.
    routing : dict
        Block -> `Routing`.
    """

    task: TaskConfig
    output: np.ndarray
    upsample: int
    routing: dict[int, Routing] = field(default_factory=dict)

    def enlarged(self) -> np.ndarray:
        """`output` at the output resolution."""
        return bilinear(self.output, self.upsample)

    def classes(self) -> np.ndarray:
        """Class ids, uint8 [H, W]; `ValueError` for a depth task."""
        if self.task.kind == "depth":
            raise ValueError(f"{self.task.name} is a depth task; it has metres, not classes")
        return self.enlarged().argmax(axis=2).astype(np.uint8)

    def metres(self) -> np.ndarray:
        """Depth, float [H, W]; `ValueError` for another task."""
        if self.task.kind != "depth":
            raise ValueError(f"{self.task.name} is no depth task; it has classes, not metres")
        return np.exp(self.enlarged()[:, :, 0])


class FloatModel:
    """An M³ViT in numpy.

    Parameters
    ----------
    config : ModelConfig
    checkpoint : mapping of arrays
        See `m3vit_pynq.config`; a router bias ``...gate.{t}.bias`` is optional.
    dtype : numpy floating type
        Of all arithmetic.

    Raises
    ------
    ValueError
        If the checkpoint does not fit the configuration.
    """

    def __init__(
        self, config: ModelConfig, checkpoint: Checkpoint, dtype: type = np.float32
    ) -> None:
        validate_checkpoint(config, checkpoint)
        self.config = config
        self.dtype = np.dtype(dtype)
        self._arrays = {
            name: np.asarray(checkpoint[name], dtype=dtype)
            for name in checkpoint
            if name.startswith(("backbone.", "decoders."))
        }

    def run(
        self, frame: np.ndarray, task: str | int, observe: Observe | None = None
    ) -> FloatResult:
        """One frame, one task.

        Parameters
        ----------
        frame : uint8 [height, width, 3]
            RGB of the configuration's image size.
        task : str or int
            Name or index.
        observe : callable(name, value), optional
            Gets every intermediate (see the module's table). The arrays are
            the model's own: copy what is to be changed.

        Raises
        ------
        FrameError
            If the frame has another shape or dtype.
        ValueError
            If the task does not exist.
        """
        config = self.config
        index = config.task_index(task) if isinstance(task, str) else int(task)
        if not 0 <= index < len(config.tasks):
            raise ValueError(f"task {index}: this model has {len(config.tasks)}")
        shape = (*config.image_size, 3)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise FrameError(
                f"{config.name} takes uint8 {list(shape)}, not {frame.dtype} {list(frame.shape)}"
            )
        pass_ = _Pass(config, self._arrays, index, observe or _ignore)
        taps = pass_.backbone(self._normalise(frame))
        output = pass_.decoder(taps)
        return FloatResult(config.tasks[index], output, config.head.output_upsample, pass_.routing)

    def _normalise(self, frame: np.ndarray) -> np.ndarray:
        mean, std = (np.asarray(v, dtype=np.float64) for v in (self.config.mean, self.config.std))
        table = (np.arange(256)[:, None] / 255.0 - mean) / std
        return table.astype(self.dtype)[frame, np.arange(3)]


def _ignore(name: str, value: np.ndarray) -> None:
    """Observer when nobody looks."""


class _Pass:
    """One forward pass for one task."""

    def __init__(
        self, config: ModelConfig, arrays: dict[str, np.ndarray], task: int, observe: Observe
    ) -> None:
        self.config = config
        self.arrays = arrays
        self.task = task
        self.observe = observe
        self.routing: dict[int, Routing] = {}

    def _see(self, name: str, value: np.ndarray) -> np.ndarray:
        self.observe(name, value)
        return value

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.mean(centred * centred, axis=1, keepdims=True)
        scaled = centred / np.sqrt(variance + x.dtype.type(self.config.layernorm_eps))
        y = scaled * self.arrays[f"{name}.weight"] + self.arrays[f"{name}.bias"]
        return self._see(name, y)

    def backbone(self, image: np.ndarray) -> list[np.ndarray]:
        """Normalised image [h, w, 3] to the tapped tokens [n, D], class token dropped."""
        config = self.config
        x = self._embed(image)
        taps = []
        for block in range(config.depth):
            prefix = f"backbone.blocks.{block}"
            x = self._see(f"{prefix}.residual.attn", x + self._attention(prefix, x))
            y = self._norm(f"{prefix}.norm2", x)
            update = (
                self._routed(block, y) if block in config.moe_blocks else self._dense(prefix, y)
            )
            x = self._see(f"{prefix}.residual.mlp", x + self._see(f"{prefix}.mlp", update))
            if block in config.head.taps:
                taps.append(x[1:])
        return taps

    def _embed(self, image: np.ndarray) -> np.ndarray:
        rows, columns = self.config.grid
        patch = self.config.patch_size
        cut = image.reshape(rows, patch, columns, patch, 3).transpose(0, 2, 1, 3, 4)
        patches = self._see("backbone.patches", cut.reshape(rows * columns, -1))
        weight = self.arrays["backbone.patch_embed.proj.weight"].transpose(0, 2, 3, 1)
        tokens = patches @ weight.reshape(len(weight), -1).T
        tokens += self.arrays["backbone.patch_embed.proj.bias"]
        x = np.concatenate([self.arrays["backbone.cls_token"][0], tokens])
        return self._see("backbone.residual", x + self.arrays["backbone.pos_embed"][0])

    def _attention(self, prefix: str, x: np.ndarray) -> np.ndarray:
        heads, width = self.config.heads, self.config.head_dim
        y = self._norm(f"{prefix}.norm1", x)
        qkv = self._see(f"{prefix}.attn.qkv", self._linear(f"{prefix}.attn.qkv", y))
        query, key, value = qkv.reshape(len(x), 3, heads, width).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) * x.dtype.type(width**-0.5)
        mixed = softmax(self._see(f"{prefix}.attn.scores", scores)) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(len(x), -1)
        self.observe(f"{prefix}.attn.mixed", mixed)
        return self._see(f"{prefix}.attn.proj", self._linear(f"{prefix}.attn.proj", mixed))

    def _dense(self, prefix: str, y: np.ndarray, part: str = "mlp") -> np.ndarray:
        name = f"{prefix}.{part}"
        hidden = self._see(f"{name}.fc1", self._linear(f"{name}.fc1", y))
        hidden = self._see(f"{name}.gelu", gelu(hidden))
        return self._linear(f"{name}.fc2", hidden)

    def _route(self, block: int, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Experts, best first, and their weights."""
        config, prefix = self.config, f"backbone.blocks.{block}.mlp"
        logits = y @ self.arrays[f"{prefix}.gate.{self.task}.w_gate"]
        bias = self.arrays.get(gate_bias_name(block, self.task))
        if bias is not None:
            logits = logits + bias
        if config.per_image:
            logits = np.broadcast_to(logits[:1], logits.shape)
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : config.top_k]
        if config.router == "noisy_vmoe":
            gates = np.take_along_axis(softmax(logits), chosen, axis=1)
        else:
            gates = softmax(np.take_along_axis(logits, chosen, axis=1))
        for name, value in (("logits", logits), ("chosen", chosen), ("gates", gates)):
            self.observe(f"{prefix}.{name}", value)
        order = np.argsort(chosen, axis=1)
        self.routing[block] = Routing(
            np.take_along_axis(chosen, order, axis=1), np.take_along_axis(gates, order, axis=1)
        )
        return chosen, gates

    def _routed(self, block: int, y: np.ndarray) -> np.ndarray:
        prefix = f"backbone.blocks.{block}.mlp.experts"
        chosen, gates = self._route(block, y)
        up, up_bias, down, down_bias = (
            self.arrays[f"{prefix}.{name}"]
            for name in ("htoh4.weight", "htoh4.bias", "h4toh.weight", "h4toh.bias")
        )
        update = np.zeros_like(y)
        for expert in range(self.config.experts):
            tokens, slot = np.nonzero(chosen == expert)
            if not len(tokens):
                continue
            hidden = y[tokens] @ up[expert].T + up_bias[expert]
            active = gelu(hidden)
            result = active @ down[expert].T + down_bias[expert]
            for name, value in (
                ("tokens", tokens), ("htoh4", hidden), ("gelu", active), ("h4toh", result),
            ):  # fmt: skip
                self.observe(f"{prefix}.{expert}.{name}", value)
            update[tokens] += gates[tokens, slot][:, None] * result
        if self.config.shared_hidden:
            update += self._dense(f"backbone.blocks.{block}", y, "mlp.shared")
        return update

    def decoder(self, taps: list[np.ndarray]) -> np.ndarray:
        """Tapped tokens to the task's map [h, w, outputs]."""
        prefix = f"decoders.{self.config.tasks[self.task].name}"
        normed = [self._norm(f"{prefix}.norm.{j}", tap) for j, tap in enumerate(taps)]
        image = self._linear(f"{prefix}.proj", np.concatenate(normed, axis=1))
        image = self._see(f"{prefix}.proj", image.reshape(*self.config.grid, -1))
        for j in range(len(self.config.head.channels) - 1):
            image = self._see(f"{prefix}.up.{j}", bilinear(image, 2))
            weight, bias = (self.arrays[f"{prefix}.conv.{j}.{n}"] for n in ("weight", "bias"))
            image = self._see(f"{prefix}.conv.{j}", convolve3x3(image, weight, bias))
            image = self._see(f"{prefix}.relu.{j}", np.maximum(image, 0))
        return self._see(f"{prefix}.out", self._linear(f"{prefix}.out", image))
