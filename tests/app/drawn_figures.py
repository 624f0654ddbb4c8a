# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What tests of pictures look at: the pixels and the words of a figure."""

import cv2
import numpy as np

from m3vit_pynq import pictures
from m3vit_pynq.pictures import theme


def pixels(figure) -> np.ndarray:
    """A figure as the picture that a notebook shows, RGB."""
    data = np.frombuffer(pictures.show(figure).data, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def rgb(colour: str) -> tuple[int, ...]:
    """A colour of the theme as numbers."""
    return tuple(bytes.fromhex(colour[1:]))


def words(figure) -> list[str]:
    """All text of a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def nothing_is_cut_off(figure) -> bool:
    """The outermost pixels are background, and the rest is not."""
    figure.canvas.draw()
    picture, card = np.asarray(figure.canvas.buffer_rgba())[..., :3], rgb(theme.CARD)
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return bool(np.all(edge == card)) and np.mean(picture != card) > 0.03
