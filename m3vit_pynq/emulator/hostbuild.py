# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compiling the accelerator's own sources for this computer: the ``hls`` engine.

`build` compiles ``hls_src`` for one board's configuration and keeps the result
in a cache. Only the standard library is needed, so that an installation can do
it too.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from m3vit_pynq.abi.boards import DEFAULT_BOARD, Board, get_board
from m3vit_pynq.abi.generate import board_header
from m3vit_pynq.errors import M3ViTError

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parents[1]
#: Where an installation puts the library that it built.
PREBUILT = _PACKAGE / "emulator" / "prebuilt"
_COMPILERS = ("g++", "c++", "clang++")
_FLAGS = ("-std=c++14", "-fPIC", "-shared", "-Wno-unknown-pragmas")
#: For speed, with plain products in place of the packed ones of the hardware.
_FAST = ("-O3", "-DM3VIT_PLAIN_DOT")
_NATIVE = {"x86_64": ("-march=native",), "aarch64": ("-mcpu=native",)}
#: As the hardware computes, and every narrow integer checked to fit its width.
_SANITIZE = (
    "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-DM3VIT_CHECK_WIDTHS",
)  # fmt: skip
_BUILD_TIMEOUT = 600.0


class BuildError(M3ViTError):
    """The emulated accelerator could not be compiled."""


def source_directory() -> Path:
    """Where the HLS sources are: a checkout's ``hls_src`` or the installed copy.

    Raises
    ------
    BuildError
        If there is neither.
    """
    for candidate in (_PACKAGE.parent / "hls_src", _PACKAGE / "hls_src"):
        if (candidate / "m3vit_accel.cpp").is_file():
            return candidate
    raise BuildError(
        "the HLS sources are missing from this installation; reinstall m3vit-pynq "
        "or work in a checkout of its repository"
    )


def find_compiler(compiler: str | None = None) -> str:
    """Path of a C++ compiler: `compiler`, ``$CXX``, or the first one installed.

    Raises
    ------
    BuildError
        If there is none; the message says what to install.
    """
    wanted = [compiler] if compiler else [os.environ.get("CXX") or "", *_COMPILERS]
    for name in wanted:
        path = shutil.which(name) if name else None
        if path:
            return path
    raise BuildError(
        f"no C++ compiler ({', '.join(n for n in wanted if n)}) to build the emulated "
        "accelerator; install one, for example: sudo apt install g++ "
        "(Fedora: gcc-c++, macOS: xcode-select --install). A wheel of m3vit-pynq that was made "
        "for this kind of computer where there is a compiler needs none"
    )


def _processor() -> str:
    """What code compiled for this processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        features = next(x for x in lines if x.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.system()} {platform.machine()} {features}"


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def source_hash(board: Board, native: bool = True) -> str:
    """Identifies what a library was built from: sources, board and processor."""
    root = source_directory()
    files = sorted(p for p in root.rglob("*") if p.suffix in (".h", ".cpp"))
    parts: list[str | bytes] = [board_header(board), _processor() if native else "portable"]
    for path in files:
        parts += [path.relative_to(root).as_posix(), path.read_bytes()]
    return _digest(*parts)


def cache_directory(kind: str = "hostlib") -> Path:
    """Per-user cache of compiled libraries."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # nobody knows
            base = "/nonexistent"
    return Path(base) / "m3vit_pynq" / kind


def is_there(path: Path) -> bool:
    """Whether a file exists; not, where nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


@lru_cache(maxsize=1)
def _temporary_directory() -> Path:
    """For this process, where the cache cannot be used."""
    folder = tempfile.mkdtemp(prefix="m3vit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _problem(folder: Path) -> str:
    """Why no library can be kept in a folder and loaded from it; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
            return "does not allow programs (noexec)"
    except OSError as error:
        return f"cannot be written ({error.strerror or error})"
    return ""


def library_folder(folder: Path) -> Path:
    """A folder for compiled libraries: the one given, else a temporary one of this process.

    Raises
    ------
    BuildError
        If neither can be used; the message says what to set.
    """
    problem = _problem(folder)
    if not problem:
        return folder
    try:
        instead = _temporary_directory()
        second = _problem(instead)
    except OSError as error:
        instead, second = Path(tempfile.gettempdir()), f"cannot be written ({error})"
    if second:
        raise BuildError(
            "no folder for the compiled engine of the emulated board: "
            f"{folder} {problem}; {instead} {second}. Set XDG_CACHE_HOME (for good) or TMPDIR "
            "(for this run) to a folder that can be written and from which programs may run"
        )
    logger.warning(
        "%s %s: the engine is compiled for now only; XDG_CACHE_HOME names another folder",
        folder, problem,
    )  # fmt: skip
    return instead


def announce(text: str) -> None:
    """A line for whoever waits for a compilation."""
    if sys.stderr is not None:
        sys.stderr.write(f"m3vit-pynq: {text}\n")
        sys.stderr.flush()


def _prebuilt(stem: str) -> Path | None:
    """The library an installation made from the same sources for this processor."""
    return next(iter(sorted(PREBUILT.glob(f"{stem}-*.so"))), None)


def run_compiler(command: Sequence[str]) -> str:
    """Run a command and return what it prints; `BuildError` if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} did not finish in {_BUILD_TIMEOUT:.0f} s") from error
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be started: {error}") from error
    if done.returncode:
        raise BuildError(
            f"{' '.join(command)} failed; is the compiler complete?\n{done.stderr[-4000:]}"
        )
    return done.stdout


def _flags(sanitize: bool, native: bool) -> list[str]:
    flags = [*_FLAGS, *(_SANITIZE if sanitize else _FAST)]
    if native:
        flags += _NATIVE.get(platform.machine(), ())
    return flags


def compile_library(
    board: Board, target: Path, *, compiler: str, sanitize: bool = False, native: bool = True
) -> None:
    """Compile for `board` to the file `target`, which appears only when complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        header = Path(scratch) / "board_file.h"
        header.write_text(board_header(board), encoding="utf-8")
        library = Path(scratch) / target.name
        run_compiler([
            compiler, *_flags(sanitize, native), "-DM3VIT_BOARD_FILE", f"-I{scratch}",
            str(source_directory() / "host" / "m3vit_host.cpp"), "-o", str(library),
        ])  # fmt: skip
        library.replace(target)


def build(
    board: str | Board = DEFAULT_BOARD,
    *,
    compiler: str | None = None,
    sanitize: bool = False,
    native: bool = True,
    out_dir: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """The accelerator of a board as a shared library, compiled if necessary.

    Parameters
    ----------
    board : str or Board
        Name of a board, or any other configuration.
    compiler : str, optional
        A C++ compiler; default ``$CXX``, g++, c++ or clang++.
    sanitize : bool
        With address and undefined-behaviour sanitizers.
    native : bool
        For this processor rather than any of its kind.
    out_dir : Path, optional
        Instead of the per-user cache.
    progress : callable, optional
        Called with a line of text before a compilation, which takes seconds.

    Returns
    -------
    Path

    Raises
    ------
    BuildError
        No compiler, no sources, or the compiler fails.
    """
    chosen = get_board(board) if isinstance(board, str) else board
    stem = f"{chosen.name}-{source_hash(chosen, native)[:16]}"
    if compiler is None and out_dir is None and not sanitize and native:
        ready = _prebuilt(stem)
        if ready is not None:
            return ready
    program = find_compiler(compiler)
    key = _digest(program, run_compiler([program, "--version"]), *_flags(sanitize, native))[:12]
    target = Path(out_dir or cache_directory()) / f"{stem}-{key}.so"
    if not is_there(target):
        target = library_folder(target.parent) / target.name
    if not target.is_file():
        if progress:
            progress(f"compiling the accelerator of {chosen.title} with {Path(program).name}")
        compile_library(chosen, target, compiler=program, sanitize=sanitize, native=native)
    return target
