# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a bitstream says of itself, and whether this package can drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.footprint import CAPACITIES, capacities_of
from m3vit_pynq.abi.registers import CAPACITY_REGISTERS, OFFSETS
from m3vit_pynq.errors import BitstreamError

if set(CAPACITY_REGISTERS) != set(CAPACITIES):
    raise LookupError(f"no register for {set(CAPACITIES) - set(CAPACITY_REGISTERS)}")


@dataclass(frozen=True)
class Identification:
    """The identification registers.

    Attributes
    ----------
    shape : int
        ``tokens_par | out_par << 8 | in_par << 16``.
    capacities : dict
        What `Package.check_fits` compares with a program's requirements, by the names
        of `m3vit_pynq.abi.footprint.CAPACITIES`.
    """

    magic: int
    abi_version: int
    shape: int
    capacities: dict[str, int]

    @classmethod
    def read(cls, read: Callable[[int], int]) -> Identification:
        """From the registers, after an IDENTIFY command."""
        magic, abi, shape = (read(OFFSETS[n]) for n in ("id_magic", "id_abi", "id_shape"))
        capacities = {name: read(OFFSETS[at]) for name, at in CAPACITY_REGISTERS.items()}
        return cls(magic, abi, shape, capacities)

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
    def parallelism(self) -> tuple[int, int, int]:
        """``(tokens_par, out_par, in_par)``."""
        return self.shape & 0xFF, self.shape >> 8 & 0xFF, self.shape >> 16 & 0xFF

    @property
    def board_name(self) -> str | None:
        """The board configuration that the bitstream was built for, if known."""
        for name, board in BOARDS.items():
            if (board.shape_word, capacities_of(board)) == (self.shape, self.capacities):
                return name
        return None


def remedy(bitfile: str) -> str:
    """What to do about a bitstream that cannot be driven."""
    return (
        f"Rebuild {bitfile} (make -C overlays/<board>) or install the bitstream "
        "and the .hwh of this version"
    )
