# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A static check of the accelerator's sources: what breaks the interval or the build.

    python -m tools.hls_check hls_src            the faults, exit status 1 if there are any
    python -m tools.hls_check hls_src --table    interval, ports and depth of every loop
    python -m tools.hls_check hls_src --write    the same table, into hls_src/README.md
    python -m tools.hls_check hls_src --check    faults, and whether that table is current

The rules and their reasons are in docs/hls_check.md.
"""
