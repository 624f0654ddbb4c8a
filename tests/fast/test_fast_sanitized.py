# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The engine under sanitizers, and on a processor of another kind."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import recording
from fast_pair import PATHS

from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.compiler.build import made_up_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.fastbuild import BuildError, build, compile_to
from m3vit_pynq.reference.machine import Machine

SANITIZERS = {
    "address": ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-O1", "-g1", "-fsanitize=thread"),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Twelve instructions of every opcode, and a frame of each task."""
    config = get_config("micro")
    package = made_up_package(config, seed=3)
    machine = Machine(get_board("zcu104"))
    machine.load(package.program, package.weights)
    frame = np.random.default_rng(4).integers(0, 256, (*config.image_size, 3), np.uint8)
    path = tmp_path_factory.mktemp("recorded") / "records"
    recording.record(path, machine, [(0, frame), (1, frame)], steps=12)
    return path


def sanitized(kind):
    """The replaying program, or a reason to skip."""
    flags = SANITIZERS[kind]
    try:
        return build(extra=flags, main=Path(__file__).with_name("replay.cpp"))
    except BuildError as error:
        if "cannot find" in str(error) or "unrecognized" in str(error):
            pytest.skip(f"this compiler has no sanitizer of {kind}")
        raise


@pytest.mark.parametrize("kind", SANITIZERS)
def test_sanitizers_find_nothing(kind, recorded):
    program = sanitized(kind)
    for path in PATHS:
        for threads in (1, 3) if kind == "address" else (3,):
            done = subprocess.run(
                [program, recorded, path, str(threads)], capture_output=True, text=True,
                timeout=250, env={**os.environ, "TSAN_OPTIONS": "halt_on_error=1"},
            )  # fmt: skip
            assert done.returncode == 0, f"{path}, {threads} threads:\n{done.stderr[-4000:]}"
            assert done.stdout == "158 records\n"


@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")),
    reason="needs g++-aarch64-linux-gnu and qemu-user",
)
def test_arm_computes_the_same(recorded, tmp_path):
    program = tmp_path / "replay"
    compile_to(
        program, "aarch64-linux-gnu-g++", ("-static", "-O2"),
        Path(__file__).with_name("replay.cpp"), "aarch64",
    )  # fmt: skip
    for path, processor in (("dotprod", "max"), ("plain", "cortex-a72")):
        done = subprocess.run(
            ["qemu-aarch64", "-cpu", processor, program, recorded, path, "3"],
            capture_output=True, text=True, timeout=250,
        )  # fmt: skip
        assert done.stdout == "158 records\n", done.stderr
