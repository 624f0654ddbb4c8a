# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Model packages: one ``.m3vit`` file holds all that a board needs to run a model.

A package is an ``.npz`` container with three entries, none of them pickled:

* ``manifest``: JSON (uint8 text): format and ABI version, model configuration,
  requirements, metadata, and the SHA-256 of the other two entries;
* ``program``: `m3vit_pynq.abi.isa.Program` as bytes;
* ``weights``: uint8 ``[4, n]``, one row for each weight port.

A package that does not load raises `PackageError`, which names the entry that
is wrong; what loads has been checked against itself: checksums, shapes, every
instruction, every address of a weight, the size of every output.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Union

import numpy as np

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.boards import BEAT, Board
from m3vit_pynq.analysis.requirements import REQUIREMENTS, requirements_of, weight_beats_of
from m3vit_pynq.config import ModelConfig, TaskConfig
from m3vit_pynq.errors import CapacityError, PackageError

FORMAT_VERSION = 1
SUFFIX = ".m3vit"
#: Shipped package to use when none is named, in order of preference.
PREFERRED = ("small", "tiny")
PORTS = 4

#: Largest size an entry may declare, in bytes: a small file cannot make the
#: reader allocate more than this.
SIZE_LIMITS = {
    "manifest": 16 << 20,
    "program": 1 << 20,
    "weights": 1 << 30,
}

_KINDS = {"segmentation": isa.TaskKind.CLASSES, "depth": isa.TaskKind.DEPTH}
_DTYPES = {isa.TaskKind.CLASSES: np.dtype(np.uint8), isa.TaskKind.DEPTH: np.dtype("<u2")}

#: Operands that are never zero.
_POSITIVE = frozenset(
    (
        "rows", "cols_in", "cols_out", "height", "width", "patch", "heads", "head_dim", "experts",
        "top_k", "hidden", "factor",
    )
)  # fmt: skip

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class PackageTask:
    """One task of a package.

    Attributes
    ----------
    index : int
        Value of the ``task`` register.
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
        """Bytes the task writes to the output buffer."""
        return self.output_shape[0] * self.output_shape[1] * self.dtype.itemsize


def weights_directory() -> Path:
    """Folder of the packages that are installed with this library."""
    return Path(__file__).resolve().parent / "weights"


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
        Weight image, uint8 ``[4, n]``, C-contiguous, one row a port.
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
        _check_weights(self.weights)
        _check_program(self.decoded, self.weights, self.config)
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

    @cached_property
    def requirements(self) -> dict[str, int]:
        """What the program needs of a board, by capacity name."""
        return requirements_of(self.decoded)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the ``task`` register."""
        return self.config.task_names

    def task(self, name: str) -> PackageTask:
        """Look a task up; `ValueError` lists those that exist."""
        index = self.config.task_index(name)
        task = self.config.tasks[index]
        kind = _KINDS[task.kind]
        return PackageTask(
            name, index, kind, _output_shape(self.config), _DTYPES[kind], task.label_set
        )

    def check_fits(self, board: Board | Mapping[str, int]) -> None:
        """Compare `requirements` with a board.

        Parameters
        ----------
        board : Board or mapping
            A board, or capacities as read from the registers; capacities that
            are not in the mapping are not compared.

        Raises
        ------
        CapacityError
            For the first capacity that does not suffice, with both numbers.
        """
        if isinstance(board, Board):
            where = f"{self.config.name} on {board.title}"
            available = {name: getattr(board, name) for name in REQUIREMENTS}
        else:
            where = f"{self.config.name} on this bitstream"
            available = {name: int(board[name]) for name in REQUIREMENTS if name in board}
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
        program = np.frombuffer(self.program, np.uint8)
        manifest = {
            "format": FORMAT_VERSION,
            "abi": ABI_VERSION,
            "config": self.config.to_dict(),
            "requirements": self.requirements,
            "metadata": self.metadata,
            "sha256": {"program": _sha256(program), "weights": _sha256(self.weights)},
        }
        text = np.frombuffer(json.dumps(manifest, sort_keys=True).encode(), np.uint8)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with temporary.open("wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                    _write_entry(archive, "manifest", text)
                    _write_entry(archive, "program", program)
                    _write_entry(archive, "weights", self.weights)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
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
        file = resolve(path)
        entries = _read_entries(file)
        manifest = _parse_manifest(entries["manifest"])
        for name in ("program", "weights"):
            if _sha256(entries[name]) != _item(manifest, "sha256", dict).get(name):
                raise PackageError(name, "SHA-256 differs from the manifest: the file is damaged")
        package = cls(
            _parse_config(_item(manifest, "config", dict)),
            entries["program"].tobytes(),
            entries["weights"],
            _item(manifest, "metadata", dict),
        )
        if _item(manifest, "requirements", dict) != package.requirements:
            raise PackageError(
                "requirements", f"manifest and program differ; the program needs "
                f"{package.requirements}"
            )  # fmt: skip
        return package


def _output_shape(config: ModelConfig) -> tuple[int, int]:
    factor = config.head.enlargement
    return config.grid[0] * factor, config.grid[1] * factor


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _write_entry(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # carries no clock: files are reproducible
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def _read_entries(file: Path) -> dict[str, np.ndarray]:
    """All entries as arrays; nothing larger than its limit is ever unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            expected = {f"{name}.npy": name for name in SIZE_LIMITS}
            if set(members) != set(expected) or len(archive.infolist()) != len(expected):
                raise PackageError(
                    "file", f"holds {sorted(members)}, a package holds {sorted(expected)}"
                )
            return {
                name: _read_array(archive, members[member], name)
                for member, name in expected.items()
            }
    except PackageError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError,
            NotImplementedError, IndexError, OverflowError) as error:  # fmt: skip
        raise PackageError("file", f"not a readable package: {error}") from None


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    limit = SIZE_LIMITS[name]
    if info.file_size > limit:
        raise PackageError(name, f"declares {info.file_size} bytes, the limit is {limit}")
    try:
        with archive.open(info) as entry:
            data = entry.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError,
            NotImplementedError) as error:  # fmt: skip
        raise PackageError(name, f"cannot be unpacked: {error}") from None
    return _parse_array(data, name)


def _parse_array(data: bytes, name: str) -> np.ndarray:
    """A uint8 array in ``.npy`` format, one or (weights) two dimensions."""
    stream = BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"array format version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:
        # The header is a Python literal; damaged ones fail in many ways.
        raise PackageError(name, f"array header: {error}") from None
    if dtype != np.uint8:
        raise PackageError(name, f"dtype is {dtype}, not uint8")
    dimensions = 2 if name == "weights" else 1
    if len(shape) != dimensions or fortran or any(size < 0 for size in shape):
        raise PackageError(name, f"shape is {shape}")
    content = data[stream.tell() :]
    size = 1
    for extent in shape:
        size *= extent
    if size != len(content):
        raise PackageError(name, f"shape {shape} needs {size} bytes, {len(content)} are there")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _reject_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _parse_manifest(entry: np.ndarray) -> dict[str, Any]:
    try:
        manifest = json.loads(entry.tobytes().decode(), parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise PackageError("manifest", f"is not JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise PackageError("manifest", "is not a JSON object")
    if _item(manifest, "format", int) != FORMAT_VERSION:
        raise PackageError(
            "format", f"version {manifest['format']}, this library reads {FORMAT_VERSION}"
        )
    if _item(manifest, "abi", int) != ABI_VERSION:
        raise PackageError(
            "abi", f"version {manifest['abi']}, this library speaks {ABI_VERSION}: "
            "compile the checkpoint again"
        )  # fmt: skip
    return manifest


def _item(manifest: dict[str, Any], key: str, kind: type) -> Any:
    if key not in manifest:
        raise PackageError(key, "missing from the manifest")
    if type(manifest[key]) is not kind:
        raise PackageError(key, f"is {type(manifest[key]).__name__}, not {kind.__name__}")
    return manifest[key]


def _parse_config(data: dict[str, Any]) -> ModelConfig:
    try:
        config = ModelConfig.from_dict(data)
        _check_config(config)
        return config
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError,
            OverflowError) as error:  # fmt: skip
        raise PackageError("config", f"is no model configuration: {error}") from None


def _check_config(config: ModelConfig) -> None:
    """Field types, which JSON does not guarantee."""
    counts = (
        *config.image_size, *config.head.channels, config.patch_size, config.embed_dim,
        config.depth, config.heads, config.head.output_upsample, config.mlp_ratio,
        *(task.outputs for task in config.tasks),
    )  # fmt: skip
    if any(type(value) is not int or not 1 <= value < 1 << 16 for value in counts):
        raise ValueError("a size is not a positive 16-bit integer")
    if type(config.per_image) is not bool or type(config.shared_hidden) is not int:
        raise ValueError("per_image or shared_hidden has the wrong type")
    if len(config.image_size) != 2 or len(config.head.channels) > 8:
        raise ValueError("image_size or head.channels has the wrong length")
    if not isinstance(config.name, str):
        raise ValueError("name is no text")
    for task in config.tasks:
        if task.kind not in _KINDS:
            raise ValueError(f"task kind {task.kind!r}")
        if not isinstance(task.name, str) or not isinstance(task.label_set, str):
            raise ValueError("a task's name or label_set is no text")
    if len(set(config.task_names)) != len(config.tasks):
        raise ValueError("two tasks have the same name")


def _check_weights(weights: np.ndarray) -> None:
    if not isinstance(weights, np.ndarray) or weights.dtype != np.uint8:
        raise PackageError("weights", "is no uint8 array")
    if weights.ndim != 2 or weights.shape[0] != PORTS or not weights.flags.c_contiguous:
        raise PackageError("weights", f"shape is {weights.shape}, not [{PORTS}, n]")
    if weights.shape[1] % BEAT:
        raise PackageError("weights", f"{weights.shape[1]} bytes a port are no whole beats")


def _check_program(program: isa.Program, weights: np.ndarray, config: ModelConfig) -> None:
    if program.weights_bytes != weights.shape[1]:
        raise PackageError(
            "program", f"wants {program.weights_bytes} bytes of weights a port, "
            f"the image has {weights.shape[1]}"
        )  # fmt: skip
    if (program.frame_height, program.frame_width) != config.image_size:
        raise PackageError("program", "frame size differs from config.image_size")
    if len(program.tasks) != len(config.tasks):
        raise PackageError(
            "program", f"has {len(program.tasks)} tasks, config has {len(config.tasks)}"
        )
    for entry, task in zip(program.tasks, config.tasks, strict=True):
        _check_task(program, entry, task, config)
    beats = weights.shape[1] // BEAT
    for index, instruction in enumerate(program.instructions):
        for name in _POSITIVE.intersection(isa.OPERANDS[instruction.opcode]):
            if getattr(instruction, name) == 0:
                raise PackageError(
                    "program", f"instruction {index} ({instruction.opcode.name}) has {name} = 0"
                )
        if weight_beats_of(instruction) > beats:
            raise PackageError(
                "program", f"instruction {index} ({instruction.opcode.name}) reads weight beat "
                f"{weight_beats_of(instruction) - 1} of {beats}"
            )  # fmt: skip


def _check_task(
    program: isa.Program, entry: isa.TaskEntry, task: TaskConfig, config: ModelConfig
) -> None:
    where = f"task {task.name}"
    if entry.kind != _KINDS[task.kind]:
        raise PackageError("program", f"{where} is {entry.kind.name}, config says {task.kind}")
    height, width = _output_shape(config)
    if entry.output_bytes != height * width * _DTYPES[entry.kind].itemsize:
        raise PackageError(
            "program", f"{where} writes {entry.output_bytes} bytes, "
            f"config gives {height}x{width} of {_DTYPES[entry.kind]}"
        )  # fmt: skip
    body = program.instructions[entry.first : entry.first + entry.count]
    if body[-1].opcode != isa.Opcode.END:
        raise PackageError("program", f"{where} does not stop at END")
    output = {
        isa.TaskKind.CLASSES: isa.Opcode.OUTPUT_CLASSES,
        isa.TaskKind.DEPTH: isa.Opcode.OUTPUT_DEPTH,
    }[entry.kind]
    shapes = [
        (i.height * i.factor, i.width * i.factor)
        for i in body
        if i.opcode in (isa.Opcode.OUTPUT_CLASSES, isa.Opcode.OUTPUT_DEPTH)
    ]
    if shapes != [(height, width)] or not any(i.opcode == output for i in body):
        raise PackageError("program", f"{where} has outputs {shapes}, config gives one of "
                           f"{height}x{width}")  # fmt: skip
