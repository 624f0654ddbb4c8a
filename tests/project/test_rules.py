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
    "analysis": {
        "pynq", "torch", "cv2", "m3vit_pynq.compiler", "m3vit_pynq.reference",
        "m3vit_pynq.emulator", "m3vit_pynq.package",
    },
    "package": {"pynq", "torch", "cv2", "m3vit_pynq.compiler", "m3vit_pynq.emulator"},
    "emulator": {
        "torch", "m3vit_pynq.compiler", "m3vit_pynq.reference", "m3vit_pynq.driver",
        "m3vit_pynq.overlay", "m3vit_pynq.package",
    },
    "driver.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference", "m3vit_pynq.emulator"},
    "stream.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference", "m3vit_pynq.emulator"},
    "overlay.py": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference"},
    "live": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.reference"},
    "pictures": {"torch", "m3vit_pynq.compiler", "m3vit_pynq.overlay"},
}  # fmt: skip


def imports(path: Path, at_once: bool = False) -> set[str]:
    """Absolute names of all that a file imports, wherever the import stands.

    With `at_once` only what is imported when the module is: not in functions, and
    not for types alone.
    """
    names = set()

    def visit(node: ast.AST) -> None:
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if at_once and (later or types):
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            names.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return names


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that a ``from`` names, relative or not."""
    if not node.level:
        return node.module
    package = path.relative_to(ROOT).parts[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def room_of(path: Path) -> str:
    """The folder below the package, or the module that is a room of its own."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Ways from a node back to itself."""
    found, done = [], set()

    def walk(node: str, way: list[str]) -> None:
        if node in way:
            found.append([*way[way.index(node) :], node])
        elif node not in done:
            for other in sorted(graph.get(node, ())):
                walk(other, [*way, node])
            done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


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


def test_rooms_do_not_import_in_a_circle():
    files = list(PACKAGE.rglob("*.py"))
    rooms, graph = {room_of(path) for path in files}, {}
    for path in files:
        for name in imports(path, at_once=True):
            parts = name.split(".")
            other = parts[1] if parts[0] == "m3vit_pynq" and len(parts) > 1 else ""
            if other in rooms - {room_of(path)}:
                graph.setdefault(room_of(path), set()).add(other)
    assert len(graph) > 20
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def test_relative_imports_are_seen():
    """As if a file of the emulator said ``from ..compiler import build``."""
    path = PACKAGE / "emulator" / "made_up.py"
    (node,) = ast.parse("from ..compiler import build").body
    assert absolute(path, node) == "m3vit_pynq.compiler"
    (node,) = ast.parse("from . import memory").body
    assert absolute(path, node) == "m3vit_pynq.emulator"


def test_the_two_engines_share_no_source():
    """What is compared must not be the same code; the generated contract is all they have."""
    native = PACKAGE / "emulator" / "native"
    sources = [path for path in native.rglob("*") if path.suffix in {".h", ".cpp"}]
    own = {path.relative_to(native).as_posix() for path in sources}
    assert sources
    for path in sources:
        for line in path.read_text().splitlines():
            if line.startswith('#include "'):
                name = line.split('"')[1]
                assert name in own | {"generated/abi.h"}, f"{path.name} includes {name}"


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
