# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A micro model, compiled once for all tests of this folder."""

from __future__ import annotations

import pytest
from compiled_model import compiled

from m3vit_pynq.config import get_config


@pytest.fixture(scope="session")
def micro():
    return compiled(get_config("micro"))
