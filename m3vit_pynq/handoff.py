# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a ``.hwh`` says of the accelerator, compared with what this package expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3vit_pynq.abi.registers import ARGUMENTS
from m3vit_pynq.errors import BitstreamError
from m3vit_pynq.identification import remedy


def expected_offsets() -> dict[str, int]:
    """Offset of every register of the top function's arguments, by its name in a ``.hwh``."""
    offsets = {}
    for argument in ARGUMENTS:
        if argument.kind == "pointer":
            offsets[f"{argument.name}_1"] = argument.offset
            offsets[f"{argument.name}_2"] = argument.offset_high
        else:
            offsets[argument.name] = argument.offset
    return offsets


def check_registers(registers: Mapping[str, Mapping[str, Any]], bitfile: str) -> None:
    """Refuse a bitstream whose register map is not the one that the driver writes.

    Parameters
    ----------
    registers : mapping
        Registers of the accelerator as PYNQ parsed them, with ``address_offset``.

    Raises
    ------
    BitstreamError
        Naming the first register that is missing or elsewhere, and both offsets.
    """
    for name, offset in expected_offsets().items():
        entry = registers.get(name)
        if entry is None:
            raise BitstreamError(
                f"the .hwh of {bitfile} has no register {name}, which this package expects at "
                f"0x{offset:X}. {remedy(bitfile)}"
            )
        found = int(entry["address_offset"])
        if found != offset:
            raise BitstreamError(
                f"the .hwh of {bitfile} places register {name} at 0x{found:X}, this package "
                f"expects it at 0x{offset:X}. {remedy(bitfile)}"
            )
