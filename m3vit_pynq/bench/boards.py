# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Boards for a report: cycles as far as they can be had, never an error for the lack of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from m3vit_pynq.abi.boards import BOARDS, Board
from m3vit_pynq.bench.cycles import BoardCycles, count_on_boards
from m3vit_pynq.errors import CapacityError, M3ViTError
from m3vit_pynq.package import Package


def boards_of(package: Package, frame: np.ndarray) -> tuple[Mapping[str, BoardCycles], str]:
    """Which boards a package fits, and cycles where they were counted before.

    Returns
    -------
    boards : mapping of str to BoardCycles
        By name.
    reason : str
        Why cycles cannot be had on this computer; empty if they can.
    """
    try:
        return count_on_boards(package, frame), ""
    except (M3ViTError, OSError) as error:
        return {name: _fits(package, board) for name, board in BOARDS.items()}, str(error)


def _fits(package: Package, board: Board) -> BoardCycles:
    try:
        package.check_fits(board)
    except CapacityError as error:
        problem = f"{error.resource} = {error.needed}, it has {error.available}"
        return BoardCycles(board, problem=problem)
    return BoardCycles(board)
