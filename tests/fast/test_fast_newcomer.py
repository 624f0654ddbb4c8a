# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A newcomer's machine: no compiler, no folder to keep things in, few cores, interrupts, forks."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator import fastbuild, hostbuild
from m3vit_pynq.emulator.fastbuild import BuildError, build
from m3vit_pynq.emulator.kernel import FastKernel

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = random_package(get_config("micro"), seed=5)
NO_COMPILER = {"PATH": "/nonexistent", "CXX": ""}


def python(code, *arguments, **environment):
    """A program of its own, on the emulated board."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, timeout=120, text=True,
        capture_output=True, env={**os.environ, "M3VIT_EMULATE": "1", **environment},
    )  # fmt: skip


def command(*words, **environment):
    code = "import sys; from m3vit_pynq.cli import main; sys.exit(main(sys.argv[1:]))"
    return python(code, *words, **environment)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return PACKAGE.save(tmp_path_factory.mktemp("package") / "micro.m3vit")


@pytest.fixture(scope="module")
def library():
    return build()


# What needs no engine.


def test_info_and_listings_need_no_compiler(package, tmp_path):
    bare = {**NO_COMPILER, "XDG_CACHE_HOME": str(tmp_path)}
    done = command("info", "--package", package, **bare)
    assert done.returncode == 0 and "0x4d335654" in done.stdout, done.stderr
    done = command("disassemble", package, **bare)
    assert done.returncode == 0 and "LINEAR" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_message_says_what_to_install(package, tmp_path):
    out = ("--out", tmp_path / "out", "--frames", 2, "--source", "synthetic")
    done = command("demo", "--package", package, *out, **NO_COMPILER, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("m3vit-pynq demo: no C++ compiler") and "apt install g++" in last
    assert "wheel" in last and ".hwh" not in last


@pytest.mark.parametrize("where", ["wheel", "cache"])
def test_a_library_that_is_there_needs_no_compiler(where, library, tmp_path):
    """From the wheel, or from a time when there was a compiler."""
    if where == "wheel":
        target = tmp_path / "prebuilt" / f"fast-{fastbuild.source_hash()[:16]}.so"
    else:
        target = tmp_path / "m3vit_pynq" / "fast" / library.name
    target.parent.mkdir(parents=True)
    shutil.copy(library, target)
    code = (
        "from pathlib import Path; import sys; from m3vit_pynq.emulator import fastbuild\n"
        "fastbuild.PREBUILT = Path(sys.argv[1]); print(fastbuild.build())\n"
        "from m3vit_pynq.emulator.fast import available_paths; print(*available_paths())"
    )
    done = python(code, tmp_path / "prebuilt", **NO_COMPILER, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    place, paths = done.stdout.splitlines()
    assert place == str(target) and paths.endswith("plain")


# Folders.


def test_no_home_still_works(package, tmp_path):
    """A compiler, and a temporary folder for this run."""
    out = ("--out", tmp_path / "out", "--frames", 2, "--source", "synthetic", "--no-boards")
    environment = {"HOME": "/proc/nope", "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path)}
    done = command("demo", "--package", package, *out, **environment)
    assert done.returncode == 0, done.stderr
    assert "frames per second" in done.stdout
    assert "cannot be written" in done.stderr and "XDG_CACHE_HOME" in done.stderr
    assert "compiling the engine of the emulated board" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing is left behind


def test_no_folder_at_all_names_what_to_set(monkeypatch, tmp_path):
    noexec = SimpleNamespace(f_flag=os.ST_NOEXEC)
    monkeypatch.setattr(hostbuild.os, "statvfs", lambda path: noexec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(BuildError, match=r"noexec.*noexec.*XDG_CACHE_HOME.*TMPDIR"):
        build()
    with pytest.raises(BuildError, match=r"noexec.*noexec.*XDG_CACHE_HOME.*TMPDIR"):
        hostbuild.build("zcu104")

    def nowhere(**_):
        raise FileNotFoundError("no usable temporary directory")

    hostbuild._temporary_directory.cache_clear()
    monkeypatch.setattr(hostbuild.tempfile, "mkdtemp", nowhere)
    with pytest.raises(BuildError, match=r"noexec.*no usable temporary.*XDG_CACHE_HOME"):
        build()


def test_a_damaged_library_is_named(tmp_path):
    broken = tmp_path / "fast.so"
    broken.write_bytes(b"\x7fELF and then nothing")
    with pytest.raises(BuildError, match=r"fast\.so cannot be loaded.*delete it"):
        fastbuild.load(broken)


def test_a_library_of_another_processor_is_another_file(monkeypatch):
    """A home directory may be shared by different computers."""
    here, found = fastbuild.machine(), fastbuild.source_hash()
    for other in {"aarch64", "x86_64", "riscv64"} - {here}:
        monkeypatch.setattr(fastbuild.platform, "machine", lambda other=other: other)
        assert fastbuild.source_hash() != found
    monkeypatch.undo()
    monkeypatch.setattr(fastbuild.platform, "libc_ver", lambda: ("", ""))  # musl
    assert fastbuild.source_hash() != found


# The engine is made when it is needed, where errors reach whoever asked.


def test_identification_makes_no_engine(monkeypatch):
    def never(*_):
        raise BuildError("no compiler")

    monkeypatch.setattr("m3vit_pynq.emulator.fast.build", never)
    kernel = FastKernel(get_board("zcu104"))
    assert kernel({"run_command": 0}, {})["run_error"] == 0
    with pytest.raises(BuildError):
        kernel.memory_changed(memoryview(bytearray(64)))


# Cores, interrupts, forks: a result, then the same again afterwards.

RUNS = """
import os, signal, sys, threading, time
import numpy as np
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.package import Package
from m3vit_pynq.emulator.device import EmulatedDevice
package = Package.load(sys.argv[1])
frame = np.random.default_rng(1).integers(0, 256, (*package.config.image_size, 3), np.uint8)
def result(overlay):
    return {task: r.data.copy() for task, r in overlay.run(frame).items()}
def equal(a, b):
    return all((a[task] == b[task]).all() for task in a)
"""

ONE_CORE = (
    RUNS
    + """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
with M3ViTOverlay(package) as overlay:
    print(overlay.device.fabric.kernel.engine.threads)
    first = result(overlay)
for threads in "2", "256":
    os.environ["M3VIT_THREADS"] = threads
    with M3ViTOverlay(package) as overlay:
        print(overlay.device.fabric.kernel.engine.threads, equal(result(overlay), first))
"""
)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no taskset on this system")
def test_one_core(package):
    done = python(ONE_CORE, package, M3VIT_THREADS="")
    assert done.stdout.split() == ["1", "2", "True", "256", "True"], done.stderr


@pytest.mark.parametrize("threads", ["0", "1000", "many"])
def test_silly_threads_are_one_line(threads, package, tmp_path):
    out = ("--out", tmp_path, "--frames", 2, "--source", "synthetic")
    done = command("demo", "--package", package, *out, M3VIT_THREADS=threads)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert f"M3VIT_THREADS = '{threads}'" in last and "from 1 to 256" in last


INTERRUPTED = (
    RUNS
    + """
def shoot():
    for _ in range(40):
        time.sleep(0.013)
        os.kill(os.getpid(), signal.SIGINT)
    done.set()
with M3ViTOverlay(package) as overlay:
    first, done, caught, runs = result(overlay), threading.Event(), 0, 0
    engine = overlay.device.fabric.kernel.engine
    gun = threading.Thread(target=shoot)
    gun.start()
    while gun.is_alive():
        try:
            while not done.is_set():
                overlay.run(frame)
                runs += 1
        except KeyboardInterrupt:
            caught += 1
    gun.join()
    print(caught > 3, runs > 3, overlay.driver.busy, equal(result(overlay), first))
print([t.name for t in threading.enumerate() if "m3vit" in t.name])
"""
)


def test_interrupts_while_threads_work(package):
    """A run that was interrupted ends; the next is right; nothing is left running."""
    done = python(INTERRUPTED, package, M3VIT_THREADS="3")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["True", "True", "False", "True"], done.stderr
    assert done.returncode == 0


STOPPED = (
    RUNS
    + """
overlay = M3ViTOverlay(package)
print("running", flush=True)
with overlay:
    while True:
        overlay.run(frame)
"""
)


def test_ctrl_c_ends_a_program_at_once(package):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(package)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "M3VIT_EMULATE": "1", "M3VIT_THREADS": "3"},
    )  # fmt: skip
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors


FORKED = (
    RUNS
    + """
overlay = M3ViTOverlay(package)
first = result(overlay)
child = os.fork()
if not child:
    try:
        overlay.run(frame)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    with M3ViTOverlay(package) as another:
        print(equal(result(another), first), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], equal(result(overlay), first))
overlay.close()
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_gets_a_board_of_its_own(package):
    done = python(FORKED, package)
    refusal, *rest = done.stdout.splitlines()
    assert refusal.startswith("M3ViTError this emulated board belongs to the process that made it")
    assert rest == ["True", "0 True"], done.stderr
