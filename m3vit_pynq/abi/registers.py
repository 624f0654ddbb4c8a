# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The AXI4-Lite register map, as Vitis HLS lays out ``s_axilite`` arguments.

Arguments follow each other from 0x10 (UG1399, "S_AXILITE Control Register
Map", and headers that Vitis HLS 2020.2 to 2022.2 generated):

* an input is its words and one reserved word;
* a 64-bit address is two words and one reserved word;
* an output is its words, a valid word, and as much again reserved: 16 bytes for
  32 bits. (Vivado HLS used 8.)

`ARGUMENTS` is the order of the top function's arguments; offsets are derived
from it, pinned in the sources by ``offset=`` and compared with the ``.hwh``
when the driver loads it. No name is a keyword of Verilog or VHDL: Vitis HLS
renames those.
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
    """Values of the ``run_command`` register."""

    IDENTIFY = 0  # fill the identification outputs, touch no memory
    RUN = 1  # run the program of the task in ``run_task``


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


#: AXI masters that take the address of the bank, in the order of the arguments, and
#: what each moves. Each has a bundle of its own with the same name.
BANK_MASTERS: dict[str, str] = {
    "bank_program": "program",
    "bank_weights0": "weights of part 0 with all tables, keys, slots",
    "bank_weights1": "weights of part 1, slots",
    "bank_weights2": "weights of part 2, values, slots",
    "bank_weights3": "weights of part 3, slots",
    "bank_tokens": "rows that a pass works on",
    "bank_residual": "residual rows, tables of the row pass",
    "bank_records": "records of the router",
    "bank_results": "everything that is written to the workspace",
}

_DECLARED = (
    ("run_command", "in", "what to do on start: 0 identify, 1 run"),
    ("run_task", "in", "index into the program's task directory"),
    *((name, "pointer", f"the bank: {what}") for name, what in BANK_MASTERS.items()),
    ("frame_pixels", "pointer", "input frame, uint8 RGB, rows without padding"),
    ("result_pixels", "pointer", "result: uint8 class ids or uint16 millimetres"),
    ("bank_bytes", "in", "size of the bank"),
    ("frame_bytes", "in", "size of the frame buffer"),
    ("result_bytes", "in", "size of the result buffer, a multiple of 64"),
    ("id_magic", "out", "0x4D335654, 'M3VT'"),
    ("id_abi", "out", "ABI version of the bitstream"),
    ("id_shape", "out", "tokens_par | out_par << 8 | in_par << 16"),
    ("cap_half_lines", "out", "half of each half engine's weight ping-pong, 64-byte lines"),
    ("cap_tokens", "out", "rows of ATTENTION, GATE and EXPERTS"),
    ("cap_map_lines", "out", "lines of one map row"),
    ("run_error", "out", "error code of the last run, 0 when it succeeded"),
    ("run_pc", "out", "index of the instruction that failed"),
)


def argument_bytes(kind: str, bits: int = 32) -> int:
    """Bytes that an argument takes in the register file.

    Parameters
    ----------
    kind : str
        ``"in"``, ``"out"``, ``"inout"``, ``"return"`` or ``"pointer"`` (64 bits).
    bits : int
        Width of a scalar.
    """
    words = 2 if kind == "pointer" else -(-bits // 32)
    copies = {"in": 1, "pointer": 1, "return": 1, "out": 2, "inout": 2}[kind]
    return 4 * copies * (words + 1)


def _lay_out() -> tuple[Argument, ...]:
    arguments, offset = [], 0x10
    for name, kind, doc in _DECLARED:
        arguments.append(Argument(name, kind, doc, offset))
        offset += argument_bytes(kind)
    return tuple(arguments)


#: The top function's arguments in order, with their register offsets.
ARGUMENTS: tuple[Argument, ...] = _lay_out()

#: Register offset by argument name (low word for pointers).
OFFSETS: dict[str, int] = {argument.name: argument.offset for argument in ARGUMENTS}

#: Register that holds the size of what a pointer points to.
SIZE_OF: dict[str, str] = {
    "frame_pixels": "frame_bytes",
    "result_pixels": "result_bytes",
    **dict.fromkeys(BANK_MASTERS, "bank_bytes"),
}

#: Register that tells each buffer of `m3vit_pynq.abi.footprint.CAPACITIES`.
CAPACITY_REGISTERS: dict[str, str] = {
    "half_lines": "cap_half_lines",
    "tokens": "cap_tokens",
    "map_lines": "cap_map_lines",
}

#: Address range of the register file, a power of two as in the block design.
ADDRESS_RANGE = 0x1000

#: VLNV by which the driver binds to the IP.
VLNV = "m3vit-pynq:hls:m3vit_accel:1.0"

#: Instance name in every block design.
INSTANCE = "m3vit_accel_0"
