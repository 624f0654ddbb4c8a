# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""The command as a process of its own: signals, and several processes with torchrun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from m3vit_pynq.training.checkpoint import load_checkpoint
from m3vit_pynq.training.device import choose_device
from m3vit_pynq.training.ranks import Ranks, connected

ROOT = Path(__file__).resolve().parents[2]

#: The command with a micro variant whose experts can hold a slice of the dense layer.
SCRIPT = """
import sys
from m3vit_pynq.config import get_config
from m3vit_pynq.training import command
micro = get_config("micro", expert_hidden=128)
command.get_config = lambda name: micro
from m3vit_pynq.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.fixture
def start(data_folder, cache_folder, tmp_path):
    """Starts the command as a process; ``launch`` are the arguments of Python before it."""
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    environment.pop("WORLD_SIZE", None)

    started = []

    def run(launch, *options):
        command = [
            sys.executable, *map(str, launch), "--variant", "micro", "--data", str(data_folder),
            "--cache", str(cache_folder), "--device", "cpu", "--precision", "fp32",
            *map(str, options),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # torchrun's processes as well
            process.wait()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_run_that_can_be_resumed(start, tmp_path, kind):
    out = tmp_path / "out"
    options = ("--phase", "dense", "--dense-epochs", 100000, "--batch", 2, "--out", out)
    process = start(("-m", "m3vit_pynq.training"), *options)
    deadline = time.monotonic() + 200
    while not (out / "dense.pt").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"interrupted; dense.pt in {out} are complete: add --resume" in errors
    state = load_checkpoint(out / "dense.pt")
    assert state["epoch"] >= 1
    assert state["step"] == 4 * state["epoch"]
    assert not list(out.glob("*.part"))


def test_two_processes_do_what_one_does_with_two_workers(start, tmp_path):
    both = ("--dense-epochs", 2, "--moe-epochs", 2, "--batch", 2, "--held-out", 2)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    double = start((*torchrun, "train.py"), *both, "--evaluate-every", 1, "--out", "double")
    _, errors = double.communicate(timeout=280)
    assert double.returncode == 0, errors
    out = tmp_path / "double"
    for name in ("dense.npz", "moe.npz", "dense.png", "moe.json", "upcycled.npz"):
        assert (out / name).is_file()
    assert (out / "moe.csv").read_text().count("\n") == 3
    # One process, from the same dense model: rounding must not decide which groups are found.
    shutil.copytree(out, tmp_path / "single")
    for name in ("moe.pt", "moe.csv"):
        (tmp_path / "single" / name).unlink()
    for phase, folder in (("dense", "dense"), ("moe", "single")):
        options = (*both, "--workers", 2, "--phase", phase, "--no-evaluation", "--out", folder)
        single = start(("train.py",), *options)
        _, errors = single.communicate(timeout=140)
        assert single.returncode == 0, errors
        ours, theirs = (load_checkpoint(tmp_path / f / f"{phase}.pt") for f in ("double", folder))
        assert ours["step"] == theirs["step"] == 6
        for part in ("model", "average"):
            for name, value in theirs[part].items():
                assert torch.allclose(ours[part][name], value, atol=2e-5), (phase, part, name)


def test_alone_there_is_nothing_to_exchange(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with connected("cpu") as ranks:
        assert ranks == Ranks(choose_device("cpu"), 0, 1)
        assert ranks.first
        value = torch.ones(3)
        ranks.average([value])
        assert torch.equal(value, torch.ones(3))
        ranks.check_same(5, "nothing")
        with ranks.first_before_others():
            pass


@pytest.fixture
def two(monkeypatch):
    """This process as number 0 of two; the exchange is with what the test says of number 1."""
    other = {}

    def all_reduce(tensor):
        tensor += other["tensor"].view_as(tensor).to(tensor.dtype)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    return Ranks(index=0, count=2), other


def test_tensors_are_averaged_in_one_exchange(two):
    ranks, other = two
    first, second = torch.tensor([[1.0, 2.0]]), torch.tensor(4.0, dtype=torch.float64)
    other["tensor"] = torch.tensor([3.0, 6.0, 0.0])
    ranks.average([first, second])
    assert first.tolist() == [[2.0, 4.0]]
    assert second.item() == 2.0
    assert second.dtype == torch.float64


def test_processes_that_disagree_are_told(two):
    ranks, other = two
    other["tensor"] = torch.tensor([0, 7])
    ranks.check_same(7, "the step")
    with pytest.raises(ValueError, match=r"do not agree on the step: \[5, 7\]; .*same --out"):
        ranks.check_same(5, "the step")
