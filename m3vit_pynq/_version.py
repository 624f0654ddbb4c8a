# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Version of the package, the only place where it is written."""

__version__ = "0.1.0"
