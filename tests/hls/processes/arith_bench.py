# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes of the arithmetic half of the matrix pass, run one at a time on numpy arrays."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from m3vit_pynq.abi.boards import BOARDS

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "hls_src"
BENCH = Path(__file__).with_name("arithmetic.cpp")
LINE = 64
BEAT = 16

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-label")
#: Every write to a narrow integer is checked, as are addresses and undefined behaviour.
CHECKED = ("-O1", "-g1", "-DM3VIT_CHECK_WIDTHS", "-fsanitize=address,undefined",
           "-fno-sanitize-recover=all")  # fmt: skip
FAST = ("-O2",)

MODES = {"linear": 0, "conv": 1, "attention": 2, "up": 3, "down": 4}
STORES = {"act8": 0, "act16": 1, "residual": 2, "scores": 3}
ELEMENT = {"act8": 1, "act16": 2, "residual": 2, "scores": 4}


@dataclass(frozen=True)
class Shape:
    """Parallelism of a board, as config.h derives it."""

    name: str
    t: int
    oh: int
    in_par: int
    port_bytes: int
    half_lines: int
    max_tokens: int

    @property
    def pieces(self) -> int:
        return LINE // self.in_par

    @property
    def half_words(self) -> int:
        return self.half_lines * self.pieces // self.oh

    @property
    def chunk_outputs(self) -> int:
        """Outputs whose parameters are held."""
        return 512 if self.half_lines < 2048 else 1024

    @property
    def word(self) -> int:
        return self.in_par * self.oh

    @property
    def result(self) -> int:
        """int32 in a Result."""
        return 1 << (self.t * self.oh - 1).bit_length()

    @property
    def queries(self) -> int:
        """int32 in Sums and Scales."""
        return 1 << (self.t - 1).bit_length()


def shape(name: str) -> Shape:
    board = BOARDS[name]
    return Shape(
        name, board.tokens_par, board.out_par // 2, board.in_par, board.port_bytes,
        board.half_lines, board.max_tokens,
    )  # fmt: skip


def define(name: str) -> str:
    """The macro that selects a board."""
    return "-DM3VIT_BOARD_" + name.upper().replace("-", "_")


def _digest(parts: list[str], sources: Path) -> str:
    found = hashlib.sha256("\n".join(parts).encode())
    for path in [*sorted(sources.rglob("*.h")), BENCH]:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def compile_bench(board: str, flags: tuple[str, ...], sources: Path = SOURCES) -> Path:
    """Build the bench for a board, or find it where an equal one was built."""
    command = ["g++", "-std=c++14", *WARNINGS, *flags, define(board), f"-I{sources}", str(BENCH)]
    folder = Path(gettempdir()) / f"m3vit-benches-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    target = folder / f"arithmetic-{board}-{_digest(command[:-2], sources)}"
    if not target.exists():
        building = target.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(building)], check=True)
        building.rename(target)
    return target


class Bench:
    """A running bench."""

    def __init__(
        self, board: str, flags: tuple[str, ...] = CHECKED, sources: Path = SOURCES
    ) -> None:
        self.shape = shape(board)
        self._process = subprocess.Popen(
            [compile_bench(board, flags, sources)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, process: str, job: dict[str, int] | None = None, *streams) -> list[np.ndarray]:
        """Contents (uint8) of a process's output streams; nothing may be left in the inputs."""
        text = "".join(f"{name} {int(value)}\n" for name, value in (job or {}).items())
        blobs = [process.encode(), text.encode()]
        blobs += [np.ascontiguousarray(s).tobytes() for s in streams]
        message = struct.pack("<I", len(blobs))
        for blob in blobs:
            message += struct.pack("<I", len(blob)) + blob
        self._process.stdin.write(message)
        self._process.stdin.flush()
        found = [self._read(self._number()) for _ in range(self._number())]
        assert found[-1][0] == 0, f"{process} left something in an input stream"
        return found[:-1]

    def _number(self) -> int:
        return int(self._read(4).view("<u4")[0])

    def _read(self, count: int) -> np.ndarray:
        data = self._process.stdout.read(count)
        assert len(data) == count, "the bench stopped: an empty stream was read, or see stderr"
        return np.frombuffer(data, dtype=np.uint8)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


@cache
def bench(board: str, flags: tuple[str, ...] = CHECKED) -> Bench:
    """The bench of a board; it runs until the tests end."""
    return Bench(board, flags)


CHUNK = np.dtype([("tiles", "<u2"), ("outputs", "<u2"), ("pieces", "<u2"), ("rows", "u1"),
                  ("subs", "u1")])  # fmt: skip


def chunk_array(chunks: list[dict]) -> np.ndarray:
    """Contents of a stream of Chunk."""
    found = np.zeros(len(chunks), dtype=CHUNK)
    for entry, chunk in zip(found, chunks, strict=True):
        entry["tiles"], entry["outputs"] = chunk["tiles"], chunk["outputs"]
        entry["pieces"] = chunk.get("pieces", 1)
        entry["rows"], entry["subs"] = chunk.get("rows", 1), chunk.get("subs", 1)
    return found


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)
