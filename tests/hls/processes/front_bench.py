# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Benches of the front half of the matrix pass and of the whole pass."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER.parents[2] / "hls_src"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-label")
#: Checked widths, addresses, undefined behaviour, and streams that end empty.
CHECKED = ("-O1", "-DM3VIT_CHECK_WIDTHS", "-fsanitize=address,undefined",
           "-fno-sanitize-recover=all")  # fmt: skip
#: The same, for benches that take longer to build than to run.
QUICKLY = ("-O0", *CHECKED[1:])

_STREAM = "bool empty() const { return head_ == items_.size(); }"
_ENDS_EMPTY = " ~Stream() { if (!empty()) abort(); }"


def scratch() -> Path:
    """Where benches are built."""
    folder = Path(gettempdir()) / f"m3vit-benches-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


def define(board: str) -> str:
    """The macro that selects a board."""
    return "-DM3VIT_BOARD_" + board.upper().replace("-", "_")


def compile_bench(
    source: str, board: str, flags: Sequence[str], texts: dict[str, str] | None = None
) -> Path:
    """Build a bench, or find it where an equal one was built.

    `texts` are headers that take the place of those with the same include guards.
    """
    texts = dict(texts or {})
    if "plain_words.h" not in texts:
        words = (SOURCES / "host" / "plain_words.h").read_text()
        assert words.count(_STREAM) == 1
        texts["plain_words.h"] = words.replace(_STREAM, _STREAM + _ENDS_EMPTY)
    texts["plain_port.h"] = (FOLDER / "checked_port.h").read_text()
    command = ["g++", "-std=c++14", *WARNINGS, *flags, define(board)]
    digest = hashlib.sha256("\n".join(command).encode())
    for path in [*sorted(SOURCES.rglob("*.h")), FOLDER / "front_io.h", FOLDER / source]:
        digest.update(path.read_bytes())
    for name, text in sorted(texts.items()):
        digest.update(name.encode() + text.encode())
    stem = f"{Path(source).stem}-{board}-{digest.hexdigest()[:16]}"
    target = scratch() / stem
    if target.exists():
        return target
    headers = scratch() / f"{stem}-include"
    headers.mkdir(exist_ok=True)
    for name, text in texts.items():
        (headers / name).write_text(text)
    command += [x for n in sorted(texts) if texts[n] for x in ("-include", str(headers / n))]
    command += [f"-I{SOURCES}", f"-I{FOLDER}", str(FOLDER / source), "-pthread"]
    building = target.with_suffix(f".{os.getpid()}")
    subprocess.run([*command, "-o", str(building)], check=True)
    building.rename(target)
    return target


class Bench:
    """A running bench: byte arrays in, byte arrays out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen | None = None

    def ask(self, *blobs: bytes | np.ndarray) -> list[np.ndarray]:
        """The answer to a request."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self._path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        message = [struct.pack("<I", len(blobs))]
        for blob in blobs:
            data = blob if isinstance(blob, bytes) else np.ascontiguousarray(blob).tobytes()
            message += [struct.pack("<I", len(data)), data]
        self._process.stdin.write(b"".join(message))
        self._process.stdin.flush()
        return [self._read(self._number()) for _ in range(self._number())]

    def _number(self) -> int:
        return int(self._read(4).view("<u4")[0])

    def _read(self, count: int) -> np.ndarray:
        data = self._process.stdout.read(count)
        if len(data) != count:
            self._process.wait(timeout=60)
        assert len(data) == count, "the bench stopped; a stream ended full or empty, or see stderr"
        return np.frombuffer(data, dtype=np.uint8)


@cache
def bench(
    source: str,
    board: str,
    flags: tuple[str, ...] = CHECKED,
    texts: Callable[[], dict[str, str]] | None = None,
) -> Bench:
    """A bench; it runs until the tests end."""
    return Bench(compile_bench(source, board, flags, texts() if texts else None))
