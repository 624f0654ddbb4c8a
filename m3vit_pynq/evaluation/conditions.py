# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The same frames as another camera might have taken them.

A condition changes a frame and its labels together, the same way every time:
noise follows from the frame's name. What a condition moves into the picture
from outside is made up (mirrored at the edge) and has no label and no depth.

The convention for the field of view is that of training
(`m3vit_pynq.training.augment`): a part of a frame, enlarged to the whole, looks
like the scene seen from nearer, so its depth is multiplied by the part's share
of the height. In other words, the model measures in units of the camera that
took its training data.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from m3vit_pynq.evaluation.dataset import LabelledFrame
from m3vit_pynq.labels import IGNORE

#: White margin of the frames of NYU Depth v2, in pixels of 480x640; it is cut
#: away before a frame is moved, so that the edge is an edge of the picture.
MARGIN = 10
#: Largest condition's distortions of a frame.
DEGREES = 5.0
NEARER, FARTHER = 0.75, 1.25


@dataclass(frozen=True)
class Condition:
    """A way of seeing a frame.

    Attributes
    ----------
    name : str
        What the command line and reports call it.
    text : str
        What it does, for people.
    apply : callable
        Frame to frame; gives the same result every time.
    """

    name: str
    text: str
    apply: Callable[[LabelledFrame], LabelledFrame]


def mirrored(frame: LabelledFrame) -> LabelledFrame:
    """Left and right exchanged."""

    def flip(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.ascontiguousarray(array[:, ::-1])

    return dataclasses.replace(
        frame, image=flip(frame.image), label=flip(frame.label), metres=flip(frame.metres),
        label13=flip(frame.label13),
    )  # fmt: skip


def relit(frame: LabelledFrame, gain: float = 1.0, gamma: float = 1.0) -> LabelledFrame:
    """Pixel values ``255 * (v / 255) ** gamma * gain``, rounded and clipped."""
    ramp = (np.arange(256) / 255.0) ** gamma * gain * 255.0
    table = np.clip(np.rint(ramp), 0, 255).astype(np.uint8)
    return dataclasses.replace(frame, image=table[frame.image])


def noisy(frame: LabelledFrame, sigma: float) -> LabelledFrame:
    """Independent Gaussian noise of ``sigma`` levels on every value, by the frame's name."""
    rng = np.random.default_rng(zlib.crc32(frame.name.encode()))
    noise = rng.standard_normal(frame.image.shape, np.float32) * np.float32(sigma)
    image = np.clip(np.rint(frame.image + noise), 0, 255).astype(np.uint8)
    return dataclasses.replace(frame, image=image)


def blurred(frame: LabelledFrame, sigma: float) -> LabelledFrame:
    """Gaussian blur with ``sigma`` in pixels of the frame."""
    return dataclasses.replace(frame, image=cv2.GaussianBlur(frame.image, (0, 0), sigma))


def moved(frame: LabelledFrame, scale: float = 1.0, degrees: float = 0.0) -> LabelledFrame:
    """Seen by a camera of another field of view, or turned about its axis.

    Parameters
    ----------
    scale : float
        Share of the frame that fills the picture: below 1 the middle is
        enlarged, above 1 the frame is shrunk. Depth is multiplied by it.
    degrees : float
        Turn of the picture, counter-clockwise.
    """
    height, width = frame.image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, -sin], [sin, cos]])
    # From a pixel of the result to a pixel of the frame without its margin.
    matrix = np.column_stack([turn, centre - turn @ centre - MARGIN])
    inner = np.s_[MARGIN : height - MARGIN, MARGIN : width - MARGIN]
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP

    def warp(array: np.ndarray | None, unknown: float) -> np.ndarray | None:
        if array is None:
            return None
        return cv2.warpAffine(
            array[inner], matrix, (width, height), flags=nearest,
            borderMode=cv2.BORDER_CONSTANT, borderValue=unknown,
        )  # fmt: skip

    image = cv2.warpAffine(
        frame.image[inner], matrix, (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    return dataclasses.replace(
        frame, image=image, label=warp(frame.label, IGNORE), label13=warp(frame.label13, IGNORE),
        metres=warp(frame.metres, 0.0) * np.float32(scale),
    )  # fmt: skip


def _condition(name: str, text: str, apply: Callable, **arguments: float) -> Condition:
    return Condition(name, text, lambda frame: apply(frame, **arguments))


#: Every condition by its name, in the order of reports.
CONDITIONS: dict[str, Condition] = {
    condition.name: condition
    for condition in (
        _condition("mirrored", "left and right exchanged", mirrored),
        _condition("dark-50", "pixel values halved", relit, gain=0.5),
        _condition("dark-25", "pixel values quartered", relit, gain=0.25),
        _condition("gamma", "middle tones darker: gamma 1.8", relit, gamma=1.8),
        _condition("noise-10", "noise of 10 levels", noisy, sigma=10.0),
        _condition("noise-20", "noise of 20 levels", noisy, sigma=20.0),
        Condition(
            "dark-noisy", "pixel values quartered, noise of 5 levels",
            lambda frame: noisy(relit(frame, gain=0.25), sigma=5.0),
        ),
        _condition("blurred", "out of focus: Gaussian of 2 pixels", blurred, sigma=2.0),
        _condition("turned-left", f"turned by {DEGREES:g} degrees", moved, degrees=DEGREES),
        _condition("turned-right", f"turned by -{DEGREES:g} degrees", moved, degrees=-DEGREES),
        _condition("nearer", f"the middle {NEARER:.0%} fill the frame", moved, scale=NEARER),
        _condition("farther", f"the frame shrunk to {1 / FARTHER:.0%}", moved, scale=FARTHER),
    )
}  # fmt: skip
