# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compiling the fast engine: one library for every processor of this computer's kind.

Each path of ``native/`` is compiled for the instructions it uses; which one runs is
decided when the library does. Paths that the compiler does not know are left out.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from m3vit_pynq.abi.generate import abi_header
from m3vit_pynq.emulator.hostbuild import (
    BuildError,
    announce,
    cache_directory,
    find_compiler,
    is_there,
    library_folder,
    run_compiler,
)

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).resolve().parent / "native"
#: Where an installation puts the library that it built.
PREBUILT = Path(__file__).resolve().parent / "prebuilt"
#: Warnings about uninitialised values are false in GCC's own AVX-512 headers.
FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fno-strict-aliasing", "-fvisibility=hidden", "-pthread",
    "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-uninitialized", "-Wno-maybe-uninitialized",
)  # fmt: skip
_AVX512 = (
    "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vbmi", "-mavx512vnni",
)  # fmt: skip
#: Target flags of the paths by machine and source; plain C++ needs none.
PATHS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "path_avx2": ("-mavx2",),
        "path_avxvnni": ("-mavx2", "-mavxvnni"),
        "path_avx512": _AVX512,
        "path_amx": (*_AVX512, "-mamx-tile", "-mamx-int8"),
    },
    "aarch64": {"path_dotprod": ("-march=armv8.2-a+dotprod",)},
}
_MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}


def machine() -> str:
    """Kind of this computer's processor, as `PATHS` names it."""
    return _MACHINES.get(platform.machine(), platform.machine())


def _understands(compiler: str, flags: Sequence[str]) -> bool:
    try:
        run_compiler([compiler, *flags, "-E", "-x", "c++", os.devnull])
    except BuildError:
        return False
    return True


def source_hash() -> str:
    """Identifies what a library is built from, and the kind of computer it is for."""
    digest = hashlib.sha256(abi_header().encode())
    for path in sorted(SOURCES.glob("*")):
        if path.suffix in (".h", ".cpp"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    digest.update(repr((FLAGS, PATHS, machine(), sys.platform, platform.libc_ver()[0])).encode())
    return digest.hexdigest()


def _units(compiler: str, kind: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Sources with their own flags, and definitions that leave paths out."""
    known = PATHS.get(kind, {})
    units: dict[str, tuple[str, ...]] = {
        path.stem: () for path in SOURCES.glob("*.cpp") if not path.stem.startswith("path_")
    }
    units["path_plain"] = ()
    without = []
    for name, flags in known.items():
        if _understands(compiler, flags):
            units[name] = flags
        else:
            logger.info("%s does not know %s: left out", Path(compiler).name, " ".join(flags))
            without.append(f"-DM3VIT_WITHOUT_{name.upper()}")
    return units, without


def compile_to(
    target: Path,
    compiler: str,
    extra: Sequence[str] = (),
    main: Path | None = None,
    kind: str | None = None,
) -> None:
    """Compile a library, or with `main` a program; `target` appears when complete.

    Parameters
    ----------
    extra : sequence of str
        Further flags for compiler and linker, such as those of sanitizers.
    main : Path, optional
        Source with the program's ``main``.
    kind : str, optional
        Machine that the compiler makes code for; default this one.
    """
    units, without = _units(compiler, kind or machine())
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as name:
        scratch = Path(name)
        (scratch / "generated").mkdir()
        (scratch / "generated" / "abi.h").write_text(abi_header(), encoding="utf-8")
        common = [compiler, *FLAGS, *without, f"-I{scratch}", f"-I{SOURCES}"]
        sources = {SOURCES / f"{unit}.cpp": flags for unit, flags in units.items()}
        if main:
            sources[main] = ()
        objects = [str(scratch / f"{source.stem}.o") for source in sources]

        def one(source: Path, flags: tuple[str, ...], out: str) -> None:
            run_compiler([*common, *flags, *extra, "-c", str(source), "-o", out])

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            list(pool.map(one, sources, sources.values(), objects))
        shared = [] if main else ["-shared"]
        built = scratch / target.name
        run_compiler([compiler, "-pthread", *extra, *shared, *objects, "-o", str(built)])
        built.replace(target)


def build(
    compiler: str | None = None,
    out_dir: Path | None = None,
    extra: Sequence[str] = (),
    main: Path | None = None,
) -> Path:
    """The engine as a shared library, compiled if necessary.

    Parameters
    ----------
    compiler : str, optional
        A C++ compiler; default ``$CXX``, g++, c++ or clang++.
    out_dir : Path, optional
        Instead of the per-user cache; the name then depends on the sources only.
    extra, main
        See `compile_to`.

    Returns
    -------
    Path

    Raises
    ------
    BuildError
        No compiler, or the compiler fails.
    """
    stem = f"fast-{source_hash()[:16]}"
    usual = compiler is None and not extra and main is None
    if usual and out_dir is None:
        ready = PREBUILT / f"{stem}.so"
        if ready.is_file():
            return ready
    try:
        program = find_compiler(compiler)
    except BuildError:
        kept = _kept(stem) if usual and out_dir is None else None
        if kept is None:
            raise
        return kept
    if out_dir is not None:
        target = library_folder(out_dir) / f"{stem}.so"
    else:
        version = run_compiler([program, "--version"])
        key = hashlib.sha256(repr((program, version, tuple(extra))).encode())
        if main is not None:
            key.update(main.read_bytes())
        suffix = ".so" if main is None and not extra else ""
        target = cache_directory("fast") / f"{stem}-{key.hexdigest()[:12]}{suffix}"
    if not is_there(target):
        target = library_folder(target.parent) / target.name
    if not target.is_file():
        name = Path(program).name
        logger.info("compiling the fast engine with %s", name)
        if usual:
            announce(
                f"compiling the engine of the emulated board with {name}; "
                "this takes about 10 s, once"
            )
        compile_to(target, program, extra, main)
    return target


def _kept(stem: str) -> Path | None:
    """A library that was compiled here before, when there was a compiler."""
    try:
        return next(iter(sorted(cache_directory("fast").glob(f"{stem}-*.so"))), None)
    except OSError:
        return None


def load(path: str | os.PathLike[str]) -> ctypes.CDLL:
    """A compiled library in this process.

    Raises
    ------
    BuildError
        If the system refuses it; the message says what to do.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(
            f"{path} cannot be loaded: {error}. If the file is damaged, delete it; if programs may "
            "not run from its folder, set XDG_CACHE_HOME to one from which they may"
        ) from error
