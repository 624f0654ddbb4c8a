# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Vectors for the RTL: what the tests of tests/hls/processes send and expect.

Those tests compare a process, compiled with g++, with the specification in numpy. They
run here with a small board, and what they send and get is recorded once they agree.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROCESSES = Path(__file__).resolve().parents[1] / "hls" / "processes"
if str(PROCESSES) not in sys.path:
    sys.path.insert(0, str(PROCESSES))

import arith_bench  # noqa: E402
import front_bench  # noqa: E402

from m3vit_pynq.abi.boards import BOARDS, Board  # noqa: E402
from m3vit_pynq.abi.generate import board_header  # noqa: E402

#: Constants of the boards that RTL is made for: small, so that synthesis takes minutes.
SMALL = {"T": 2, "IN_PAR": 32, "HALF_LINES": 320, "MAX_TOKENS": 128, "MAP_LINES": 16,
         "FIRST_GROUPS": 16, "PORT_BYTES": 8}  # fmt: skip


@dataclass(frozen=True)
class Vector:
    """One call of a process: its job, what enters it and what leaves it."""

    process: str
    job: dict[str, int]  # fields, where a test sets them one by one
    instruction: bytes  # or the instruction (and part_lines) that they follow from
    part_lines: int
    memory: np.ndarray  # before, empty without a port
    memory_after: np.ndarray
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]

    @property
    def size(self) -> int:
        return sum(a.size for a in (*self.inputs, *self.outputs))


def small_board(out_par: int) -> Board:
    """A small board, known to the tests by its name.

    Two outputs per cycle as on the PYNQ-Z2, with its multipliers, or four as on the
    ZCU104, with the chained ones.
    """
    name = f"rtl{out_par}-" + hashlib.sha256(repr(SMALL).encode()).hexdigest()[:6]
    if name not in BOARDS:
        BOARDS[name] = Board(
            name, "small, for RTL", "", "zynq" if out_par == 2 else "zynqmp", 100.0, SMALL["T"],
            out_par, SMALL["IN_PAR"], SMALL["HALF_LINES"], SMALL["MAX_TOKENS"],
            SMALL["MAP_LINES"], SMALL["FIRST_GROUPS"], SMALL["PORT_BYTES"], 1.0, 220, 140, 0, 53200,
        )  # fmt: skip
    return BOARDS[name]


def record(board: Board, folder: Path, calls: list[Callable[[Board], None]]) -> list[Vector]:
    """Vectors of all benches' calls that the tests `calls` make on a board."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "board_file.h").write_text(board_header(board))
    found: list[Vector] = []
    nothing = np.zeros(0, np.uint8)
    as_bytes = lambda a: np.frombuffer(  # noqa: E731
        a if isinstance(a, bytes) else np.ascontiguousarray(a).tobytes(), np.uint8
    )

    def run(self, process, job=None, *streams):
        out = plain_run(self, process, job, *streams)
        found.append(
            Vector(process, dict(job or {}), b"", 0, nothing, nothing,
                   tuple(map(as_bytes, streams)), tuple(out))
        )  # fmt: skip
        return out

    def ask(self, name, instruction, *blobs):
        out = plain_ask(self, name, instruction, *blobs)
        parts, memory, after, inputs, outputs = 0, nothing, nothing, blobs, out
        if Path(self._path).name.startswith("front-"):  # part_lines, bank; the bank comes back
            parts, memory, *inputs = blobs
            parts, memory = int.from_bytes(bytes(parts), "little"), as_bytes(memory)
            after, *outputs = out
        found.append(
            Vector(name.decode(), {}, bytes(instruction), parts, memory, as_bytes(after),
                   tuple(map(as_bytes, inputs)), tuple(map(as_bytes, outputs)))
        )  # fmt: skip
        return out

    plain_run, plain_ask = arith_bench.Bench.run, front_bench.Bench.ask
    defines = arith_bench.define, front_bench.define
    path = os.environ.get("CPATH")
    os.environ["CPATH"] = str(folder) + (f":{path}" if path else "")
    arith_bench.define = front_bench.define = lambda _: "-DM3VIT_BOARD_FILE"
    arith_bench.Bench.run, front_bench.Bench.ask = run, ask
    try:
        for call in calls:
            call(board)
    finally:
        arith_bench.Bench.run, front_bench.Bench.ask = plain_run, plain_ask
        arith_bench.define, front_bench.define = defines
        os.environ.pop("CPATH") if path is None else os.environ.update(CPATH=path)
    return found
