# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an accelerator of a board says of itself."""

from m3vit_pynq.abi import ABI_VERSION, MAGIC


def identification(board) -> dict[str, int]:
    """Registers of an accelerator that has done nothing yet."""
    return {
        "magic": MAGIC, "abi_version": ABI_VERSION, "config": board.config_word,
        "act_lines": board.act_lines, "residual_elements": board.residual_elements,
        "weight_tile_beats": board.weight_tile_beats, "queue_entries": board.queue_entries,
        "score_elements": board.score_elements, "error": 0, "error_pc": 0,
        "cycles_low": 0, "cycles_high": 0,
    }  # fmt: skip
