# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A bitstream whose register map differs from the driver's is refused, both offsets named."""

from __future__ import annotations

import re

import pytest

from m3vit_pynq import locate
from m3vit_pynq.errors import BitstreamError
from m3vit_pynq.handoff import check_registers, expected_offsets
from m3vit_pynq.overlay import M3ViTOverlay


def registers() -> dict[str, dict[str, int]]:
    return {name: {"address_offset": offset} for name, offset in expected_offsets().items()}


def test_the_map_of_this_package_is_accepted():
    check_registers(registers(), "m3vit.bit")
    more = {**registers(), "CTRL": {"address_offset": 0}, "run_pc_ctrl": {"address_offset": 0x130}}
    check_registers(more, "m3vit.bit")


@pytest.mark.parametrize("name", sorted(expected_offsets()))
def test_a_register_elsewhere(name):
    moved = registers()
    moved[name] = {"address_offset": moved[name]["address_offset"] - 8}
    offset = expected_offsets()[name]
    expected = f"{name} at 0x{offset - 8:X}, this package expects it at 0x{offset:X}. Rebuild other"
    with pytest.raises(BitstreamError, match=re.escape(expected)):
        check_registers(moved, "other.bit")
    del moved[name]
    with pytest.raises(BitstreamError, match=f"no register {name}"):
        check_registers(moved, "other.bit")


def test_an_overlay_of_the_first_edition(device, micro, tmp_path):
    """Outputs 8 bytes apart, as Vivado HLS placed them."""
    handoff = locate.emulated_bitfile(device.board).read_text()
    offset = expected_offsets()["id_abi"]
    changed = handoff.replace(f'VALUE="0x{offset:X}"', f'VALUE="0x{offset - 8:X}"')
    assert changed != handoff
    (tmp_path / "m3vit.bit").write_bytes(b"bits")
    (tmp_path / "m3vit.hwh").write_text(changed)
    with pytest.raises(BitstreamError, match=f"id_abi at 0x{offset - 8:X}.*0x{offset:X}"):
        M3ViTOverlay(micro, device=device, bitfile=tmp_path / "m3vit.bit")
