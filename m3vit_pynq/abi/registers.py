# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The AXI4-Lite register map, as Vitis HLS lays out ``s_axilite`` arguments.

Vitis HLS gives every scalar argument 8 bytes (value, then reserved for an
input or the ``ap_vld`` control word for an output) and every ``m_axi`` offset
12 bytes (low word, high word, reserved), in argument order from 0x10 (UG1399,
"S_AXILITE Control Register Map"). `ARGUMENTS` is the order of the top
function's arguments; everything else is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

# Control registers and their bits (UG1399).
CTRL = 0x00
GIER = 0x04
IER = 0x08
ISR = 0x0C

AP_START = 1 << 0
AP_DONE = 1 << 1  # clear on read
AP_IDLE = 1 << 2
AP_READY = 1 << 3  # clear on read
AUTO_RESTART = 1 << 7
INTERRUPT = 1 << 9

IRQ_DONE = 1 << 0
IRQ_READY = 1 << 1

#: Number of AXI masters that read weights; part of the ABI because the weight
#: image is split among them.
WEIGHT_PORTS = 4


class Command(IntEnum):
    """Values of the ``command`` register."""

    IDENTIFY = 0  # fill the identification outputs, touch no memory
    RUN = 1  # run the program of the task in ``task``


@dataclass(frozen=True)
class Argument:
    """One argument of the top function.

    Attributes
    ----------
    kind : str
        ``"in"`` (32-bit scalar), ``"out"`` (32-bit scalar written by the
        accelerator) or ``"pointer"`` (64-bit device address).
    """

    name: str
    kind: str
    doc: str
    offset: int = 0

    @property
    def offset_high(self) -> int:
        """Offset of the upper address word of a pointer."""
        if self.kind != "pointer":
            raise ValueError(f"{self.name} is no pointer")
        return self.offset + 4


_DECLARED = (
    ("command", "in", "what to do on start: 0 identify, 1 run"),
    ("task", "in", "index into the program's task directory"),
    ("frame", "pointer", "input frame, uint8 RGB, rows without padding"),
    ("output", "pointer", "result: uint8 class ids or uint16 millimetres"),
    ("program", "pointer", "program header, task directory, instructions"),
    ("weights0", "pointer", "weight image, part of port 0, with all tables"),
    ("weights1", "pointer", "weight image, part of port 1"),
    ("weights2", "pointer", "weight image, part of port 2"),
    ("weights3", "pointer", "weight image, part of port 3"),
    ("frame_bytes", "in", "size of the frame buffer"),
    ("output_bytes", "in", "size of the output buffer"),
    ("program_bytes", "in", "size of the program buffer"),
    ("weights_bytes", "in", "size of each of the four parts of the weight image"),
    ("magic", "out", "0x4D335654, 'M3VT'"),
    ("abi_version", "out", "ABI version of the bitstream"),
    ("config", "out", "TOKENS_PAR | OUT_PAR << 8 | IN_PAR << 16"),
    ("act_lines", "out", "capacity of activation memory, lines of 64 bytes"),
    ("residual_elements", "out", "capacity of residual memory, int16 elements"),
    ("weight_tile_beats", "out", "half of the weight ping-pong, 16-byte beats per port"),
    ("queue_entries", "out", "capacity of the expert queues, (token, expert) pairs"),
    ("score_elements", "out", "capacity of router score memory, int32 elements"),
    ("error", "out", "error code of the last run, 0 when it succeeded"),
    ("error_pc", "out", "index of the instruction that failed"),
    ("cycles_low", "out", "cycles of the last run, low word (0 where not counted)"),
    ("cycles_high", "out", "cycles of the last run, high word"),
)


def _lay_out() -> tuple[Argument, ...]:
    arguments, offset = [], 0x10
    for name, kind, doc in _DECLARED:
        arguments.append(Argument(name, kind, doc, offset))
        offset += 12 if kind == "pointer" else 8
    return tuple(arguments)


#: The top function's arguments in order, with their register offsets.
ARGUMENTS: tuple[Argument, ...] = _lay_out()

#: Register offset by argument name (low word for pointers).
OFFSETS: dict[str, int] = {argument.name: argument.offset for argument in ARGUMENTS}

#: Register that holds the size of what a pointer points to.
SIZE_OF: dict[str, str] = {
    "frame": "frame_bytes",
    "output": "output_bytes",
    "program": "program_bytes",
    **{f"weights{port}": "weights_bytes" for port in range(WEIGHT_PORTS)},
}

#: Address range of the register file, a power of two as in the block design.
ADDRESS_RANGE = 0x1000

#: VLNV by which the driver binds to the IP.
VLNV = "m3vit-pynq:hls:m3vit_accel:1.0"

#: Instance name in every block design.
INSTANCE = "m3vit_accel_0"
