# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq estimate``: figures, file, and what bad input gets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.cli import main
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.trace import store


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return str(random_package(get_config("micro")).save(tmp_path_factory.mktemp("p") / "a.m3vit"))


@pytest.fixture(autouse=True)
def counted(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "cycles")


def test_it_prints_and_writes_the_figures(file, tmp_path, capsys):
    target = tmp_path / "new" / "figures.json"
    assert main(["estimate", "--package", file, "--board", "pynq-z2", "--json", str(target)]) == 0
    data, text = json.loads(target.read_text()), capsys.readouterr().out
    assert [p.name for p in target.parent.iterdir()] == ["figures.json"]
    board = get_board("pynq-z2")
    assert data["clock_mhz"] == board.clock_mhz == 100
    for task in ("segmentation", "depth"):
        cycles = data["cycles"][task]
        assert data["milliseconds"][task] == pytest.approx(cycles / 1e5, rel=1e-3)
        assert 0 < data["roofline_share"][task] < 1
        assert f"{task}: {cycles:,} cycles" in text
        layers = data["layers"][task]
        assert sum(row["cycles"] for row in layers.values()) == cycles
        assert {"products", "bytes", "cycles", "roofline_share", "limit"} <= set(
            layers["attention: scores and values"]
        )
    assert data["device"] == {"dsp": 220, "bram36": 140, "uram": 0, "lut": 53200}
    assert data["resources"] is None or set(data["resources"]) == set(data["device"])
    assert "modelled" in text and "no bitstream" in text


def test_what_a_board_refuses_is_one_line_and_no_file(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BOARDS, "pynq-z2", replace(BOARDS["pynq-z2"], max_tokens=16))
    target = tmp_path / "figures.json"
    code = main(["estimate", "--package", file, "--board", "pynq-z2", "--json", str(target)])
    error = capsys.readouterr().err
    assert code == 2 and not target.exists()
    assert error.startswith("m3vit-pynq estimate: ") and error.count("\n") == 1
    assert "PYNQ-Z2" in error and "16" in error


def test_a_board_without_a_figure_is_one_line_and_no_file(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BOARDS, "pynq-z2", replace(BOARDS["pynq-z2"], dram_gbytes=0.0))
    target = tmp_path / "figures.json"
    code = main(["estimate", "--package", file, "--board", "pynq-z2", "--json", str(target)])
    assert code == 2 and not target.exists()
    assert "pynq-z2: no dram_gbytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--board", "zcu999"], "unknown board 'zcu999'"),
        (["--package", "nothing.m3vit"], "nothing.m3vit: no such file"),
        (["--source", "nothing.png"], "nothing.png"),
    ],
)
def test_bad_input_is_named(options, problem, file, tmp_path, capsys):
    target = tmp_path / "figures.json"
    code = main(["estimate", "--package", file, "--json", str(target), *options])
    assert code == 2 and not target.exists()
    assert problem in capsys.readouterr().err


def test_a_file_that_cannot_be_written_leaves_nothing_behind(file, tmp_path, capsys):
    folder = tmp_path / "figures.json"
    folder.mkdir()
    assert main(["estimate", "--package", file, "--json", str(folder)]) == 2
    assert list(tmp_path.glob(".*")) == [] and list(folder.iterdir()) == []
    assert "figures.json" in capsys.readouterr().err
