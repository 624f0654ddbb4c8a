# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Two things that the benchmark needs in machine code, compiled when they are asked for.

* `peak` : products per second that the processor's INT8 instructions reach on
  registers alone
* `limit_libraries` : lets other libraries see an older processor, so that they can be
  compared with the engine's path for it
"""

from __future__ import annotations

import ctypes
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from m3vit_pynq.emulator.hostbuild import BuildError, find_compiler, run_compiler

_SOURCE = Path(__file__).with_name("native.cpp")

#: What a path's processors do not have: 1 AMX, 2 AVX-512, 4 AVX-VNNI, 8 AVX.
_LEVELS = {"amx": 0, "avx512": 1, "avxvnni": 3, "avx2": 7, "plain": 15}
#: How the same is said to PyTorch and its libraries, before they are imported.
_TORCH = {
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avxvnni": {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI", "ATEN_CPU_CAPABILITY": "avx2",
                "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "plain": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default",
              "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}  # fmt: skip


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """`native.cpp`, compiled.

    Raises
    ------
    BuildError
        Without a compiler, or on another architecture.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise BuildError(f"not known on {platform.system()} {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="m3vit-bench-") as folder:
        target = Path(folder) / "native.so"
        run_compiler([
            find_compiler(), "-std=c++17", "-O2", "-fPIC", "-shared", str(_SOURCE),
            "-o", str(target),
        ])  # fmt: skip
        try:
            library = ctypes.CDLL(str(target))
        except OSError as error:
            raise BuildError(str(error)) from error
    library.m3vit_bench_peak.restype = ctypes.c_double
    library.m3vit_bench_peak.argtypes = [ctypes.c_char_p]
    library.m3vit_bench_limit.restype = ctypes.c_int
    library.m3vit_bench_limit.argtypes = [ctypes.c_int]
    return library


def peak(path: str) -> float | None:
    """Multiply-accumulates per second of one thread on registers alone, with a path's instruction.

    None where that is not known: another architecture, plain C++, no compiler.
    """
    try:
        found = _library().m3vit_bench_peak(path.encode())
    except BuildError:
        return None
    return found or None


@contextmanager
def limit_libraries(path: str) -> Iterator[str]:
    """Let libraries that are loaded inside see no more than the processors of a path have.

    Their choice is made once, when they are loaded: CPUID faults inside, and a handler
    answers without the bits. PyTorch is told by its environment too.

    Yields
    ------
    str
        Why it is not so; empty if it is.
    """
    if path == "amx":
        yield ""
        return
    for name, value in _TORCH.get(path, {}).items():
        os.environ.setdefault(name, value)
    try:
        done = path in _LEVELS and _library().m3vit_bench_limit(_LEVELS[path]) == 0
    except BuildError:
        done = False
    try:
        yield "" if done else f"cannot be limited to {path} here: they use all that there is"
    finally:
        if done:
            _library().m3vit_bench_limit(-1)
