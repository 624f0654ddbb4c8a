# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rules of the project that a tool can check: headers, layers, generated files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "m3vit_pynq"
SOURCES = sorted(
    path
    for folder in ("m3vit_pynq", "hls_src", "tests", "benchmarks", "notebooks", "overlays", "tools")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".h", ".cpp", ".tcl"} and "__pycache__" not in path.parts
)

#: What a room must not import, at any level (docs/architecture.md).
FORBIDDEN = {
    "abi": {"pynq", "torch", "cv2", "m3vit_pynq.compiler", "m3vit_pynq.reference"},
    "reference": {"pynq", "torch", "cv2", "m3vit_pynq.compiler", "m3vit_pynq.emulator"},
    "compiler": {"pynq", "torch", "m3vit_pynq.driver", "m3vit_pynq.overlay", "m3vit_pynq.emulator"},
    "package.py": {"pynq", "torch", "cv2", "m3vit_pynq.compiler"},
    "driver.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference", "m3vit_pynq.emulator"},
    "stream.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference", "m3vit_pynq.emulator"},
    "overlay.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference"},
    "live": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference"},
}


def imports(path: Path) -> set[str]:
    """Absolute names of all modules a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_source_starts_with_the_licence(path):
    head = path.read_text().splitlines()[:2]
    assert len(head) == 2 and "Copyright (c) 2026" in head[0], path
    assert "SPDX-License-Identifier: BSD-3-Clause" in head[1], path


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_point_downwards(room):
    base = PACKAGE / room
    files = [base] if base.is_file() else sorted(base.rglob("*.py"))
    assert files, room
    for path in files:
        for name in imports(path):
            for forbidden in FORBIDDEN[room]:
                assert name != forbidden and not name.startswith(forbidden + "."), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_only_training_and_bench_know_torch():
    for path in PACKAGE.rglob("*.py"):
        if "training" in path.parts or "bench" in path.name or "bench" in path.parent.name:
            continue
        assert not any(n == "torch" or n.startswith("torch.") for n in imports(path)), path


def test_files_have_one_subject_and_a_readable_length():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > 500 and "generated" not in path.parts
    }
    assert not long


def test_generated_files_are_current():
    run = subprocess.run(
        [sys.executable, "-m", "m3vit_pynq.abi.generate", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
