# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: E402
"""What a student takes from its teacher: the start, and the losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from m3vit_pynq.training.checkpoint import save_checkpoint
from m3vit_pynq.training.distil import (
    DistilConfig,
    Teacher,
    kept_blocks,
    load_teacher,
    student_start,
)
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.pretrained import resample_grid, resample_patches


def _model(config, seed=1):
    torch.manual_seed(seed)
    model = M3ViT(config).eval()
    for value in model.parameters():
        value.data.add_(0.05 * torch.randn_like(value))
    return model


@pytest.fixture
def teacher(micro_dense):
    return _model(dataclasses.replace(micro_dense, name="teacher"))


def _images(height=32, width=48, count=2):
    torch.manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("deep", "shallow", "expected"),
    [(12, 12, list(range(12))), (12, 2, [0, 1]), (12, 1, [0]), (4, 3, [0, 1, 2])],
)
def test_kept_blocks(deep, shallow, expected):
    assert kept_blocks(deep, shallow) == expected


def test_a_student_is_not_deeper_than_its_teacher():
    with pytest.raises(ValueError, match="a student of 5 blocks cannot start from 4"):
        kept_blocks(4, 5)


def test_a_student_of_the_same_shape_starts_as_its_teacher(teacher, micro_dense):
    student = M3ViT(micro_dense).eval()
    student.load_state_dict(student_start(teacher, micro_dense))
    images = _images()
    with torch.no_grad():
        wanted, found = teacher(images), student(images)
    for name in micro_dense.task_names:
        assert torch.allclose(found[name], wanted[name], atol=1e-5)
    # A copy: training the student must not train the teacher.
    student.backbone.cls_token.data.add_(1.0)
    assert not torch.equal(student.backbone.cls_token, teacher.backbone.cls_token)


def test_a_shallower_student_has_the_first_blocks(teacher, micro_dense):
    config = dataclasses.replace(
        micro_dense, depth=3, image_size=(40, 60), patch_size=10,
        head=dataclasses.replace(micro_dense.head, taps=(1, 2)),
    )  # fmt: skip
    student = M3ViT(config)
    student.load_state_dict(student_start(teacher, config))
    for index in range(3):
        a, b = student.backbone.blocks[index], teacher.backbone.blocks[index]
        assert torch.equal(a.attn.qkv.weight, b.attn.qkv.weight)
        assert torch.equal(a.ls2, b.ls2)
    assert torch.equal(student.decoders["depth"].out.weight, teacher.decoders["depth"].out.weight)
    assert student.backbone.patch_embed.proj.weight.shape == (64, 3, 10, 10)


@pytest.mark.parametrize("size", [8, 11, 16, 20])
def test_resampled_patches_answer_as_before(size):
    """The new filter on bilinearly enlarged patches = the old one on the patches."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.standard_normal((5, 3, 8, 8))).float()
    patches = torch.from_numpy(rng.standard_normal((7, 3, 8, 8))).float()
    # Bilinear with half-pixel centres, written out: a matrix for each axis.
    place = np.clip((np.arange(size) + 0.5) * 8 / size - 0.5, 0, 7)
    low = np.minimum(place.astype(int), 6)
    axis = np.zeros((size, 8))
    axis[np.arange(size), low] = 1 - (place - low)
    axis[np.arange(size), low + 1] = place - low
    larger = np.einsum("ia,ncab,jb->ncij", axis, patches.numpy(), axis)
    new = resample_patches(weight, size).numpy()
    found = np.einsum("dcij,ncij->nd", new, larger)
    expected = np.einsum("dcab,ncab->nd", weight.numpy(), patches.numpy())
    assert new.shape == (5, 3, size, size)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_positions_are_resampled_on_their_grid():
    """A linear ramp over the rows stays one, away from the borders; the class token stays."""
    ramp = torch.arange(8.0).view(8, 1).expand(8, 6).reshape(1, 48, 1)
    positions = torch.cat((torch.full((1, 1, 1), 99.0), ramp), dim=1)
    found = resample_grid(positions, (8, 6), (4, 6))
    assert found.shape == (1, 25, 1)
    assert found[0, 0] == 99.0
    rows = found[0, 1:].view(4, 6)
    assert torch.allclose(rows[1:3], torch.tensor([[2.5], [4.5]]).expand(2, 6), atol=1e-4)


def test_losses_are_the_divergence_the_difference_and_the_cosine(teacher, micro_dense):
    student = _model(micro_dense, seed=2)
    images = _images()
    taps: dict = {}
    with torch.no_grad():
        outputs = student(images, None, taps)
        wanted_taps: dict = {}
        wanted = teacher(images, None, wanted_taps)
    weights = DistilConfig(classes=3.0, depth=5.0, features=7.0, temperature=2.0)
    found = Teacher(teacher, weights).losses(micro_dense, images, outputs, taps, None)
    told, given = (
        torch.distributions.Categorical(logits=value["segmentation"].movedim(1, -1) / 2.0)
        for value in (wanted, outputs)
    )
    divergence = torch.distributions.kl_divergence(told, given).mean()
    assert divergence > 1e-4
    assert found["taught_segmentation"].item() == pytest.approx(3 * 4 * divergence.item(), rel=1e-3)
    difference = np.abs(wanted["depth"].numpy() - outputs["depth"].numpy()).mean()
    assert found["taught_depth"].item() == pytest.approx(5 * difference, rel=1e-4)
    angles = []
    for ours, theirs in zip(taps["depth"], wanted_taps["depth"], strict=True):
        a, b = ((x - x.mean(-1, keepdims=True)) for x in (ours.numpy(), theirs.numpy()))
        cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        angles.append(1 - cosine.mean())
    assert found["taught_features"].item() == pytest.approx(7 * np.mean(angles), rel=1e-3)


@pytest.mark.parametrize("size", [(32, 48), (24, 32), (40, 64)])
def test_a_teacher_has_nothing_to_say_to_itself(teacher, micro_dense, size):
    """At its own size its losses are zero; at other sizes they are finite, for any grid."""
    images = _images(*size)
    taps: dict = {}
    with torch.no_grad():
        outputs = teacher(images, None, taps)
    found = Teacher(teacher).losses(micro_dense, images, outputs, taps, None)
    assert set(found) == {"taught_segmentation", "taught_depth", "taught_features"}
    for value in found.values():
        assert value.isfinite()
        if size == (32, 48):
            assert abs(value.item()) < 1e-4


def test_a_teacher_looks_on_the_grid_that_it_is_given(teacher, micro_dense):
    """It then agrees with itself on views of that grid, and on its own grid it does not."""
    images = _images(24, 40)  # 3 x 5 patches; its own grid has 4 x 6
    taps: dict = {}
    with torch.no_grad():
        outputs = teacher(images, None, taps)
    on_it = Teacher(teacher, grid=(3, 5)).losses(micro_dense, images, outputs, taps, None)
    on_its_own = Teacher(teacher).losses(micro_dense, images, outputs, taps, None)
    assert all(abs(value.item()) < 1e-4 for value in on_it.values())
    assert all(value.item() > 1e-3 for value in on_its_own.values())


def test_only_the_tasks_of_the_step_are_taught(teacher, micro):
    student = _model(micro)
    images = _images()
    for task in (("depth",), "depth"):
        taps: dict = {}
        outputs = student(images, task, taps)
        found = Teacher(teacher).losses(micro, images, outputs, taps, task)
        assert set(found) == {"taught_depth", "taught_features"}


def test_a_student_comes_nearer_to_its_teacher(teacher, micro_dense, make_trainer, batches):
    """With weights under which the labels hardly count: this teacher knows nothing of them."""
    loud = Teacher(teacher, DistilConfig(classes=100.0, depth=100.0, features=100.0))
    one = make_trainer(micro_dense, teacher=loud, epochs=50)
    batch = next(batches.epoch(0))

    def distance():
        with torch.no_grad():
            wanted, found = teacher(batch.images), one.average(batch.images)
        return {name: F.l1_loss(found[name], wanted[name]).item() for name in wanted}

    before = distance()
    losses = [one.train_step(batch) for _ in range(25)]
    for name in ("taught_segmentation", "taught_depth", "taught_features"):
        assert losses[-1][name] < 0.8 * losses[0][name]
    after = distance()
    assert all(after[name] < before[name] for name in before)
    assert all(value.grad is None for value in teacher.parameters())


def test_a_teacher_is_read_from_a_run(teacher, micro_dense, make_trainer, tmp_path):
    one = make_trainer(micro_dense)
    one.save()
    found = load_teacher(one.checkpoint_path)
    assert not any(value.requires_grad for value in found.parameters())
    for name, value in one.average.state_dict().items():
        assert torch.equal(value, found.state_dict()[name])
    save_checkpoint(tmp_path / "other.pt", {"weights": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"other\.pt is no training state: a run's dense\.pt"):
        load_teacher(tmp_path / "other.pt")
    save_checkpoint(tmp_path / "old.pt", {"model_config": {"name": "x"}, "average": {}})
    with pytest.raises(ValueError, match=r"old\.pt is no training state of this version"):
        load_teacher(tmp_path / "old.pt")
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        load_teacher(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 32}, r"the teacher has another embed_dim \(32, not 64\)"),
        ({"heads": 4}, r"another heads \(4, not 2\)"),
        ({"depth": 3, "head": {"taps": (0, 2)}}, "a student of 4 blocks cannot start from 3"),
        ({"head": {"channels": (16, 24)}}, "another shape of the heads"),
        ({"head": {"taps": (3,)}}, "another shape of the heads"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(micro_dense, changes, message):
    if "head" in changes:
        changes = {**changes, "head": dataclasses.replace(micro_dense.head, **changes["head"])}
    other = M3ViT(dataclasses.replace(micro_dense, name="other", **changes))
    with pytest.raises(ValueError, match=message):
        student_start(other, micro_dense)


def test_a_routed_teacher_is_no_start(micro, micro_dense):
    with pytest.raises(ValueError, match=r"must be dense: give a dense\.pt"):
        student_start(M3ViT(micro), micro_dense)
