# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which board this is, and where its bitstream lies."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from m3vit_pynq.abi.boards import BOARDS, DEFAULT_BOARD, PYNQ_BOARD_NAMES, Board, get_board
from m3vit_pynq.errors import BitstreamError

#: Where PYNQ images record the board's name.
_DEVICE_TREE_NAME = Path("/proc/device-tree/chosen/pynq_board")


def overlays_directory() -> Path:
    """Folder with one folder per board, installed or in a source checkout.

    Raises
    ------
    BitstreamError
        If the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "overlays", package.parent / "overlays"):
        if (candidate / DEFAULT_BOARD / "m3vit.hwh").is_file():
            return candidate
    raise BitstreamError(
        f"no overlays beside {package}: the installation is incomplete; install m3vit-pynq again"
    )


def wants_emulation() -> bool | None:
    """``$M3VIT_EMULATE`` as True, False, or None when it is not set."""
    value = os.environ.get("M3VIT_EMULATE", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"M3VIT_EMULATE is {value!r}; use 1 (emulated board) or 0 (real board)")
    return None if value == "" else value == "1"


def real_devices() -> list[object]:
    """Devices that PYNQ found, without emulated ones."""
    from pynq.pl_server.device import Device

    from m3vit_pynq.emulator.device import EmulatedDevice

    with warnings.catch_warnings():
        # PYNQ warns when XRT finds no card, which is normal on a laptop.
        warnings.simplefilter("ignore", UserWarning)
        return [device for device in Device.devices if not isinstance(device, EmulatedDevice)]


def name_of_this_machine() -> str:
    """The name that a PYNQ image gives its board; empty on other computers."""
    name = os.environ.get("BOARD", "")
    if not name and _DEVICE_TREE_NAME.is_file():
        name = _DEVICE_TREE_NAME.read_text().strip("\0\n ")
    return name


def board_of_this_machine() -> Board:
    """The board configuration for the PYNQ board that this is.

    Raises
    ------
    BitstreamError
        If the board is not known to this package.
    """
    name = name_of_this_machine()
    if name not in PYNQ_BOARD_NAMES:
        raise BitstreamError(
            f"no bitstream is known for board {name or '(unknown)'}; known: "
            f"{', '.join(PYNQ_BOARD_NAMES)}. Choose one with M3VIT_BOARD=<{'|'.join(BOARDS)}> or "
            "the argument board=, or use the emulated board: M3VIT_EMULATE=1"
        )
    return get_board(PYNQ_BOARD_NAMES[name])


def choose_board(name: str | Board | None, emulated: bool) -> Board:
    """The board asked for by argument, ``$M3VIT_BOARD`` or the machine, in this order."""
    if isinstance(name, Board):
        return name
    name = name or os.environ.get("M3VIT_BOARD")
    if name:
        return get_board(name)
    return get_board(DEFAULT_BOARD) if emulated else board_of_this_machine()


def find_bitfile(board: Board, bitfile: str | Path | None = None) -> Path:
    """The bitstream of a board.

    Raises
    ------
    BitstreamError
        If it or its ``.hwh`` is missing; the message says how to get it.
    """
    chosen = Path(bitfile) if bitfile else overlays_directory() / board.name / "m3vit.bit"
    if not chosen.is_file():
        raise BitstreamError(
            f"no bitstream for {board.title}: {chosen} does not exist. Build it with Vitis HLS and "
            f"Vivado 2022.2 or later: make -C overlays/{board.name}; or copy m3vit.bit and its "
            "m3vit.hwh there; or pass bitfile=...; or use the emulated board: M3VIT_EMULATE=1"
        )
    handoff = chosen.with_suffix(".hwh")
    if not handoff.is_file():
        raise BitstreamError(
            f"{handoff} is missing: PYNQ needs the .hwh of the same build beside the bitstream"
        )
    return chosen


def emulated_bitfile(board: Board) -> Path:
    """What stands for the bitstream on the emulated board: the ``.hwh`` itself."""
    return overlays_directory() / board.name / "m3vit.hwh"
