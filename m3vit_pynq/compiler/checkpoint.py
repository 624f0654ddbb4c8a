# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Float checkpoints from disk: an ``.npz`` with its configuration inside.

Beside the arrays that `m3vit_pynq.config` lists there are two JSON texts:
``__config__``, a `ModelConfig` as data, and optionally ``__meta__``, where the
weights come from.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CheckpointError
from m3vit_pynq.reference.checkpoint import validate_checkpoint

CONFIG_ENTRY = "__config__"
META_ENTRY = "__meta__"


def read_arrays(path: Path, only: str | None = None) -> dict[str, np.ndarray]:
    """Entries of an ``.npz``, all or one by name, none of them unpickled.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or holds pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise CheckpointError(f"{path} is a single array, not an .npz of named arrays")
        with archive:
            return {name: archive[name] for name in archive.files if only in (None, name)}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from None


def json_entry(arrays: dict[str, np.ndarray], name: str, path: Path) -> dict[str, Any]:
    """A JSON object stored as text (str or uint8 array).

    Raises
    ------
    CheckpointError
        If the entry is no JSON object.
    """
    entry = arrays[name]
    try:
        text = entry.tobytes().decode() if entry.dtype == np.uint8 else str(entry.item())
        data = json.loads(text)
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: {name} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: {name} is no JSON object")
    return data


def read_meta(path: Path) -> dict[str, Any]:
    """Provenance stored with a checkpoint; empty if there is none."""
    arrays = read_arrays(path, only=META_ENTRY)
    return json_entry(arrays, META_ENTRY, path) if META_ENTRY in arrays else {}


def load_checkpoint(path: Path) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Read and check a checkpoint.

    Returns
    -------
    config : ModelConfig
    arrays : dict of float32 arrays

    Raises
    ------
    CheckpointError
        If the file is damaged, has no configuration, or an array is missing,
        misshapen or not finite; the message names it.
    """
    path = Path(path)
    arrays = read_arrays(path)
    if CONFIG_ENTRY not in arrays:
        raise CheckpointError(f"{path} has no entry {CONFIG_ENTRY} that says what model it is")
    try:
        config = ModelConfig.from_dict(json_entry(arrays, CONFIG_ENTRY, path))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: {CONFIG_ENTRY} describes no model: {error}") from None
    weights = {}
    for name, array in arrays.items():
        if name in (CONFIG_ENTRY, META_ENTRY):
            continue
        if not np.issubdtype(array.dtype, np.floating):
            raise CheckpointError(f"{path}: {name} is {array.dtype}, not floating point")
        weights[name] = np.asarray(array, np.float32)
    try:
        validate_checkpoint(config, weights)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return config, weights


def fold_task_embedding(
    w_gate: np.ndarray, embeddings: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Turn a task-conditioned router into one router a task with a bias.

    Such a router reads the token followed by an embedding of the task; the
    embedding's share of the logits does not depend on the token.

    Parameters
    ----------
    w_gate : float [D + T, experts]
    embeddings : float [tasks, T]

    Returns
    -------
    list of (w_gate [D, experts], bias [experts])
        One a task.

    Raises
    ------
    ValueError
        If the widths do not fit each other.
    """
    width = embeddings.shape[1]
    dim = len(w_gate) - width
    if dim < 1:
        raise ValueError(f"w_gate has {len(w_gate)} rows, the task embedding {width} channels")
    return [(w_gate[:dim], embedding @ w_gate[dim:]) for embedding in embeddings]
