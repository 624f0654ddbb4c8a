# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accesses to the bus."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..faults import Fault


def conditional_bus(context: Context) -> Iterator[Fault]:
    """``bus``: a plain bus pointer is accessed in every iteration or in none."""
    for loop in context.pipelines:
        for access in context.accesses(loop):
            if access.what == "bus" and access.conditional:
                yield context.fault(
                    access.node, "bus",
                    f"{loop.title} accesses the bus {access.name} under a condition: no burst is "
                    "inferred; read or write it in every iteration of a loop of its own and pass "
                    "the words on by a stream",
                )  # fmt: skip
