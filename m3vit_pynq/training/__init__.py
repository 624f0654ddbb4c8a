# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of M³ViT with PyTorch (optional extra ``[train]``).

Nothing outside this package imports PyTorch. See ``docs/training.md``.
"""
