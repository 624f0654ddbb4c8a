# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A micro model with random weights, and pictures to feed it."""

import cv2
import numpy as np
import pytest

from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config


@pytest.fixture(scope="session")
def package():
    return random_package(get_config("micro"), seed=11)


@pytest.fixture(scope="session")
def package_file(package, tmp_path_factory):
    return package.save(tmp_path_factory.mktemp("package") / "micro.m3vit")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Three pictures that differ."""
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(2)
    for name in "abc":
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path / f"{name}.png"), picture)
    return path


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    """These tests are for the emulated board, also when they run on a real one."""
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    monkeypatch.delenv("M3VIT_BOARD", raising=False)
