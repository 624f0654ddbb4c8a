# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Classes of layers and the roofline, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from m3vit_pynq.abi.boards import get_board
from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.analysis.cycles import ENGINE, START, class_of, layer_classes, roofline, total
from m3vit_pynq.emulator.cycle_records import CycleRecord

BOARD = get_board("zcu104")  # 8 x 4 x 64 products, 51.2 bytes a cycle


def test_every_opcode_has_a_class():
    for opcode in Opcode:
        assert class_of(opcode, "blocks.0.attn.qkv")


@pytest.mark.parametrize(
    ("layer", "title"),
    [
        ("blocks.3.attn.qkv", "attention: queries, keys, values"),
        ("blocks.3.attn.proj", "attention: projection"),
        ("blocks.0.mlp.fc1.2", "dense FFN, first layer"),
        ("blocks.0.mlp.fc2", "dense FFN, second layer"),
        ("blocks.1.mlp.gate.0", "router"),
        ("patch_embed.proj", "patch embedding"),
        ("depth.out", "task head: linear"),
        ("instruction 7", "layers of unknown name"),
    ],
)
def test_linear_layers_are_told_apart_by_name(layer, title):
    assert class_of(Opcode.LINEAR, layer) == title


def test_the_roofline_is_the_longer_of_products_and_bytes():
    assert roofline(BOARD, 2048 * 100, 51) == 100
    assert roofline(BOARD, 2048, 5120) == pytest.approx(100)


def counted(pc, opcode, cycles, engine, moved, **processes):
    return SimpleNamespace(
        record=CycleRecord(pc, opcode, cycles, engine, 0, 0, moved), region=cycles - 50,
        processes=[
            SimpleNamespace(name=name, busy=busy, memory=memory)
            for name, (busy, memory) in processes.items()
        ],
    )  # fmt: skip


def test_a_class_is_limited_by_who_is_occupied_longest():
    linear = Instruction(Opcode.LINEAR, rows=64, cols_in=64, cols_out=64)
    program = SimpleNamespace(instructions=[linear] * 3)
    names = ["blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.1.attn.proj"]
    found = layer_classes(BOARD, program, names, [
        counted(0, Opcode.LINEAR, 500, 400, 512, write=(100, 50)),
        counted(1, Opcode.LINEAR, 300, 100, 5120, write=(100, 150)),
        counted(2, Opcode.LINEAR, 60, 2, 0, write=(5, 0)),
    ])  # fmt: skip
    first, second = found.values()
    assert (first.limit, first.limit_share) == (ENGINE, 0.8)
    assert first.products == 64**3 and first.roofline == 64**3 / 2048
    assert (second.limit, second.cycles, second.instructions) == ("write", 360, 2)
    assert second.limit_share == pytest.approx(255 / 360)
    both = total(found, BOARD)
    assert both.cycles == 860 and both.roofline == pytest.approx(3 * 64**3 / 2048)
    alone = layer_classes(BOARD, program, names, [counted(2, Opcode.LINEAR, 60, 2, 0)])
    assert next(iter(alone.values())).limit == START
