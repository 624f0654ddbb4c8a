# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Model packages: one ``.m3vit`` file holds all that a board needs to run a model.

A package is an ``.npz`` container with three entries, none of them pickled:

* ``manifest``: JSON (uint8 text): format and ABI version, model configuration,
  metadata, and the SHA-256 of the other two entries;
* ``program``: `m3vit_pynq.abi.isa.Program` as bytes;
* ``weights``: uint8 ``[4, n]``, the four parts of the weight image, whole lines.

A package that does not load raises `PackageError`, which names the entry that
is wrong; what loads has been checked against itself: checksums, shapes, every
instruction with every address, the size of every output.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Union

import numpy as np

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.footprint import capacities_of
from m3vit_pynq.analysis.requirements import requirements_of
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CapacityError, PackageError
from m3vit_pynq.package.checks import (
    DTYPES,
    KINDS,
    check_program,
    check_weights,
    output_shape,
    parse_config,
)
from m3vit_pynq.package.container import (
    FORMAT_VERSION,
    SIZE_LIMITS,
    item,
    read_container,
    write_container,
)

__all__ = [
    "FORMAT_VERSION",
    "PREFERRED",
    "SIZE_LIMITS",
    "SUFFIX",
    "Package",
    "PackageTask",
    "default_name",
    "resolve",
    "shipped",
    "weights_directory",
]

SUFFIX = ".m3vit"
#: Shipped package to use when none is named, in order of preference.
PREFERRED = ("small", "tiny")

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class PackageTask:
    """One task of a package.

    Attributes
    ----------
    index : int
        Value of the ``run_task`` register.
    kind : isa.TaskKind
        Class ids or depth.
    output_shape : tuple of int
        Height and width of the result.
    dtype : numpy.dtype
        uint8 (class ids) or little-endian uint16 (millimetres).
    label_set : str
        Key of class names and palette in `m3vit_pynq.tasks`; empty for depth.
    """

    name: str
    index: int
    kind: isa.TaskKind
    output_shape: tuple[int, int]
    dtype: np.dtype
    label_set: str

    @property
    def output_bytes(self) -> int:
        """Bytes of the result; its buffer is a multiple of 64."""
        return self.output_shape[0] * self.output_shape[1] * self.dtype.itemsize


def weights_directory() -> Path:
    """Folder of the packages that are installed with this library."""
    return Path(__file__).resolve().parent.parent / "weights"


def shipped() -> tuple[str, ...]:
    """Names of the installed packages, for `Package.load`."""
    return tuple(sorted(path.stem for path in weights_directory().glob(f"*{SUFFIX}")))


def default_name() -> str | None:
    """The shipped package to use when none is named: the most accurate one."""
    names = shipped()
    return next((name for name in PREFERRED if name in names), names[0] if names else None)


def resolve(path: PathLike) -> Path:
    """File of a package given as a path or as the name of a shipped one.

    Raises
    ------
    PackageError
        If there is no such file; the message lists the shipped names.
    """
    if isinstance(path, str) and path in shipped():
        return weights_directory() / f"{path}{SUFFIX}"
    file = Path(path)
    if not file.is_file():
        names = ", ".join(shipped()) or "none"
        raise PackageError("path", f"{file}: no such file (shipped packages: {names})")
    return file


@dataclass(frozen=True, eq=False)
class Package:
    """A compiled model.

    Attributes
    ----------
    config : ModelConfig
        Shape of the model.
    program : bytes
        Encoded `isa.Program`.
    weights : numpy.ndarray
        Weight image, uint8 ``[4, n]``, C-contiguous, one row a part.
    metadata : dict
        Plain JSON: provenance, licence, quality figures, scales, and under
        ``"layers"`` the name of the layer behind each instruction.

    Raises
    ------
    PackageError
        On construction, if the parts do not belong together.
    """

    config: ModelConfig
    program: bytes
    weights: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_weights(self.weights)
        check_program(self.decoded, self.weights, self.config)
        layers = self.metadata.get("layers")
        if layers is not None and len(layers) != len(self.decoded.instructions):
            raise PackageError(
                "metadata.layers",
                f"{len(layers)} names for {len(self.decoded.instructions)} instructions",
            )

    @cached_property
    def decoded(self) -> isa.Program:
        """The program as instructions."""
        try:
            return isa.Program.decode(self.program)
        except ValueError as error:
            raise PackageError("program", f"does not decode: {error}") from None

    @property
    def layout(self) -> isa.BankLayout:
        """Where program, weights and workspace lie in a bank."""
        return self.decoded.layout

    @property
    def bank_bytes(self) -> int:
        """Bytes of device memory that the package needs beside frame and result."""
        return LINE * self.layout.lines

    def bank_image(self) -> np.ndarray:
        """What the driver copies to the start of a bank: program and weights, uint8.

        The workspace follows; what it holds at first does not matter.
        """
        layout = self.layout
        image = np.zeros(LINE * layout.workspace_line, np.uint8)
        image[: len(self.program)] = np.frombuffer(self.program, np.uint8)
        image[LINE * layout.weights_line :] = self.weights.reshape(-1)
        return image

    @cached_property
    def requirements(self) -> dict[str, int]:
        """What the program needs of a board, by capacity name, and its bytes of device memory."""
        return requirements_of(self.decoded)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the ``run_task`` register."""
        return self.config.task_names

    def task(self, name: str) -> PackageTask:
        """Look a task up; `ValueError` lists those that exist."""
        index = self.config.task_index(name)
        task = self.config.tasks[index]
        kind = KINDS[task.kind]
        return PackageTask(
            name, index, kind, output_shape(self.config), DTYPES[kind], task.label_set
        )

    def check_fits(self, board: Board | Mapping[str, int]) -> None:
        """Compare `requirements` with a board.

        Parameters
        ----------
        board : Board or mapping
            A board, or capacities by the names of `requirements`, as read from
            the registers; those that are not in the mapping are not compared.

        Raises
        ------
        CapacityError
            For the first capacity that does not suffice, with both numbers.
        """
        if isinstance(board, Board):
            where = f"{self.config.name} on {board.title}"
            available = capacities_of(board)
        else:
            where = f"{self.config.name} on this bitstream"
            available = {name: int(board[name]) for name in self.requirements if name in board}
        for name, have in available.items():
            if self.requirements[name] > have:
                raise CapacityError(name, self.requirements[name], have, where)

    def save(self, path: PathLike) -> Path:
        """Write the package; what is on disk is always a complete file.

        The same package gives the same bytes.

        Raises
        ------
        OSError
            If the file cannot be written; an older file of that name is then
            unharmed.
        """
        path = Path(path)
        manifest = {
            "format": FORMAT_VERSION,
            "abi": ABI_VERSION,
            "config": self.config.to_dict(),
            "metadata": self.metadata,
        }
        write_container(path, manifest, self.program, self.weights)
        return path

    @classmethod
    def load(cls, path: PathLike) -> Package:
        """Read a package from a path, or a shipped one by name.

        Raises
        ------
        PackageError
            If the file is missing, damaged, of another version or not
            consistent with itself.
        """
        manifest, program, weights = read_container(resolve(path))
        config = parse_config(item(manifest, "config", dict))
        return cls(config, program, weights, item(manifest, "metadata", dict))
