# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The live view: frames, results, and a toggle, in a notebook, a window or a plain page.

`session` streams and keeps the newest results, `painter` makes pictures of
them, and whoever shows pictures (`widget`, `server`, `window`) asks for the
newest as often as it can take one.
"""

from m3vit_pynq.live.painter import Painter
from m3vit_pynq.live.session import LiveSession
from m3vit_pynq.live.settings import ViewSettings

__all__ = ["LiveSession", "Painter", "ViewSettings"]
