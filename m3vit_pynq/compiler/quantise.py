# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Post-training quantisation, block by block.

Every layer is fitted to what really reaches it: the calibration frames, passed
through the integer layers before it. Its scales are searched, its weights
rounded with error feedback, and its bias set so that its mean result is the
float model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from m3vit_pynq.abi.isa import Store
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear
from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.compiler.layers import Block, Linear, QuantisedModel
from m3vit_pynq.compiler.quantise_attention import quantise_attention, short_name
from m3vit_pynq.compiler.quantise_ffn import MixtureQuantiser, quantise_dense
from m3vit_pynq.compiler.quantise_head import HeadQuantiser
from m3vit_pynq.compiler.simulate import linear_residual
from m3vit_pynq.compiler.streams import Context, Stream, rows
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import FrameError
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.reference.linear import patches

_RANGE_FRAMES = 8
_HEADROOM = 1.1


def check_frames(config: ModelConfig, frames: Sequence[np.ndarray]) -> np.ndarray:
    """Calibration frames as one array, uint8 [frames, height, width, 3].

    Raises
    ------
    FrameError
        If there is none, or one is not an RGB image of the model's size.
    """
    if not len(frames):
        raise FrameError("calibration needs at least one frame")
    for index, frame in enumerate(frames):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.shape != (*config.image_size, 3):
            raise FrameError(
                f"calibration frame {index} is {frame.dtype} {list(frame.shape)}; "
                f"{config.name} needs uint8 {[*config.image_size, 3]}"
            )
    return np.stack([np.asarray(frame) for frame in frames])


def residual_scale(model: FloatModel, frames: np.ndarray) -> float:
    """Real value of one unit of the residual stream: its largest value is near 32767."""
    largest = 1e-6

    def observe(name: str, value: np.ndarray) -> None:
        nonlocal largest
        if ".residual" in name:
            largest = max(largest, float(np.abs(value).max()))

    for frame in frames[:_RANGE_FRAMES]:
        for task in model.config.task_names:
            model.run(frame, task, observe)
    return largest * _HEADROOM / 32767


def _embedding(context: Context) -> np.ndarray:
    """Position embedding with the class token, int16 [tokens, D]."""
    table = context.array("backbone.pos_embed")[0].astype(np.float64).copy()
    table[0] += context.array("backbone.cls_token")[0, 0]
    scaled = np.rint(table / context.residual_scale)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def _patch_layer(context: Context) -> tuple[Affine, Grid]:
    """Patch embedding of signed pixels: normalisation is the meaning of its input."""
    name = "backbone.patch_embed.proj"
    weight = context.array(f"{name}.weight").transpose(0, 2, 3, 1)
    pixels = context.config.patch_size**2
    std = np.tile(np.array(context.config.std, np.float64), pixels)
    mean = np.tile(np.array(context.config.mean, np.float64), pixels)
    grid = Grid(1 / (255 * std), (128 / 255 - mean) / std)
    matrix = weight.reshape(len(weight), -1)
    return Affine(short_name(name), matrix, context.array(f"{name}.bias")), grid


def _embed(context: Context, frames: np.ndarray) -> tuple[np.ndarray, Linear, Stream]:
    """Quantised embedding, and the stream it leaves."""
    config = context.config
    layer, grid = _patch_layer(context)
    pixels = np.stack([patches(frame, config.patch_size) for frame in frames]).astype(np.float32)
    quantised = fit_linear(
        layer, grid, Moments.of(rows(pixels)),
        Grid.uniform(config.embed_dim, context.residual_scale), store=Store.RESIDUAL,
    )  # fmt: skip
    table = _embedding(context)
    integer = np.repeat(table[None].astype(np.float32), len(frames), axis=0)
    update = linear_residual(quantised, rows(pixels))
    integer[:, 1:] += update.reshape(len(frames), -1, config.embed_dim)
    np.clip(integer, -32768, 32767, out=integer)
    real = np.repeat(context.array("backbone.pos_embed"), len(frames), axis=0)
    real[:, 0] += context.array("backbone.cls_token")[0, 0]
    real[:, 1:] += layer(grid.dequantise(pixels))
    return table, quantised, Stream(tuple(range(len(config.tasks))), real, integer)


def _block(context: Context, index: int, streams: list[Stream]) -> tuple[Block, list[Stream]]:
    prefix = f"backbone.blocks.{index}"
    norm, qkv, attention, proj = quantise_attention(context, prefix, streams)
    if index in context.config.moe_blocks:
        streams = [part for stream in streams for part in stream.split()]
        ffn = MixtureQuantiser(context, prefix, streams).run()
    else:
        ffn = quantise_dense(context, prefix, streams)
    if index in context.config.head.taps:
        for stream in streams:
            stream.tap()
    return Block(short_name(prefix), norm, qkv, attention, proj, ffn), streams


def quantise(
    config: ModelConfig,
    checkpoint: Mapping[str, np.ndarray],
    frames: Sequence[np.ndarray],
    *,
    split_experts: bool = False,
    passes: int = 1,
    progress: bool = True,
) -> QuantisedModel:
    """Quantise a float checkpoint.

    Parameters
    ----------
    frames : sequence of uint8 [height, width, 3]
        Calibration frames; 16 to 32 real images are a good number.
    split_experts : bool
        Cut every expert into two parts with a GELU table each: about 0.5 dB more
        precise, for twice as many slots to write and add.
    passes : int
        1 for 8-bit probabilities in attention; 2 for 12-bit ones, which take
        longer where attention is a large part of a frame.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ValueError
        If the checkpoint does not fit the configuration, or `passes` is neither
        1 nor 2.
    CapacityError
        If an accumulator would not fit; the message names the layer.
    FrameError
        If a frame is not of the model's size.
    """
    if passes not in (1, 2):
        raise ValueError(f"passes is 1 or 2, not {passes!r}")
    batch = check_frames(config, frames)
    model = FloatModel(config, checkpoint)
    context = Context(config, checkpoint, residual_scale(model, batch), split_experts, passes)
    steps = tqdm(
        total=config.depth + len(config.tasks), desc=f"quantise {config.name}", unit="block",
        disable=not progress,
    )  # fmt: skip
    with steps:
        table, patch_layer, stream = _embed(context, batch)
        streams, blocks = [stream], []
        for index in range(config.depth):
            block, streams = _block(context, index, streams)
            blocks.append(block)
            steps.update()
        heads = []
        for index, task in enumerate(config.tasks):
            stream = next(s for s in streams if index in s.tasks)
            heads.append(HeadQuantiser(context, task, stream).run())
            steps.update()
    scales = {f"{name}.out": float(context.grids[f"{name}.out"].scale[0])
              for name in config.task_names}  # fmt: skip
    scales["residual"] = context.residual_scale
    return QuantisedModel(
        config, table, patch_layer, tuple(blocks), tuple(heads), scales, context.grids,
        context.channels,
    )  # fmt: skip
