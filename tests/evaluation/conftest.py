# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A small data set in the layout of NYU Depth v2, and micro models of 39 and 13 classes."""

from __future__ import annotations

import shutil

import pytest
from small_dataset import write_dataset

from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import NYUD_TASKS, get_config


@pytest.fixture(scope="session")
def made_dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("nyuv2")
    write_dataset(root)
    return root


@pytest.fixture
def dataset(made_dataset, tmp_path):
    """A copy to damage."""
    root = tmp_path / "nyuv2"
    shutil.copytree(made_dataset, root)
    return root


@pytest.fixture(scope="session")
def config39():
    return get_config("micro", tasks=NYUD_TASKS)


@pytest.fixture(scope="session")
def package39(config39):
    return random_package(config39, seed=3)


@pytest.fixture(scope="session")
def package13():
    return random_package(get_config("micro"))


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    """These tests are for the emulated board, also when they run on a real one."""
    monkeypatch.setenv("M3VIT_EMULATE", "1")
    monkeypatch.delenv("M3VIT_BOARD", raising=False)
