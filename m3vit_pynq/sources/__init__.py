# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where frames come from: cameras, clips, images, stills, generated frames.

>>> with open_source("auto") as source:
...     for frame in source:       # uint8 RGB [height, width, 3]
...         ...
"""

from m3vit_pynq.sources.base import Source
from m3vit_pynq.sources.camera import Camera
from m3vit_pynq.sources.choices import source_choices
from m3vit_pynq.sources.frames import as_rgb, read_image, resized
from m3vit_pynq.sources.mailbox import Mailbox
from m3vit_pynq.sources.opening import open_source
from m3vit_pynq.sources.stills import Stills
from m3vit_pynq.sources.synthetic import Synthetic
from m3vit_pynq.sources.video import Video

__all__ = [
    "Camera",
    "Mailbox",
    "Source",
    "Stills",
    "Synthetic",
    "Video",
    "as_rgb",
    "open_source",
    "read_image",
    "resized",
    "source_choices",
]
