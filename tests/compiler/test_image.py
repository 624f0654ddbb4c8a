# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The weight image decodes to the layers it was built from."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_model import compiled

from m3vit_pynq.abi.isa import Opcode, lines
from m3vit_pynq.reference.image import WeightImage


def layers_by_name(model):
    """Every LINEAR, CONV3X3 and LAYERNORM of a model by name."""
    found = {model.patches.name: model.patches}
    for block in model.blocks:
        mlp = getattr(block.ffn, "mlp", None)
        parts = [block.norm, block.qkv, block.proj, block.ffn.norm]
        parts += [*mlp.first, mlp.second] if mlp else list(block.ffn.routers)
        found.update({part.name: part for part in parts})
    for head in model.heads:
        parts = [*head.norms, head.proj, *(conv.linear for conv in head.convs), head.out_wide]
        found.update({part.name: part for part in parts})
    return found


def gaps_removed(stored, layer, instruction):
    """Columns of a stored layer without the padding inside a row."""
    segments = 9 if instruction.opcode == Opcode.CONV3X3 else 1
    if instruction.cols_in > layer.columns:
        segments = 2  # the taps of micro's heads
    width = layer.columns // segments
    padded = stored.reshape(len(stored), segments, -1)
    assert not padded[:, :, width:].any(), "padding is zero"
    return padded[:, :, :width].reshape(len(stored), -1)


def test_linear_layers_norms_and_tables(micro):
    package, known = micro.package, layers_by_name(micro.model)
    image = WeightImage(package.weights)
    checked = set()
    for name, i in zip(package.metadata["layers"], package.decoded.instructions, strict=True):
        layer = known.get(name)
        if i.opcode == Opcode.LAYERNORM:
            gamma, beta = image.layernorm(i.table, i.cols_in)
            assert np.array_equal(gamma, layer.gamma)
            assert np.array_equal(beta, layer.beta)
        elif i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
            columns = i.cols_in if i.opcode == Opcode.LINEAR else 9 * 64 * lines(i.cols_in)
            stored = image.rows(i.weights, i.cols_out, columns)
            assert np.array_equal(gaps_removed(stored.weights, layer, i), layer.weights)
            assert np.array_equal(stored.bias, layer.bias)
            assert np.array_equal(stored.mult, layer.mult)
            assert np.array_equal(stored.shift, layer.shift)
            if layer.table is not None:
                assert np.array_equal(image.gelu(i.table), layer.table)
        else:
            continue
        checked.add(name)
    assert checked == set(known)


@pytest.mark.parametrize("parts", [1, 2])
def test_experts(micro, parts):
    compiled_model = compiled(micro.config, split_experts=True) if parts == 2 else micro
    package = compiled_model.package
    image = WeightImage(package.weights)
    blocks = {block.name: block for block in compiled_model.model.blocks}
    seen = 0
    for name, i in zip(package.metadata["layers"], package.decoded.instructions, strict=True):
        if i.opcode != Opcode.EXPERTS:
            continue
        block, _, part = name.partition(".experts")
        for e, expert in enumerate(blocks[block].ffn.experts):
            first_layer = expert.first[int(part[1:] or 0)]
            second_layer = expert.second[int(part[1:] or 0)]
            start = i.weights + e * i.expert_beats
            first = image.rows(start, i.hidden, i.cols_in)
            # Each row is a parameter beat and K in 16-byte beats, four rows side by side.
            start += -(-i.hidden // 4) * (1 + 4 * lines(i.cols_in))
            second = image.rows(start, i.cols_out, i.hidden)
            assert np.array_equal(first.weights, first_layer.weights)
            assert np.array_equal(second.weights, second_layer.weights)
            assert np.array_equal(second.bias, second_layer.bias)
            assert np.array_equal(image.gelu(i.table + 16 * e), first_layer.table)
            assert second.shift.min() >= 9
            seen += 1
    assert seen == 2 * 2 * parts * micro.config.experts  # blocks, tasks, parts


def test_position_embedding(micro):
    i = micro.package.decoded.instructions[0]
    stored = WeightImage(micro.package.weights).table(i.table, i.rows * i.cols_out, "<i2")
    scale = micro.model.scales["residual"]
    exact = micro.checkpoint["backbone.pos_embed"][0].copy()
    exact[0] += micro.checkpoint["backbone.cls_token"][0, 0]
    assert np.abs(stored.reshape(exact.shape) * scale - exact).max() <= 0.5001 * scale
