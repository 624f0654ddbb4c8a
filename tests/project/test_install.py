# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The wheel: complete on a laptop, and installed without compiling on a board."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.install


def build_wheel(folder: Path, **environment: str) -> Path:
    """Build the wheel from a clean copy of the sources, without build isolation."""
    source = folder / "source"
    shutil.copytree(
        ROOT, source,
        ignore=shutil.ignore_patterns(
            ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", "demo_output",
            ".*_cache", ".hypothesis",
        ),
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder), str(source)],
        check=True, timeout=280, env={**os.environ, **environment},
    )  # fmt: skip
    (wheel,) = folder.glob("m3vit_pynq-*.whl")
    return wheel


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def laptop_wheel(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    return build_wheel(tmp_path_factory.mktemp("laptop"), BOARD="")


def test_wheel_holds_sources_overlays_notebooks_and_the_fast_engine(laptop_wheel):
    content = names(laptop_wheel)
    assert "m3vit_pynq/hls_src/m3vit_accel.cpp" in content
    assert "m3vit_pynq/overlays/zcu104/m3vit.hwh" in content
    view = {"acknowledged.js", "acknowledged.css", "page.html"}
    assert {f"m3vit_pynq/live/{name}" for name in view} <= content
    assert any(n.startswith("m3vit_pynq/notebooks/") and n.endswith(".ipynb") for n in content)
    native = {path.name for path in (ROOT / "m3vit_pynq/emulator/native").glob("*.*")}
    assert {f"m3vit_pynq/emulator/native/{name}" for name in native} <= content
    prebuilt = [n for n in content if n.startswith("m3vit_pynq/emulator/prebuilt/fast-")]
    assert len(prebuilt) == 1 and prebuilt[0].endswith(".so")
    assert not any(n.startswith(("tests/", "build/")) for n in content)


def test_entry_points_are_those_pynq_looks_for(laptop_wheel):
    with zipfile.ZipFile(laptop_wheel) as archive:
        (entry,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        text = archive.read(entry).decode()
    for group in ("pynq.notebooks", "pynq.overlays", "pynq.lib", "console_scripts"):
        assert f"[{group}]" in text


def test_installed_package_runs_a_frame_outside_the_checkout(laptop_wheel, tmp_path):
    """From the wheel alone: prebuilt library, packaged .hwh, no source tree in sight."""
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site),
         str(laptop_wheel)],
        check=True, timeout=120,
    )  # fmt: skip
    script = (
        "import numpy as np, m3vit_pynq, pathlib\n"
        f"assert pathlib.Path(m3vit_pynq.__file__).is_relative_to({str(site)!r})\n"
        "from m3vit_pynq.compiler import random_package\n"
        "from m3vit_pynq.config import get_config\n"
        "from m3vit_pynq.overlay import M3ViTOverlay\n"
        "package = random_package(get_config('micro'))\n"
        "with M3ViTOverlay(package=package) as overlay:\n"
        "    assert overlay.emulated and overlay.device.engine == 'fast'\n"
        "    result = overlay.run(np.full((48, 64, 3), 90, np.uint8), task='depth')\n"
        "    print(result.data.shape)\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(site), "CXX": "/nonexistent/compiler",
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "M3VIT_EMULATE": "1",
    }  # fmt: skip
    environment.pop("BOARD", None)
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith(")")


def test_on_a_board_nothing_is_compiled(tmp_path):
    wheel = build_wheel(tmp_path, BOARD="ZCU104", CXX="/nonexistent/compiler")
    assert not any(n.endswith(".so") for n in names(wheel))
    assert "none-any" in wheel.name
