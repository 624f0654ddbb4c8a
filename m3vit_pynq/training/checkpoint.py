# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Atomic files: what is on disk is always a complete checkpoint."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch

from ..config import ModelConfig
from .model import M3ViT


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write beside ``path``, then rename; a failure leaves the old file untouched.

    Raises
    ------
    OSError
        With the file's name and the reason, for example a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # PyTorch turns a short write into a RuntimeError.
        if isinstance(error, (OSError, RuntimeError)):
            denied = isinstance(error, PermissionError)
            raise OSError(
                f"{path} could not be written ({error}); an earlier version of it is unharmed. "
                + ("Change its folder's permissions." if denied else "Is the disk full?")
            ) from error
        raise


def check_folder(path: Path, need: int = 0) -> None:
    """Make a folder if it is not there, write a file into it, and look for free space.

    Raises
    ------
    OSError
        If it cannot be made or written to, or has less than ``need`` bytes left.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A name of its own: torchrun's processes all look, at the same moment.
        probe = path / f".writable-{uuid.uuid4().hex}"
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write into {path} ({error}): give another folder") from error
    free = shutil.disk_usage(path).free
    if free < need:
        raise OSError(
            f"{path} has {free >> 20} MiB left, but checkpoints need {need >> 20} MiB: "
            "free some space or give another folder"
        )


def _config_of(state: dict, path: Path) -> ModelConfig:
    try:
        return ModelConfig.from_dict(state["model_config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no training state of this version ({error!r})") from error


def check_belongs(state: dict, config: ModelConfig, path: Path) -> None:
    """Raise `ValueError` unless a training state is of exactly this model."""
    found = _config_of(state, path)
    if found == config:
        return
    ours, theirs = config.to_dict(), found.to_dict()
    different = [name for name in ours if ours[name] != theirs[name]]
    raise ValueError(
        f"{path} belongs to another model configuration: variant {found.name}, not "
        f"{config.name} ({', '.join(different)} differ); resume with --variant {found.name} or "
        "give another --out folder"
    )


def average_of(state: dict, path: Path) -> M3ViT:
    """The averaged weights inside a training state, on the CPU, ready to evaluate.

    Raises
    ------
    ValueError
        If the file at ``path`` is no training state of this version.
    """
    if not isinstance(state, dict) or not {"model_config", "average"} <= state.keys():
        raise ValueError(f"{path} is no training state: a run's dense.pt or moe.pt is wanted")
    model = M3ViT(_config_of(state, path))
    model.load_state_dict(state["average"])
    return model.eval()


def save_checkpoint(path: Path, state: dict) -> None:
    """Write a training state."""
    write_atomically(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path) -> dict:
    """Read a training state written by `save_checkpoint`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a readable checkpoint (incomplete, or another format)")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # PyTorch's own message advises to load it with pickle, which runs what is inside.
        raise ValueError(
            f"{path} is not a readable checkpoint (damaged, or with objects inside)"
        ) from error
