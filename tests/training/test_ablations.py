# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""What the comparisons need: some tasks only, a shared router, gradient conflict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.config import TaskConfig
from m3vit_pynq.training.conflict import gradient_conflict
from m3vit_pynq.training.evaluate import evaluate
from m3vit_pynq.training.export import load_npz, save_npz
from m3vit_pynq.training.losses import task_losses
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.upcycle import RouterFit, group_experts, upcycle

EMA = 0.5


@pytest.fixture
def trainer(make_trainer):
    quiet = {"logit_noise": 0.0, "token_noise": 0.0}
    return lambda config, **changes: make_trainer(config, ema=EMA, **quiet, **changes)


@pytest.mark.parametrize("routed", [False, True])
def test_a_single_task_leaves_the_other_head_alone(
    micro, micro_dense, frames, batches, trainer, routed
):
    config = micro if routed else micro_dense
    one = trainer(config, tasks=("depth",), alternate=routed)
    before = {name: value.clone() for name, value in one.model.state_dict().items()}
    batch = next(batches.epoch(0))
    seen = [one.train_step(batch) for _ in range(3)]
    assert all("depth" in losses and "segmentation" not in losses for losses in seen)
    for model in (one.model, one.average):
        after = model.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert not any(name.startswith("decoders.segmentation") for name in changed)
        assert "decoders.depth.out.weight" in changed
        assert "backbone.blocks.0.attn.qkv.weight" in changed
        if routed:
            assert "backbone.blocks.1.mlp.gate.1.w_gate" in changed
            assert "backbone.blocks.1.mlp.gate.0.w_gate" not in changed
    report = evaluate(one.average, frames, progress=lambda x: x, tasks=("depth",))
    assert list(report) == ["depth"]


def test_an_unknown_task_is_named(micro, trainer):
    with pytest.raises(ValueError, match="unknown task 'normals'; this model has: segmentation"):
        trainer(micro, tasks=("normals",))


def test_a_shared_router_has_the_gradients_of_all_tasks(micro, batches):
    """Its gradient is the sum of those that two equal but separate routers get."""
    torch.manual_seed(3)
    shared, separate = M3ViT(micro), M3ViT(micro)
    shared.share_routers()
    separate.load_state_dict(shared.state_dict())
    batch = next(batches.epoch(0))
    for model in (shared, separate):
        outputs = model.train()(batch.images)
        losses = task_losses(micro, outputs, batch.labels, batch.metres)
        sum(losses.values()).backward()
    for ours, theirs in zip(shared.moe_layers(), separate.moe_layers(), strict=True):
        total = theirs.gate[0].w_gate.grad + theirs.gate[1].w_gate.grad
        assert theirs.gate[1].w_gate.grad.abs().max() > 0
        assert torch.allclose(ours.gate[1].w_gate.grad, total, atol=1e-6)


def test_a_shared_router_stays_shared(micro, batches, trainer, tmp_path):
    one = trainer(micro, shared_router=True, alternate=True, tie_groups=True)
    names = [f"backbone.blocks.{block}.mlp.gate.{{}}.w_gate" for block in micro.moe_blocks]
    start = one.average.moe_layers()[0].gate[0].w_gate.clone()
    batch = next(batches.epoch(0))
    one.train_step(batch)
    # The average moves once a step towards the model, also what has two names.
    now = one.model.moe_layers()[0].gate[0].w_gate.detach().clone()
    decay = min(EMA, 2 / 11)
    expected = decay * start + (1 - decay) * now
    groups = group_experts(micro, 0)
    tied = expected[:, groups].mean(2, keepdim=True).expand(-1, *groups.shape)
    found = one.average.moe_layers()[0].gate[1].w_gate[:, groups]
    assert torch.allclose(found, tied, atol=1e-6)
    one.train_step(batch)
    assert not torch.equal(now, one.model.moe_layers()[0].gate[0].w_gate)
    save_npz(one.average, tmp_path / "shared.npz")
    _, weights, _ = load_npz(tmp_path / "shared.npz")
    for name in names:
        assert np.array_equal(weights[name.format(0)], weights[name.format(1)])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shared_router_resumes(micro, trainer, workers):
    whole = trainer(micro, shared_router=True, workers=workers)
    whole.run()
    again = trainer(micro, shared_router=True, workers=workers)
    assert again.resume()
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name
    layer = again.average.moe_layers()[0]
    assert layer.gate[0].w_gate is layer.gate[1].w_gate


def test_upcycling_to_a_shared_router_keeps_the_function(micro, micro_dense, batches):
    torch.manual_seed(1)
    dense = M3ViT(micro_dense).eval()
    images = next(batches.epoch(0)).images
    fit = RouterFit(confidence=0.9999999, steps=40, batch=256)
    routed = upcycle(dense, micro, images, fit, shared_router=True).eval()
    with torch.no_grad():
        wanted, found = dense(images), routed(images)
    for name in micro.task_names:
        error = (wanted[name] - found[name]).abs().mean()
        assert error < 1e-2 * wanted[name].std()
    for layer in routed.moe_layers():
        assert torch.equal(layer.gate[0].w_gate, layer.gate[1].w_gate)


def _cosine(model, batch, prefix):
    """By hand: autograd on every backbone parameter, numpy for the cosine."""
    vectors = []
    names = [n for n, _ in model.named_parameters() if n.startswith("backbone." + prefix)]
    for task in model.config.task_names:
        outputs = model(batch.images, task)
        (loss,) = task_losses(model.config, outputs, batch.labels, batch.metres).values()
        values = dict(model.named_parameters())
        grads = torch.autograd.grad(loss, [values[n] for n in names], allow_unused=True)
        vectors.append(dict(zip(names, grads, strict=True)))
    shared = [n for n in names if all(v[n] is not None for v in vectors)]
    a, b = (np.concatenate([v[n].double().numpy().ravel() for n in shared]) for v in vectors)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b), shared


@pytest.mark.parametrize("kind", ["dense", "routed", "shared"])
def test_conflict_is_the_cosine_of_the_gradients(micro, micro_dense, batches, kind):
    torch.manual_seed(2)
    model = M3ViT(micro_dense if kind == "dense" else micro).eval()
    if kind == "shared":
        model.share_routers()
    given = list(batches.epoch(0))
    report = gradient_conflict(model.requires_grad_(False), given, 2)
    model.requires_grad_(True)
    assert report.tasks == ("segmentation", "depth")
    for index, batch in enumerate(given):
        expected, shared = _cosine(model, batch, "")
        assert any("w_gate" in name for name in shared) == (kind == "shared")
        assert report.cosines[index] == pytest.approx(expected, abs=1e-5)
        for block in range(micro.depth):
            expected, _ = _cosine(model, batch, f"blocks.{block}.")
            assert report.blocks[block][index] == pytest.approx(expected, abs=1e-5)
    assert report.mean == pytest.approx(np.mean(report.cosines))
    assert report.deviation == pytest.approx(np.std(report.cosines, ddof=1))
    assert report.block_means[1] == pytest.approx(np.mean(report.blocks[1]))
    assert all(value.grad is None for value in model.parameters())


def test_two_tasks_that_want_the_same_do_not_conflict(micro_dense, batches):
    """Two depth tasks with equal heads have one gradient: cosine 1, and never opposed."""
    twins = (TaskConfig("near", "depth", 1), TaskConfig("far", "depth", 1))
    model = M3ViT(dataclasses.replace(micro_dense, tasks=twins))
    model.decoders["far"].load_state_dict(model.decoders["near"].state_dict())
    report = gradient_conflict(model, batches.epoch(0), 1)
    assert report.cosines[0] == pytest.approx(1.0, abs=1e-6)
    assert report.opposed == 0.0
    assert report.deviation == 0.0


def test_conflict_needs_two_tasks_and_enough_batches(micro_dense, batches):
    model = M3ViT(micro_dense)
    with pytest.raises(ValueError, match="3 batches were asked for, but there are only 2"):
        gradient_conflict(model, batches.epoch(0), 3)
    with pytest.raises(ValueError, match="two different tasks"):
        gradient_conflict(model, batches.epoch(0), 1, tasks=("depth", "depth"))
