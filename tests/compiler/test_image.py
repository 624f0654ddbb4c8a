# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The weight image decodes to the layers it was built from."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_model import compiled

from m3vit_pynq.abi.footprint import conv_cols, footprint
from m3vit_pynq.abi.isa import Opcode, lines
from m3vit_pynq.compiler.build import package_model
from m3vit_pynq.compiler.made_up import made_up_model
from m3vit_pynq.config import get_config
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
    if instruction.opcode == Opcode.LINEAR and instruction.cols_in > layer.columns:
        segments = 2  # the taps of micro's heads
    width = layer.columns // segments
    padded = stored.reshape(len(stored), segments, -1)
    assert padded.shape[2] == 64 * lines(width)
    assert not padded[:, :, width:].any(), "padding is zero"
    return padded[:, :, :width].reshape(len(stored), -1)


def image_of(package):
    return WeightImage(package.weights, package.layout.weights_line)


def check_layers(model, package):
    """Every LINEAR, CONV3X3 and LAYERNORM that a program names, against the model."""
    known, image, checked = layers_by_name(model), image_of(package), set()
    for name, i in zip(package.metadata["layers"], package.decoded.instructions, strict=True):
        layer = known.get(name)
        if i.opcode == Opcode.LAYERNORM:
            gamma, beta = image.layernorm(i.table, i.cols_in)
            assert np.array_equal(gamma, layer.gamma)
            assert np.array_equal(beta, layer.beta)
        elif i.opcode in (Opcode.LINEAR, Opcode.CONV3X3):
            columns = i.cols_in if i.opcode == Opcode.LINEAR else conv_cols(i.cols_in)
            stored = image.rows(i.weights, i.cols_out, columns)
            mine = planes_removed(i.cols_out, layer.outputs)
            assert np.array_equal(gaps_removed(stored.weights[mine], layer, i), layer.weights)
            for field in ("bias", "mult", "shift"):
                assert np.array_equal(getattr(stored, field)[mine], getattr(layer, field))
            added = np.setdiff1d(np.arange(i.cols_out), mine)
            for array in (stored.weights, stored.bias, stored.mult, stored.shift):
                assert not array[added].any(), "outputs that fill a plane are zero"
            if layer.table is not None:
                assert np.array_equal(image.gelu(i.table), layer.table)
        else:
            continue
        checked.add(name)
    assert checked == set(known)


def planes_removed(stored, outputs):
    """Stored outputs that belong to the layer; qkv's three parts begin with a plane each."""
    if stored == outputs:
        return np.arange(outputs)
    return np.arange(stored).reshape(3, -1)[:, : outputs // 3].reshape(-1)


def test_linear_layers_norms_and_tables(micro):
    check_layers(micro.model, micro.package)


def test_queries_keys_and_values_begin_with_a_plane():
    config = get_config("micro", embed_dim=96, heads=3)
    model = made_up_model(config)
    package = package_model(model)
    check_layers(model, package)
    qkv = [i for i in package.decoded.instructions if i.opcode == Opcode.LINEAR and i.planar]
    assert {i.cols_out for i in qkv} == {3 * 128}
    attention = [i for i in package.decoded.instructions if i.opcode == Opcode.ATTENTION]
    assert {(i.k_offset, i.v_offset) for i in attention} == {(2, 4)}


@pytest.mark.parametrize("parts", [1, 2])
def test_experts(micro, parts):
    compiled_model = compiled(micro.config, split_experts=True) if parts == 2 else micro
    package = compiled_model.package
    image = image_of(package)
    blocks = {block.name: block for block in compiled_model.model.blocks}
    seen = 0
    for name, i in zip(package.metadata["layers"], package.decoded.instructions, strict=True):
        if i.opcode not in (Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN):
            continue
        block, _, rest = name.partition(".experts")
        part = int(rest.split(".")[1]) if parts == 2 else 0
        up = i.opcode == Opcode.EXPERTS_UP
        assert rest.endswith(".up" if up else ".down")
        for e, expert in enumerate(blocks[block].ffn.experts):
            layer = (expert.first if up else expert.second)[part]
            stored = image.rows(i.weights + e * i.expert_lines, i.cols_out, i.cols_in)
            assert np.array_equal(stored.weights[:, : layer.columns], layer.weights)
            assert not stored.weights[:, layer.columns :].any()
            assert np.array_equal(stored.bias, layer.bias)
            assert np.array_equal(stored.mult, layer.mult)
            if up:
                assert np.array_equal(image.gelu(i.table + 4 * e), layer.table)
            else:
                assert stored.shift.min() >= 9
            seen += 1
    assert seen == 2 * 2 * 2 * parts * micro.config.experts  # blocks, tasks, up and down, parts


def test_position_embedding(micro):
    i = micro.package.decoded.instructions[0]
    stored = image_of(micro.package).table(i.table, i.rows * 32 * lines(2 * i.cols_out), "<i2")
    stored = stored.reshape(i.rows, -1)
    assert not stored[:, i.cols_out :].any()
    scale = micro.model.scales["residual"]
    exact = micro.checkpoint["backbone.pos_embed"][0].copy()
    exact[0] += micro.checkpoint["backbone.cls_token"][0, 0]
    assert np.abs(stored[:, : i.cols_out] * scale - exact).max() <= 0.5001 * scale


def test_nothing_in_an_image_overlaps(micro):
    """Every line of part 0 belongs to one layer or table, or is the end of one."""
    layout = micro.package.layout
    owner = {}
    for i in micro.package.decoded.instructions:
        for part in footprint(i).weights:
            for line in range(part.base, part.end):
                assert owner.setdefault(line, part.base) == part.base
    assert min(owner) == layout.weights_line
    assert max(owner) == layout.weights_line + layout.part_lines - 1
    assert len(owner) == layout.part_lines, "no line is unused"
