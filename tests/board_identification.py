# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an accelerator of a board says of itself."""

from m3vit_pynq.abi import ABI_VERSION, MAGIC


def identification(board) -> dict[str, int]:
    """Registers of an accelerator that has done nothing yet."""
    return {
        "id_magic": MAGIC, "id_abi": ABI_VERSION,
        "id_shape": board.tokens_par | board.out_par << 8 | board.in_par << 16,
        "cap_half_lines": board.half_lines, "cap_tokens": board.max_tokens,
        "cap_map_lines": board.map_lines, "run_error": 0, "run_pc": 0,
    }  # fmt: skip
