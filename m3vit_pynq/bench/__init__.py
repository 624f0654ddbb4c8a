# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Measurements: how fast the emulated board is here, how many cycles a real one needs.

* `speed` : emulated board against PyTorch, in one run
* `cycles` : modelled cycles per layer and board, counted by the compiled HLS
* `report` : both as table, data and CSV record
"""
