# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""docs/numerics.md once more, one value at a time in Python's unbounded integers.

Written from the document, not from `m3vit_pynq.reference`: rounding is done
with exact fractions, roots with `math.isqrt`, and nothing is vectorised.
"""

import math
from fractions import Fraction


def rshift(x, n):
    return math.floor(Fraction(x, 1 << n) + (Fraction(1, 2) if n else 0))


def sat(x, bits):
    return min(max(x, -(1 << bits - 1)), (1 << bits - 1) - 1)


def requant(acc, mult, shift):
    return rshift(acc * mult, shift)


def nearest(value):
    return math.floor(value + 0.5)


def exp_table(f):
    return nearest(4096 * 2 ** (-f / 256))


def gate_table(f):
    return nearest(65536 * 2 ** (-f / 256))


def pow_table(f):
    return nearest(32768 * 2 ** (f / 256))


def layernorm(x, gamma, beta, eps, shift):
    """One row."""
    n = len(x)
    total = sum(x)
    v = n * sum(a * a for a in x) - total * total + eps
    k = (64 - v.bit_length()) // 2
    u = v << 2 * k
    assert 1 << 62 <= u < 1 << 64
    inv = (1 << 63) // math.isqrt(u)
    out = []
    for a, g, b in zip(x, gamma, beta, strict=True):
        z = rshift((n * a - total) * inv, 49 - k)
        out.append(sat(rshift(z * g + b, shift), 8))
    return out


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def wrap32(x):
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def gelu_lookup(table, q):
    return table[q + 128]


def attention_row(query, keys, values, score_scale, output_scale):
    """One query of one head."""
    m, s, o = -128, 0, [0] * len(values[0])
    for first in range(0, len(keys), 64):
        block = range(first, min(first + 64, len(keys)))
        sc = [sat(requant(dot(query, keys[j]), *score_scale), 16) for j in block]
        raised = max(m, (max(sc) + 255) >> 8)
        d = raised - m
        s = rshift(s, d) if d <= 31 else 0
        o = [rshift(c, d) if d <= 31 else 0 for c in o]
        m = raised
        for j, score in zip(block, sc, strict=True):
            delta = 256 * m - score
            assert delta >= 0
            p = rshift(exp_table(delta & 255), min(delta >> 8, 31))
            s += p
            o = [c + p * v for c, v in zip(o, values[j], strict=True)]
    assert s < 1 << 31 and all(abs(c) < 1 << 31 for c in o)
    inv = (1 << 42) // s
    return [sat(requant(rshift(c * inv, 26), *output_scale), 8) for c in o]


def route(logits, top_k, selected_only):
    """One token: list of (expert, gate), best first."""
    chosen = sorted(range(len(logits)), key=lambda e: (-logits[e], e))[:top_k]
    powers = []
    for value in logits:
        delta = (max(logits) - value + 128) >> 8
        powers.append(rshift(gate_table(delta & 255), delta >> 8) if delta >> 8 <= 31 else 0)
    total = sum(powers[e] for e in chosen) if selected_only else sum(powers)
    return [(e, min(65535, 65536 * powers[e] // total)) for e in chosen]


def expert_update(x, gate, first, second, gelu):
    """One token through one expert; layers are lists of (weights, bias, mult, shift)."""
    hidden = []
    for weights, bias, mult, shift in first:
        hidden.append(gelu[sat(requant(wrap32(bias + dot(x, weights)), mult, shift), 8) + 128])
    out = []
    for weights, bias, mult, shift in second:
        acc = wrap32(bias + dot(hidden, weights))
        fine = sat(rshift(acc * mult, (shift - 8) % 64), 32)
        out.append(sat(rshift(fine * gate, 24), 16))
    return out


def taps(size, factor, position):
    """Weights of an enlarged position, {source index: weight}, of 2 * factor in all."""
    y, a = divmod(position, factor)
    t = 2 * a + 1 - factor
    neighbour = min(max(y + (t > 0) - (t < 0), 0), size - 1)
    weights = {y: 2 * factor - abs(t)}
    weights[neighbour] = weights.get(neighbour, 0) + abs(t)
    return weights


def enlarged(image, factor, row, column):
    """``(2 * factor)**2`` times the interpolated value; image[y][x] is a number."""
    return sum(
        wy * wx * image[y][x]
        for y, wy in taps(len(image), factor, row).items()
        for x, wx in taps(len(image[0]), factor, column).items()
    )


def millimetres(v):
    v = min(max(v, 0), 32767)
    f, r = (v >> 3) & 255, v & 7
    t = pow_table(f) + (((pow_table(f + 1) - pow_table(f)) * r + 4) >> 3)
    return min(65535, rshift(t, 15 - (v >> 11)))
