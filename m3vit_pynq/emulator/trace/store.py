# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Counted frames in the per-user cache: a frame takes seconds to a minute to count."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.emulator.cycle_records import CycleRecord, Passage
from m3vit_pynq.emulator.hostbuild import cache_directory
from m3vit_pynq.emulator.trace.frame import FrameTrace, InstructionTime, ProcessTime

_VERSION = 1
_SUFFIX = ".cycles"


def folder() -> Path:
    """Where counted frames are."""
    return cache_directory().parent / "cycles"


def key_of(*parts: object) -> str:
    """Identifies what a count follows from."""
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def load(key: str, frame: str | None = None) -> tuple[FrameTrace, str] | None:
    """A count and the name of its frame: of `frame`, or the latest of any; None without one.

    A damaged file is as good as none.
    """
    pattern = f"{key}-{frame or '*'}{_SUFFIX}"
    try:
        files = sorted(folder().glob(pattern), key=lambda p: p.stat().st_mtime, reverse=True)
    except OSError:
        return None
    for path in files:
        try:
            data = json.loads(zlib.decompress(path.read_bytes()))
            return _decode(data), path.name[len(key) + 1 : -len(_SUFFIX)]
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            continue
    return None


def save(key: str, frame: str, trace: FrameTrace) -> None:
    """Keep a count; where the cache cannot be written it is counted again next time."""
    temporary = None
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder(), delete=False) as file:
            temporary = Path(file.name)
            file.write(zlib.compress(json.dumps(_encode(trace)).encode(), 6))
        temporary.replace(folder() / f"{key}-{frame}{_SUFFIX}")
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _encode(trace: FrameTrace) -> dict[str, Any]:
    return {
        "instructions": [
            [
                dataclasses.astuple(i.record), i.region,
                [dataclasses.astuple(p) for p in i.processes], dict(i.moved),
            ]
            for i in trace.instructions
        ],
        "passages": [dataclasses.astuple(p) for p in trace.passages],
    }  # fmt: skip


def _decode(data: dict[str, Any]) -> FrameTrace:
    return FrameTrace(
        tuple(
            InstructionTime(
                CycleRecord(record[0], Opcode(record[1]), *record[2:]), region,
                tuple(ProcessTime(*p[:5], tuple(map(tuple, p[5]))) for p in processes),
                {name: tuple(sizes) for name, sizes in moved.items()},
            )
            for record, region, processes, moved in data["instructions"]
        ),
        tuple(Passage(*p) for p in data["passages"]),
    )  # fmt: skip
