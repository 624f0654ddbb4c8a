# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Notebooks, as a package so that ``pynq get-notebooks m3vit-pynq`` delivers them.

They go into a folder of their own, ``pynq-notebooks/m3vit-pynq``.
"""
