# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compilers, sanitizers, boards of the user, the cache, generated files."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hls_pair import GUARD, LINE, aligned, library_of, run_bank

from m3vit_pynq.abi import board_files, generate
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.abi.isa import lines
from m3vit_pynq.abi.registers import Command
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


def compiled(compiler: str, *arguments: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run(
        [compiler, *WARNINGS, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("options", [["-O1"], ["-DM3VIT_CHECK_WIDTHS"], ["-D__SYNTHESIS__"]])
def test_compiles_without_warnings(compiler, board, options, tmp_path):
    """By the macro that names a board; every header comes with the library."""
    source = "m3vit_accel.cpp" if "-D__SYNTHESIS__" in options else "host/m3vit_host.cpp"
    macro = f"-D{board_files.board_macro(get_board(board))}"
    action = ["-c", "-o", str(tmp_path / "out.o")] if "-O1" in options else ["-fsyntax-only"]
    compiled(compiler, macro, *options, *action, str(HLS / source))


@pytest.mark.parametrize("header", sorted(p.name for p in HLS.glob("*.h")))
def test_every_header_stands_alone(header, tmp_path):
    """Each process can be compiled, and put through an HLS tool, without the others."""
    source = tmp_path / "alone.cpp"
    source.write_text(f'#include "{header}"\n#include "{header}"\n')
    compiled("g++", "-fsyntax-only", f"-I{HLS}", str(source))


def micro_run(library: HostLibrary) -> bytes:
    package = random_package(get_config("micro"), seed=7)
    bank, image = aligned(package.bank_bytes, GUARD), package.bank_image()
    bank[: image.size] = image
    size = LINE * lines(package.task("depth").output_bytes)
    registers, result = run_bank(library, bank, 1, random_frames(package.config, 1, 1)[0], size)
    assert registers["run_error"] == 0
    return result.tobytes()


def test_portable_code_computes_the_same(tmp_path):
    library = HostLibrary(build("zcu104", native=False, out_dir=tmp_path))
    assert micro_run(library) == micro_run(library_of("zcu104"))


def test_clang_computes_the_same(tmp_path):
    if shutil.which("clang++") is None:
        pytest.skip("clang++ is not installed")
    library = HostLibrary(build("zcu104", compiler="clang++", out_dir=tmp_path))
    assert micro_run(library) == micro_run(library_of("zcu104"))


def test_a_board_of_the_user(tmp_path):
    """Parallelism that no board here has."""
    board = dataclasses.replace(
        get_board("pynq-z2"), name="mine", tokens_par=4, out_par=4, half_lines=512,
        max_tokens=128, map_lines=100, first_groups=32, port_bytes=16,
    )  # fmt: skip
    library = HostLibrary(build(board, out_dir=tmp_path))
    identity = library.accel(run_command=Command.IDENTIFY)
    assert (identity["id_shape"], identity["cap_map_lines"]) == (board.shape_word, 100)
    assert micro_run(library) == micro_run(library_of("zcu104"))


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
         "tests/hls/test_programs.py", "-k", "pynq-z2 or damaged or edges"],
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
