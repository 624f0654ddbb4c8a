# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Random views of a frame for training: geometry with depth, and colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes.

    Attributes
    ----------
    min_scale : float
        Smallest crop, as a fraction of the frame's height.
    whole_frame : float
        Probability of taking the whole frame, as at test time.
    aspect : float
        Largest relative change of the crop's aspect ratio.
    rotation : float
        Largest rotation in degrees, used in half of the views.
    brightness, gamma : float
        Largest natural logarithm of the gain and of the exponent. A dark room
        is a gain well below one, so dark views go ``darker`` times further.
    white_balance : float
        Largest relative gain of one colour channel over the others.
    noise : float
        Largest standard deviation of sensor noise in levels, in a third of the views.
    blur : float
        Share of the views that are a little out of focus.
    """

    min_scale: float = 0.5
    whole_frame: float = 0.15
    aspect: float = 0.1
    rotation: float = 8.0
    brightness: float = 0.3
    darker: float = 3.0
    gamma: float = 0.3
    saturation: float = 0.4
    white_balance: float = 0.1
    noise: float = 12.0
    blur: float = 0.1


@dataclass(frozen=True)
class View:
    """One training example: uint8 RGB image, labels and depth in metres.

    Labels and depth are on the (coarser) grid on which the loss is computed;
    255 and 0 mean unknown.
    """

    image: np.ndarray
    label: np.ndarray
    depth: np.ndarray


def _crop_matrix(
    shape: tuple[int, int], size: tuple[int, int], box: tuple[float, float, float, float]
) -> np.ndarray:
    """Affine map from the output raster (height, width) to the source box."""
    top, left, height, width = box
    sy, sx = height / size[0], width / size[1]
    # Pixel centres: source + 0.5 = box origin + (target + 0.5) * step.
    return np.array([[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5]])


def _rotated(matrix: np.ndarray, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    offset = np.asarray(centre) - rotation @ np.asarray(centre)
    out = np.empty((2, 3))
    out[:, :2] = rotation @ matrix[:, :2]
    out[:, 2] = rotation @ matrix[:, 2] + offset
    return out


def jitter_colour(image: np.ndarray, rng: np.random.Generator, config: AugmentConfig) -> np.ndarray:
    """Random brightness, gamma, white balance, saturation, blur and noise."""
    darkest = -config.brightness * (config.darker if rng.random() < 0.25 else 1.0)
    gain = np.exp(rng.uniform(darkest, config.brightness))
    gamma = np.exp(rng.uniform(-config.gamma, config.gamma))
    balance = 1.0 + rng.uniform(-config.white_balance, config.white_balance, 3)
    ramp = np.linspace(0.0, 1.0, 256)[:, None] ** gamma * gain * balance
    table = np.clip(ramp * 255.0 + 0.5, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, 3))
    keep = 1.0 + rng.uniform(-config.saturation, config.saturation)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.addWeighted(image, keep, grey, 1.0 - keep, 0.0)
    if rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if config.noise and rng.random() < 1 / 3:
        grain = rng.standard_normal(image.shape, np.float32) * rng.uniform(0.0, config.noise)
        image = np.clip(image + grain + 0.5, 0, 255).astype(np.uint8)
    return image


def plain_view(
    image: np.ndarray,
    label: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    target: tuple[int, int],
) -> View:
    """The whole frame, unchanged but for the resize."""
    nearest = cv2.INTER_NEAREST_EXACT
    return View(
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA),
        cv2.resize(label, target[::-1], interpolation=nearest),
        cv2.resize(depth, target[::-1], interpolation=nearest),
    )


def random_view(
    image: np.ndarray,
    label: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    target: tuple[int, int],
    rng: np.random.Generator,
    config: AugmentConfig,
) -> View:
    """A random crop, mirrored and rotated, with changed colours.

    A crop enlarged to the input size looks like the scene seen from nearer,
    so the depth is multiplied by the crop's scale.

    Parameters
    ----------
    image, label, depth : ndarray
        Frame: uint8 ``[h, w, 3]``, uint8 ``[h, w]`` and float32 metres.
    size, target : tuple of int
        (height, width) of the image and of the label and depth maps.
    """
    rows, columns = label.shape
    whole = rng.random() < config.whole_frame
    scale = 1.0 if whole else rng.uniform(config.min_scale, 1.0)
    aspect = 1.0 if whole else 1.0 + rng.uniform(-config.aspect, config.aspect)
    height = rows * scale
    width = min(columns * scale * aspect, float(columns))
    top = rng.uniform(0.0, rows - height)
    left = rng.uniform(0.0, columns - width)
    degrees = rng.uniform(-config.rotation, config.rotation) if rng.random() < 0.5 else 0.0
    mirror = rng.random() < 0.5
    box = (top, left, height, width)
    if degrees:
        centre = (left + 0.5 * width - 0.5, top + 0.5 * height - 0.5)
        flags = cv2.WARP_INVERSE_MAP
        fine = _rotated(_crop_matrix(label.shape, size, box), degrees, centre)
        coarse = _rotated(_crop_matrix(label.shape, target, box), degrees, centre)
        image = cv2.warpAffine(
            image, fine, size[::-1], flags=flags | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        out_size, nearest = target[::-1], flags | cv2.INTER_NEAREST
        label = cv2.warpAffine(label, coarse, out_size, flags=nearest, borderValue=255)
        depth = cv2.warpAffine(depth, coarse, out_size, flags=nearest, borderValue=0)
    else:
        y0, y1 = round(top), round(top + height)
        x0, x1 = round(left), round(left + width)
        part = np.s_[y0:y1, x0:x1]
        how = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
        nearest = cv2.INTER_NEAREST_EXACT
        image = cv2.resize(image[part], size[::-1], interpolation=how)
        label = cv2.resize(label[part], target[::-1], interpolation=nearest)
        depth = cv2.resize(depth[part], target[::-1], interpolation=nearest)
    if mirror:
        image, label, depth = image[:, ::-1], label[:, ::-1], depth[:, ::-1]
    image = jitter_colour(np.ascontiguousarray(image), rng, config)
    return View(image, label, depth * np.float32(scale))
