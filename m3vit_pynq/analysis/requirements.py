# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a program needs of a board's buffers and of device memory."""

from __future__ import annotations

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import CAPACITIES, footprint
from m3vit_pynq.abi.isa import Program


def requirements_of(program: Program) -> dict[str, int]:
    """The largest need of any instruction, by the names of `CAPACITIES`; then bytes.

    ``bank_bytes`` is the size of the bank, ``workspace_bytes`` the part of it
    that is no program and no weights.
    """
    needs = [footprint(instruction).needs for instruction in program.instructions]
    return {
        **{name: max((need[name] for need in needs), default=0) for name in CAPACITIES},
        "bank_bytes": LINE * program.layout.lines,
        "workspace_bytes": LINE * program.layout.workspace_lines,
    }
