# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""M³ViT on Zynq boards: multi-task mixture-of-experts vision with PYNQ.

>>> from m3vit_pynq import M3ViTOverlay
>>> with M3ViTOverlay("small") as overlay:
...     result = overlay.run(image, task="depth")

Names are imported when they are first used: `config` and `abi` are usable
without pynq, the driver without the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from m3vit_pynq._version import __version__

try:
    import numpy as _numpy
except ModuleNotFoundError:  # a wheel is being built, with the standard library only
    _numpy = None

if _numpy is not None and int(_numpy.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"numpy {_numpy.__version__} breaks pynq.allocate: pip install 'numpy>=1.21,<2'"
    )

_LAZY = {
    "M3ViTOverlay": "m3vit_pynq.overlay",
    "M3ViTDriver": "m3vit_pynq.driver",
    "Package": "m3vit_pynq.package",
    "Result": "m3vit_pynq.result",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
