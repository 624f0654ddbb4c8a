# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""NYU Depth v2 (labelled part) as single frames: the folder layout.

``image/NNNN.jpg`` (640x480), ``label39/NNNN.png`` or ``label13/NNNN.png``
(class index, 255 = ignore), ``depth/NNNN.png`` (uint8 *v* for
``(v + 0.5) * 10 / 255`` metres, or uint16 millimetres), ``train.txt`` and
``test.txt`` (one four-digit index a line).
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.sources.frames import quieten_opencv

#: Height and width of every frame of the data set.
FRAME = (480, 640)
#: Sub-folder with the labels of a label set, and its number of classes.
LABEL_FOLDERS = {"nyud39": "label39", "nyud13": "label13"}
CLASSES = {"nyud39": 39, "nyud13": 13}

_NAME = re.compile(r"[\w-]+")


class DatasetError(M3ViTError, RuntimeError):
    """The data are missing or not what they should be; says which file and what to do."""


def read_split(root: Path, split: str) -> list[str]:
    """Frame names of a split, from ``{split}.txt``."""
    path = Path(root) / f"{split}.txt"
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing: it lists the frames of the split, one four-digit index a line"
        )
    try:
        ids = path.read_text().split()
    except UnicodeDecodeError:
        raise DatasetError(f"{path} is no text: it should list one index a line") from None
    if not ids:
        raise DatasetError(f"{path} is empty: it should list the frames of the split")
    wrong = next((name for name in ids if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        raise DatasetError(f"{path} holds {wrong[:40]!r}, which is no index of a frame")
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path} names a frame twice")
    return ids


def file_of(root: Path, what: str, name: str) -> Path:
    """File of a frame; ``what`` is the sub-folder: image, depth, label39 or label13."""
    return Path(root) / what / f"{name}.{'jpg' if what == 'image' else 'png'}"


def check_present(path: Path, what: str) -> None:
    """Raise `DatasetError` naming the file if it is not there."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: the {what} of frame {path.stem}")


def _read_image(path: Path, flags: int, what: str) -> np.ndarray:
    check_present(path, what)
    quieten_opencv()
    image = cv2.imread(str(path), flags)
    if image is None:
        raise DatasetError(f"{path} cannot be decoded: fetch the {what} of this frame again")
    # OpenCV fills the missing part of a cut JPEG with grey: look for its end marker.
    if path.suffix == ".jpg" and b"\xff\xd9" not in path.read_bytes()[-64:]:
        raise DatasetError(f"{path} is cut short: fetch the {what} of this frame again")
    if image.shape[:2] != FRAME:
        height, width = image.shape[:2]
        raise DatasetError(f"{path} is {width}x{height}, not {FRAME[1]}x{FRAME[0]}")
    return image


def read_image(root: Path, name: str) -> np.ndarray:
    """The picture of a frame, uint8 RGB [480, 640, 3]."""
    image = _read_image(file_of(root, "image", name), cv2.IMREAD_COLOR, "image")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_label(root: Path, name: str, label_set: str) -> np.ndarray:
    """The labels of a frame, uint8 [480, 640], 255 = ignore."""
    path = file_of(root, LABEL_FOLDERS[label_set], name)
    label = _read_image(path, cv2.IMREAD_UNCHANGED, "label")
    if label.ndim != 2 or label.dtype != np.uint8:
        raise DatasetError(f"{path} is not an 8-bit one-channel image of class indices")
    wrong = (label != 255) & (label >= CLASSES[label_set])
    if wrong.any():
        raise DatasetError(
            f"{path} holds class {int(label[wrong][0])}, "
            f"but {label_set} has classes 0..{CLASSES[label_set] - 1} and 255"
        )
    return label


def read_depth(root: Path, name: str) -> np.ndarray:
    """The depth of a frame in millimetres, uint16 [480, 640]; 0 = unknown in 16-bit files."""
    path = file_of(root, "depth", name)
    depth = _read_image(path, cv2.IMREAD_UNCHANGED, "depth")
    if depth.ndim != 2 or depth.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{path} is not an 8- or 16-bit one-channel image")
    if depth.dtype == np.uint8:
        depth = np.rint((depth.astype(np.float32) + 0.5) * (10000.0 / 255.0)).astype(np.uint16)
    return depth


def read_arrays(root: Path, name: str, label_set: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame as uint8 RGB image, uint8 labels and uint16 millimetres.

    Raises
    ------
    DatasetError
        Naming the file that is missing or wrong.
    """
    return read_image(root, name), read_label(root, name, label_set), read_depth(root, name)
