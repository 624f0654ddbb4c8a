# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy of a package on a labelled data set, computed by the accelerator."""
