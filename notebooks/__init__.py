# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Notebooks, as a package so that ``pynq get-notebooks`` delivers them."""

#: Tells PYNQ that delivering and opening them needs no root.
__no_root__ = True
