# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Boards: what a bitstream's build fixes, and the device it has to fit.

Only parallelism, on-chip capacity and clock differ between bitstreams; shapes
are runtime values. None of these bitstreams has been built yet: the numbers
are design choices checked against the devices' data sheets, not reports.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes in a line of activation memory; K is padded to it in the weight image.
LINE = 64
#: Bytes in one beat of a weight port.
BEAT = 16


@dataclass(frozen=True)
class Board:
    """One bitstream configuration.

    Attributes
    ----------
    tokens_par, out_par, in_par : int
        Multiply-accumulates per cycle of the matrix engine is their product.
        ``in_par`` divides 64.
    act_lines : int
        Activation memory in 64-byte lines.
    residual_elements : int
        Residual memory in int16 elements.
    weight_tile_beats : int
        One half of the weight ping-pong, in 16-byte beats per port (4 ports).
    queue_entries : int
        (token, expert) pairs the queues hold.
    score_elements : int
        Router scores (int32) that score memory holds.
    strip_bytes : int
        Line buffer of the patch loader: patch_size rows of the frame.
    clock_mhz : float
        Target clock of the programmable logic.
    dram_gbytes : float
        Sustained DRAM bandwidth assumed by the cycle model, GB/s (75 % of the
        data-sheet peak).
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
    act_lines: int
    residual_elements: int
    weight_tile_beats: int
    queue_entries: int
    score_elements: int
    strip_bytes: int
    dram_gbytes: float
    dsp: int
    bram36: int
    uram: int
    lut: int

    @property
    def macs_per_cycle(self) -> int:
        return self.tokens_par * self.out_par * self.in_par

    @property
    def config_word(self) -> int:
        """Value of the ``config`` register."""
        return self.tokens_par | self.out_par << 8 | self.in_par << 16

    @property
    def dram_bytes_per_cycle(self) -> float:
        """Bytes that all weight ports together move in one clock cycle."""
        return min(self.dram_gbytes * 1e3 / self.clock_mhz, 4.0 * BEAT)


_ALL = (
    Board(
        name="zcu104", title="ZCU104", part="xczu7ev-ffvc1156-2-e", family="zynqmp",
        clock_mhz=300.0, tokens_par=8, out_par=4, in_par=64, act_lines=32768,
        residual_elements=524288, weight_tile_beats=2560, queue_entries=8192,
        score_elements=32768, strip_bytes=32768, dram_gbytes=12.8,
        dsp=1728, bram36=312, uram=96, lut=230400,
    ),
    Board(
        name="kv260", title="Kria KV260", part="xck26-sfvc784-2LV-c", family="zynqmp",
        clock_mhz=250.0, tokens_par=8, out_par=4, in_par=64, act_lines=24576,
        residual_elements=262144, weight_tile_beats=1280, queue_entries=4096,
        score_elements=16384, strip_bytes=32768, dram_gbytes=12.8,
        dsp=1248, bram36=144, uram=64, lut=117120,
    ),
    Board(
        name="ultra96", title="Ultra96-V2", part="xczu3eg-sbva484-1-e", family="zynqmp",
        clock_mhz=200.0, tokens_par=4, out_par=2, in_par=64, act_lines=6144,
        residual_elements=98304, weight_tile_beats=640, queue_entries=2048,
        score_elements=8192, strip_bytes=16384, dram_gbytes=3.2,
        dsp=360, bram36=216, uram=0, lut=70560,
    ),
    Board(
        name="pynq-z2", title="PYNQ-Z2", part="xc7z020clg400-1", family="zynq",
        clock_mhz=100.0, tokens_par=4, out_par=1, in_par=64, act_lines=4608,
        residual_elements=49152, weight_tile_beats=384, queue_entries=1024,
        score_elements=4096, strip_bytes=16384, dram_gbytes=1.6,
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
