# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""The module, its start weights, upcycling and export."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.config import get_config, variants
from m3vit_pynq.training.equalise import activation_ranges, equalise
from m3vit_pynq.training.export import (
    expected_shapes,
    float_weights,
    load_npz,
    model_from_npz,
    save_npz,
)
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.pretrained import load_start, resample_positions
from m3vit_pynq.training.routing import routing_report
from m3vit_pynq.training.upcycle import RouterFit, group_experts, slices, upcycle


def _images(config, count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 6, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, config.image_size, mode="bilinear")
    return (fine * 255).to(torch.uint8)


def _trained_like(config, seed=1):
    """Random weights at a size that makes every part of the model matter."""
    torch.manual_seed(seed)
    model = M3ViT(config)
    for name, value in model.named_parameters():
        if value.ndim > 1 and "norm" not in name:
            torch.nn.init.normal_(value, std=value[0].numel() ** -0.5)
        elif name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.1)
        elif name.endswith((".ls1", ".ls2")):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def test_experts_equal_a_loop_over_tokens(micro):
    layer = _trained_like(micro).moe_layers()[0]
    x = torch.randn(2, 5, micro.embed_dim, requires_grad=True)
    out = layer(x, 1)
    rows = []
    for token in x.view(-1, micro.embed_dim):
        probability = (token @ layer.gate[1].w_gate).softmax(0)
        total = torch.zeros(micro.embed_dim)
        for expert in probability.argsort(descending=True)[: micro.top_k]:
            e = layer.experts
            hidden = torch.nn.functional.gelu(e.htoh4.weight[expert] @ token + e.htoh4.bias[expert])
            total = total + probability[expert] * (
                e.h4toh.weight[expert] @ hidden + e.h4toh.bias[expert]
            )
        rows.append(total)
    expected = torch.stack(rows).view_as(out)
    assert torch.allclose(out, expected, atol=1e-5)
    # The hand-written gradients as well.
    parameters = [x, *layer.parameters()]
    probe = torch.randn_like(out)
    ours = torch.autograd.grad((out * probe).sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad((expected * probe).sum(), parameters, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-4)


def test_noisy_router_renormalises(micro):
    layer = _trained_like(dataclasses.replace(micro, router="noisy")).moe_layers()[0]
    layer.experts.h4toh.weight.data.zero_()
    layer.experts.h4toh.bias.data.fill_(1.0)
    assert torch.allclose(layer(torch.randn(1, 3, micro.embed_dim), 0), torch.ones(1), atol=1e-6)


@pytest.mark.parametrize("router", ["noisy_vmoe", "noisy"])
def test_upcycling_keeps_the_function(micro, micro_dense, router):
    config = dataclasses.replace(micro, router=router)
    dense = _trained_like(dataclasses.replace(micro_dense, router=router))
    images = _images(config)
    exact = RouterFit(confidence=0.9999999, steps=40, batch=256)
    routed = upcycle(dense, config, images, exact).eval()
    with torch.no_grad():
        wanted, found = dense(images), routed(images)
    for name in config.task_names:
        spread = wanted[name].std()
        tolerance = 1e-2 if router == "noisy_vmoe" else 1e-5
        assert (wanted[name] - found[name]).abs().mean() < tolerance * spread


@pytest.mark.parametrize("routed", [False, True])
def test_equalising_keeps_the_function(micro, micro_dense, routed):
    model = _trained_like(micro if routed else micro_dense)
    with torch.no_grad():
        model.backbone.blocks[1].norm2.weight[7] = 40.0
    images = _images(micro_dense)
    before = activation_ranges(model, images)
    with torch.no_grad():
        wanted = model(images)
    equalise(model, images, hidden_limit=None)
    after = activation_ranges(model, images)
    with torch.no_grad():
        found = model(images)
    for name in micro_dense.task_names:
        assert torch.allclose(wanted[name], found[name], atol=1e-3)
    for norm in ("norm1", "norm2"):
        name = f"blocks.1.{norm}"
        assert after[name].max() / after[name].mean() < before[name].max() / before[name].mean()


def test_equalising_limits_hidden_units(micro_dense):
    model = _trained_like(micro_dense)
    images = _images(micro_dense)
    with torch.no_grad():
        model.backbone.blocks[2].mlp.fc1.bias[3] = 50.0
        wanted = model(images)
    equalise(model, images, hidden_limit=5.0)
    assert activation_ranges(model, images)["blocks.2.mlp.fc2"].max() < 5.1
    with torch.no_grad():
        found = model(images)
    for name in micro_dense.task_names:
        assert (wanted[name] - found[name]).abs().mean() < 0.05 * wanted[name].std()


def test_groups_hold_every_slice_once_and_differ_between_tasks():
    config = get_config("small")
    assert slices(config) == 4
    first, second = group_experts(config, 0), group_experts(config, 1)
    for groups in (first, second):
        assert sorted(groups.flatten().tolist()) == list(range(16))
        assert all(sorted(e % 4 for e in group.tolist()) == [0, 1, 2, 3] for group in groups)
    for a in first:
        assert all(len(set(a.tolist()) & set(b.tolist())) == 1 for b in second)


def test_upcycling_refuses_experts_that_do_not_fit():
    config = get_config("micro")
    dense = M3ViT(dataclasses.replace(config, moe_blocks=()))
    with pytest.raises(ValueError, match="do not add up"):
        upcycle(dense, config, _images(config))


def test_routing_report_counts(micro):
    model = _trained_like(micro)
    report = routing_report(model, _images(micro), "depth", noises=(0.0, 2.0))
    assert report.changed[0.0] == 0.0
    assert report.changed[2.0] > 0.1
    assert all(abs(usage.sum().item() - 1.0) < 1e-5 for usage in report.usage.values())
    assert len(report.gaps[1]) == 4 * micro.tokens


@pytest.mark.parametrize("name", variants())
def test_export_names_and_shapes(name):
    """Names and shapes as documented in `m3vit_pynq.config`, written out again here."""
    config = get_config(name)
    shapes = expected_shapes(config)
    dim, head = config.embed_dim, config.head
    rows, columns = config.grid
    assert shapes["backbone.cls_token"] == (1, 1, dim)
    assert shapes["backbone.pos_embed"] == (1, 1 + rows * columns, dim)
    patch = config.patch_size
    assert shapes["backbone.patch_embed.proj.weight"] == (dim, 3, patch, patch)
    count = 4
    for index in range(config.depth):
        block = f"backbone.blocks.{index}."
        assert shapes[f"{block}attn.qkv.weight"] == (3 * dim, dim)
        assert shapes[f"{block}attn.proj.bias"] == (dim,)
        if index in config.moe_blocks:
            sizes = (config.experts, config.expert_hidden, dim)
            assert shapes[f"{block}mlp.experts.htoh4.weight"] == sizes
            assert shapes[f"{block}mlp.experts.h4toh.bias"] == (config.experts, dim)
            assert shapes[f"{block}mlp.gate.1.w_gate"] == (dim, config.experts)
            count += 8 + 4 + len(config.tasks)
        else:
            assert shapes[f"{block}mlp.fc1.weight"] == (4 * dim, dim)
            assert shapes[f"{block}mlp.fc2.weight"] == (dim, 4 * dim)
            count += 8 + 4
    for task in config.tasks:
        decoder = f"decoders.{task.name}."
        assert shapes[f"{decoder}norm.1.weight"] == (dim,)
        assert shapes[f"{decoder}proj.weight"] == (head.channels[0], 2 * dim)
        convs = len(head.channels) - 1
        for j in range(convs):
            assert shapes[f"{decoder}conv.{j}.weight"] == (*head.channels[j : j + 2][::-1], 3, 3)
            assert shapes[f"{decoder}conv.{j}.bias"] == (head.channels[j + 1],)
        assert shapes[f"{decoder}out.weight"] == (task.outputs, head.channels[-1])
        count += 4 + 2 + 2 * convs + 2
    assert len(shapes) == count


@pytest.mark.parametrize("dense", [False, True])
def test_export_folds_batchnorm_and_reads_back(micro, tmp_path, dense):
    config = dataclasses.replace(micro, moe_blocks=()) if dense else micro
    model = _trained_like(config)
    weights = float_weights(model)
    assert {n: w.shape for n, w in weights.items()} == expected_shapes(config)
    assert all(w.dtype == np.float32 for w in weights.values())
    path = tmp_path / "model.npz"
    save_npz(model, path, {"seed": 7})
    found, arrays, meta = load_npz(path)
    assert found == config
    assert meta == {"seed": 7}
    assert list(arrays) == list(weights)
    with torch.no_grad():
        wanted, again = model(_images(config)), model_from_npz(path)(_images(config))
    for name in config.task_names:
        assert torch.allclose(wanted[name], again[name], atol=1e-4)


def test_reading_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="not a float checkpoint"):
        load_npz(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load_npz(tmp_path / "none.npz")


def test_start_from_a_dinov2_state_dict(micro_dense, tmp_path):
    """LayerScale is kept apart and folded on export; positions are resampled."""
    source = _trained_like(micro_dense)
    state = {n.removeprefix("backbone."): v for n, v in source.backbone.state_dict().items()}
    torch.manual_seed(0)
    for index in range(micro_dense.depth):
        for scale in (1, 2):
            del state[f"blocks.{index}.ls{scale}"]
            state[f"blocks.{index}.ls{scale}.gamma"] = torch.rand(micro_dense.embed_dim)
    state["pos_embed"] = torch.randn(1, 1 + 5 * 5, micro_dense.embed_dim)
    state["norm.weight"] = torch.ones(micro_dense.embed_dim)
    torch.save(state, tmp_path / "start.pth")
    start = load_start(tmp_path / "start.pth", micro_dense)
    model = M3ViT(micro_dense)
    result = model.load_state_dict(start, strict=False)
    assert not result.unexpected_keys
    assert all(name.startswith("decoders.") for name in result.missing_keys)
    x = torch.randn(1, 3, micro_dense.embed_dim)
    block = source.backbone.blocks[2]
    gamma = state["blocks.2.ls2.gamma"]
    assert torch.equal(model.backbone.blocks[2].ls2, gamma)
    assert torch.equal(model.backbone.blocks[2].mlp(x), block.mlp(x))
    folded = float_weights(model)["backbone.blocks.2.mlp.fc2.weight"]
    assert np.allclose(folded, (gamma.unsqueeze(1) * block.mlp.fc2.weight).detach(), atol=1e-6)
    assert model.backbone.pos_embed.shape == (1, 25, 64)


def test_positions_survive_resampling_to_their_own_grid():
    positions = torch.randn(1, 1 + 36, 8)
    assert torch.allclose(resample_positions(positions, (6, 6)), positions, atol=1e-5)
    with pytest.raises(ValueError, match="square"):
        resample_positions(torch.randn(1, 12, 8), (6, 6))


def test_start_of_another_width_is_refused(micro_dense, tmp_path):
    other = M3ViT(dataclasses.replace(micro_dense, embed_dim=32))
    state = {n.removeprefix("backbone."): v for n, v in other.backbone.state_dict().items()}
    state["pos_embed"] = torch.randn(1, 10, 32)
    torch.save(state, tmp_path / "start.pth")
    with pytest.raises(ValueError, match="width 32"):
        load_start(tmp_path / "start.pth", micro_dense)
    with pytest.raises(FileNotFoundError, match="--start"):
        load_start(tmp_path / "none.pth", micro_dense)
