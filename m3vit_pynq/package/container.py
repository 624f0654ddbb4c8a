# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The ``.npz`` container of a package: entries to bytes and back, defensively."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from m3vit_pynq.abi import ABI_VERSION
from m3vit_pynq.errors import PackageError

FORMAT_VERSION = 2

#: Largest size an entry may declare, in bytes: a small file cannot make the
#: reader allocate more than this.
SIZE_LIMITS = {
    "manifest": 16 << 20,
    "program": 1 << 20,
    "weights": 1 << 30,
}


def sha256(array: np.ndarray) -> str:
    """Checksum of an array's bytes, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def write_container(path: Path, manifest: Mapping[str, Any], program: bytes, weights: np.ndarray):
    """Write all entries; what is on disk is always a complete file.

    Raises
    ------
    OSError
        If the file cannot be written; an older file of that name is then
        unharmed.
    """
    content = np.frombuffer(program, np.uint8)
    sums = {"program": sha256(content), "weights": sha256(weights)}
    text = json.dumps({**manifest, "sha256": sums}, sort_keys=True).encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                _write_entry(archive, "manifest", np.frombuffer(text, np.uint8))
                _write_entry(archive, "program", content)
                _write_entry(archive, "weights", weights)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_entry(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # carries no clock: files are reproducible
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def read_container(file: Path) -> tuple[dict[str, Any], bytes, np.ndarray]:
    """Manifest, program and weights of a file; nothing larger than its limit is ever unpacked.

    Raises
    ------
    PackageError
        If an entry is missing, damaged or of another version.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            expected = {f"{name}.npy": name for name in SIZE_LIMITS}
            if set(members) != set(expected) or len(archive.infolist()) != len(expected):
                raise PackageError(
                    "file", f"holds {sorted(members)}, a package holds {sorted(expected)}"
                )
            manifest = _parse_manifest(_read_array(archive, members["manifest.npy"], "manifest"))
            entries = {
                name: _read_array(archive, members[f"{name}.npy"], name)
                for name in ("program", "weights")
            }
    except PackageError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError,
            NotImplementedError, IndexError, OverflowError) as error:  # fmt: skip
        raise PackageError("file", f"not a readable package: {error}") from None
    for name, entry in entries.items():
        if sha256(entry) != item(manifest, "sha256", dict).get(name):
            raise PackageError(name, "SHA-256 differs from the manifest: the file is damaged")
    return manifest, entries["program"].tobytes(), entries["weights"]


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
    file_format, abi = item(manifest, "format", int), item(manifest, "abi", int)
    if (file_format, abi) == (1, 1):
        raise PackageError(
            "abi", f"the package was compiled for ABI 1, this library speaks {ABI_VERSION}: "
            "compile it again from its checkpoint with `m3vit-pynq convert`; if that is lost, "
            "rebuild its float weights with `m3vit-pynq export` of version 0.1"
        )  # fmt: skip
    if file_format != FORMAT_VERSION:
        raise PackageError(
            "format", f"version {file_format}, this library reads {FORMAT_VERSION}: "
            "install the version of m3vit-pynq that wrote the file, or compile it again"
        )  # fmt: skip
    if abi != ABI_VERSION:
        raise PackageError(
            "abi", f"version {abi}, this library speaks {ABI_VERSION}: compile the checkpoint "
            "again with `m3vit-pynq convert`"
        )  # fmt: skip
    return manifest


def item(manifest: Mapping[str, Any], key: str, kind: type) -> Any:
    """An entry of the manifest; `PackageError` if it is missing or of another type."""
    if key not in manifest:
        raise PackageError(key, "missing from the manifest")
    if type(manifest[key]) is not kind:
        raise PackageError(key, f"is {type(manifest[key]).__name__}, not {kind.__name__}")
    return manifest[key]
