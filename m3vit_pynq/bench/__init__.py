# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Measurements: how fast the emulated board is here, and what is known of the real ones.

* `speed` : emulated board against PyTorch, in one run
* `cycles` : which boards a package fits; cycles, where they are counted
* `report` : both as table, data and CSV record
"""
