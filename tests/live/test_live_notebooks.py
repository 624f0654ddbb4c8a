# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The page for Voila runs, and says what is wrong where Voila would show nothing."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "notebooks" / "06_live_app.ipynb"


def run(folder):
    """Texts of what the cells show."""
    notebook = nbformat.read(APP, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"] for output in outputs if output.get("data")]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def test_the_app_shows_the_view(micro, tmp_path, monkeypatch):
    monkeypatch.setenv("M3VIT_PACKAGE", str(micro.save(tmp_path / "micro.m3vit")))
    shown = run(tmp_path)
    assert any("LiveView" in data.get("text/plain", "") for data in shown)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)


def test_the_app_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("M3VIT_PACKAGE", str(tmp_path / "gone.m3vit"))
    assert any("gone.m3vit" in data.get("text/plain", "") for data in run(tmp_path))
