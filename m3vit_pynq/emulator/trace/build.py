# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compiling a traced copy of HLS sources for this computer."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from m3vit_pynq.abi.boards import Board
from m3vit_pynq.abi.generate import board_header
from m3vit_pynq.emulator.hostbuild import (
    BuildError,
    cache_directory,
    find_compiler,
    source_directory,
    source_hash,
)
from m3vit_pynq.emulator.trace.instrument import Traced, instrument, write

NATIVE = Path(__file__).with_name("native")
#: What every traced library is made of, beside the copy itself.
SIMULATOR = ("record.cpp", "memory.cpp", "network.cpp", "report.cpp")
_FLAGS = (
    "-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-maybe-uninitialized",
    "-Wno-unknown-pragmas", "-Wno-unused-label", "-DM3VIT_PLAIN_DOT",
)  # fmt: skip
_MACHINE = {"x86_64": ("-march=native",), "aarch64": ("-mcpu=native",)}
_TIMEOUT = 600.0


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} did not finish in {_TIMEOUT:.0f} s") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")


def simulator_hash() -> str:
    """Identifies the recorder, the simulator and the hooks."""
    digest = hashlib.sha256(repr(_FLAGS).encode())
    for path in (*sorted(NATIVE.iterdir()), Path(__file__).with_name("instrument.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def compile_traced(
    traced: Traced,
    main: Path,
    target: Path,
    *,
    headers: dict[str, str] | None = None,
    flags: Sequence[str] = (),
) -> None:
    """Compile a copy with the simulator to `target`, which appears when complete.

    Parameters
    ----------
    main : Path
        Source that includes the copy; a relative path is one of the copy.
    headers : dict of str to str
        Further files beside the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".trace-") as name:
        scratch = Path(name)
        write(traced, scratch)
        for header, text in (headers or {}).items():
            (scratch / header).write_text(text, encoding="utf-8")
        built = scratch / target.name
        sources = [str(scratch / main), *(str(NATIVE / source) for source in SIMULATOR)]
        machine = _MACHINE.get(platform.machine(), ())
        _run([
            compiler, *_FLAGS, *machine, *flags, f"-I{scratch}", f"-I{NATIVE}", *sources,
            "-o", str(built),
        ])  # fmt: skip
        built.replace(target)


def build(
    board: Board, progress: Callable[[str], None] | None = None, only_key: bool = False
) -> tuple[Path, list[str], str]:
    """The traced accelerator of a board, compiled if necessary.

    Parameters
    ----------
    progress : callable, optional
        Called with a line of text before a compilation.
    only_key : bool
        Compile nothing.

    Returns
    -------
    path : Path
        The library, in the per-user cache.
    loops : list of str
        ``function LABEL`` by the number of a loop.
    key : str
        Identifies everything that cycles follow from, settings aside.

    Raises
    ------
    BuildError
        No compiler, no sources, or the compiler fails.
    InstrumentError
        The sources do not have the form that the hooks need.
    """
    traced = instrument(source_directory())
    key = hashlib.sha256(f"{source_hash(board)} {simulator_hash()}".encode()).hexdigest()[:24]
    target = cache_directory().parent / "trace" / f"{board.name}-{key}.so"
    if not only_key and not target.is_file():
        if progress:
            progress(f"compiling the traced accelerator of {board.title}")
        compile_traced(
            traced, NATIVE / "trace_host.cpp", target,
            headers={"board_file.h": board_header(board)}, flags=("-DM3VIT_BOARD_FILE",),
        )  # fmt: skip
        os.utime(target)
    return target, traced.loops, key
