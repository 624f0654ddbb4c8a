# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""The loop, its checkpoints, the recipe and the command."""

from __future__ import annotations

import csv
import dataclasses
import itertools

import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.training import checkpoint
from m3vit_pynq.training.augment import AugmentConfig
from m3vit_pynq.training.dataset import Batches
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.optimiser import learning_rate, parameter_groups
from m3vit_pynq.training.settings import TrainConfig
from m3vit_pynq.training.trainer import Diverged, Trainer
from m3vit_pynq.training.upcycle import group_experts

FAST = TrainConfig(
    epochs=2, batch=4, lr_backbone=2e-3, lr_heads=5e-3, warmup_steps=1, ema=0.5, precision="fp32"
)


def _trainer(config, frames, out, train=FAST, after=None, seed=5):
    torch.manual_seed(seed)
    size = (config.grid[0] * 4, config.grid[1] * 4)
    batches = Batches(frames, range(8), config.image_size, size, train.batch, 0, AugmentConfig())
    return Trainer(M3ViT(config), train, batches, out, "phase", after)


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize(("precision", "workers"), [("fp32", 1), ("bf16", 2), ("fp16", 1)])
def test_steps_lower_the_loss(micro, frames, tmp_path, routed, precision, workers):
    config = micro if routed else dataclasses.replace(micro, moe_blocks=())
    train = dataclasses.replace(FAST, epochs=50, precision=precision, workers=workers)
    trainer = _trainer(config, frames, tmp_path, train)
    batch = next(iter(trainer.batches.epoch(0)))
    losses = [trainer.train_step(batch) for _ in range(12)]
    for task in config.task_names:
        assert losses[-1][task] < 0.9 * losses[0][task]
    assert ("margin" in losses[0]) == routed


def test_alternating_steps_train_one_task(micro, frames, tmp_path):
    trainer = _trainer(micro, frames, tmp_path, dataclasses.replace(FAST, alternate=True))
    batch = next(iter(trainer.batches.epoch(0)))
    first, second = trainer.train_step(batch), trainer.train_step(batch)
    assert "segmentation" in first
    assert "depth" not in first
    assert "depth" in second


@pytest.mark.parametrize("workers", [1, 2])
def test_resume_gives_the_same_weights(micro, frames, tmp_path, workers):
    train = dataclasses.replace(FAST, workers=workers)
    whole = _trainer(micro, frames, tmp_path / "whole", train)
    whole.run()

    class Stop(Exception):
        pass

    def stop(_trainer, _epoch):
        raise Stop

    first = _trainer(micro, frames, tmp_path / "parts", train, after=stop)
    with pytest.raises(Stop):
        first.run()
    second = _trainer(micro, frames, tmp_path / "parts", train, seed=99)
    assert second.resume()
    assert second.epoch == 1
    second.run()
    for ours, theirs in ((whole.model, second.model), (whole.average, second.average)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_tied_groups_stay_tied(micro, frames, tmp_path):
    train = dataclasses.replace(FAST, tie_groups=True, lr_routers=1e-2)
    trainer = _trainer(micro, frames, tmp_path, train)
    batch = next(iter(trainer.batches.epoch(0)))
    before = trainer.model.moe_layers()[0].gate[1].w_gate.clone()
    trainer.train_step(batch)
    for model in (trainer.model, trainer.average):
        for task in range(2):
            columns = model.moe_layers()[0].gate[task].w_gate[:, group_experts(micro, task)]
            assert torch.allclose(columns, columns[:, :, :1].expand_as(columns))
    assert not torch.equal(before, trainer.model.moe_layers()[0].gate[1].w_gate)


def test_log_has_one_row_an_epoch(micro, frames, tmp_path):
    trainer = _trainer(micro, frames, tmp_path, after=lambda *_: {"extra": 1.5})
    trainer.run()
    with (tmp_path / "phase.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[1]["extra"] == "1.5"
    assert float(rows[0]["images_per_second"]) > 0


def test_deeper_layers_learn_faster(micro):
    """Four blocks, each at half of the next one's rate; the embeddings below the first."""
    train = TrainConfig(1, lr_backbone=1.0, lr_heads=7.0, lr_routers=5.0, layer_decay=0.5)
    model = M3ViT(micro)
    found = {}
    for group in parameter_groups(model, train):
        for value in group["params"]:
            found[id(value)] = (group["lr"], group["weight_decay"])
    expected = {
        "backbone.blocks.3.attn.qkv.weight": (1.0, 0.05),
        "backbone.blocks.3.attn.qkv.bias": (1.0, 0.0),
        "backbone.blocks.2.mlp.fc1.weight": (0.5, 0.05),
        "backbone.blocks.1.mlp.experts.htoh4.weight": (0.25, 0.05),
        "backbone.blocks.1.mlp.experts.htoh4.bias": (0.25, 0.0),
        "backbone.blocks.1.mlp.gate.1.w_gate": (5.0, 0.0),
        "backbone.blocks.0.norm1.weight": (0.125, 0.0),
        "backbone.patch_embed.proj.weight": (0.0625, 0.05),
        "backbone.pos_embed": (0.0625, 0.0),
        "decoders.depth.proj.weight": (7.0, 0.05),
    }
    names = dict(model.named_parameters())
    assert {name: found[id(names[name])] for name in expected} == expected
    assert len(found) == len(names)


def test_a_loss_that_is_no_number_stops_the_run(micro, frames, tmp_path):
    trainer = _trainer(micro, frames, tmp_path)
    trainer.model.backbone.cls_token.data.fill_(float("nan"))
    with pytest.raises(Diverged, match=r"not finite at step 0 .*phase\.pt"):
        trainer.run()
    assert not trainer.checkpoint_path.exists()


def test_resuming_another_model_is_refused(micro, frames, tmp_path):
    _trainer(micro, frames, tmp_path).save()
    other = _trainer(dataclasses.replace(micro, moe_blocks=()), frames, tmp_path)
    with pytest.raises(ValueError, match="another model configuration"):
        other.resume()


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_checkpoint(path, {"step": 1})

    def full(_file):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"state\.pt could not be written .*No space left"):
        checkpoint.write_atomically(path, full)
    assert checkpoint.load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"state\.pt is not a readable checkpoint"):
        checkpoint.load_checkpoint(tmp_path / "state.pt")


def test_learning_rate_warms_up_holds_and_falls():
    train = TrainConfig(epochs=1, warmup_steps=10, hold=0.5, final_lr=0.2)
    factors = [learning_rate(train, step, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[9:51]) == {1.0}
    assert all(a > b for a, b in itertools.pairwise(factors[50:]))
    assert factors[100] == pytest.approx(0.2)
