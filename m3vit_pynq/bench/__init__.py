# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Measurements: how fast the emulated board is here, and what is known of the real ones.

* `speed` : emulated board against others, in one run
* `competitors`, `dense_onnx` : the others, PyTorch and ONNX Runtime
* `native` : the processor's peak; limiting the others to an older processor
* `cycles`, `boards` : which boards a package fits; cycles, where they are counted
* `report` : all as table, data and CSV record
"""
