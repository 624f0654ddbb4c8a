# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes of ``hls_src`` through the open HLS compiler Bambu, simulated as Verilog.

``python -m tools.rtl`` (``make rtl``); docs/rtl.md has the table of results.
"""
