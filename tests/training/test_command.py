# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""``m3vit-pynq train``: both phases, a student, packages, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from m3vit_pynq.cli import main
from m3vit_pynq.package import Package
from m3vit_pynq.training import command
from m3vit_pynq.training.checkpoint import load_checkpoint
from m3vit_pynq.training.export import load_npz
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.recipe import DENSE, MOE, RECIPES, Recipes
from m3vit_pynq.training.trainer import Trainer


@pytest.fixture
def train(data_folder, cache_folder, tmp_path, micro, monkeypatch):
    """Runs the command on the micro variant; ``out`` is the folder it writes to."""
    monkeypatch.setattr(command, "get_config", lambda name: dataclasses.replace(micro, name=name))

    def run(*options, out=tmp_path / "out", data=data_folder):
        return main(
            [
                "train", "--variant", "micro", "--data", str(data), "--out", str(out),
                "--cache", str(cache_folder), "--batch", "3", "--precision", "fp32",
                "--device", "cpu", *map(str, options),
            ]
        )  # fmt: skip

    run.out = tmp_path / "out"
    return run


ONE_EACH = ("--dense-epochs", 1, "--moe-epochs", 1)


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_both_phases_with_frames_held_out(train, capsys, caplog):
    assert train("--dense-epochs", 2, "--moe-epochs", 1, "--held-out", 2) == 0
    names = {path.name for path in train.out.iterdir()}
    assert names == {
        "dense.pt", "dense.npz", "dense.csv", "dense.png", "dense.json", "upcycled.npz",
        "moe.pt", "moe.npz", "moe.csv", "moe.png", "moe.json", "latest.npz",
    }  # fmt: skip
    report = json.loads((train.out / "moe.json").read_text())
    assert report["split"] == "held out"
    assert report["frames"] == 2
    assert 0 <= report["segmentation"]["miou"] <= 1
    assert load_npz(train.out / "moe.npz")[2]["metrics_float"] == report
    # The curve: at the last epoch, and the same figure as the report.
    dense = _rows(train.out / "dense.csv")
    assert [row["epoch"] for row in dense] == ["1", "2"]
    assert not dense[0]["held_out_depth_rmse"]
    final = json.loads((train.out / "dense.json").read_text())
    assert float(dense[1]["held_out_depth_rmse"]) == pytest.approx(final["depth"]["rmse"])
    # Two images of six make a step each: the recipe's balance and margin losses are there.
    routed = _rows(train.out / "moe.csv")[0]
    assert {"balance", "margin", "segmentation", "depth", "held_out_depth_rmse"} <= set(routed)
    assert "no --start: the backbone begins with random weights" in caplog.text


def test_nothing_is_lost_when_a_finished_run_is_resumed(train, caplog):
    assert train(*ONE_EACH, "--held-out", 2) == 0
    before = {path.name: path.read_bytes() for path in train.out.iterdir()}
    assert train(*ONE_EACH, "--held-out", 2, "--resume", "--no-evaluation") == 0
    assert {path.name: path.read_bytes() for path in train.out.iterdir()} == before
    # Without --resume the folder is not touched.
    assert train(*ONE_EACH) == 2
    assert {path.name: path.read_bytes() for path in train.out.iterdir()} == before


def test_an_earlier_run_is_not_overwritten(train, capsys):
    train.out.mkdir()
    (train.out / "moe.pt").write_bytes(b"days of work")
    assert train() == 2
    assert "moe.pt holds an earlier run: add --resume" in capsys.readouterr().err
    assert (train.out / "moe.pt").read_bytes() == b"days of work"


def test_the_same_seed_gives_the_same_weights(train, tmp_path):
    outs = [tmp_path / name for name in ("a", "b", "other")]
    for out, seed in zip(outs, (3, 3, 4), strict=True):
        assert train(*ONE_EACH, "--seed", seed, "--no-evaluation", out=out) == 0
    first, second, other = (load_npz(out / "moe.npz")[1] for out in outs)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["backbone.cls_token"], other["backbone.cls_token"])


def test_an_interrupted_run_goes_on_to_the_same_weights(train, tmp_path, monkeypatch, caplog):
    """Interrupted in the first step of the second epoch, of both phases."""
    options = ("--dense-epochs", 2, "--moe-epochs", 2, "--no-evaluation")
    assert train(*options, out=tmp_path / "whole") == 0
    step, interrupted = Trainer.train_step, []

    def interrupting(self, batch):
        if self.epoch == 1 and self.phase not in interrupted:
            interrupted.append(self.phase)
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "train_step", interrupting)
    for saved in ("dense.pt in", "dense.pt and moe.pt in"):
        caplog.clear()
        assert train(*options, "--resume") == 130
        assert f"interrupted; {saved}" in caplog.text
        assert "add --resume to continue" in caplog.text
    assert interrupted == ["dense", "moe"]
    assert train(*options, "--resume") == 0
    for phase in ("dense", "moe"):
        whole, parts = (
            load_checkpoint(out / f"{phase}.pt") for out in (tmp_path / "whole", train.out)
        )
        for part in ("model", "average"):
            for name, value in whole[part].items():
                assert torch.equal(value, parts[part][name]), (phase, part, name)
        logs = [_rows(out / f"{phase}.csv") for out in (tmp_path / "whole", train.out)]
        assert [row["depth"] for row in logs[0]] == [row["depth"] for row in logs[1]]


def test_resuming_where_nothing_is_starts_afresh_and_says_so(train, caplog):
    assert train("--phase", "dense", "--dense-epochs", 1, "--resume", "--no-evaluation") == 0
    assert "nothing to resume: there is no" in caplog.text
    assert "dense.pt; the phase starts afresh" in caplog.text


def test_a_student_learns_from_a_run(train, tmp_path, monkeypatch, capsys):
    assert (
        train("--phase", "dense", "--dense-epochs", 1, "--no-evaluation", out=tmp_path / "t") == 0
    )
    monkeypatch.setitem(RECIPES, "micro", Recipes(taught=True))
    assert train(*ONE_EACH) == 2
    message = capsys.readouterr().err
    assert "give --teacher RUN/dense.pt" in message
    assert "--teacher none" in message
    teacher = ("--teacher", tmp_path / "t" / "dense.pt")
    assert train(*ONE_EACH, *teacher, "--no-evaluation") == 0
    for phase in ("dense", "moe"):
        row = _rows(train.out / f"{phase}.csv")[0]
        assert {"taught_segmentation", "taught_depth", "taught_features"} <= set(row)
        meta = load_npz(train.out / f"{phase}.npz")[2]
        assert meta["teacher"] == "dense.pt"
    alone = ("--phase", "dense", "--dense-epochs", 1, "--teacher", "none", "--no-evaluation")
    assert train(*alone, out=tmp_path / "alone") == 0
    assert "taught_depth" not in _rows(tmp_path / "alone" / "dense.csv")[0]


def test_the_origin_of_the_weights_survives(train, micro_dense, tmp_path):
    """Through a resumed dense phase and a routed phase that are not told of it again."""
    state = {
        name.replace(".ls1", ".ls1.gamma").replace(".ls2", ".ls2.gamma"): value
        for name, value in M3ViT(micro_dense).backbone.state_dict().items()
    }
    state["pos_embed"] = torch.zeros(1, 1 + 9, micro_dense.embed_dim)
    torch.save(state, tmp_path / "vit.pth")
    dense = ("--phase", "dense", "--no-evaluation")
    assert train(*dense, "--dense-epochs", 1, "--start", tmp_path / "vit.pth") == 0
    assert train(*dense, "--dense-epochs", 2, "--resume") == 0
    assert train("--phase", "moe", "--moe-epochs", 1, "--no-evaluation") == 0
    for name in ("dense", "upcycled", "moe"):
        assert load_npz(train.out / f"{name}.npz")[2]["start"] == "vit.pth"


def test_the_routed_phase_may_have_a_larger_input(train, micro, monkeypatch):
    """Positions of the dense phase are resampled: its function stays, on the new grid."""
    assert train("--phase", "dense", "--dense-epochs", 1, "--no-evaluation") == 0
    larger = dataclasses.replace(micro, name="micro", image_size=(48, 64))
    monkeypatch.setattr(command, "get_config", lambda name: larger)
    assert train("--phase", "moe", "--moe-epochs", 1, "--no-evaluation") == 0
    assert load_npz(train.out / "moe.npz")[1]["backbone.pos_embed"].shape == (1, 1 + 6 * 8, 64)


def test_a_package_comes_out(train, micro, tmp_path):
    path = tmp_path / "model.m3vit"
    assert train(*ONE_EACH, "--no-evaluation", "--package", path) == 0
    package = Package.load(path)
    assert package.task_names == micro.task_names
    assert package.config == dataclasses.replace(micro, name="micro")
    assert package.metadata["training_frames"] == 8
    assert "NYU Depth v2" in package.metadata["provenance"]
    assert "research use" in package.metadata["licence"]


def test_options_change_the_recipe(train):
    assert train(*ONE_EACH, "--lr-factor", 0.5, "--seed", 7, "--no-evaluation") == 0
    for phase, recipe in (("dense", DENSE), ("moe", MOE)):
        used = load_npz(train.out / f"{phase}.npz")[2]["recipe"]
        assert used["lr_backbone"] == recipe.lr_backbone * 0.5
        assert used["lr_heads"] == recipe.lr_heads * 0.5
        assert used["lr_routers"] == recipe.lr_routers * 0.5
        assert (used["epochs"], used["batch"], used["seed"]) == (1, 3, 7)
        for name in ("hold", "ema", "balance", "margin", "tie_groups", "warmup_steps"):
            assert used[name] == getattr(recipe, name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "/nowhere"), "/nowhere is not a folder: --data takes"),
        (("--start", "/nowhere.onnx"), "/nowhere.onnx: no such file to start from"),
        (("--teacher", "/nowhere.pt"), "/nowhere.pt: no such checkpoint"),
        (("--phase", "moe"), "dense.pt is missing: the routed phase starts from it"),
        (("--workers", "2"), "cannot be cut into 1 processes x 2 workers: give --batch a multiple"),
        (("--evaluate-every", "3"), "give --held-out N as well"),
        (("--held-out", "8"), "cannot hold out 8 of 8 frames"),
        (("--out", "/proc/self/none"), "cannot write into /proc/self/none"),
        (("--device", "cuda"), "finds no CUDA device"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(train, capsys, monkeypatch, options, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(*options) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.strip().splitlines()[-1].startswith("m3vit-pynq train: ")
    assert not (train.out / "dense.pt").exists()


def test_experts_that_cannot_hold_the_layers_are_refused_at_once(train, micro, monkeypatch, capsys):
    monkeypatch.setattr(
        command, "get_config", lambda name: dataclasses.replace(micro, expert_hidden=96)
    )
    assert train() == 2
    assert "upcycling needs top_k * expert_hidden" in capsys.readouterr().err


def test_a_dense_phase_of_another_variant_is_refused(train, micro, monkeypatch, capsys):
    assert train("--phase", "dense", "--dense-epochs", 1, "--no-evaluation") == 0
    other = dataclasses.replace(micro, name="deeper", depth=5)
    monkeypatch.setattr(command, "get_config", lambda name: other)
    assert train("--phase", "moe") == 2
    assert "dense.pt is a dense micro, which variant deeper cannot" in capsys.readouterr().err
    assert train("--resume") == 2
    assert "resume with --variant micro" in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_one_line(train, capsys, monkeypatch):
    monkeypatch.setattr(M3ViT, "forward", _nan_forward)
    assert train("--phase", "dense", "--no-evaluation") == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("m3vit-pynq train: the loss is not finite at step 0")
    assert "start again with lower learning rates (--lr-factor)" in message


def _nan_forward(self, images, task=None, taps_seen=None, former=M3ViT.forward):
    outputs = former(self, images, task, taps_seen)
    return {name: value * float("nan") for name, value in outputs.items()}


@pytest.mark.parametrize("missing", ["torch", "cv2"])
def test_without_the_extra_one_line_says_what_to_install(train, capsys, monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    assert train() == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("m3vit-pynq train: ")
    assert f"({missing})" in message
    assert message.endswith("pip install 'm3vit-pynq[train]'")


def test_a_library_of_the_extra_that_is_missing_is_named(train, capsys, monkeypatch):
    def missing(*_):
        raise ImportError("reading x.onnx needs the package 'onnx': pip install onnx")

    monkeypatch.setattr(command.Run, "_start", missing)
    assert train() == 2
    assert "m3vit-pynq train: reading x.onnx needs the package" in capsys.readouterr().err


def test_help_and_refusals_need_no_pytorch():
    """Neither the module that torchrun starts nor the command imports it before it must."""
    code = (
        "import sys, m3vit_pynq.cli as c; import m3vit_pynq.training.__main__; "
        "c.build_parser().parse_args(['train', '--data', '.', '--out', '.']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_two_tasks_are_evaluated_unless_one_was_trained(train, micro, monkeypatch):
    only = dataclasses.replace(DENSE, tasks=("depth",))
    monkeypatch.setitem(RECIPES, "micro", Recipes(dense=only))
    assert train("--phase", "dense", "--dense-epochs", 1, "--held-out", 2) == 0
    report = json.loads((train.out / "dense.json").read_text())
    assert "segmentation" not in report
    assert report["depth"]["rmse"] > 0
