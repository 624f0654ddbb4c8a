# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""NYU Depth v2 (labelled part) as memory-mapped arrays, and training batches.

The frames are decoded once into a cache of plain ``.npy`` files, which are
then mapped into memory. See `m3vit_pynq.evaluation.nyuv2` for the layout of the source.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..evaluation.nyuv2 import (
    FRAME,
    LABEL_FOLDERS,
    DatasetError,
    read_arrays,
    read_split,
)
from .augment import AugmentConfig, plain_view, random_view

log = logging.getLogger(__name__)

_CACHE_VERSION = 1


@dataclass(frozen=True)
class Frames:
    """Decoded frames of one split.

    Attributes
    ----------
    ids : tuple of str
        Official index of every frame, for example ``"0001"``.
    images : ndarray
        uint8 ``[n, 480, 640, 3]``, RGB.
    labels : ndarray
        uint8 ``[n, 480, 640]``, 255 = ignore.
    depth_mm : ndarray
        uint16 ``[n, 480, 640]``, millimetres, 0 = unknown.
    """

    ids: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    depth_mm: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def metres(self, index: int) -> np.ndarray:
        """Depth of one frame in metres, float32."""
        return self.depth_mm[index].astype(np.float32) * np.float32(1e-3)


def count_classes(frames: Frames, rows: Sequence[int], classes: int) -> Tensor:
    """Labelled pixels of every class in some frames, from every fourth row and column."""
    counts = np.zeros(256, np.int64)
    for row in rows:
        counts += np.bincount(frames.labels[row][::4, ::4].ravel(), minlength=256)
    return torch.from_numpy(counts[:classes])


def prepare(root: Path, split: str, label_set: str, cache: Path) -> Frames:
    """Decode a split once into ``cache`` and map it into memory.

    Parameters
    ----------
    root : Path
        The data: the folder layout of `read_arrays`, or a folder with
        the official ``nyu_depth_v2_labeled.mat``.
    cache : Path
        Where the decoded arrays go (about 1.8 MiB a frame).
    """
    root, cache = Path(root), Path(cache)
    if label_set not in LABEL_FOLDERS:
        raise DatasetError(f"label set {label_set!r}: only {', '.join(LABEL_FOLDERS)} are known")
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: --data takes the folder of the data set")
    ids, read = _open_source(root, split, label_set)
    key = {"version": _CACHE_VERSION, "root": str(root.resolve()), "ids": ids, "set": label_set}
    folder = cache / f"{split}-{label_set}"
    arrays = _cached(folder, key)
    if arrays is None:
        _decode(ids, read, folder)
        (folder / "cache.json").write_text(json.dumps(key))
        arrays = _cached(folder, key)
        if arrays is None:
            raise DatasetError(f"{folder} changed while it was written: give another --cache")
    return Frames(tuple(ids), *arrays)


def _shapes(count: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and dtype of the arrays of a cache, in the order of `Frames`."""
    return {
        "image": ((count, *FRAME, 3), np.uint8),
        "label": ((count, *FRAME), np.uint8),
        "depth": ((count, *FRAME), np.uint16),
    }


def _cached(folder: Path, key: dict) -> list[np.ndarray] | None:
    """The arrays of a complete cache of ``key``; `None` if it must be made (again)."""
    try:
        if json.loads((folder / "cache.json").read_text()) != key:
            return None
        found = []
        for name, (shape, dtype) in _shapes(len(key["ids"])).items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
            if array.shape != shape or array.dtype != dtype:
                return None
            found.append(array)
    except (OSError, ValueError, EOFError):
        return None  # missing, or cut short
    return found


Reader = Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]


def _open_source(root: Path, split: str, label_set: str) -> tuple[list[str], Reader]:
    from ..evaluation.matfile import MAT_NAME, open_mat

    if (root / MAT_NAME).is_file():
        return open_mat(root, split, label_set)
    if not (root / "image").is_dir():
        raise DatasetError(
            f"{root} has neither {MAT_NAME} nor a folder image/: not the NYU Depth v2 data set"
        )

    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return read_arrays(root, name, label_set)

    return read_split(root, split), read


def _decode(ids: Sequence[str], read: Reader, folder: Path) -> None:
    """Fill the cache folder; it is complete only once its note is written."""
    need = len(ids) * FRAME[0] * FRAME[1] * 6
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cache.json").unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if free < need + (64 << 20):
        raise DatasetError(
            f"{folder} needs {need >> 20} MiB for decoded frames, but only {free >> 20} MiB are "
            "free: give another folder with --cache"
        )
    log.info("decoding %d frames into %s", len(ids), folder)
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in _shapes(len(ids)).items()
    }
    for row, name in enumerate(ids):
        for array, value in zip(arrays.values(), read(name), strict=True):
            array[row] = value
    for array in arrays.values():
        array.flush()


@dataclass(frozen=True)
class Batch:
    """Images uint8 ``[b, 3, h, w]``, labels int64 and depth float32 ``[b, th, tw]``."""

    images: Tensor
    labels: Tensor
    metres: Tensor

    def split(self, parts: int) -> list[Batch]:
        """Cut into equal parts."""
        if len(self.images) % parts:
            raise ValueError(f"a batch of {len(self.images)} cannot be cut into {parts} parts")
        size = len(self.images) // parts
        pieces = zip(*(t.split(size) for t in (self.images, self.labels, self.metres)), strict=True)
        return [Batch(*piece) for piece in pieces]

    def to(self, device: torch.device) -> Batch:
        """On a device; pinned tensors are copied while the host goes on."""
        tensors = (self.images, self.labels, self.metres)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def pinned(self) -> Batch:
        """In page-locked host memory, from which a GPU can copy by itself."""
        return Batch(*(t.pin_memory() for t in (self.images, self.labels, self.metres)))


def _collate(views: Sequence) -> Batch:
    images = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([view.label for view in views]).astype(np.int64))
    return Batch(images, labels, torch.from_numpy(np.stack([view.depth for view in views])))


@dataclass(frozen=True)
class Stage:
    """A number of epochs at the beginning with sizes (height, width) of their own."""

    epochs: int
    size: tuple[int, int]
    target: tuple[int, int]


class Batches:
    """Shuffled, augmented batches; prepared one ahead in a thread.

    Every view depends only on the seed, the epoch and the frame, so a resumed
    run sees the same data, and so do processes that share every batch.

    Parameters
    ----------
    frames, rows
        The frames, and which of them to use.
    size, target : tuple of int
        (height, width) of the images and of the label and depth maps.
    batch : int
        Frames a step, of all processes together.
    augment : AugmentConfig or None
        `None` for whole frames in their order.
    stages : sequence of Stage
        Other sizes for the first epochs, one after the other.
    share : tuple of int
        (index, count) of this process: it gets its part of every batch.
    pin : bool
        Put the batches into page-locked memory, for a GPU.
    """

    def __init__(
        self,
        frames: Frames,
        rows: Sequence[int],
        size: tuple[int, int],
        target: tuple[int, int],
        batch: int,
        seed: int,
        augment: AugmentConfig | None,
        stages: Sequence[Stage] = (),
        share: tuple[int, int] = (0, 1),
        pin: bool = False,
    ) -> None:
        if len(rows) < batch:
            raise DatasetError(f"{len(rows)} frames are fewer than one batch of {batch}")
        if batch % share[1]:
            raise DatasetError(
                f"a batch of {batch} cannot be shared by {share[1]} processes: give --batch "
                f"a multiple of {share[1]}"
            )
        self.frames, self.rows, self.size, self.target = frames, np.asarray(rows), size, target
        self.batch, self.seed, self.augment, self.stages = batch, seed, augment, tuple(stages)
        self.share, self.pin = share, pin
        cv2.setNumThreads(1)

    def __len__(self) -> int:
        return len(self.rows) // self.batch

    def _sizes(self, epoch: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Input and target size of an epoch."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.size, stage.target
            epoch -= stage.epochs
        return self.size, self.target

    def _view(self, row: int, epoch: int):
        frame = (self.frames.images[row], self.frames.labels[row], self.frames.metres(row))
        size, target = self._sizes(epoch)
        if self.augment is None:
            return plain_view(*frame, size, target)
        rng = np.random.default_rng((self.seed, epoch, int(row)))
        return random_view(*frame, size, target, rng, self.augment)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """All batches of one epoch; an incomplete last one is left out."""
        order = self.rows
        if self.augment is not None:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        index, count = self.share
        size = self.batch // count
        starts = [i * self.batch + index * size for i in range(len(self))]
        groups = [order[start : start + size] for start in starts]

        def make(group: np.ndarray) -> Batch:
            batch = _collate([self._view(row, epoch) for row in group])
            return batch.pinned() if self.pin else batch

        with ThreadPoolExecutor(1) as pool:
            pending = [pool.submit(make, group) for group in groups[:2]]
            for following in [*groups[2:], None, None][: len(groups)]:
                ready = pending.pop(0).result()
                if following is not None:
                    pending.append(pool.submit(make, following))
                yield ready
