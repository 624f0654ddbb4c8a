# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A package back to a float checkpoint; see ``docs/export.md``."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m3vit_pynq._version import __version__
from m3vit_pynq.compiler.checkpoint import CONFIG_ENTRY, META_ENTRY
from m3vit_pynq.compiler.decode import decode_model
from m3vit_pynq.compiler.gauge import KEY
from m3vit_pynq.compiler.unfold import unfold_model
from m3vit_pynq.config import ModelConfig
from m3vit_pynq.errors import CheckpointError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.checkpoint import validate_checkpoint

#: Metadata that describe the package and not its weights: left out, or told as its history.
_OF_THE_PACKAGE = ("layers", "scales", KEY)
_MEASURED = ("compiler", "calibration_frames", "quality", "metrics_float")


def export_checkpoint(package: Package) -> dict[str, np.ndarray]:
    """Float weights of a package, names and shapes as in `m3vit_pynq.config`.

    Raises
    ------
    PackageError
        If the metadata do not say which layer is which.
    CheckpointError
        If the integers stand for no finite weights of the package's configuration.
    """
    model = decode_model(package)
    try:
        with np.errstate(all="ignore"):  # what is not finite is found and named
            arrays = unfold_model(model)
        validate_checkpoint(package.config, arrays)
    except ValueError as error:
        raise CheckpointError(f"cannot be exported: {error}") from None
    return arrays


def export_meta(package: Package, name: str) -> dict[str, Any]:
    """Provenance for the checkpoint: the package's, and that it was exported."""
    kept = {
        key: value
        for key, value in package.metadata.items()
        if key not in (*_OF_THE_PACKAGE, *_MEASURED)
    }
    origin = {key: package.metadata[key] for key in _MEASURED if key in package.metadata}
    return {
        **kept,
        "provenance": f"{package.metadata.get('provenance', 'unknown')}; "
        f"float weights recovered from the INT8 package {name}",
        "exported": {"package": name, "exporter": f"m3vit-pynq {__version__}", **origin},
    }


def write_checkpoint(
    path: Path, config: ModelConfig, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> Path:
    """Write an ``.npz`` that `m3vit_pynq.compiler.load_checkpoint` reads.

    What is on disk is always a complete file; the same weights give the same bytes.

    Raises
    ------
    OSError
        If the file cannot be written; an older one of that name is then unharmed.
    """
    path = Path(path)
    content = {
        **arrays,
        CONFIG_ENTRY: np.array(json.dumps(config.to_dict())),
        META_ENTRY: np.array(json.dumps(meta)),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in content.items():
                info = zipfile.ZipInfo(f"{name}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
