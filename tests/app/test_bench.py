# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark: how it compares, what it says of what is missing, its own machine code."""

import dataclasses
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from m3vit_pynq import cli
from m3vit_pynq.bench import competitors, native
from m3vit_pynq.bench.report import BenchReport, Setting
from m3vit_pynq.bench.speed import ClassTime, Comparison, Timing, compare
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.fast import available_paths
from m3vit_pynq.overlay import M3ViTOverlay

CONFIG = get_config("micro")
FRAME = competitors.random_frames(CONFIG, 1)[0]
needs_onnxruntime = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "ml_dtypes")),
    reason="the extra [bench] is not installed",
)


def timing(*milliseconds):
    return Timing(milliseconds, 1.0)


def test_ratios_are_of_pairs_and_of_the_fastest_onnxruntime():
    found = Comparison(
        timing(10, 20, 10),
        {
            "torch": timing(30, 40, 50),
            "onnxruntime_fp32": timing(50, 50, 50),
            "onnxruntime_dynamic": timing(20, 20, 80),
            "onnxruntime_static": timing(30, 30, 30),
        },
    )
    assert found.ratio_torch == 3  # of 3, 2, 5
    assert found.best_onnxruntime == "onnxruntime_dynamic"
    assert found.ratio_onnxruntime == 2  # of 2, 1, 8
    alone = Comparison(timing(10))
    assert alone.best_onnxruntime is alone.ratio_onnxruntime is alone.ratio_torch is None


def test_everybody_runs_in_turn(package, monkeypatch):
    """Warm-up first, then one of each, again and again; every one with the same frame."""
    calls = []

    def runner(name):
        return lambda frame, task: calls.append((task, name, frame.shape))

    with M3ViTOverlay(package) as overlay:
        others = {"torch": runner("torch"), "onnxruntime_fp32": runner("fp32")}
        found = compare(overlay, FRAME, 2, others)
    assert set(found) == set(CONFIG.task_names)
    for task, comparison in found.items():
        mine = [name for t, name, _ in calls if t == task]
        assert mine == ["torch"] * 2 + ["fp32"] * 2 + ["torch", "fp32"] * 2
        assert all(len(t.milliseconds) == 2 for t in comparison.others.values())
        assert comparison.classes["LINEAR"].products > 0
        assert list(comparison.classes.values()) == sorted(
            comparison.classes.values(), key=lambda c: -c.milliseconds
        )
    assert {shape for _, _, shape in calls} == {FRAME.shape}


def test_what_is_missing_is_said(monkeypatch, capsys, package_file, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda name, *a: None if name in ("torch", "onnx", "onnxruntime") else find_spec(name, *a),
    )  # fmt: skip
    found = competitors.find(CONFIG, 1)
    assert found.runners == {}
    torch, runtime = found.missing
    assert torch.startswith("torch is not installed") and "m3vit-pynq[bench]" in torch
    assert runtime.startswith("onnxruntime and onnx are not installed")
    assert competitors.find(CONFIG, 1, ("torch", "onnxruntime")).missing == ()
    command = ["bench", "--package", str(package_file), "--source", "synthetic", "--repeats", "1"]
    assert cli.main(command) == 0
    assert "note: torch is not installed" in capsys.readouterr().out


def test_a_path_that_this_processor_does_not_have(capsys, package_file):
    command = ["bench", "--package", str(package_file), "--source", "synthetic", "--repeats", "1"]
    assert cli.main([*command, "--path", "abacus"]) == cli.EXIT_ERROR
    assert "no path 'abacus'; it has" in capsys.readouterr().err
    assert cli.main([*command, "--threads", "1000"]) == cli.EXIT_ERROR
    assert "from 1 to 256" in capsys.readouterr().err


def test_shares_of_the_peak(package):
    """Of all threads that can be at work."""
    classes = {"LINEAR": ClassTime(2.0, 10**9), "GATE": ClassTime(1.0, 0)}
    report = BenchReport(
        package=package, board="zcu104", boards={}, workloads={},
        comparisons={"depth": Comparison(timing(4, 4), classes=classes)},
        registers_per_frame=5, registers_per_switch_frame=6,
        setting=Setting("fast", "avx2", threads=1, peak=1e12),
    )  # fmt: skip
    found = report.to_dict()["speed"]["depth"]["classes"]
    assert found["LINEAR"] == {"ms": 2.0, "macs": 10**9, "of_peak": pytest.approx(0.5)}
    assert found["GATE"]["of_peak"] is None
    linear = next(line for line in report.table().splitlines() if "LINEAR" in line)
    assert linear.split() == ["LINEAR", "2.00", "50.0%", "1.00", "500", "50%"]
    without = dataclasses.replace(report, setting=Setting("fast", "avx2"))
    assert without.to_dict()["speed"]["depth"]["classes"]["LINEAR"]["of_peak"] is None
    assert "peak:" not in without.table()


def test_peaks_of_the_processor_are_in_order():
    peaks = [native.peak(path) for path in available_paths()]
    if not any(peaks):
        pytest.skip("no compiler, or another architecture")
    assert peaks[-1] is None  # plain C++ has no instruction of its own
    assert all(peak > 1e9 for peak in peaks[:-1])
    assert native.peak("abacus") is None


SEES = """
import subprocess, sys
from m3vit_pynq.bench import native
from m3vit_pynq.emulator.fast import available_paths
with native.limit_libraries({path!r}) as problem:
    print(problem or "limited")
    print(*available_paths())
import faulthandler  # the handler is gone: a wrong address is fatal again
import ctypes
ctypes.string_at(0)
"""


@pytest.mark.parametrize("path", [p for p in available_paths() if p != "amx"])
def test_a_library_can_be_shown_an_older_processor(path):
    """The engine itself is such a library: it sees what its path's processors have."""
    done = subprocess.run(
        [sys.executable, "-c", SEES.format(path=path)], capture_output=True, text=True, timeout=120
    )
    words, *seen = done.stdout.splitlines()
    if words != "limited":
        pytest.skip(words)
    everything = available_paths()
    assert seen == [" ".join(everything[everything.index(path) :])]
    assert done.returncode == -11


@needs_onnxruntime
def test_onnxruntime_gives_results_of_the_same_shape_and_kind(package):
    runners = competitors.onnxruntime_runners(CONFIG, 1)
    assert set(runners) == set(competitors.ONNXRUNTIME)
    exact = {task: runners["onnxruntime_fp32"](FRAME, task) for task in CONFIG.task_names}
    for run in runners.values():
        for task in CONFIG.task_names:
            result = run(FRAME, task)
            assert result.shape == package.task(task).output_shape
            assert result.dtype == (np.uint8 if task == "segmentation" else np.float32)
        assert np.abs(np.log(run(FRAME, "depth") / exact["depth"])).max() < 0.1
