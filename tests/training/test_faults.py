# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Bad input and bad luck: a clear message, and nothing lost."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from m3vit_pynq.training.checkpoint import check_folder, load_checkpoint, save_checkpoint
from m3vit_pynq.training.dataset import DatasetError, prepare
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.pretrained import load_start
from m3vit_pynq.training.trainer import Diverged


def _equal(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# -- the disk ----------------------------------------------------------------


def test_a_full_disk_ends_the_run_and_keeps_the_last_epoch(micro_dense, make_trainer, tmp_path):
    """The second epoch's state goes to a device that is always full."""
    one = make_trainer(micro_dense, epochs=3)

    def fill(trainer, epoch):
        (trainer.out / "phase.pt.part").symlink_to("/dev/full")

    one.after_epoch = fill
    with pytest.raises(OSError, match=r"phase\.pt could not be written .*No space left.*unharmed"):
        one.run()
    assert one.epoch == 2
    again = make_trainer(micro_dense, epochs=3, seed=9)
    assert again.resume()
    assert again.epoch == 1
    again.run()
    # To the very weights of a run that never stopped.
    whole = make_trainer(micro_dense, tmp_path / "whole", epochs=3)
    whole.run()
    assert _equal(again.model, whole.model.state_dict())
    assert _equal(again.average, whole.average.state_dict())


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"step": 1})

    def interrupted(_state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    assert load_checkpoint(path) == {"step": 1}


def test_a_folder_is_tried_before_hours_of_work(tmp_path, monkeypatch):
    check_folder(tmp_path / "new" / "folder", need=1)
    assert not any((tmp_path / "new" / "folder").iterdir())
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write into .*file.*give another folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(OSError, match="cannot write into /proc/self/none"):
        check_folder(Path("/proc/self/none"))
    with pytest.raises(OSError, match=r"has \d+ MiB left, but checkpoints need \d+ MiB"):
        check_folder(tmp_path, need=1 << 60)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match=r"cannot write into .*Permission denied"):
        check_folder(tmp_path)


# -- losses that are no numbers ----------------------------------------------


def test_diverging_names_the_last_good_state(micro_dense, make_trainer, batches):
    one = make_trainer(micro_dense, epochs=3)

    def poison(trainer, epoch):
        trainer.model.backbone.cls_token.data.fill_(float("nan"))

    one.after_epoch = poison
    with pytest.raises(Diverged, match=r"step 2 .*last good state is .*phase\.pt.*--lr-factor"):
        one.run()
    again = make_trainer(micro_dense, epochs=3, lr_backbone=1e-4)
    assert again.resume()
    assert again.epoch == 1
    again.run()
    assert all(value.isfinite().all() for value in again.model.parameters())
    rates = {group["base_lr"] for group in again.optimiser.param_groups}
    assert 1e-4 in rates and 2e-3 not in rates


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(
    micro_dense, make_trainer, batches
):
    one = make_trainer(micro_dense)
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    replica = one.workers.replicas[0]
    replica.backbone.pos_embed.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(Diverged, match=r"not finite at step 0 .*gradient"):
        one.train_step(next(batches.epoch(0)))
    for name, value in one.model.named_parameters():
        assert torch.equal(value, before[name])


# -- checkpoints -------------------------------------------------------------


def test_another_variants_checkpoint_is_refused(micro, make_trainer):
    other = dataclasses.replace(micro, name="larger", depth=5)
    make_trainer(other).save()
    with pytest.raises(
        ValueError,
        match=r"phase\.pt belongs to another .* variant larger, not micro \(name, depth differ\); "
        "resume with --variant larger or give another --out",
    ):
        make_trainer(micro).resume()


def test_other_groups_of_parameters_are_refused(micro_dense, make_trainer):
    make_trainer(micro_dense).save()
    other = make_trainer(micro_dense, layer_decay=0.5)
    before = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(ValueError, match="resume with the layer_decay, rates and routers"):
        other.resume()
    assert _equal(other.model, before)


def test_a_changed_recipe_is_told(micro_dense, make_trainer, caplog):
    make_trainer(micro_dense, ema=0.9).save()
    make_trainer(micro_dense, ema=0.8).resume()
    assert "resuming with another ema: 0.9 -> 0.8" in caplog.text
    assert caplog.text.count("resuming with another") == 1


def test_a_cut_checkpoint_is_named(micro_dense, make_trainer):
    one = make_trainer(micro_dense)
    one.save()
    whole = one.checkpoint_path.read_bytes()
    one.checkpoint_path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"phase\.pt is not a readable checkpoint"):
        one.resume()


def test_resuming_where_nothing_is(micro_dense, make_trainer):
    assert not make_trainer(micro_dense).resume()


# -- the data set ------------------------------------------------------------


@pytest.fixture
def copy(data_folder, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data_folder, root)
    return root


def test_a_cut_picture_is_named(copy, tmp_path):
    """OpenCV would give its missing part in grey."""
    path = copy / "image" / "0002.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert cv2.imread(str(path)) is not None
    with pytest.raises(DatasetError, match=r"0002\.jpg is cut short: fetch"):
        prepare(copy, "train", "nyud13", tmp_path / "cache")


@pytest.mark.parametrize("damage", ["cut", "missing", "note", "shape"])
def test_a_damaged_cache_is_made_again(copy, tmp_path, damage):
    cache = tmp_path / "cache"
    before = np.array(prepare(copy, "train", "nyud13", cache).labels)
    folder = cache / "train-nyud13"
    path = folder / "label.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "missing":
        path.unlink()
    elif damage == "shape":
        np.save(path, np.zeros((2, 3), np.uint8))
    else:
        (folder / "cache.json").write_text("{")
    assert np.array_equal(prepare(copy, "train", "nyud13", cache).labels, before)


# -- the start ---------------------------------------------------------------


def _start(config):
    torch.manual_seed(0)
    backbone = M3ViT(config).backbone
    state = {
        name.replace(".ls1", ".ls1.gamma").replace(".ls2", ".ls2.gamma"): value
        for name, value in backbone.state_dict().items()
    }
    return state | {"pos_embed": torch.randn(1, 1 + 16, config.embed_dim)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no weights"), "is no PyTorch file of plain weights"),
        (lambda path: path.write_bytes(b""), "is no PyTorch file of plain weights"),
        (lambda path: torch.save([1, 2], path), "holds a list, not a state dict"),
        (lambda path: torch.save({"a": torch.ones(2)}, path), "has no cls_token, patch_embed"),
        (lambda path: torch.save({"f": Path}, path), "is no PyTorch file of plain weights"),
    ],
)
def test_a_wrong_start_is_named(micro_dense, tmp_path, make, message):
    path = tmp_path / "start.pth"
    make(path)
    with pytest.raises(ValueError, match=rf"start\.pth {message}"):
        load_start(path, micro_dense)


def test_a_run_is_no_start(micro_dense, make_trainer):
    one = make_trainer(micro_dense)
    one.save()
    with pytest.raises(ValueError, match=r"a run of this program goes to --teacher"):
        load_start(one.checkpoint_path, micro_dense)


def test_a_start_of_another_depth_is_refused(micro_dense, tmp_path):
    torch.save(_start(dataclasses.replace(micro_dense, depth=5)), tmp_path / "start.pth")
    with pytest.raises(ValueError, match=r"has 5 blocks and does not fit the 4 of variant micro"):
        load_start(tmp_path / "start.pth", micro_dense)
    state = _start(micro_dense)
    del state["blocks.3.mlp.fc1.bias"]
    torch.save(state, tmp_path / "start.pth")
    with pytest.raises(ValueError, match=r"backbone\.blocks\.3\.mlp\.fc1\.bias missing"):
        load_start(tmp_path / "start.pth", micro_dense)


def test_a_file_that_is_no_onnx_is_named(micro_dense, tmp_path):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "start.onnx").write_bytes(b"\x08no model")
    with pytest.raises(ValueError, match=r"start\.onnx is not a readable ONNX file"):
        load_start(tmp_path / "start.onnx", micro_dense)
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "start.onnx"))
    with pytest.raises(ValueError, match=r"start\.onnx: no DINOv2-shaped backbone inside"):
        load_start(tmp_path / "start.onnx", micro_dense)


def test_processes_may_look_at_a_folder_at_the_same_time(tmp_path):
    """torchrun starts them together: with one name for all, one takes the other's file away."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: check_folder(tmp_path / "out"), range(400)))
    assert not list((tmp_path / "out").iterdir())
