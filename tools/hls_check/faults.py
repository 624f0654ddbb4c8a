# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a rule has to say about a place in the sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Fault:
    """A place that breaks a rule.

    Attributes
    ----------
    path : Path
        The file.
    line : int
        Its line, counted from 1.
    rule : str
        Name of the rule, as in docs/hls_check.md.
    message : str
        What is wrong, and what to do.
    """

    path: Path
    line: int
    rule: str
    message: str

    def text(self, root: Path | None = None) -> str:
        """``file:line: [rule] message``, the file relative to `root`."""
        path = self.path
        if root is not None and root in path.parents:
            path = path.relative_to(root)
        return f"{path}:{self.line}: [{self.rule}] {self.message}"
