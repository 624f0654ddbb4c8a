# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which sources this machine has, for a list to choose from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from m3vit_pynq.errors import SourceError
from m3vit_pynq.sources.camera import device_nodes
from m3vit_pynq.sources.opening import CLIP_VARIABLE, street_clip
from m3vit_pynq.sources.stills import room_photographs


def source_choices() -> list[tuple[str, str | int]]:
    """What to call each source, and its name for `open_source`.

    A camera that is not plugged in, and what is not installed, is not listed.
    """
    choices: list[tuple[str, str | int]] = [("automatic", "auto")]
    choices += [(f"camera {index}", index) for index in device_nodes()]
    clip = os.environ.get(CLIP_VARIABLE, "")
    if clip and Path(clip).expanduser().is_file():
        choices.append((f"clip {Path(clip).name}", clip))
    if _is_there(street_clip):
        choices.append(("clip of a street", "street"))
    if _is_there(room_photographs):
        choices.append(("photographs of rooms", "stills"))
    choices.append(("generated frames", "synthetic"))
    return choices


def _is_there(find: Callable[[], object]) -> bool:
    try:
        find()
    except SourceError:
        return False
    return True
