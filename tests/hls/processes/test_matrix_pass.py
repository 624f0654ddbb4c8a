# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The whole matrix pass against the integer machine, banks compared as a whole.

Every case also shows that all streams end empty, that narrow integers hold their
values and that nothing is read or written outside the bank.
"""

from __future__ import annotations

import numpy as np
import pytest
from pass_cases import Case, check

from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.isa import Activation, Opcode, Store

UP, DOWN = Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN
EVERY_BOARD = sorted(BOARDS)


@pytest.fixture(params=EVERY_BOARD)
def board(request):
    return request.param


@pytest.mark.parametrize(
    "rows, cols, outputs, options",
    [
        (1, 1, 1, {}),
        (13, 100, 70, {}),
        (20, 384, 300, {"store": Store.ACT16}),
        (9, 64, 300, {"store": Store.SCORES, "dst_gap": 1}),
        (11, 128, 97, {"store": Store.RESIDUAL}),
        (5, 128, 1100, {"store": Store.RESIDUAL, "dst_gap": 3}),
        (10, 192, 1030, {"activation": Activation.RELU, "src_stride": 5}),
        (17, 130, 700, {"planar": True, "activation": Activation.GELU, "dst_gap": 2}),
        (8, 64, 260, {"planar": True}),
        (5, 1500, 40, {"src_stride": 0}),
        (25, 64, 64, {"activation": Activation.GELU}),
        (7, 64, 2000, {"store": Store.SCORES}),
    ],
)
def test_linear(board, rows, cols, outputs, options):
    check(board, Case(rows + outputs).linear(rows, cols, outputs, **options))


def test_longest_rows(board):
    cols = min(4096, 2 * BOARDS[board].half_lines)
    check(board, Case(1).linear(9, cols, 200, src_stride=70))


@pytest.mark.parametrize(
    "height, width, cols, outputs, options",
    [
        (1, 1, 64, 8, {}),
        (2, 3, 64, 64, {"activation": Activation.RELU}),
        (5, 1, 60, 33, {"pad": 127}),
        (1, 9, 64, 20, {"activation": Activation.GELU, "pad": -128}),
        (6, 7, 128, 130, {"store": Store.ACT16, "dst_gap": 1}),
        (4, 5, 128, 70, {"src_stride": 4}),
        (7, 4, 130, 9, {"src_stride": 0, "pad": 0}),
    ],
)
def test_conv3x3(board, height, width, cols, outputs, options):
    if BOARDS[board].half_lines < 9 * 32 * -(-cols // 64):
        pytest.skip("the board's weight memory is smaller")
    check(board, Case(height + width).conv3x3(height, width, cols, outputs, **options))


def test_widest_map(board):
    width = BOARDS[board].map_lines // 2
    check(board, Case(5).conv3x3(4, width, 64, 16))


@pytest.mark.parametrize("kind", ["gate", "few", "range", "none", "noise"])
@pytest.mark.parametrize("opcode", [UP, DOWN], ids=["up", "down"])
def test_experts(board, opcode, kind):
    options = {"activation": Activation.GELU, "src_stride": 4} if opcode == UP else {}
    case = Case(len(kind)).experts(opcode, 45, 6, 3, 130, 100, kind, gap=2, **options)
    check(board, case)


@pytest.mark.parametrize(
    "opcode, rows, experts, top_k, cols, outputs, kind, options",
    [
        (UP, 1, 1, 1, 64, 64, "gate", {}),
        (UP, 30, 64, 8, 64, 20, "range", {"activation": Activation.RELU}),
        (UP, 40, 2, 2, 192, 1200, "gate", {}),
        (UP, 150, 3, 1, 64, 64, "few", {"src_stride": 0}),
        (DOWN, 1, 1, 1, 64, 64, "gate", {}),
        (DOWN, 30, 64, 8, 64, 20, "range", {"first_slot": 8}),
        (DOWN, 40, 2, 2, 192, 1200, "gate", {"first_slot": 1}),
        (DOWN, 150, 3, 1, 64, 64, "few", {}),
        (DOWN, 17, 9, 8, 64, 64, "noise", {"first_slot": 8}),
    ],
)
def test_expert_shapes(board, opcode, rows, experts, top_k, cols, outputs, kind, options):
    check(board, Case(rows).experts(opcode, rows, experts, top_k, cols, outputs, kind, **options))


@pytest.mark.parametrize("opcode", [UP, DOWN], ids=["up", "down"])
def test_most_tokens(board, opcode):
    rows = BOARDS[board].max_tokens
    check(board, Case(4).experts(opcode, rows, 3, 1, 64, 64, "few"))


@pytest.mark.parametrize(
    "rows, heads, head_dim, options",
    [
        (1, 1, 64, {}),
        (17, 3, 64, {"src_gap": 3, "dst_gap": 2}),
        (65, 3, 32, {"passes": 2}),
        (64, 5, 16, {}),
        (63, 2, 16, {"passes": 2, "shift_a": 14}),
        (130, 6, 32, {"dst_gap": 1}),
        (129, 1, 64, {"passes": 2}),
    ],
)
def test_attention(board, rows, heads, head_dim, options):
    check(board, Case(rows).attention(rows, heads, head_dim, **options))


@pytest.mark.parametrize("passes", [1, 2])
def test_most_keys(passes):
    rows = BOARDS["pynq-z2"].max_tokens
    check("pynq-z2", Case(3).attention(rows, 1, 32, passes))


def test_damaged_image(board):
    """Any shift, bias and multiplier has a meaning."""
    for seed, make in enumerate(
        [
            lambda case: case.linear(9, 70, 90),
            lambda case: case.linear(9, 70, 90, store=Store.ACT16),
            lambda case: case.linear(9, 70, 90, store=Store.SCORES),
            lambda case: case.linear(9, 70, 90, store=Store.RESIDUAL),
            lambda case: case.experts(DOWN, 20, 3, 2, 70, 90),
        ]
    ):
        case = Case(seed)
        bank, layout, instruction = make(case)
        image = bank[64 * layout.weights_line :][: 4 * 64 * layout.part_lines]
        image[...] = np.random.default_rng(seed).integers(0, 256, image.size)
        check(board, (bank, layout, instruction))


def test_many_chunks_and_tiles():
    """One long pass with everything that is counted beyond a byte."""
    check("pynq-z2", Case(2).linear(300, 64, 8190, planar=True))


def test_most_rows():
    check("kv260", Case(5).linear(65536, 64, 1, src_stride=0))
