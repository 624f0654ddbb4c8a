# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compilers, sanitizers, both forms of the engine, the cache, generated files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hls_pair import library_of, run_program

from m3vit_pynq.abi import generate
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.compiler.build import random_frames, random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator import hostbuild
from m3vit_pynq.emulator.hostbuild import BuildError, build
from m3vit_pynq.emulator.hostlib import HostLibrary

ROOT = Path(__file__).resolve().parents[2]
HLS = ROOT / "hls_src"
WARNINGS = [
    "-std=c++14", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-label",
]  # fmt: skip


def test_generated_files_are_current():
    assert generate.stale() == []


def test_stale_files_are_noticed(tmp_path):
    for path, text in generate.render_all().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert generate.stale(tmp_path) == []
    (tmp_path / "docs/isa.md").unlink()
    header = tmp_path / "hls_src/generated/abi.h"
    header.write_text(header.read_text().replace("MAX_TOKENS = 2048", "MAX_TOKENS = 2049"))
    assert sorted(generate.stale(tmp_path)) == ["docs/isa.md", "hls_src/generated/abi.h"]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize(
    "source, options",
    [
        ("host/m3vit_host.cpp", ["-O2"]),
        ("m3vit_accel.cpp", ["-D__SYNTHESIS__"]),
        ("kernels.cpp", ["-D__SYNTHESIS__"]),
    ],
)
def test_compiles_without_warnings(compiler, source, options, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run(
        [compiler, *WARNINGS, *options, "-c", str(HLS / source), "-o", str(tmp_path / "out.o")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def micro_run(library: HostLibrary) -> bytes:
    package = random_package(get_config("micro"), seed=7)
    frame = random_frames(package.config, 1, 1)[0]
    registers, output = run_program(
        library, package.program, package.weights, 1, frame, 32 * 48 * 2
    )
    assert registers["error"] == 0
    return output.tobytes()


def test_portable_code_computes_the_same(tmp_path):
    library = HostLibrary(build("zcu104", native=False, out_dir=tmp_path))
    assert micro_run(library) == micro_run(library_of("zcu104"))


def test_clang_computes_the_same(tmp_path):
    if shutil.which("clang++") is None:
        pytest.skip("clang++ is not installed")
    library = HostLibrary(build("zcu104", compiler="clang++", out_dir=tmp_path))
    assert micro_run(library) == micro_run(library_of("zcu104"))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("lines", [1, 3, 18])
@pytest.mark.parametrize("kind", ["random", "lowest", "mixed"])
def test_both_forms_of_the_engine_agree(board, lines, kind):
    library = library_of(board)
    rng = np.random.default_rng(lines)
    tokens_par = get_board(board).tokens_par
    shape = {"a": (tokens_par, 64 * lines), "w": (4, 64 * lines)}
    if kind == "random":
        a, w = (rng.integers(-128, 128, shape[n]) for n in "aw")
    elif kind == "lowest":
        a, w = (np.full(shape[n], -128) for n in "aw")
    else:
        a, w = (rng.choice([-128, 127], shape[n]) for n in "aw")
    tokens = (a + 128).astype(np.uint8)
    weights = w.astype(np.int8)
    expected = a.astype(np.int64) @ w.astype(np.int64).T
    for lanes in (True, False):
        np.testing.assert_array_equal(library.matrix_group(tokens, weights, lanes), expected)


def test_sanitizers_find_nothing():
    """A subset of the tests in a process that runs the instrumented library."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    runtime = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_file():
        pytest.skip("the address sanitizer's runtime is not installed")
    environment = {
        **os.environ, "M3VIT_TEST_SANITIZE": "1", "LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         "tests/hls/test_instructions.py", "tests/hls/test_refused_instructions.py",
         "tests/hls/test_programs.py", "tests/hls/test_passages.py",
         "-k", "pynq-z2 or same_code or damaged or full_log"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_no_compiler_is_an_error_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(hostbuild, "PREBUILT", tmp_path)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler.*apt install g\+\+"):
        build("zcu104")


def test_a_failing_compiler_is_quoted(tmp_path):
    fake = tmp_path / "c++"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho broken >&2\nexit 1\n')
    fake.chmod(0o755)
    with pytest.raises(BuildError, match="broken"):
        build("zcu104", compiler=str(fake), out_dir=tmp_path)
    assert not list(tmp_path.glob("*.so")) and not list(tmp_path.glob(".build-*"))


def test_unknown_boards_are_named():
    with pytest.raises(ValueError, match="zcu104"):
        build("zcu999")


def test_a_library_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(hostbuild, "PREBUILT", tmp_path / "none")
    built = []

    def compile_library(board, target, **options):
        built.append(board.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")

    monkeypatch.setattr(hostbuild, "compile_library", compile_library)
    told = []
    first = build("pynq-z2", progress=told.append)
    assert build("pynq-z2", progress=told.append) == first
    assert first.is_relative_to(tmp_path / "m3vit_pynq")
    assert built == ["pynq-z2"] and len(told) == 1
    assert build("ultra96") != first
    assert build("pynq-z2", native=False) != first


def test_an_installed_library_is_used_if_it_is_current(monkeypatch, tmp_path):
    monkeypatch.setattr(hostbuild, "PREBUILT", tmp_path)
    monkeypatch.setenv("PATH", "")
    board = get_board("zcu104")
    current = tmp_path / f"zcu104-{hostbuild.source_hash(board)[:16]}-0123456789ab.so"
    current.write_bytes(b"")
    assert build("zcu104") == current
    current.rename(tmp_path / "zcu104-0000000000000000-0123456789ab.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("CXX", "")
    with pytest.raises(BuildError):
        build("zcu104")
