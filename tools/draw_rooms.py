# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Draw what a package sees in photographs of rooms that nobody labelled.

    python tools/draw_rooms.py --list                       the photographs there are
    python tools/draw_rooms.py small rooms.jpg NAME ...     a row for each named one

For the documentation: frames of the data set cannot be shown there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from m3vit_pynq import M3ViTOverlay
from m3vit_pynq.demo.sheet import Row, contact_sheet
from m3vit_pynq.sources.frames import read_image
from m3vit_pynq.sources.stills import IMAGE_SUFFIXES, STILLS_PACKAGE, distribution_files

#: Height of a row before the sheet reduces it, and the pictures' aspect.
_HEIGHT, _ASPECT = 480, 4 / 3


def middle(picture: np.ndarray) -> np.ndarray:
    """The largest 4:3 part about the centre, 480 rows high."""
    height, width = picture.shape[:2]
    rows, columns = min(height, round(width / _ASPECT)), min(width, round(height * _ASPECT))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = picture[top : top + rows, left : left + columns]
    size = (round(_HEIGHT * _ASPECT), _HEIGHT)
    return cv2.resize(cut, size, interpolation=cv2.INTER_AREA)


def draw(package: str, photographs: list[Path]) -> np.ndarray:
    """The contact sheet, uint8 RGB."""
    rows = []
    with M3ViTOverlay(package=package) as overlay:
        shown = {
            name: (overlay.package.task(name).kind, overlay.package.task(name).label_set)
            for name in overlay.package.task_names
        }
        for path in tqdm(photographs, unit="photograph"):
            frame = middle(read_image(path))
            results = overlay.run(frame, tuple(shown))
            rows.append(Row(frame, {name: results[name].data for name in shown}))
    return contact_sheet(rows, shown)


def main() -> int:
    """Draw the photographs that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", nargs="?", default="small")
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("names", nargs="*", help="of the photographs, without ending")
    parser.add_argument("--list", action="store_true", help="name the photographs and stop")
    arguments = parser.parse_args()
    found = {path.stem: path for path in distribution_files(STILLS_PACKAGE, IMAGE_SUFFIXES)}
    if arguments.list or not arguments.out:
        sys.stdout.write("\n".join(found) + "\n")
        return 0
    unknown = [name for name in arguments.names if name not in found]
    if unknown:
        parser.error(f"no photograph {', '.join(unknown)} in {STILLS_PACKAGE}: see --list")
    sheet = draw(arguments.package, [found[name] for name in arguments.names or found])
    if not cv2.imwrite(str(arguments.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        parser.error(f"{arguments.out}: cannot be written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
