# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Commands end to end on the emulated board."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from m3vit_pynq import cli
from m3vit_pynq import package as package_module
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.config import get_config
from m3vit_pynq.package import Package
from m3vit_pynq.reference.checkpoint import random_checkpoint


def test_help_of_every_command(capsys):
    for command in ("demo", "info", "bench", "disassemble", "convert", "export"):
        with pytest.raises(SystemExit) as stopped:
            cli.main([command, "--help"])
        assert stopped.value.code == 0
        assert command in capsys.readouterr().out


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "m3vit_pynq.cli", "--version"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("m3vit-pynq ")


def test_demo(package_file, folder, tmp_path, capsys):
    status = cli.main([
        "demo", "--source", str(folder), "--package", str(package_file), "--frames", "5",
        "--switch-every", "2", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "a" / "j"),
        "--sheet", str(tmp_path / "sheets" / "s.png"), "--rows", "1", "--no-boards",
    ])  # fmt: skip
    assert status == 0
    data = json.loads((tmp_path / "a" / "j").read_text())
    assert data["frames"] == 5
    assert len(data["switches"]) == 1
    assert data["first_frame_after_switch_ratio"] is None and data["cycles"] == "not counted"
    assert (tmp_path / "sheets" / "s.png").is_file()
    captured = capsys.readouterr()
    assert "frames per second" in captured.out
    assert "random weights" in captured.err


def test_demo_on_another_board(package_file, folder, tmp_path):
    assert cli.main([
        "demo", "--source", str(folder), "--package", str(package_file), "--frames", "2",
        "--board", "pynq-z2", "--out", str(tmp_path), "--json", str(tmp_path / "j"), "--no-boards",
    ]) == 0  # fmt: skip
    assert json.loads((tmp_path / "j").read_text())["board"] == "PYNQ-Z2"


def test_demo_without_a_trained_package_says_so_loudly(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(package_module, "shipped", tuple)
    assert cli.main([
        "demo", "--source", "synthetic", "--frames", "2", "--out", str(tmp_path), "--no-boards"
    ]) == 0  # fmt: skip
    assert "RANDOM WEIGHTS" in capsys.readouterr().err


def test_info(package_file, capsys, tmp_path):
    assert cli.main(["info", "--package", str(package_file), "--json", str(tmp_path / "i")]) == 0
    out = capsys.readouterr().out
    for words in ("ZCU104", "0x4d335654", "2048", "segmentation, depth", "m3vit-pynq", "micro"):
        assert words in out
    data = json.loads((tmp_path / "i").read_text())
    assert data["board"]["emulated"] is True
    assert data["registers"]["0x0bc id_magic"] == "0x4d335654"
    assert data["registers"]["0x0cc id_abi"] == "0x00000002"
    board = BOARDS["zcu104"]
    assert data["board"]["half_lines"] == board.half_lines
    assert data["board"]["tokens"] == board.max_tokens
    assert data["board"]["map_lines"] == board.map_lines
    assert data["board"]["engine"] == "fast"
    needs = Package.load(package_file).requirements
    assert {name: data["package"][name] for name in needs} == needs
    assert data["package"]["fits"] == ", ".join(board.title for board in BOARDS.values())


def test_disassemble(package_file, package, capsys):
    assert cli.main(["disassemble", str(package_file)]) == 0
    out = capsys.readouterr().out
    for opcode in {i.opcode.name for i in package.decoded.instructions}:
        assert opcode in out


def test_bench(package_file, folder, tmp_path, capsys):
    record = tmp_path / "r" / "bench.csv"
    command = [
        "bench", "--package", str(package_file), "--source", str(folder), "--repeats", "2",
        "--no-torch", "--no-onnxruntime", "--threads", "1", "--json", str(tmp_path / "b"),
        "--record", str(record),
    ]  # fmt: skip
    assert cli.main(command) == 0
    data = json.loads((tmp_path / "b").read_text())
    assert set(data["speed"]) == {"segmentation", "depth"}
    speed = data["speed"]["depth"]
    assert speed["torch_ms"] is speed["onnxruntime_ms"] is None
    assert speed["ratio_torch"] is speed["ratio_onnxruntime"] is None
    repeats = speed["timings"]["emulated"]["repeats"]
    assert len(repeats) == 2 and min(repeats) <= speed["emulated_ms"] <= max(repeats)
    assert sum(found["macs"] for found in speed["classes"].values()) > 0
    assert data["threads"] == 1 and data["path"] and data["notes"] == []
    assert data["engine"] == "fast" and data["cycles"] == "not counted"
    assert set(data["boards"]) == set(BOARDS)
    for tasks in data["boards"].values():
        assert tasks["depth"] == {
            "cycles": None, "milliseconds": None, "bytes": None, "utilisation": None, "layers": {},
        }  # fmt: skip
    workload = data["workload"]["depth"]
    assert workload["macs"] > 0 and workload["read_bytes"] > workload["written_bytes"] > 0
    assert data["registers_per_frame"] == 5 and data["registers_per_switch_frame"] == 6
    out = capsys.readouterr().out
    assert out.count("fits; cycles are not counted") == len(BOARDS)
    assert "MB of weights" in out and "MB of activations" in out
    assert cli.main(command) == 0
    with record.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == ["segmentation", "depth"] * 2
    assert all(float(row["emulated_ms"]) > 0 and row["path"] == data["path"] for row in rows)
    assert all(row["ratio_onnxruntime"] == row["torch_ms"] == "" for row in rows)
    record.write_text("other,columns\n")
    assert cli.main(command) == cli.EXIT_ERROR


def test_convert(tmp_path, folder, capsys):
    config = get_config("micro")
    path = tmp_path / "checkpoint.npz"
    np.savez(
        path, **random_checkpoint(config, 5),
        __config__=np.array(json.dumps(config.to_dict())),
        __meta__=np.array(json.dumps({"licence": "for tests"})),
    )  # fmt: skip
    target = tmp_path / "made.m3vit"
    assert cli.main([
        "convert", str(path), str(target), "--calibration", str(folder), "--images", "2",
        "--scene", "indoor",
    ]) == 0  # fmt: skip
    made = Package.load(target)
    assert made.config == config
    assert made.metadata["licence"] == "for tests"
    assert made.metadata["scenes"] == ["indoor"]
    assert made.metadata["calibration_frames"] == 2
    assert "made.m3vit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--source", "/no/such/thing.mp4"], "no such file or folder"),
        (["demo", "--source", "97"], "no such camera"),
        (["demo", "--package", "nothing.m3vit"], "no such file"),
        (["demo", "--source", "synthetic", "--board", "zx81"], "unknown board 'zx81'"),
        (["info", "--board", "zx81"], "unknown board 'zx81'"),
        (["disassemble", "nothing.m3vit"], "no such file"),
        (["convert", "nothing.npz", "a.m3vit"], "no such checkpoint"),
    ],
)
def test_errors_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(package_module, "shipped", tuple)
    assert cli.main(arguments) == cli.EXIT_ERROR
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"m3vit-pynq {arguments[0]}: ")
    assert message in last


def test_a_damaged_package_is_one_line(tmp_path, capsys):
    path = tmp_path / "damaged.m3vit"
    path.write_bytes(b"PK\3\4 and then nothing of use")
    assert cli.main(["info", "--package", str(path)]) == cli.EXIT_ERROR
    assert "file: not a readable package" in capsys.readouterr().err


def test_a_package_of_the_first_edition_says_what_to_do(package_file, tmp_path, capsys):
    """The manifest as version 0.1 wrote it; everything else does not matter."""
    with np.load(package_file) as stored:
        entries = dict(stored)
    manifest = json.loads(entries["manifest"].tobytes().decode())
    manifest.update(format=1, abi=1)
    entries["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    path = tmp_path / "old.m3vit"
    with path.open("wb") as file:
        np.savez(file, **entries)
    for command in (["info", "--package", str(path)], ["disassemble", str(path)],
                    ["demo", "--source", "synthetic", "--package", str(path)]):  # fmt: skip
        assert cli.main(command) == cli.EXIT_ERROR
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert "compiled for ABI 1, this library speaks 2" in last
        assert "m3vit-pynq convert" in last


def test_export_and_convert_again(package_file, folder, tmp_path, capsys):
    """What comes back compiles to the same integers, except where scales are chosen anew."""
    checkpoint, again = tmp_path / "float.npz", tmp_path / "again.m3vit"
    assert cli.main(["export", str(package_file), "-o", str(checkpoint)]) == 0
    assert "float.npz: micro" in capsys.readouterr().out
    assert cli.main([
        "convert", str(checkpoint), str(again), "--calibration", str(folder), "--images", "2",
    ]) == 0  # fmt: skip
    assert Package.load(again).config == Package.load(package_file).config
    assert cli.main(["export", str(package_file), "-o", str(checkpoint)]) == cli.EXIT_ERROR
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--frames", "0"], ["--frames", "x"], ["--rows", "-1"]])
def test_options_out_of_range(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["demo", *option])
    assert stopped.value.code == 2
    assert "argument" in capsys.readouterr().err


def test_ctrl_c_is_clean(monkeypatch, capsys, package_file):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("m3vit_pynq.demo.runner.annotate", interrupted)
    assert cli.main([
        "demo", "--source", "synthetic", "--package", str(package_file), "--frames", "3",
    ]) == cli.EXIT_INTERRUPTED  # fmt: skip
    assert capsys.readouterr().err.endswith("interrupted\n")
