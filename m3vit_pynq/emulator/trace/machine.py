# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the model of cycles assumes about a board beyond its sources.

None of these figures has been measured on a board. docs/cycles.md says where
each comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.hwh import FAMILIES
from m3vit_pynq.abi.registers import ARGUMENTS
from m3vit_pynq.errors import M3ViTError

#: AXI masters in the order of the top's arguments; their numbers in a trace.
MASTERS = tuple(a.name for a in ARGUMENTS if a.kind == "pointer")

#: Share of its beats that a port of the processing system keeps up.
PORT_EFFICIENCY = 0.85
#: From a read request in the fabric to its first beat: cycles in adapter and
#: SmartConnect, and nanoseconds in the processing system and DRAM.
FABRIC_CYCLES = 40
MEMORY_NS = 240.0
#: Cycles of an instruction outside of its loops and transfers: decoding, checks, start
#: and end of a region.
INSTRUCTION_CYCLES = 40
#: Cycles from ap_start to the first request, and from the last response to ap_done.
FRAME_CYCLES = 200


class MachineError(M3ViTError):
    """A board lacks a figure that cycles follow from."""


@dataclass(frozen=True)
class Machine:
    """Settings of a traced library.

    Attributes
    ----------
    interval : float
        Cycles in which a port moves a beat.
    dram_interval : float
        Cycles in which DRAM moves the bytes of a beat.
    request, answer : int
        Cycles from a burst's address to DRAM, and from there to its first beat.
    ports : tuple of int
        Port of the processing system by master.
    """

    beat_bytes: int
    interval: float
    dram_interval: float
    request: int
    answer: int
    ports: tuple[int, ...]

    @classmethod
    def of(cls, board: Board) -> Machine:
        """Of a board, by its clock and the wiring of its family.

        Raises
        ------
        MachineError
            If the board lacks what cycles follow from.
        """
        for name in ("clock_mhz", "dram_gbytes", "port_bytes"):
            if not getattr(board, name, 0) > 0:
                raise MachineError(f"{board.name}: no {name}; see m3vit_pynq/abi/boards.py")
        if board.family not in FAMILIES:
            raise MachineError(f"{board.name}: no family {board.family!r}; see abi/hwh.py")
        memory = FAMILIES[board.family].memory
        port_of = {
            master: port for port, masters in enumerate(memory.values()) for master in masters
        }
        missing = [name for name in MASTERS if name not in port_of]
        if missing:
            raise MachineError(
                f"{board.name}: no memory port has {', '.join(missing)}; see abi/hwh.py"
            )
        latency = FABRIC_CYCLES + MEMORY_NS * board.clock_mhz / 1e3
        request = round(latency * 0.4)
        return cls(
            board.port_bytes, 1 / PORT_EFFICIENCY, board.port_bytes / board.dram_bytes_per_cycle,
            request, round(latency) - request, tuple(port_of[name] for name in MASTERS),
        )  # fmt: skip
