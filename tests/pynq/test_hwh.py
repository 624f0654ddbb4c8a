# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The generated .hwh as the real PYNQ parser sees it, and the other generated files."""

from __future__ import annotations

import json

import pytest

from m3vit_pynq import locate
from m3vit_pynq.abi import board_files, hwh, registers
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.emulator.device import EmulatedDevice


@pytest.fixture(params=sorted(BOARDS))
def board(request):
    return BOARDS[request.param]


@pytest.fixture
def parser(board, tmp_path):
    path = tmp_path / "m3vit.hwh"
    path.write_text(hwh.render(board))
    return EmulatedDevice(board).get_bitfile_metadata(str(path))


def test_generated_files_are_current():
    overlays = locate.overlays_directory()
    files = board_files.render_all()
    assert len(files) == 3 * len(BOARDS)
    for path, text in files.items():
        if board_files.built_by_vivado(overlays / path):
            continue
        assert (overlays / path).read_text() == text, f"{path}: run m3vit_pynq.abi.generate"


def test_the_accelerator_is_found_with_its_registers(parser, board):
    entry = parser.ip_dict["m3vit_accel_0"]
    base = {"zynqmp": 0xA000_0000, "zynq": 0x4000_0000}[board.family]
    assert entry["type"] == "m3vit-pynq:hls:m3vit_accel:1.0"
    assert (entry["phys_addr"], entry["addr_range"]) == (base, 0x1000)
    offsets = {name: item["address_offset"] for name, item in entry["registers"].items()}
    assert offsets["CTRL"] == 0 and offsets["IP_ISR"] == 0xC
    # From 0x10: 8 bytes an input, 12 a 64-bit pointer, 16 an output.
    place = 0x10
    for argument in registers.ARGUMENTS:
        name = f"{argument.name}_1" if argument.kind == "pointer" else argument.name
        assert offsets[name] == place
        if argument.kind == "pointer":
            assert offsets[f"{argument.name}_2"] == place + 4
        if argument.kind == "out":
            assert offsets[f"{argument.name}_ctrl"] == place + 4
        place += {"in": 8, "pointer": 12, "out": 16}[argument.kind]
    assert entry["registers"]["run_task"]["access"] == "write-only"
    assert entry["registers"]["CTRL"]["fields"]["AP_DONE"]["bit_offset"] == 1


def test_the_interrupt_is_discovered_through_the_controller(parser, board):
    raw = {"zynqmp": 121, "zynq": 61}[board.family]
    assert parser.interrupt_controllers["axi_intc_0"]["raw_irq"] == raw
    pin = parser.interrupt_pins["m3vit_accel_0/interrupt"]
    assert (pin["controller"], pin["index"]) == ("axi_intc_0", 0)
    assert "interrupt" in parser.ip_dict["m3vit_accel_0"]["interrupts"]


def test_the_clock_does_not_exceed_the_target(board):
    clock = hwh.pl_clock(board)
    source = dict(hwh.FAMILIES[board.family].clock_sources)[clock.source]
    assert clock.megahertz == pytest.approx(source / clock.divisor0 / clock.divisor1)
    assert 0.95 * board.clock_mhz <= clock.megahertz <= board.clock_mhz


#: What Vitis HLS 2020.2 to 2022.2 wrote for the arguments of other accelerators.
GENERATED_MAPS = [
    (0x10, [("in", 32), ("in", 32), *[("out", 32)] * 4], [0x10, 0x18, 0x20, 0x30, 0x40, 0x50]),
    (0x10, [("out", 32), ("out", 32), ("out", 48), ("out", 32), ("out", 32)],
     [0x10, 0x20, 0x30, 0x48, 0x58]),
    (0x34, [*[("pointer", 64)] * 4, ("out", 32), ("pointer", 64)],
     [0x34, 0x40, 0x4C, 0x58, 0x64, 0x74]),
    (0x10, [("in", 32), ("inout", 32), *[("out", 32)] * 3], [0x10, 0x18, 0x28, 0x38, 0x48]),
    (0x10, [("return", 32), ("out", 32), ("out", 32)], [0x10, 0x18, 0x28]),
]  # fmt: skip


@pytest.mark.parametrize(("first", "arguments", "offsets"), GENERATED_MAPS)
def test_the_rule_of_the_register_map_is_that_of_generated_headers(first, arguments, offsets):
    got, place = [], first
    for kind, bits in arguments:
        got.append(place)
        place += registers.argument_bytes(kind, bits)
    assert got == offsets


def test_board_json_and_tcl_hold_the_board(board):
    data = json.loads(board_files.board_json(board))
    assert data["half_lines"] == board.half_lines and data["part"] == board.part
    tcl = board_files.board_tcl(board)
    assert f"part {{{board.part}}}" in tcl
    assert "accelerator_vlnv {m3vit-pynq:hls:m3vit_accel:1.0}" in tcl
