# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The log of a training phase: a CSV with one row an epoch, and its picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from .checkpoint import write_atomically
from .curve import draw_curve


def read_log(path: Path) -> list[dict[str, str]]:
    """Rows of a log; none if there is no file.

    Raises
    ------
    ValueError
        If the file is no log.
    """
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not all((row.get("epoch") or "").isdecimal() for row in rows):
        raise ValueError(f"{path} is no log of this program (no epochs): move it away")
    return rows


def add_row(path: Path, row: dict[str, float]) -> None:
    """Put a row into a log in place of those of its epoch and later, and draw the log.

    An epoch that is repeated after an interruption so replaces what it said before.
    """
    path = Path(path)
    rows: list[dict] = [old for old in read_log(path) if int(old["epoch"]) < row["epoch"]]
    rows.append(row)
    names = list(dict.fromkeys(name for entry in rows for name in entry))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
    draw_curve(path)
