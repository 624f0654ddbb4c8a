# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Packages, entry points and the fast engine; the rest of the metadata is in setup.cfg.

On a laptop the build compiles the fast engine of the emulated board. On a board, or
where there is no compiler, it compiles nothing.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent

#: Folders of the repository that become sub-packages, so that an installed
#: package finds its notebooks, overlays and HLS sources.
MAPPED = {
    "m3vit_pynq.notebooks": "notebooks",
    "m3vit_pynq.overlays": "overlays",
    "m3vit_pynq.hls_src": "hls_src",
}


def on_a_board() -> bool:
    """Whether this machine is a PYNQ board, where nothing is compiled."""
    return bool(os.environ.get("BOARD")) or Path("/etc/pynq").exists()


def data_files(folder: str) -> list:
    """Every file below a folder, relative to it, without caches and build output."""
    base = ROOT / folder
    skipped = {"__pycache__", "build", ".Xil", ".ipynb_checkpoints"}
    return sorted(
        str(path.relative_to(base))
        for path in base.rglob("*")
        if path.is_file() and not skipped.intersection(path.relative_to(base).parts)
    )


class BuildPy(build_py):
    """Also builds the fast engine of the emulated board."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # a source checkout builds on first use, from the current sources
        if os.environ.get("M3VIT_SKIP_HOST_BUILD") or on_a_board():
            self.announce("fast engine: not built here", level=2)
        elif shutil.which(os.environ.get("CXX", "g++")) is None:
            self.announce("fast engine: no C++ compiler; it is built on first use", level=3)
        else:
            from m3vit_pynq.emulator.fastbuild import build  # needs the standard library only

            folder = Path(self.build_lib).resolve() / "m3vit_pynq" / "emulator" / "prebuilt"
            build(out_dir=folder)


class BinaryDistribution(Distribution):
    """The wheel holds a compiled library when one was built."""

    def has_ext_modules(self):
        return not (os.environ.get("M3VIT_SKIP_HOST_BUILD") or on_a_board())


sys.path.insert(0, str(ROOT))

setup(
    packages=[*find_packages(include=["m3vit_pynq", "m3vit_pynq.*"]), *MAPPED],
    package_dir=MAPPED,
    package_data={
        "m3vit_pynq": ["weights/*.m3vit", "weights/*.csv"],
        "m3vit_pynq.live": ["*.js", "*.css", "*.html"],
        "m3vit_pynq.analysis": ["*.json"],
        "m3vit_pynq.bench": ["*.cpp"],
        "m3vit_pynq.emulator": ["native/*.cpp", "native/*.h"],
        "m3vit_pynq.emulator.trace": ["*.json", "native/*"],
        **{package: data_files(folder) for package, folder in MAPPED.items()},
    },
    entry_points={
        "console_scripts": [
            "m3vit-pynq = m3vit_pynq.cli:main",
            "pynq-m3vit = m3vit_pynq.cli:main",
        ],
        "pynq.notebooks": ["m3vit-pynq = m3vit_pynq.notebooks"],
        "pynq.overlays": ["m3vit-pynq = m3vit_pynq.overlays"],
        "pynq.lib": ["m3vit-pynq = m3vit_pynq.pynq_plugin"],
    },
    cmdclass={"build_py": BuildPy},
    distclass=BinaryDistribution,
)
