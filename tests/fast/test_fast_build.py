# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Building the library, and how an engine is chosen."""

import re
import stat
import subprocess

import pytest
from fast_pair import GENEROUS, PATHS

from m3vit_pynq.emulator import fastbuild
from m3vit_pynq.emulator.fast import FastEngine, thread_count
from m3vit_pynq.emulator.fastbuild import BuildError, build
from m3vit_pynq.reference import primitives


def test_threads_are_those_asked_for(monkeypatch):
    monkeypatch.delenv("M3VIT_THREADS", raising=False)
    assert thread_count() >= 1 and thread_count(1) == 1 and thread_count(256) == 256
    monkeypatch.setenv("M3VIT_THREADS", "3")
    assert thread_count() == 3 and thread_count(2) == 2
    assert FastEngine(GENEROUS).threads == 3
    monkeypatch.setenv("M3VIT_THREADS", "")
    assert thread_count() >= 1


@pytest.mark.parametrize("silly", (0, -1, 257, "two", 1.5, True, [], "1.5"))
def test_silly_numbers_of_threads_are_named(silly, monkeypatch):
    with pytest.raises(ValueError, match=r"threads = .* from 1 to 256"):
        thread_count(silly)
    monkeypatch.setenv("M3VIT_THREADS", str(silly))
    if str(silly) != "[]":
        with pytest.raises(ValueError, match="M3VIT_THREADS"):
            thread_count()


def test_paths_are_chosen_by_name(monkeypatch):
    monkeypatch.delenv("M3VIT_FAST_PATH", raising=False)
    assert FastEngine(GENEROUS, threads=1).path == PATHS[0]
    for path in PATHS:
        assert FastEngine(GENEROUS, threads=1, path=path).path == path
    monkeypatch.setenv("M3VIT_FAST_PATH", "plain")
    assert FastEngine(GENEROUS, threads=1).path == "plain"
    with pytest.raises(ValueError, match=f"no path 'abacus'; it has {PATHS[0]}"):
        FastEngine(GENEROUS, threads=1, path="abacus")


def test_tables_are_those_of_the_specification():
    text = fastbuild.abi_header()
    for name, table in (
        ("EXP_TABLE", primitives.EXP_TABLE), ("GATE_TABLE", primitives.GATE_TABLE),
        ("POW_TABLE", primitives.POW_TABLE),
    ):  # fmt: skip
        body = re.search(rf"{name}\[\d+\] = {{([^}}]*)}}", text).group(1)
        assert [int(v) for v in body.replace("\n", " ").split(",") if v.strip()] == list(table)


def test_no_path_leaks_its_instructions_into_shared_code(tmp_path):
    """A path defines nothing that the linker could give to plain processors."""
    compiler = fastbuild.find_compiler()
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "abi.h").write_text(fastbuild.abi_header())
    for name, flags in fastbuild.PATHS.get(fastbuild.machine(), {}).items():
        out = tmp_path / f"{name}.o"
        done = subprocess.run(
            [compiler, *fastbuild.FLAGS, *flags, "-O0", "-c", f"-I{tmp_path}",
             str(fastbuild.SOURCES / f"{name}.cpp"), "-o", str(out)],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode and "unrecognized" in done.stderr:
            continue
        assert not done.returncode, done.stderr
        symbols = subprocess.run(["nm", "-C", str(out)], capture_output=True, text=True).stdout
        shared = [s for s in symbols.splitlines() if re.search(r" [A-TV-Z] ", s)]
        assert len(shared) == 1 and f"fast::{name}" in shared[0], shared
        assert not re.search(r" [wWvVu] ", symbols), symbols


def test_a_built_library_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fastbuild, "PREBUILT", tmp_path)
    monkeypatch.setattr(fastbuild, "compile_to", lambda target, *_: target.touch())
    library = build()
    assert library.is_relative_to(tmp_path)
    monkeypatch.setattr(fastbuild, "compile_to", lambda *_: pytest.fail("compiled again"))
    assert build() == library
    assert [p.name for p in library.parent.iterdir()] == [library.name]
    library.rename(tmp_path / f"fast-{fastbuild.source_hash()[:16]}.so")  # as an installation
    assert build().parent == tmp_path


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    blocked.chmod(stat.S_IRUSR)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    built = []
    monkeypatch.setattr(fastbuild, "compile_to", lambda target, *_: built.append(target))
    library = build()
    assert built == [library] and not library.is_relative_to(tmp_path)
    assert "cannot be written" in caplog.text


def test_no_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BuildError, match="apt install g"):
        build(extra=("-DNOTHING",))


def test_a_compiler_that_fails(tmp_path):
    wrong = tmp_path / "c++"
    wrong.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    wrong.chmod(0o755)
    with pytest.raises(BuildError, match="broken"):
        build(compiler=str(wrong))
