# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What expert weights of four bits would cost in accuracy, simulated.

The accelerator stores eight bits a weight. Here the weights of the routed experts
of a *float* checkpoint are rounded to four bits, one step for each output
channel; the result is a float checkpoint again, which is compiled and
evaluated like any other: activations, routers and everything outside the
experts stay as they are. The compiler rounds the rounded weights once more, to
eight bits, which adds little: its step is eighteen times finer.

::

    python -m m3vit_pynq.evaluation.fourbit small.npz small-4bit.npz --calibration nyuv2/image
    m3vit-pynq convert small-4bit.npz small-4bit.m3vit --calibration nyuv2/image
    m3vit-pynq evaluate --package small-4bit.m3vit --root nyuv2 --json small-4bit.json

With calibration images the rounding has error feedback, as the compiler's has for
eight bits: the error of each column is made up for in the columns that are
still free, by the second moment of what really reaches each expert. Without
them every weight goes to the nearest step.

The first layer of an expert reads a LayerNorm whose channels each have a scale
of their own; on the accelerator these are part of the weights, so the columns
are rounded after multiplication with them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from m3vit_pynq.compiler.checkpoint import (
    CONFIG_ENTRY,
    META_ENTRY,
    load_checkpoint,
    read_meta,
)
from m3vit_pynq.compiler.rounding import Feedback
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CheckpointError, M3ViTError
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.sources.frames import read_image, resized
from m3vit_pynq.sources.stills import images_in

BITS = 4
#: Parts of a row's largest weight that are tried as its range: clipping a few
#: large weights makes the step of all others finer.
_KEPT = np.linspace(1.0, 0.4, 25)
#: Tokens of the whole block that are added to those of each expert.
_PRIOR_SAMPLES = 64.0


def largest_code(bits: int) -> int:
    """Largest integer of a symmetric format: 7 for four bits."""
    return 2 ** (bits - 1) - 1


def row_steps(
    weight: np.ndarray, bits: int = BITS, importance: np.ndarray | None = None
) -> np.ndarray:
    """The step of each row that makes its mean squared rounding error least.

    Parameters
    ----------
    weight : float [..., columns]
    importance : float [columns], optional
        What an error in each column costs; all alike by default.

    Returns
    -------
    float64 [...]
        Positive, also for rows of zeros.
    """
    limit = largest_code(bits)
    weight = np.asarray(weight, np.float64)
    cost = np.ones(weight.shape[-1]) if importance is None else importance
    largest = np.maximum(np.abs(weight).max(axis=-1), 1e-12)
    best, least = largest / limit, np.full(largest.shape, np.inf)
    for kept in _KEPT:
        step = largest * kept / limit
        error = np.square(_nearest(weight, step, limit) - weight) @ cost
        best = np.where(error < least, step, best)
        least = np.minimum(error, least)
    return best


def _nearest(weight: np.ndarray, step: np.ndarray, limit: int) -> np.ndarray:
    step = step[..., None]
    return np.clip(np.rint(weight / step), -limit, limit) * step


def round_rows(
    weight: np.ndarray, bits: int = BITS, moment: np.ndarray | None = None
) -> np.ndarray:
    """Weights with at most ``2**bits - 1`` different values in each row.

    Parameters
    ----------
    weight : float [rows, columns]
    moment : float [columns, columns], optional
        Second moment of the inputs; with it errors are fed back.

    Returns
    -------
    ndarray
        Shape and dtype of the weights.
    """
    exact, limit = np.asarray(weight, np.float64), largest_code(bits)
    if moment is None:
        return _nearest(exact, row_steps(exact, bits), limit).astype(weight.dtype)
    feedback = Feedback.of(moment)
    step = row_steps(exact, bits, np.diag(moment) + 1e-9)
    # Columns in the order of their cost, each a contiguous row of the transpose.
    left = np.ascontiguousarray((exact / step[:, None])[:, feedback.order].T)
    codes = np.empty_like(left)
    for column in range(len(left)):
        codes[column] = np.clip(np.rint(left[column]), -limit, limit)
        error = (left[column] - codes[column]) / feedback.factor[column, column]
        left[column + 1 :] -= feedback.factor[column, column + 1 :, None] * error
    rounded = np.empty_like(exact)
    rounded[:, feedback.order] = codes.T * step[:, None]
    return rounded.astype(weight.dtype)


class ExpertMoments:
    """Second moments of what reaches every layer of every expert of a float model.

    An observer for `FloatModel.run`. An expert that few tokens chose borrows from
    the others of its block.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, int] = {}
        self._normed = self._tokens = np.zeros(0)

    def __call__(self, name: str, value: np.ndarray) -> None:
        if name.endswith(".norm2"):
            self._normed = value
        elif ".mlp.experts." in name and name.endswith(".tokens"):
            self._tokens = value
        elif ".mlp.experts." in name and name.endswith(".gelu"):
            expert = name.removesuffix(".gelu")
            self._add(f"{expert}.htoh4", self._normed[self._tokens])
            self._add(f"{expert}.h4toh", value)

    def _add(self, name: str, rows: np.ndarray) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + rows.T @ rows
        self._counts[name] = self._counts.get(name, 0) + len(rows)

    def moments(self, block: int, layer: str) -> list[np.ndarray]:
        """float64 [columns, columns] for every expert of a block.

        Parameters
        ----------
        layer : str
            ``"htoh4"`` or ``"h4toh"``.
        """
        prefix = f"backbone.blocks.{block}.mlp.experts"
        names = [f"{prefix}.{expert}.{layer}" for expert in range(self.config.experts)]
        seen = [name for name in names if name in self._sums]
        every = sum(self._sums[name].astype(np.float64) for name in seen)
        every /= sum(self._counts[name] for name in seen)
        return [
            (self._sums.get(name, 0.0) + _PRIOR_SAMPLES * every)
            / (self._counts.get(name, 0) + _PRIOR_SAMPLES)
            for name in names
        ]


def expert_moments(
    config: ModelConfig, checkpoint: Mapping[str, np.ndarray], frames: Sequence[np.ndarray]
) -> ExpertMoments:
    """Run frames (uint8, of the model's size) through the float model, for every task."""
    model, moments = FloatModel(config, checkpoint), ExpertMoments(config)
    for frame in frames:
        for task in config.task_names:
            model.run(frame, task, moments)
    return moments


def narrow_experts(
    config: ModelConfig,
    checkpoint: Mapping[str, np.ndarray],
    bits: int = BITS,
    frames: Sequence[np.ndarray] = (),
) -> dict[str, np.ndarray]:
    """A checkpoint whose expert weights have few bits; everything else is the same array.

    Parameters
    ----------
    bits : int
        2 to 8.
    frames : sequence of uint8 [height, width, 3]
        Calibration frames of the model's size for error feedback; without any,
        rounding is to the nearest.

    Raises
    ------
    CheckpointError
        If the model has no experts.
    ValueError
        If the number of bits is out of range.
    FrameError
        If a frame has another size.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"{bits} bits: from 2 to 8 are possible")
    if not config.moe_blocks:
        raise CheckpointError(f"{config.name} has no experts: nothing would be rounded")
    moments = expert_moments(config, checkpoint, frames) if len(frames) else None
    result = dict(checkpoint)
    for block in config.moe_blocks:
        prefix = f"backbone.blocks.{block}"
        gamma = _column_scale(checkpoint[f"{prefix}.norm2.weight"])
        for layer in ("htoh4", "h4toh"):
            scale = gamma if layer == "htoh4" else np.ones(config.expert_hidden, np.float32)
            name = f"{prefix}.mlp.experts.{layer}.weight"
            reached = moments.moments(block, layer) if moments else [None] * config.experts
            result[name] = np.stack([
                round_rows(weight * scale, bits, _in_units(moment, scale)) / scale
                for weight, moment in zip(checkpoint[name], reached, strict=True)
            ])  # fmt: skip
    return result


def _in_units(moment: np.ndarray | None, scale: np.ndarray) -> np.ndarray | None:
    """The moment of inputs divided by their scales."""
    return None if moment is None else moment / np.outer(scale, scale)


def _column_scale(gamma: np.ndarray) -> np.ndarray:
    """Size of each channel of a LayerNorm, never zero, float32."""
    size = np.abs(np.asarray(gamma, np.float32))
    return np.maximum(size, max(float(size.max()) * 1e-3, 1e-12))


def save_checkpoint(
    path: Path, config: ModelConfig, checkpoint: Mapping[str, np.ndarray], meta: Mapping
) -> None:
    """Write a float checkpoint; an older file of that name stays whole if this fails."""
    arrays = dict(checkpoint)
    arrays[CONFIG_ENTRY] = np.array(json.dumps(config.to_dict()))
    arrays[META_ENTRY] = np.array(json.dumps(dict(meta)))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def calibration_frames(
    config: ModelConfig, folder: Path, listed: Path | None, count: int
) -> list[np.ndarray]:
    """Evenly spaced images of a folder at the model's size.

    Parameters
    ----------
    listed : Path, optional
        Text file with the names (without ending) of the images to choose from.

    Raises
    ------
    ValueError
        If there are not enough images.
    """
    paths = images_in(folder)
    if listed is not None:
        wanted = set(listed.read_text().split())
        paths = [path for path in paths if path.stem in wanted]
    if not 1 <= count <= len(paths):
        raise ValueError(f"{folder} has {len(paths)} images to choose {count} frames from")
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    return [np.ascontiguousarray(resized(read_image(p), config.image_size)) for p in chosen]


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m m3vit_pynq.evaluation.fourbit IN.npz OUT.npz``; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m m3vit_pynq.evaluation.fourbit",
        description="Round the expert weights of a float checkpoint to few bits.",
    )
    parser.add_argument("checkpoint", type=Path, help="float checkpoint, .npz")
    parser.add_argument("out", type=Path, help="checkpoint to write, .npz")
    parser.add_argument("--bits", type=int, default=BITS, help="default: %(default)s")
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="folder of real images, for error feedback"
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="use only images listed here")
    parser.add_argument("--frames", type=int, default=24, help="images to use (default 24)")
    arguments = parser.parse_args(argv)
    try:
        config, checkpoint = load_checkpoint(arguments.checkpoint)
        meta, frames = read_meta(arguments.checkpoint), []
        if arguments.calibration is not None:
            frames = calibration_frames(
                config, arguments.calibration, arguments.list, arguments.frames
            )
        narrow = narrow_experts(config, checkpoint, arguments.bits, frames)
        save_checkpoint(arguments.out, config, narrow, {**meta, "expert_bits": arguments.bits})
    except (M3ViTError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
