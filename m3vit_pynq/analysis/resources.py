# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""DSP, block RAM, URAM and (estimated) LUT of the accelerator on a board.

The forms come from ``hls_resources.json``, which ``python -m tools.resources
--write`` makes from ``hls_src``; the rules that turn a form into blocks are in
`resources_rules`. Nothing here was reported by Vitis HLS or Vivado.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from m3vit_pynq.abi.boards import BOARDS, Board

from . import resources_rules as rules
from .resources_rules import Blocks

#: Forms of the sources, by board.
FORMS = Path(__file__).with_name("hls_resources.json")
#: Largest share of a device that a board may take.
LIMIT = 0.85
#: What a device has, by the names of `Blocks`.
RESOURCES = ("dsp", "bram36", "uram", "lut")


@dataclass(frozen=True)
class Item:
    """One form with all its copies.

    Attributes
    ----------
    kind, process, name : str
        Kind of form, the process that holds it, what it is.
    blocks : Blocks
        What all copies take.
    copies : int
        How many there are.
    """

    kind: str
    process: str
    name: str
    blocks: Blocks
    copies: int


def parameters_of(board: Board) -> dict[str, int | str]:
    """What of a board the shapes of the hardware depend on."""
    return {
        "family": board.family,
        "tokens_par": board.tokens_par,
        "out_par": board.out_par,
        "in_par": board.in_par,
        "half_lines": board.half_lines,
        "max_tokens": board.max_tokens,
        "map_lines": board.map_lines,
        "first_groups": board.first_groups,
        "port_bytes": board.port_bytes,
        "uram_used": int(board.uram > 0),
    }


@lru_cache(maxsize=1)
def _listed() -> dict:
    return json.loads(FORMS.read_text(encoding="utf-8"))


def forms_of(board: Board) -> dict[str, list[dict]]:
    """The forms of a board, by kind; `ValueError` if its shape is not listed."""
    listed = _listed()
    wanted = parameters_of(board)
    for entry in listed["boards"].values():
        if entry["parameters"] == wanted:
            return {
                kind: [dict(zip(columns, row, strict=True)) for row in entry[kind]]
                for kind, columns in listed["columns"].items()
            }
    raise ValueError(
        f"resources of {board.name!r}: no board of this shape is in {FORMS.name}. Its memories "
        "and multipliers are read from hls_src: add the board to m3vit_pynq/abi/boards.py, run "
        "python -m m3vit_pynq.abi.generate and python -m tools.resources --write (needs libclang, "
        "pip install 'm3vit-pynq[test]')"
    )


def items(board: Board) -> Iterator[Item]:
    """Everything that is counted, form by form."""
    for kind, rows in forms_of(board).items():
        for form in rows:
            copies = form["copies"]
            blocks = _RULES[kind](form, board.family).times(copies)
            name = str(form.get("name") or form.get("where") or form.get("kind") or kind)
            yield Item(kind, form["process"], name, blocks, copies)
    yield Item("design", "block design", "interconnect and control", rules.surroundings(board), 1)


def board_resources(board: Board) -> dict[str, float]:
    """What the design takes on a board: ``dsp``, ``bram36``, ``uram``, ``lut`` (estimate)."""
    total = Blocks()
    for item in items(board):
        total += item.blocks
    return {name: round(getattr(total, name), 1) for name in RESOURCES}


def shares(board: Board) -> dict[str, float]:
    """The same as shares of the device; 0 where it has none and none is used."""
    used = board_resources(board)
    found = {}
    for name in RESOURCES:
        has = getattr(board, name)
        found[name] = used[name] / has if has else (float("inf") if used[name] else 0.0)
    return found


def board_table() -> str:
    """Used, available and share of every board, as Markdown."""
    lines = ["| board | DSP | BRAM36 | URAM | LUT (estimate) |", "|---|---|---|---|---|"]
    for board in BOARDS.values():
        used, parts = board_resources(board), shares(board)
        cells = [
            f"{used[name]:g} / {getattr(board, name)} = {parts[name]:.0%}"
            if getattr(board, name)
            else "none"
            for name in RESOURCES
        ]
        lines.append("| " + " | ".join([board.title, *cells]) + " |")
    return "\n".join(lines)


_RULES = {
    "memory": rules.of_memory,
    "table": rules.of_table,
    "stream": rules.of_stream,
    "product": rules.of_product,
    "port": rules.of_port,
    "operator": rules.of_operator,
    "process": rules.of_process,
    "loop": rules.of_loop,
}
