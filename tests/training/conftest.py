# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A tiny synthetic data set in the layout of NYU Depth v2, and micro models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from m3vit_pynq.config import ModelConfig, get_config

FRAMES = 8


@pytest.fixture(autouse=True)
def _one_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def micro() -> ModelConfig:
    """The micro variant with experts that can hold a slice of the dense layer."""
    return get_config("micro", expert_hidden=128)


@pytest.fixture
def micro_dense(micro: ModelConfig) -> ModelConfig:
    return dataclasses.replace(micro, moe_blocks=())


def write_frame(root: Path, name: str, rng: np.random.Generator) -> None:
    """Coloured rectangles whose class and depth follow from their colour."""
    import cv2

    image = np.full((480, 640, 3), 40, np.uint8)
    label = np.full((480, 640), 11, np.uint8)
    depth = np.full((480, 640), 200, np.uint8)
    for _ in range(4):
        y, x = rng.integers(0, 300), rng.integers(0, 400)
        kind = int(rng.integers(0, 5))
        part = np.s_[y : y + 160, x : x + 200]
        image[part] = (50 * kind, 250 - 40 * kind, 90)
        label[part] = kind
        depth[part] = 40 + 30 * kind
    label[:8] = 255
    for folder, data in (("image", image), ("label13", label), ("depth", depth)):
        (root / folder).mkdir(exist_ok=True)
        suffix = "jpg" if folder == "image" else "png"
        assert cv2.imwrite(str(root / folder / f"{name}.{suffix}"), data)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("nyuv2")
    pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    names = [f"{index:04d}" for index in range(1, FRAMES + 3)]
    for name in names:
        write_frame(root, name, rng)
    (root / "train.txt").write_text("\n".join(names[:FRAMES]) + "\n")
    (root / "test.txt").write_text("\n".join(names[FRAMES:]) + "\n")
    return root


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def frames(data_folder: Path, cache_folder: Path):
    from m3vit_pynq.training.dataset import prepare

    return prepare(data_folder, "train", "nyud13", cache_folder)


@pytest.fixture
def batches(micro: ModelConfig, frames):
    """Two batches of four an epoch, for the micro variant."""
    from m3vit_pynq.training.augment import AugmentConfig
    from m3vit_pynq.training.dataset import Batches

    target = (micro.grid[0] * 4, micro.grid[1] * 4)
    return Batches(frames, range(FRAMES), micro.image_size, target, 4, 0, AugmentConfig())


@pytest.fixture
def make_trainer(batches, tmp_path):
    """Trainer of a freshly made model, with quick rates in float32; the folder is ``tmp_path``."""
    import torch

    from m3vit_pynq.training.model import M3ViT
    from m3vit_pynq.training.settings import TrainConfig
    from m3vit_pynq.training.trainer import Trainer

    def make(config: ModelConfig, out: Path = tmp_path, *, seed: int = 5, teacher=None, after=None,
             **changes) -> Trainer:  # fmt: skip
        train = TrainConfig(
            **{
                "epochs": 2, "batch": 4, "lr_backbone": 2e-3, "lr_heads": 5e-3, "lr_routers": 5e-3,
                "warmup_steps": 1, "ema": 0.5, "precision": "fp32", **changes,
            }
        )  # fmt: skip
        torch.manual_seed(seed)
        return Trainer(M3ViT(config), train, batches, out, "phase", after, teacher=teacher)

    return make
