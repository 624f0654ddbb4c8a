# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator's sources keep every rule on every board; the table of loops is current."""

from __future__ import annotations

import pytest

from hls_check.miniature import ROOT
from tools.hls_check.check import contexts, faults
from tools.hls_check.sources import sources
from tools.hls_check.table import BEGIN, END, current, table

HLS = ROOT / "hls_src"
BOARDS = ["ZCU104", "ZCU102", "KV260", "ULTRA96", "PYNQ_Z2"]


def test_there_are_sources():
    assert sources(HLS)


def test_every_board_is_checked():
    text = (HLS / "generated" / "board.h").read_text(encoding="utf-8")
    assert all(f"M3VIT_BOARD_{board})" in text for board in BOARDS)
    assert text.count("(M3VIT_BOARD_") == len(BOARDS) + 1  # and a board of the user


@pytest.mark.parametrize("board", BOARDS)
def test_sources_keep_every_rule(board):
    found = faults(HLS, contexts(HLS, (f"M3VIT_BOARD_{board}",)))
    assert [fault.text(ROOT) for fault in found] == []


def test_table_of_loops_is_current():
    made = table(HLS, contexts(HLS))
    text = (HLS / "README.md").read_text(encoding="utf-8")
    assert BEGIN in text and END in text
    assert current(HLS, made), "run python -m tools.hls_check hls_src --write"
