# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every notebook runs from top to bottom, is stored with its pictures, and is delivered."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: What must be among the results, whatever the weights are.
EXPECTED = {
    "01_getting_started": ("agree on every bit: True", "5 register accesses per frame, 6 when"),
    "03_inside_the_accelerator": (
        "agree on every bit: True", "magic 0x4d335654, ABI version 2", "frame 2: 5 accesses",
        "frame 3: 6 accesses", "| workspace |", "| EXPERTS_DOWN |",
    ),
    "04_your_own_frames": ("class ids: uint8", "metres:    float32", "refused: frame: dtype"),
    "05_measure_it": (
        "registers: 5 a frame, 6 in the first after a change", "weights moved: 0 bytes",
        "of the others: not counted", "fits; not counted", "fits; cycles are not counted",
    ),
}  # fmt: skip


def load_tool():
    """``tools/execute_notebooks.py``, which is no part of the package."""
    path = ROOT / "tools" / "execute_notebooks.py"
    spec = importlib.util.spec_from_file_location("execute_notebooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook) -> list:
    return [o for cell in notebook.cells for o in cell.get("outputs", [])]


def text_of(notebook) -> str:
    """Everything that cells printed or returned as text."""
    parts = [output.get("text", "") for output in outputs(notebook)]
    parts += ["".join(o.get("data", {}).get("text/markdown", "")) for o in outputs(notebook)]
    return "\n".join(parts)


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= set(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, package_file, monkeypatch, tmp_path):
    monkeypatch.setenv("M3VIT_PACKAGE", str(package_file))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    text = text_of(notebook)
    assert "agree on every bit: False" not in text
    for expected in EXPECTED.get(path.stem, ()):
        assert expected in text
    assert not list(ROOT.glob("my_*")), "a notebook wrote into the repository"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stored_with_its_results(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    kinds = {output.output_type for output in outputs(notebook)}
    assert "error" not in kinds
    assert not [o for o in outputs(notebook) if o.get("name") == "stderr"]
    pictures = [
        o for o in outputs(notebook) if {"image/png", "image/jpeg"} & set(o.get("data", ()))
    ]
    assert pictures
    for expected in EXPECTED.get(path.stem, ()):
        assert expected in text_of(notebook)
    assert path.stat().st_size < 1_500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_claims_no_cycles(path):
    """Nothing counts cycles, and no time of a board was measured."""
    notebook = nbformat.read(path, as_version=4)
    said = text_of(notebook)
    assert not re.search(r"\d cycles|modelled", said)
    whole = said + "\n".join(cell.source for cell in notebook.cells)
    for gone in ("act_lines", "score_elements", "queue_entries", "count_cycles(", "timeline"):
        assert gone not in whole


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_stored_without_traces_of_a_machine(path):
    stored = nbformat.read(path, as_version=4)
    assert stored == load_tool().strip(nbformat.read(path, as_version=4))
    text = path.read_text()
    assert str(ROOT) not in text and "/home/" not in text and "/tmp/" not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_links_of_a_notebook_lead_somewhere(path):
    """Delivered notebooks have no repository around them, so links stay within the folder."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)]+)\)", cell.source):
                assert target.startswith("https://") or (path.parent / target).is_file(), target
                assert "/" not in target or target.startswith("https://")


def test_pynq_delivers_the_notebooks(tmp_path):
    """PYNQ's own command, on what is installed."""
    script = "from pynq._cli.get_notebooks import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", script, "m3vit-pynq", "-o", "-p", str(tmp_path)],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    delivered = {p.name: p.read_bytes() for p in (tmp_path / "m3vit-pynq").iterdir()}
    assert delivered == {path.name: path.read_bytes() for path in NOTEBOOKS}


# The tool that executes them


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["language_info"] = {"name": "python", "version": "3.99.0"}
    notebook.cells[0].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    notebook.cells[0].metadata["tags"] = ["kept"]
    nbformat.write(notebook, path)


def test_executing_stores_results_and_nothing_volatile(tmp_path):
    tool, here = load_tool(), ["--folder", str(tmp_path)]
    write_notebook(tmp_path / "01_good.ipynb", "import os; print(os.listdir())", "6 * 7")
    write_notebook(tmp_path / "02_bad.ipynb", "1 / 0")
    untouched = (tmp_path / "02_bad.ipynb").read_bytes()
    assert tool.main(here) == 1
    assert (tmp_path / "02_bad.ipynb").read_bytes() == untouched
    stored = nbformat.read(tmp_path / "01_good.ipynb", as_version=4)
    first, second = stored.cells
    assert first.outputs[0].text == "[]\n"  # a folder of its own
    assert second.outputs[0].data["text/plain"] == "42"
    assert stored.metadata.language_info == {"name": "python"}
    assert first.metadata == {"tags": ["kept"]} and first.id == "cell-00"
    before = (tmp_path / "01_good.ipynb").read_bytes()
    assert tool.main([*here, "01"]) == 0
    assert (tmp_path / "01_good.ipynb").read_bytes() == before


def test_a_notebook_that_does_not_exist_is_named():
    with pytest.raises(SystemExit, match=r"no notebook begins with '77'.*01_getting_started"):
        load_tool().main(["77"])
