# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Depths of the pipelines, as `tools.hls_check` estimates them.

The check reads the syntax tree with libclang, which an installation does not
need; what it found is in ``depths.json``. A word from memory takes a cycle here
like one from a stream: the way to DRAM is in the model of memory.

    python -m m3vit_pynq.emulator.trace.depths            # write it
    python -m m3vit_pynq.emulator.trace.depths --check    # is it current?
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from m3vit_pynq.abi.boards import BOARDS, DEFAULT_BOARD

FILE = Path(__file__).with_name("depths.json")


def derive(root: Path, boards: tuple[str, ...] = tuple(BOARDS)) -> dict[str, dict[str, int]]:
    """Depth of every pipelined loop, by board and ``function LABEL``; needs libclang."""
    from tools.hls_check.check import contexts
    from tools.hls_check.latency import depth
    from tools.hls_check.paths import LATENCIES

    found: dict[str, dict[str, int]] = {}
    before = LATENCIES["bus read"]
    LATENCIES["bus read"] = LATENCIES["stream read, stream write"]
    try:
        for board in boards:
            macro = f"M3VIT_BOARD_{board.upper().replace('-', '_')}"
            depths: dict[str, int] = {}
            for context in contexts(root, (macro,)):
                for loop in context.loops:
                    if loop.pipelined and not context.in_pipeline(loop):
                        key = f"{loop.function.name} {loop.label}"
                        depths[key] = max(depths.get(key, 0), depth(context, loop))
            found[board] = dict(sorted(depths.items()))
    finally:
        LATENCIES["bus read"] = before
    return found


def text_of(found: dict[str, dict[str, int]]) -> str:
    """The file: what a board has in common with the default one is not repeated."""
    common = found[DEFAULT_BOARD]
    others = {
        board: {key: value for key, value in depths.items() if value != common.get(key)}
        for board, depths in found.items() if board != DEFAULT_BOARD
    }  # fmt: skip
    return json.dumps({DEFAULT_BOARD: common, **others}, indent=1) + "\n"


def depths_of(board: str) -> dict[str, int]:
    """Depths on a board; one that is not known has those of the default board."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {**found[DEFAULT_BOARD], **found.get(board, {})}


def main(arguments: list[str]) -> int:
    """Write the file, or say whether it is current."""
    root = Path(__file__).resolve().parents[3]
    sys.path.insert(0, str(root))
    text = text_of(derive(root / "hls_src"))
    if "--check" in arguments:
        return int(not FILE.is_file() or FILE.read_text(encoding="utf-8") != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
