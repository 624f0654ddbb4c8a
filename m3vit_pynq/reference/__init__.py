# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The specification of the accelerator, and the float model it approximates.

* `primitives`, `layernorm`, `linear`, `attention`, `routing`, `outputs` :
  ``docs/numerics.md`` in plain numpy, one subject a module
* `image` : the weight image; `refusals` : what the accelerator rejects
* `machine` : all of it as a machine that runs programs
* `float_model` : the M³ViT in floating point, straight from a checkpoint
"""
