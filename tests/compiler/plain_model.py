# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A quantised model without a program: layer after layer, no addresses, no image.

The arithmetic is the specification's; order, shapes and data flow are written
down once more, from the model's definition.
"""

from __future__ import annotations

import numpy as np

from m3vit_pynq.abi.isa import GateMode, Store, lines
from m3vit_pynq.reference import outputs
from m3vit_pynq.reference.attention import attention
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.layernorm import combine, layernorm
from m3vit_pynq.reference.linear import accumulate, activate, neighbourhoods, patches, scale
from m3vit_pynq.reference.routing import choose, expert_update, gate_weights

_BITS = {Store.ACT8: 8, Store.ACT16: 16, Store.RESIDUAL: 16, Store.SCORES: 32}


def _rows(layer):
    return WeightRows(
        layer.weights, *(x.astype(np.int64) for x in (layer.bias, layer.mult, layer.shift))
    )


def _linear(layer, x):
    rows = _rows(layer)
    result = scale(accumulate(x, rows), rows, _BITS[layer.store])
    return activate(result, layer.activation, layer.table)


def _add(residual, layer, x):
    return combine(residual, _linear(layer, x)[None])


def _norm(norm, residual):
    return layernorm(residual, norm.gamma, norm.beta, norm.eps, norm.shift)


def _mlp(residual, mlp, x):
    hidden = np.concatenate([_linear(group, x) for group in mlp.first], axis=1)
    return _add(residual, mlp.second, hidden.astype(np.int8))


def _attend(config, block, residual):
    def heads(part):
        return part.reshape(len(part), config.heads, -1).swapaxes(0, 1)

    qkv = _linear(block.qkv, _norm(block.norm, residual)).astype(np.int8)
    layer = block.attention
    mixed = attention(
        *map(heads, np.split(qkv, 3, axis=1)), layer.score_scale, layer.output_scale, layer.passes
    )
    return _add(residual, block.proj, mixed.swapaxes(0, 1).reshape(len(residual), -1))


def _mixture(config, ffn, task, residual):
    x = _norm(ffn.norm, residual)
    logits = _linear(ffn.routers[task], x)
    if config.per_image:
        logits = np.repeat(logits[:1], len(x), axis=0)
    chosen = choose(logits, config.top_k)
    every = config.router == "noisy_vmoe"
    mode = GateMode.SOFTMAX_ALL if every else GateMode.SOFTMAX_SELECTED
    gates = gate_weights(logits, chosen, mode)
    if ffn.shared is not None:
        residual = _mlp(residual, ffn.shared, x)
    for part in range(len(ffn.experts[0].first)):
        for index, expert in enumerate(ffn.experts):  # ascending, as the slots are added
            tokens, place = np.nonzero(chosen == index)
            hidden = _linear(expert.first[part], x[tokens]).astype(np.int8)
            update = expert_update(hidden, gates[tokens, place], _rows(expert.second[part]))
            residual[tokens] = combine(residual[tokens], update[None])
    return residual


def _features(config, head, tapped):
    height, width = config.grid
    x = _linear(head.proj, tapped).astype(np.int8).reshape(height, width, -1)
    for conv in head.convs:
        larger = outputs.upsample2x(x)
        channels = larger.shape[2]
        padded = np.zeros((*larger.shape[:2], 64 * lines(channels)), np.int8)
        padded[..., :channels] = larger
        cells = neighbourhoods(padded, conv.pad).reshape(-1, 9, padded.shape[2])[..., :channels]
        x = _linear(conv.linear, cells.reshape(len(cells), -1)).astype(np.int8)
        x = x.reshape(*larger.shape[:2], -1)
    return x


def run(model, task, frame, wide=True):
    """Result of a task, and the residual stream after the last block that a tap sees."""
    config, head = model.config, model.heads[task]
    residual = model.embedding.copy()
    residual[1:] = _add(residual[1:], model.patches, patches(frame, config.patch_size))
    taps = []
    for index, block in enumerate(model.blocks[: max(config.head.taps) + 1]):
        residual = _attend(config, block, residual)
        if index in config.moe_blocks:
            residual = _mixture(config, block.ffn, task, residual)
        else:
            residual = _mlp(residual, block.ffn.mlp, _norm(block.ffn.norm, residual))
        if index in config.head.taps:
            taps.append(_norm(head.norms[len(taps)], residual)[1:])
    features = _features(config, head, np.concatenate(taps, axis=1))
    wide = wide or head.out is None
    logits = _linear(head.out_wide if wide else head.out, features.reshape(-1, features.shape[2]))
    logits = logits.reshape(*features.shape[:2], -1)
    factor = config.head.output_upsample
    if head.out is None:
        return outputs.output_depth(logits[..., 0], factor), residual
    return outputs.output_classes(logits, factor), residual
