# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The compiled HLS as the kernel of the emulated fabric."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from m3vit_pynq.abi import registers as reg
from m3vit_pynq.abi.boards import BEAT, Board
from m3vit_pynq.emulator.hostlib import HostLibrary, build
from m3vit_pynq.emulator.memory import BusError

logger = logging.getLogger(__name__)


class CompiledKernel:
    """Runs ``m3vit_accel`` on views of the emulated device memory.

    Parameters
    ----------
    board : Board
        Configuration to compile; takes seconds the first time.

    Attributes
    ----------
    library : HostLibrary
        On-chip memories, expert queues and cycles of the last run.
    """

    def __init__(self, board: Board) -> None:
        self.library = HostLibrary(build(board, progress=logger.info))

    def __call__(
        self, arguments: Mapping[str, int], memories: Mapping[str, memoryview]
    ) -> dict[str, int]:
        """Execute one start; see `m3vit_pynq.emulator.fabric.Kernel`."""
        addresses = {name: _host_address(name, view) for name, view in memories.items()}
        return self.library.accel(
            arguments["command"], arguments["task"],
            addresses.get("frame", 0), addresses.get("output", 0), addresses.get("program", 0),
            [addresses.get(f"weights{port}", 0) for port in range(reg.WEIGHT_PORTS)],
            arguments["frame_bytes"], arguments["output_bytes"], arguments["program_bytes"],
            arguments["weights_bytes"],
        )  # fmt: skip


def _host_address(name: str, view: memoryview) -> int:
    """Where device memory lies in this process; the AXI ports need whole beats."""
    address = int(np.frombuffer(view, np.uint8).ctypes.data)
    if address % BEAT:
        raise BusError(f"{name}: the address is not a multiple of {BEAT} bytes")
    return address
