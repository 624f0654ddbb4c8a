# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The frames of a split, with everything that is needed to judge a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m3vit_pynq.evaluation.classes13 import to_13_classes
from m3vit_pynq.evaluation.matfile import MAT_NAME, OfficialFile, labels_of
from m3vit_pynq.evaluation.nyuv2 import (
    LABEL_FOLDERS,
    DatasetError,
    check_present,
    file_of,
    read_depth,
    read_image,
    read_label,
    read_split,
)


@dataclass(frozen=True)
class LabelledFrame:
    """One frame.

    Attributes
    ----------
    name : str
        Its index in the data set.
    image : uint8 [h, w, 3]
        RGB.
    label : uint8 [h, w] or None
        Classes of the label set in question, 255 = ignore.
    metres : float32 [h, w]
        Depth, 0 = unknown.
    label13 : uint8 [h, w] or None
        The 13 coarse classes, 255 = ignore.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None
    metres: np.ndarray
    label13: np.ndarray | None = None


class Dataset:
    """The frames of one split, read when iterated over.

    Attributes
    ----------
    root : Path
        Folder of the data set.
    label_set : str
        ``"nyud39"``, ``"nyud13"``, or ``""`` for no labels at all.
    names : list of str
        The frames' indices.
    labels13 : str
        Where the coarse labels come from; nothing without labels.
    """

    def __init__(self, root: Path, label_set: str) -> None:
        if label_set and label_set not in LABEL_FOLDERS:
            raise DatasetError(f"label set {label_set!r}: only {', '.join(LABEL_FOLDERS)} exist")
        self.root, self.label_set = Path(root), label_set
        self.names: list[str] = []
        self.labels13 = ""

    def _take(self, names: list[str], split: str, limit: int | None) -> None:
        if limit is not None and not 1 <= limit <= len(names):
            raise DatasetError(
                f"a limit of {limit} frames: split {split} of {self.root} has {len(names)}"
            )
        self.names = names[:limit]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LabelledFrame]:
        return (self.read(name) for name in self.names)

    def read(self, name: str) -> LabelledFrame:
        """One frame by its index; `DatasetError` names the file that is wrong."""
        raise NotImplementedError


class FolderDataset(Dataset):
    """A split in the folder layout of `m3vit_pynq.evaluation.nyuv2`.

    Coarse labels come from ``label13/``. Where that folder is missing they are
    mapped from the 39 classes, which leaves out the pixels of *otherprop* (see
    `m3vit_pynq.evaluation.classes13`).

    Parameters
    ----------
    root, label_set
        See `Dataset`.
    split : str
        ``"train"`` or ``"test"``.
    limit : int, optional
        Only the first frames.

    Raises
    ------
    DatasetError
        If a file is missing, the split is empty or smaller than the limit.
        What is inside the files is checked when they are read.
    """

    def __init__(
        self, root: Path, split: str, label_set: str = "nyud39", limit: int | None = None
    ) -> None:
        super().__init__(root, label_set)
        if not self.root.is_dir():
            raise DatasetError(f"{root} is no folder: give the folder of the data set")
        if not (self.root / "image").is_dir():
            raise DatasetError(f"{root} has no folder image/: not the NYU Depth v2 data set")
        self._take(read_split(self.root, split), split, limit)
        self.labels13 = self._source_of_13()
        self._check_files()

    def _source_of_13(self) -> str:
        if not self.label_set:
            return ""
        official = (self.root / LABEL_FOLDERS["nyud13"]).is_dir()
        fine = (self.root / LABEL_FOLDERS["nyud39"]).is_dir()
        if self.label_set == "nyud39" and not fine:
            raise DatasetError(f"{self.root} has no folder label39/: the labels of 39 classes")
        if not official and not fine:
            raise DatasetError(f"{self.root} has neither label13/ nor label39/: no labels")
        return "label13" if official else "label39, mapped"

    def _check_files(self) -> None:
        """Every file is looked for before the first frame is computed."""
        folders = {"image": "image", "depth": "depth"}
        if self.label_set == "nyud39" or self.labels13 == "label39, mapped":
            folders["label39"] = "label"
        if self.labels13 == "label13":
            folders["label13"] = "13-class label"
        for name in self.names:
            for folder, what in folders.items():
                check_present(file_of(self.root, folder, name), what)

    def read(self, name: str) -> LabelledFrame:
        """One frame by its index; `DatasetError` names the file that is wrong."""
        label, label13 = self._labels(name)
        metres = read_depth(self.root, name).astype(np.float32) * np.float32(1e-3)
        return LabelledFrame(name, read_image(self.root, name), label, metres, label13)

    def _labels(self, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        if not self.label_set:
            return None, None
        official = self.labels13 == "label13"
        coarse = read_label(self.root, name, "nyud13") if official else None
        if self.label_set == "nyud13" and official:
            return coarse, coarse
        fine = read_label(self.root, name, "nyud39")
        if coarse is None:
            coarse = to_13_classes(fine)
        return (fine if self.label_set == "nyud39" else coarse), coarse


class OfficialDataset(Dataset):
    """A split of the official file, see `m3vit_pynq.evaluation.matfile`.

    It has all 40 classes, so the coarse labels are the official ones. The
    parameters are those of `FolderDataset`.
    """

    def __init__(
        self, root: Path, split: str, label_set: str = "nyud39", limit: int | None = None
    ) -> None:
        super().__init__(root, label_set)
        self._file = OfficialFile(self.root, split)
        self._take(self._file.names, split, limit)
        self.labels13 = "40 classes, mapped" if label_set else ""

    def read(self, name: str) -> LabelledFrame:
        """One frame by its index; see `Dataset`."""
        image, forty, millimetres = self._file.read(name)
        metres = millimetres.astype(np.float32) * np.float32(1e-3)
        if not self.label_set:
            return LabelledFrame(name, image, None, metres)
        label, coarse = labels_of(forty, self.label_set), labels_of(forty, "nyud13")
        return LabelledFrame(name, image, label, metres, coarse)


def open_dataset(
    root: Path, split: str, label_set: str = "nyud39", limit: int | None = None
) -> Dataset:
    """A split of the data set in whichever form the folder holds it.

    Raises
    ------
    DatasetError
        See `FolderDataset` and `OfficialDataset`.
    """
    kind = OfficialDataset if (Path(root) / MAT_NAME).is_file() else FolderDataset
    return kind(root, split, label_set, limit)
