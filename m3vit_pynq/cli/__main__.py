# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``python -m m3vit_pynq.cli``."""

import sys

from m3vit_pynq.cli import main

sys.exit(main())
