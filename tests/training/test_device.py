# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""Choice of device and precision; no tensor is left behind on the wrong device."""

from __future__ import annotations

import contextlib

import pytest

torch = pytest.importorskip("torch")

from m3vit_pynq.training import device, workers
from m3vit_pynq.training.dataset import Batch
from m3vit_pynq.training.distil import Teacher
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.settings import TrainConfig
from m3vit_pynq.training.trainer import Diverged
from m3vit_pynq.training.workers import Workers


def _gpus(monkeypatch, count, capability=(8, 0)):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    _gpus(monkeypatch, 0)
    assert device.choose_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"finds no CUDA device: .* --device cpu"):
        device.choose_device("cuda")
    _gpus(monkeypatch, 2)
    assert device.choose_device("auto", 1) == torch.device("cuda", 1)
    assert device.choose_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(ValueError, match="there are 2: lower --nproc-per-node"):
        device.choose_device("cuda", 2)
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        device.choose_device("tpu")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512f avx512_bf16", "bf16"), ("avx2 fma", "fp32"), ("asimd bf16", "bf16")],
)
def test_precision_follows_the_processor(monkeypatch, flags, expected):
    monkeypatch.setattr(device.Path, "read_text", lambda _self: f"flags : fpu {flags} ht")
    assert device.choose_precision("auto", torch.device("cpu")) == expected
    assert device.choose_precision("fp16", torch.device("cpu")) == "fp16"


def test_precision_follows_the_gpu(monkeypatch):
    for capability, expected in (((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")):
        _gpus(monkeypatch, 1, capability)
        assert device.choose_precision("auto", torch.device("cuda", 0)) == expected
    with pytest.raises(ValueError, match="unknown precision 'int4'"):
        device.choose_precision("int4", torch.device("cpu"))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.half)])
def test_autocast_changes_the_products_only(precision, dtype):
    layer = torch.nn.Linear(4, 4)
    cpu = torch.device("cpu")
    with device.autocast(cpu, precision):
        assert layer(torch.ones(1, 4)).dtype == dtype
    with device.autocast(cpu, "fp32"):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert device.grad_scaler(cpu, precision).is_enabled() == (precision == "fp16")


def test_scaled_gradients_are_scaled_back(micro_dense, make_trainer, batches):
    """In float16, from a loss times 2**10, they are those of float32 to its precision."""
    batch = next(batches.epoch(0))
    found = {}
    for precision in ("fp32", "fp16"):
        one = make_trainer(micro_dense, precision=precision)
        if precision == "fp16":
            one.scaler.load_state_dict(one.scaler.state_dict() | {"scale": 2.0**10})
        one.workers.gradients(batch, None, 0)
        one.scaler.unscale_(one.optimiser)
        found[precision] = torch.cat([value.grad.flatten() for value in one.model.parameters()])
    error = found["fp16"] - found["fp32"]
    assert 0 < error.norm() < 0.02 * found["fp32"].norm()


def test_gradients_are_clipped_at_their_own_scale(micro_dense, make_trainer, batches):
    """The gradient is longer than the limit of one: after a step it has that length."""
    one = make_trainer(micro_dense, precision="fp16")
    one.scaler.load_state_dict(one.scaler.state_dict() | {"scale": 2.0**10})
    one.train_step(next(batches.epoch(0)))
    norm = torch.cat([value.grad.flatten() for value in one.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1.0, rel=1e-3)


def test_a_step_that_overflows_is_left_out(micro_dense, make_trainer, batches):
    one = make_trainer(micro_dense, precision="fp16")
    batch = next(batches.epoch(0))
    one.scaler.load_state_dict(one.scaler.state_dict() | {"scale": 2.0**60})
    before = {name: value.clone() for name, value in one.model.named_parameters()}
    one.train_step(batch)
    assert all(torch.equal(value, before[name]) for name, value in one.model.named_parameters())
    assert one.scaler.get_scale() == 2.0**59
    one.scaler.load_state_dict(one.scaler.state_dict() | {"scale": 1.0})
    one.train_step(batch)
    assert not torch.equal(one.model.backbone.cls_token, before["backbone.cls_token"])


def test_gradients_that_are_no_numbers_at_any_scale_end_the_run(
    micro_dense, make_trainer, batches, monkeypatch
):
    one = make_trainer(micro_dense, precision="fp16")
    batch = next(batches.epoch(0))
    handle = one.workers.replicas[0].backbone.cls_token.register_hook(lambda g: g * float("nan"))
    one.workers.replicas[0].backbone.cls_token.requires_grad_(True)
    with pytest.raises(Diverged, match="gradient nan"):
        for _ in range(40):
            one.train_step(batch)
    handle.remove()


class _EvenQueues:
    """Stands for the numbers of tokens of the experts, which are data."""

    def __init__(self, flat, minlength):
        self.sizes = [flat.numel() // minlength] * minlength
        self.sizes[-1] += flat.numel() - sum(self.sizes)

    def tolist(self):
        return self.sizes


@pytest.mark.parametrize("routed", [False, True])
def test_everything_stays_on_the_models_device(micro, micro_dense, monkeypatch, routed):
    """On PyTorch's device without data, which takes no part in operations with another one."""
    config = micro if routed else micro_dense
    model, teacher = M3ViT(config).to("meta"), Teacher(M3ViT(micro_dense).to("meta"))
    if routed:
        monkeypatch.setattr(torch, "bincount", _EvenQueues)
    # Autocast and sources of noise do not know that device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _kind: False)
    monkeypatch.setattr(workers, "generator", lambda where, _seed: assert_meta(where))
    train = TrainConfig(1, token_noise=0.1, precision="fp32", depth_squared=0.1)
    shared = Workers(model, train, torch.ones(13), teacher)
    batch = Batch(
        torch.zeros(2, 3, 24, 32, dtype=torch.uint8), torch.zeros(2, 12, 16).long(),
        torch.zeros(2, 12, 16),
    )  # fmt: skip
    losses = shared._part(0, batch.to(device.device_of(model)), None, 0)
    assert len(losses) == (7 if routed else 5)
    assert {value.device.type for value in losses.values()} == {"meta"}
    grads = [value.grad for value in shared.replicas[0].parameters()]
    assert all(grad.device.type == "meta" for grad in grads)
    with pytest.raises(RuntimeError, match="device"):
        model(batch.images)


def assert_meta(where):
    assert where.type == "meta"
