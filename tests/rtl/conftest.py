# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The small boards of these tests are gone afterwards."""

import pytest

from m3vit_pynq.abi.boards import BOARDS


@pytest.fixture(autouse=True)
def boards_as_they_were():
    before = dict(BOARDS)
    yield
    BOARDS.clear()
    BOARDS.update(before)
