# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Float checkpoint to `.m3vit` package.

* `checkpoint` : reading checkpoints
* `quantise` and its parts : calibration, scales, rounding
* `lower`, `allocate`, `image` : instructions, addresses, weight image
* `decode`, `gelu_grids`, `gauge`, `unfold`, `export` : a package back to a float checkpoint
* `report` : what the integers cost; `disassemble` : a program as text
* `made_up` : models of random integers, for speed and for tests
* `build` : all of it in one call
"""

from m3vit_pynq.compiler.build import compile_checkpoint, made_up_package, random_package
from m3vit_pynq.compiler.checkpoint import load_checkpoint
from m3vit_pynq.compiler.disassemble import disassemble

__all__ = [
    "compile_checkpoint",
    "disassemble",
    "load_checkpoint",
    "made_up_package",
    "random_package",
]
