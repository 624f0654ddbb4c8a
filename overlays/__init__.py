# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Overlay files of every board; a search path of PYNQ (entry point ``pynq.overlays``)."""
