# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""NYU Depth v2 from the official ``nyu_depth_v2_labeled.mat``.

Beside it the folder must hold the split (the official ``splits.mat``, or
``train.txt`` and ``test.txt``) and ``classMapping40.mat`` (Gupta et al., 2013:
894 raw classes to 40).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

MAT_NAME = "nyu_depth_v2_labeled.mat"
SPLITS_NAME = "splits.mat"
MAPPING_NAME = "classMapping40.mat"
_SPLIT_FIELDS = {"train": "trainNdxs", "test": "testNdxs"}


def _field(path: Path, field: str) -> np.ndarray:
    """One variable of a small MATLAB file, flattened."""
    from ..evaluation.nyuv2 import DatasetError

    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(f"reading {path} needs SciPy: pip install scipy") from error
    try:
        content = loadmat(str(path))
    except (ValueError, NotImplementedError, OSError) as error:
        raise DatasetError(f"{path} is not a readable MATLAB file: {error}") from error
    if field not in content:
        raise DatasetError(f"{path} has no variable {field}: is it the right file?")
    return np.asarray(content[field]).ravel().astype(np.int64)


def map_labels(raw: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """Raw classes (0 = unlabelled) to 0..38; class 40 and unlabelled become 255."""
    table = np.full(len(mapping) + 1, 255, np.uint8)
    known = (mapping >= 1) & (mapping <= 39)
    table[1:][known] = mapping[known] - 1
    return table[raw]


def open_mat(
    root: Path, split: str, label_set: str
) -> tuple[list[str], Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Frame names of a split, and a function that reads one frame.

    Returns the same arrays as `evaluation.nyuv2.read_arrays`.
    """
    from ..evaluation.nyuv2 import FRAME, DatasetError, read_split

    path = root / MAT_NAME
    if label_set != "nyud39":
        raise DatasetError(
            f"{path}: label set {label_set} is not derived from the official file, only nyud39"
        )
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(f"reading {path} needs h5py: pip install h5py") from error
    for needed, what in ((MAPPING_NAME, "the mapping of the 894 raw classes to 40"),):
        if not (root / needed).is_file():
            raise DatasetError(f"{root / needed} is missing: {what}; put it beside {MAT_NAME}")
    mapping = _field(root / MAPPING_NAME, "mapClass")
    if (root / SPLITS_NAME).is_file():
        if split not in _SPLIT_FIELDS:
            raise DatasetError(f"split {split!r}: {SPLITS_NAME} has train and test")
        indices = _field(root / SPLITS_NAME, _SPLIT_FIELDS[split])
        ids = [f"{index:04d}" for index in indices]
    else:
        ids = read_split(root, split)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} cannot be opened (an incomplete download?): {error}") from error
    for name, rank in (("images", 4), ("depths", 3), ("labels", 3)):
        if name not in file or file[name].ndim != rank or file[name].shape[-2:] != FRAME[::-1]:
            raise DatasetError(f"{path} holds no {name} of {FRAME[1]}x{FRAME[0]} pixels")
    count = len(file["images"])
    beyond = [name for name in ids if not 1 <= int(name) <= count]
    if beyond:
        raise DatasetError(f"{path} has {count} frames, but the split names frame {beyond[0]}")

    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row = int(name) - 1
        image = file["images"][row].transpose(2, 1, 0)
        raw = file["labels"][row].T
        if raw.max() > len(mapping):
            raise DatasetError(f"{path}: frame {name} holds class {raw.max()} of {len(mapping)}")
        metres = np.nan_to_num(file["depths"][row].T.astype(np.float32))
        depth = np.rint(np.clip(metres, 0.0, 65.0) * 1000.0).astype(np.uint16)
        return image, map_labels(raw, mapping), depth

    return ids, read
