# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Boards: what a bitstream's build fixes, and the device it has to fit.

Only parallelism, buffer sizes and clock differ between bitstreams; shapes are
runtime values. None of these bitstreams has been built yet: the numbers are
design choices checked against the devices' data sheets, not reports.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes in a line of device memory; K is padded to it in the weight image.
LINE = 64
#: Bytes in one beat of a weight image; a parameter beat is this long.
BEAT = 16
#: Blocks of a memory whose depth is no power of two; more cost too wide a multiplexer.
_MOST_BLOCKS = 5


@dataclass(frozen=True)
class Board:
    """One bitstream configuration.

    Attributes
    ----------
    tokens_par, out_par, in_par : int
        Products per cycle of the matrix engine are T * O * I. T is even, O is
        2 or 4 (half of it in each half engine), I is 32 or 64.
    half_lines : int
        One half of the weight ping-pong of each half engine, in lines.
    max_tokens : int
        Keys that a row of the softmax unit holds; a multiple of 64.
    map_lines : int
        Lines of one map row that UPSAMPLE2X and OUTPUT_* hold; CONV3X3 half of it.
    first_groups : int
        Groups of four outputs in the first chunk of a layer, a multiple of 16:
        small, because nothing hides its loading.
    port_bytes : int
        Width of a memory port in bytes.
    clock_mhz : float
        Target clock of the programmable logic.
    dram_gbytes : float
        Sustained DRAM bandwidth assumed by models, GB/s (75 % of the data-sheet peak).
    part, family : str
        Device, and ``"zynq"`` or ``"zynqmp"``.
    dsp, bram36, uram, lut : int
        What the device has.
    """

    name: str
    title: str
    part: str
    family: str
    clock_mhz: float
    tokens_par: int
    out_par: int
    in_par: int
    half_lines: int
    max_tokens: int
    map_lines: int
    first_groups: int
    port_bytes: int
    dram_gbytes: float
    dsp: int
    bram36: int
    uram: int
    lut: int

    @property
    def macs_per_cycle(self) -> int:
        return self.tokens_par * self.out_par * self.in_par

    @property
    def weight_blocks(self) -> int:
        """Block memories of equal depth, a power of two, that one ping-pong half is cut into.

        A tool rounds the depth of a memory to a power of two.
        """
        words = self.half_lines * (LINE // self.in_par) // (self.out_par // 2)
        blocks = words // (words & -words)
        return blocks if blocks <= _MOST_BLOCKS else 1

    @property
    def multiplier_bits(self) -> int:
        """The wide operand of a multiplier: DSP48E1 or DSP48E2."""
        return 25 if self.family == "zynq" else 27

    @property
    def shape_word(self) -> int:
        """Value of the ``id_shape`` register."""
        return self.tokens_par | self.out_par << 8 | self.in_par << 16

    @property
    def dram_bytes_per_cycle(self) -> float:
        """Bytes that all memory ports together move in one clock cycle."""
        return self.dram_gbytes * 1e3 / self.clock_mhz


_ALL = (
    Board(
        name="zcu104", title="ZCU104", part="xczu7ev-ffvc1156-2-e", family="zynqmp",
        clock_mhz=250.0, tokens_par=8, out_par=4, in_par=64, half_lines=4096, max_tokens=2048,
        map_lines=512, first_groups=48, port_bytes=16, dram_gbytes=12.8,
        dsp=1728, bram36=312, uram=96, lut=230400,
    ),
    Board(
        name="zcu102", title="ZCU102", part="xczu9eg-ffvb1156-2-e", family="zynqmp",
        clock_mhz=250.0, tokens_par=8, out_par=4, in_par=64, half_lines=2048, max_tokens=2048,
        map_lines=512, first_groups=48, port_bytes=16, dram_gbytes=12.8,
        dsp=2520, bram36=912, uram=0, lut=274080,
    ),
    Board(
        name="kv260", title="Kria KV260", part="xck26-sfvc784-2LV-c", family="zynqmp",
        clock_mhz=225.0, tokens_par=6, out_par=4, in_par=64, half_lines=4096, max_tokens=2048,
        map_lines=384, first_groups=32, port_bytes=16, dram_gbytes=12.8,
        dsp=1248, bram36=144, uram=64, lut=117120,
    ),
    Board(
        name="ultra96", title="Ultra96-V2", part="xczu3eg-sbva484-1-e", family="zynqmp",
        clock_mhz=187.5, tokens_par=4, out_par=2, in_par=64, half_lines=1280, max_tokens=1280,
        map_lines=384, first_groups=16, port_bytes=16, dram_gbytes=3.2,
        dsp=360, bram36=216, uram=0, lut=70560,
    ),
    Board(
        name="pynq-z2", title="PYNQ-Z2", part="xc7z020clg400-1", family="zynq",
        clock_mhz=100.0, tokens_par=4, out_par=2, in_par=32, half_lines=768, max_tokens=768,
        map_lines=192, first_groups=16, port_bytes=8, dram_gbytes=1.6,
        dsp=220, bram36=140, uram=0, lut=53200,
    ),
)  # fmt: skip

#: Board by name.
BOARDS: dict[str, Board] = {board.name: board for board in _ALL}

#: The configuration of the emulated board unless the user asks for another.
DEFAULT_BOARD = "zcu104"

#: ``$BOARD`` of a PYNQ image -> name here.
PYNQ_BOARD_NAMES: dict[str, str] = {
    "ZCU104": "zcu104",
    "ZCU102": "zcu102",
    "KV260": "kv260",
    "KR260": "kv260",
    "Ultra96": "ultra96",
    "Pynq-Z1": "pynq-z2",
    "Pynq-Z2": "pynq-z2",
}


def get_board(name: str) -> Board:
    """Look a board up; `ValueError` lists those that exist."""
    try:
        return BOARDS[name]
    except KeyError:
        raise ValueError(f"unknown board {name!r}; known: {', '.join(BOARDS)}") from None
