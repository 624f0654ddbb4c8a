# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""NYU Depth v2 (labelled part) as single frames: the folder layout.

``image/NNNN.jpg`` (640x480), ``label39/NNNN.png`` or ``label13/NNNN.png``
(class index, 255 = ignore), ``depth/NNNN.png`` (uint8 *v* for
``(v + 0.5) * 10 / 255`` metres, or uint16 millimetres), ``train.txt`` and
``test.txt`` (one four-digit index a line).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import M3ViTError

#: Height and width of every frame of the data set.
FRAME = (480, 640)
#: Sub-folder with the labels of a label set, and its number of classes.
LABEL_FOLDERS = {"nyud39": "label39", "nyud13": "label13"}
CLASSES = {"nyud39": 39, "nyud13": 13}


class DatasetError(M3ViTError, RuntimeError):
    """The data are missing or not what they should be; says which file and what to do."""


@dataclass(frozen=True)
class LabelledFrame:
    """One frame: uint8 RGB ``[h, w, 3]``, uint8 labels ``[h, w]``, float32 metres ``[h, w]``."""

    name: str
    image: np.ndarray
    label: np.ndarray
    metres: np.ndarray


def read_split(root: Path, split: str) -> list[str]:
    """Frame names of a split, from ``{split}.txt``."""
    path = Path(root) / f"{split}.txt"
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing: it lists the frames of the split, one four-digit index a line"
        )
    ids = path.read_text().split()
    if not ids:
        raise DatasetError(f"{path} is empty: it should list the frames of the split")
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path} names a frame twice")
    return ids


def _read_image(path: Path, flags: int, what: str) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the {what} of frame {path.stem}")
    image = cv2.imread(str(path), flags)
    if image is None:
        raise DatasetError(f"{path} cannot be decoded: fetch the {what} of this frame again")
    if image.shape[:2] != FRAME:
        height, width = image.shape[:2]
        raise DatasetError(f"{path} is {width}x{height}, not {FRAME[1]}x{FRAME[0]}")
    return image


def read_arrays(root: Path, name: str, label_set: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame as uint8 RGB image, uint8 labels and uint16 millimetres.

    Raises
    ------
    DatasetError
        Naming the file that is missing or wrong.
    """
    root = Path(root)
    image = _read_image(root / "image" / f"{name}.jpg", cv2.IMREAD_COLOR, "image")
    label_path = root / LABEL_FOLDERS[label_set] / f"{name}.png"
    label = _read_image(label_path, cv2.IMREAD_UNCHANGED, "label")
    if label.ndim != 2 or label.dtype != np.uint8:
        raise DatasetError(f"{label_path} is not an 8-bit one-channel image of class indices")
    wrong = (label != 255) & (label >= CLASSES[label_set])
    if wrong.any():
        raise DatasetError(
            f"{label_path} holds class {int(label[wrong][0])}, "
            f"but {label_set} has classes 0..{CLASSES[label_set] - 1} and 255"
        )
    depth_path = root / "depth" / f"{name}.png"
    depth = _read_image(depth_path, cv2.IMREAD_UNCHANGED, "depth")
    if depth.ndim != 2 or depth.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{depth_path} is not an 8- or 16-bit one-channel image")
    if depth.dtype == np.uint8:
        depth = np.rint((depth.astype(np.float32) + 0.5) * (10000.0 / 255.0)).astype(np.uint16)
    return image[:, :, ::-1], label, depth


def read_frame(root: Path, name: str, label_set: str) -> LabelledFrame:
    """One frame with its labels and depth; `DatasetError` names the file that is wrong."""
    image, label, millimetres = read_arrays(root, name, label_set)
    metres = millimetres.astype(np.float32) * np.float32(1e-3)
    return LabelledFrame(name, np.ascontiguousarray(image), label, metres)


class FolderDataset:
    """The frames of one split, read when iterated over.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    split : str
        ``"train"`` or ``"test"``.
    label_set : str
        ``"nyud39"`` or ``"nyud13"``.
    limit : int, optional
        Only the first frames.
    """

    def __init__(
        self, root: Path, split: str, label_set: str = "nyud39", limit: int | None = None
    ) -> None:
        if label_set not in LABEL_FOLDERS:
            raise DatasetError(f"label set {label_set!r}: only {', '.join(LABEL_FOLDERS)} exist")
        if not (Path(root) / "image").is_dir():
            raise DatasetError(f"{root} has no folder image/: not the NYU Depth v2 data set")
        self.root, self.label_set = Path(root), label_set
        self.names = read_split(self.root, split)[:limit]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LabelledFrame]:
        for name in self.names:
            yield read_frame(self.root, name, self.label_set)
