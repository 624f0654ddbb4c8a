# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Multiply-accumulates that the shape of a model asks for, counted by hand."""

import itertools


def encoder_macs(c, experts_per_token):
    """Of patch embedding and blocks."""
    n, d = c.tokens, c.embed_dim
    attention = n * d * 3 * d + 2 * n * n * d + n * d * d
    dense = 2 * n * d * c.mlp_ratio * d
    routed = n * d * c.experts + experts_per_token * 2 * n * d * c.expert_hidden
    mixed = len(c.moe_blocks)
    patches = (n - 1) * 3 * c.patch_size**2 * d
    return patches + c.depth * attention + (c.depth - mixed) * dense + mixed * routed


def head_macs(c, outputs):
    """Of one task's head."""
    pixels, channels = (c.tokens - 1), c.head.channels
    total = pixels * len(c.head.taps) * c.embed_dim * channels[0]
    for a, b in itertools.pairwise(channels):
        pixels *= 4
        total += pixels * 9 * a * b
    return total + pixels * channels[-1] * outputs
