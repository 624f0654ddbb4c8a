# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a bitstream says of itself, and whether this package can drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.registers import OFFSETS
from m3vit_pynq.errors import BitstreamError

CAPACITIES = (
    "act_lines", "residual_elements", "weight_tile_beats", "queue_entries", "score_elements",
)  # fmt: skip


@dataclass(frozen=True)
class Identification:
    """The identification registers.

    Attributes
    ----------
    config : int
        ``tokens_par | out_par << 8 | in_par << 16``.
    act_lines, residual_elements, weight_tile_beats, queue_entries, score_elements : int
        Capacities, as in `m3vit_pynq.abi.boards.Board`.
    """

    magic: int
    abi_version: int
    config: int
    act_lines: int
    residual_elements: int
    weight_tile_beats: int
    queue_entries: int
    score_elements: int

    @classmethod
    def read(cls, read: Callable[[int], int]) -> Identification:
        """From the registers, after an IDENTIFY command."""
        names = ("magic", "abi_version", "config", *CAPACITIES)
        return cls(**{name: read(OFFSETS[name]) for name in names})

    def check(self, bitfile: str) -> None:
        """Refuse another IP or another version.

        Raises
        ------
        BitstreamError
            Naming the file to rebuild.
        """
        if self.magic != MAGIC:
            raise BitstreamError(
                f"identification is 0x{self.magic:08x}, not 0x{MAGIC:08x}: the loaded bitstream "
                f"is not m3vit_accel, or its .hwh belongs to another build. {remedy(bitfile)}"
            )
        if self.abi_version != ABI_VERSION:
            raise BitstreamError(
                f"the bitstream has ABI version {self.abi_version}, this package speaks "
                f"{ABI_VERSION}. {remedy(bitfile)}"
            )

    @property
    def capacities(self) -> dict[str, int]:
        """What `Package.check_fits` compares with a program's requirements."""
        return {name: getattr(self, name) for name in CAPACITIES}

    @property
    def parallelism(self) -> tuple[int, int, int]:
        """``(tokens_par, out_par, in_par)``."""
        return self.config & 0xFF, self.config >> 8 & 0xFF, self.config >> 16 & 0xFF

    @property
    def board_name(self) -> str | None:
        """The board configuration that the bitstream was built for, if known."""
        for name, board in BOARDS.items():
            known = {capacity: getattr(board, capacity) for capacity in CAPACITIES}
            if board.config_word == self.config and known == self.capacities:
                return name
        return None


def remedy(bitfile: str) -> str:
    """What to do about a bitstream that cannot be driven."""
    return (
        f"Rebuild {bitfile} (make -C overlays/<board>) or install the bitstream "
        "and the .hwh of this version"
    )
