# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""NYU Depth v2 from the official ``nyu_depth_v2_labeled.mat``.

Beside it the folder must hold the split (the official ``splits.mat``, or
``train.txt`` and ``test.txt``) and ``classMapping40.mat`` (Gupta et al., 2013:
894 raw classes to 40). Reading them needs h5py and SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from m3vit_pynq.evaluation.classes13 import NYUD39_TO_13
from m3vit_pynq.evaluation.nyuv2 import CLASSES, FRAME, DatasetError, read_split
from m3vit_pynq.labels import IGNORE, NYUD13

MAT_NAME = "nyu_depth_v2_labeled.mat"
SPLITS_NAME = "splits.mat"
MAPPING_NAME = "classMapping40.mat"
_SPLIT_FIELDS = {"train": "trainNdxs", "test": "testNdxs"}

#: The fortieth class, *otherprop*, counted from 0.
OTHERPROP = 39


def _field(path: Path, field: str) -> np.ndarray:
    """One variable of a small MATLAB file, flattened."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(f"reading {path} needs SciPy: pip install scipy") from error
    try:
        content = loadmat(str(path))
    except Exception as error:  # a damaged file fails in many ways, some of SciPy's own
        raise DatasetError(f"{path} is not a readable MATLAB file: {error}") from error
    if field not in content:
        raise DatasetError(f"{path} has no variable {field}: is it the right file?")
    return np.asarray(content[field]).ravel().astype(np.int64)


def to_40_classes(raw: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """Raw classes (0 = unlabelled) to 0..39, unlabelled to 255; uint8."""
    table = np.full(len(mapping) + 1, IGNORE, np.uint8)
    known = (mapping >= 1) & (mapping <= 40)
    table[1:][known] = mapping[known] - 1
    return table[raw]


def labels_of(forty: np.ndarray, label_set: str) -> np.ndarray:
    """40 classes as a label set: of 39 *otherprop* is ignored, of 13 it is an object."""
    if label_set == "nyud39":
        return np.where(forty == OTHERPROP, np.uint8(IGNORE), forty)
    table = NYUD39_TO_13.copy()
    table[OTHERPROP] = NYUD13.classes.index("objects")
    return table[forty]


class OfficialFile:
    """The frames of one split in the official file.

    Parameters
    ----------
    root : Path
        Folder with the files above.
    split : str
        ``"train"`` or ``"test"``.

    Raises
    ------
    DatasetError
        If a file is missing or not what it should be, or h5py or SciPy is not
        installed.
    """

    def __init__(self, root: Path, split: str) -> None:
        root = Path(root)
        self.path = root / MAT_NAME
        if not (root / MAPPING_NAME).is_file():
            raise DatasetError(
                f"{root / MAPPING_NAME} is missing: the mapping of the 894 raw classes to 40; "
                f"put it beside {MAT_NAME}"
            )
        self._mapping = _field(root / MAPPING_NAME, "mapClass")
        self.names = _split_names(root, split)
        with _open(self.path) as file:
            count = len(file["images"])
        beyond = [name for name in self.names if not 1 <= int(name) <= count]
        if beyond:
            raise DatasetError(
                f"{self.path} has {count} frames, but the split names frame {beyond[0]}"
            )

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame: uint8 RGB, uint8 classes 0..39 or 255, uint16 millimetres."""
        row = int(name) - 1
        with _open(self.path) as file:
            image = np.ascontiguousarray(file["images"][row].transpose(2, 1, 0))
            raw = file["labels"][row].T
            metres = np.nan_to_num(file["depths"][row].T.astype(np.float32))
        if raw.max() > len(self._mapping):
            raise DatasetError(
                f"{self.path}: frame {name} holds class {raw.max()} of {len(self._mapping)}"
            )
        depth = np.rint(np.clip(metres, 0.0, 65.0) * 1000.0).astype(np.uint16)
        return image, to_40_classes(raw, self._mapping), depth


def _split_names(root: Path, split: str) -> list[str]:
    if not (root / SPLITS_NAME).is_file():
        names = read_split(root, split)
    elif split in _SPLIT_FIELDS:
        indices = _field(root / SPLITS_NAME, _SPLIT_FIELDS[split])
        names = [f"{index:04d}" for index in indices]
    else:
        raise DatasetError(f"split {split!r}: {SPLITS_NAME} has train and test")
    wrong = next((name for name in names if not name.isdecimal()), None)
    if wrong is not None:
        raise DatasetError(f"{root / f'{split}.txt'} holds {wrong!r}, which is no index of a frame")
    return names


def _open(path: Path):
    """The open file, a context manager, after a look at what it holds."""
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(f"reading {path} needs h5py: pip install h5py") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path} cannot be opened (an incomplete download?): {error}") from error
    for name, rank in (("images", 4), ("depths", 3), ("labels", 3)):
        if name not in file or file[name].ndim != rank or file[name].shape[-2:] != FRAME[::-1]:
            file.close()
            raise DatasetError(f"{path} holds no {name} of {FRAME[1]}x{FRAME[0]} pixels")
    return file


def open_mat(
    root: Path, split: str, label_set: str
) -> tuple[list[str], Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Frame names of a split, and a function that reads one frame.

    The arrays are those of `m3vit_pynq.evaluation.nyuv2.read_arrays`.
    """
    if label_set not in CLASSES:
        raise DatasetError(f"label set {label_set!r}: only {', '.join(CLASSES)} are known")
    official = OfficialFile(root, split)

    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, forty, depth = official.read(name)
        return image, labels_of(forty, label_set), depth

    return official.names, read
