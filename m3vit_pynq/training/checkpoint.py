# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Atomic files: what is on disk is always a complete checkpoint."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch


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
    except (OSError, RuntimeError) as error:
        # PyTorch turns a short write into a RuntimeError.
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"{path} could not be written ({error}); an earlier version of it is unharmed. "
            "Is the disk full?"
        ) from error


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
        raise ValueError(f"{path} is not a readable checkpoint: {error}") from error
