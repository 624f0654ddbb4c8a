# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays and figures in a notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np

from m3vit_pynq.sources.frames import as_rgb

if TYPE_CHECKING:
    from IPython.display import Image
    from matplotlib.figure import Figure

#: Of the JPEG that a picture becomes.
QUALITY = 90


def show(picture: np.ndarray | Figure, width: int | None = None) -> Image:
    """Display a picture in a notebook.

    Parameters
    ----------
    picture : ndarray or matplotlib Figure
        uint8 RGB or grey; it becomes a JPEG. A figure becomes a PNG, or a JPEG
        if there are photographs in it.
    width : int, optional
        Pixels on the page; default: as large as it is.

    Raises
    ------
    FrameError
        If the array is no picture.
    TypeError
        If it is neither array nor figure.
    """
    from IPython.display import Image

    if hasattr(picture, "savefig"):
        if not _holds_photographs(picture):
            data = io.BytesIO()
            options = {"optimize": True}
            picture.savefig(data, facecolor=picture.get_facecolor(), pil_kwargs=options)
            return Image(data.getvalue(), format="png", width=width)
        picture.canvas.draw()
        picture = np.asarray(picture.canvas.buffer_rgba())
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"show: a picture is an array or a figure, not {type(picture).__name__}")
    bgr = cv2.cvtColor(as_rgb(picture, "picture"), cv2.COLOR_RGB2BGR)
    coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return Image(coded.tobytes(), format="jpeg", width=width)


def _holds_photographs(figure: Figure) -> bool:
    """Whether a figure shows pictures in colour, which PNG does not make small."""
    images = (image for axes in figure.axes for image in axes.get_images())
    return any(np.ndim(image.get_array()) == 3 for image in images)
