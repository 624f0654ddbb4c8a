# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Resources of every board: the rules, the list of forms, and the limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.analysis import resources
from m3vit_pynq.analysis import resources_rules as rules
from m3vit_pynq.analysis.resources import LIMIT, RESOURCES, board_resources, items, shares


@pytest.mark.parametrize(
    ("bits", "depth", "blocks"),
    [
        (512, 512, 7.5), (512, 1024, 14.5), (512, 2048, 28.5), (512, 4096, 57), (128, 2048, 7.5),
        (64, 512, 1), (8, 512, 0.5), (16, 1024, 0.5), (16, 2048, 1), (18, 1025, 1),
        (1, 16384, 0.5), (1, 65536, 2), (72, 3072, 8),
    ],
)  # fmt: skip
def test_block_ram(bits, depth, blocks):
    assert rules.bram(bits, depth) == blocks


def test_block_ram_with_two_full_ports_has_no_widest_form():
    assert rules.bram(72, 512) == 1
    assert rules.bram(72, 512, "ram_t2p") == 2


@pytest.mark.parametrize(
    ("bits", "depth", "blocks"), [(1024, 4096, 15), (72, 1, 1), (73, 1, 2), (72, 4097, 2)]
)
def test_uram(bits, depth, blocks):
    assert rules.uram(bits, depth) == blocks


@pytest.mark.parametrize(
    ("first", "second", "bits", "us", "seven"),
    [
        (25, 8, 33, 1, 1), (27, 8, 35, 1, 2), (25, 18, 43, 1, 1), (27, 17, 44, 1, 2),
        (27, 18, 45, 1, 2), (17, 17, 32, 1, 1), (43, 12, 55, 2, 3), (27, 27, 54, 2, 4),
        (33, 33, 32, 3, 3), (33, 33, 64, 4, 4),
    ],
)  # fmt: skip
def test_dsp(first, second, bits, us, seven):
    assert rules.dsp(first, second, bits, "zynqmp") == us
    assert rules.dsp(second, first, bits, "zynq") == seven


def test_memory_in_a_dataflow_region_has_twice_the_depth():
    form = {
        "bits": 512, "depth": 1024, "banks": 1, "halves": 2, "storage": "ram_s2p", "impl": "bram",
    }  # fmt: skip
    assert rules.of_memory(form, "zynqmp").bram36 == 28.5
    assert rules.of_memory({**form, "impl": "uram"}, "zynqmp").uram == 8


def test_fifo_that_is_not_bound():
    form = {"bits": 64, "depth": 16, "impl": ""}
    assert rules.of_stream(form, "zynqmp").bram36 == 0
    assert rules.of_stream({**form, "depth": 512}, "zynqmp").bram36 == 1


def test_adapter_buffers_all_outstanding_bursts():
    form = {"bits": 128, "direction": "read", "outstanding": 16, "burst": 16}
    assert rules.of_port(form, "zynqmp").bram36 == 2
    assert rules.of_port({**form, "bits": 64}, "zynq").bram36 == 1


@pytest.mark.timeout(900)
def test_list_of_forms_is_current():
    pytest.importorskip("clang.cindex")
    from tools.resources.__main__ import generated
    from tools.resources.listing import OUTPUT

    assert OUTPUT.read_text(encoding="utf-8") == generated(), (
        "run python -m tools.resources --write"
    )


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_multipliers_of_the_engine(board):
    """Two tokens share a multiplier: half of T * O * I."""
    packed = [i for i in items(board) if i.kind == "product" and "packed" in i.name]
    assert sum(i.blocks.dsp for i in packed) == board.macs_per_cycle / 2


#: What does not fit yet, by the count: known, said in docs/resources.md, and not to grow.
#: An entry that fits again fails here, so that it is taken out.
TOO_LARGE = {
    ("kv260", "lut"): 1.36, ("ultra96", "lut"): 1.91, ("pynq-z2", "lut"): 2.31,
    ("ultra96", "bram36"): 0.90,
}  # fmt: skip


@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_board_has_room(board, resource):
    known = TOO_LARGE.get((board.name, resource))
    if known is not None:
        assert LIMIT < shares(board)[resource] <= known
        return
    largest = sorted(items(board), key=lambda i: -getattr(i.blocks, resource))[:12]
    assert shares(board)[resource] <= LIMIT, "\n".join(
        f"{getattr(i.blocks, resource):9.1f}  {i.process}: {i.name}" for i in largest
    )


def test_board_that_is_not_listed_says_what_to_do():
    board = replace(BOARDS["zcu104"], name="mine", half_lines=1024)
    with pytest.raises(ValueError, match=r"tools\.resources --write"):
        board_resources(board)


def test_board_of_a_listed_shape_is_counted():
    board = replace(BOARDS["zcu104"], name="mine", dsp=2000)
    assert board_resources(board) == board_resources(BOARDS["zcu104"])


def test_table_names_every_board():
    text = resources.board_table()
    assert all(board.title in text for board in BOARDS.values())
