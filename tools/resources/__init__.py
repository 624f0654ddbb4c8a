# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lists the hardware forms of the accelerator's sources, board by board.

A development tool on top of `tools.hls_check` (libclang). It writes
``m3vit_pynq/analysis/hls_resources.json``, which `m3vit_pynq.analysis.resources`
turns into blocks of a device.
"""
