# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Results of runs, kept in a JSON file and shown as the table of docs/rtl.md."""

from __future__ import annotations

import json
from pathlib import Path

START, END = "<!-- table -->", "<!-- end of table -->"


class Results:
    """What each process gave last; a run replaces the rows of its own processes."""

    def __init__(self, path: Path, tool: str, digests: dict[str, str]) -> None:
        self._path = path
        self._tool = tool
        self._digests = digests  # of the sources as they are now, by process
        self._rows = json.loads(path.read_text()) if path.exists() else []

    def add(self, row: dict) -> None:
        """Put a row in the place of an older one of the same process and board."""
        row = {**row, "tool": self._tool}
        key = row["process"], row["out_par"]
        for i, old in enumerate(self._rows):
            if (old["process"], old["out_par"]) == key:
                self._rows[i] = row
                return
        self._rows.append(row)

    def write(self, page: Path) -> None:
        """Write the JSON file and the table between the marks of the page."""
        self._path.write_text(json.dumps(self._rows, indent=1) + "\n")
        text = page.read_text()
        before, rest = text.split(START)
        after = rest.split(END)[1]
        page.write_text(f"{before}{START}\n{self.table()}\n{END}{after}")

    def table(self) -> str:
        """All rows in Markdown."""
        out = [
            "| process | outputs a cycle | vectors | mismatches | cycles | result | tool, date |",
            "|---|---:|---:|---:|---:|---|---|",
        ]
        for row in self._rows:
            numbers = ("out_par", "vectors", "mismatches", "cycles")
            cells = ["–" if row[n] is None else str(row[n]) for n in numbers]
            state = row["state"] + (f": {row['reason']}" if row["reason"] else "")
            if self._digests.get(row["process"]) != row["sources"]:
                state += " (sources changed since)"
            cells = [f"`{row['process']}`", *cells, state.replace("|", "\\|"),
                     f"{row['tool']}, {row['date']}"]  # fmt: skip
            out.append(f"| {' | '.join(cells)} |")
        return "\n".join(out)
