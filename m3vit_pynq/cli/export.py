# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""``m3vit-pynq export``: a package back to a float checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "export",
        help="have the float weights of a package back",
        description="Turns a package into a float checkpoint (.npz) that computes the same "
        "without rounding: to fine-tune what is shipped, to evaluate it in float, or to convert it "
        "again. See docs/export.md.",
    )
    parser.add_argument("package", help="a .m3vit file, or the name of a shipped package")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="checkpoint to write, .npz"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, undo the compiler's foldings, write."""
    from m3vit_pynq.compiler.export import export_checkpoint, export_meta, write_checkpoint
    from m3vit_pynq.package import Package, resolve

    out = arguments.out
    _check_output(out, arguments.force)
    package = Package.load(arguments.package)
    arrays = export_checkpoint(package)
    meta = export_meta(package, resolve(arguments.package).stem)
    write_checkpoint(out, package.config, arrays, meta)
    count = sum(array.size for array in arrays.values())
    print(
        f"{out}: {package.config.name}, {count / 1e6:.1f} M weights, "
        f"{out.stat().st_size / 1e6:.1f} MB; convert it again with "
        f"m3vit-pynq convert {out} FILE.m3vit --calibration FOLDER"
    )
    return 0


def _check_output(path: Path, force: bool) -> None:
    """Before minutes are spent: the ending, the folder, and that nothing is lost."""
    if path.suffix != ".npz":
        raise ValueError(f"{path}: a checkpoint's name ends in .npz")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ValueError(f"{path}: {what}")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; give --force to overwrite it")
