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
    return nearest(4080 * 2 ** (-f / 256))


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
    root = math.isqrt(u >> 28)
    assert 1 << 17 <= root < 1 << 18
    inv = min((1 << 17) - 1, (1 << 34) // root)
    out = []
    for a, g, b in zip(x, gamma, beta, strict=True):
        difference = n * a - total
        assert -(1 << 26) <= difference < 1 << 26, "one operand of a 27 x 18 product"
        z = rshift(difference * inv, 34 - k)
        out.append(sat(rshift(z * g + b, shift), 8))
    return out


def combined(x, slots):
    """One row of the residual stream with slots added in order."""
    for slot in slots:
        x = [sat(a + b, 16) for a, b in zip(x, slot, strict=True)]
    return x


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def wrap27(x):
    return (x + (1 << 26)) % (1 << 27) - (1 << 26)


def gelu_lookup(table, q):
    return table[q + 128]


def query_scale(total, mult, shift, passes):
    n = total.bit_length()
    inv = min((1 << 18) - 1, (1 << n + 17) // total)
    product = inv * mult
    cut = max(0, product.bit_length() - 16)
    combined_mult = min(65535, rshift(product, cut))
    return combined_mult, min(47, shift + n + 17 - cut - (4 if passes == 2 else 0))


def attention_row(query, keys, values, score_scale, output_scale, passes=1):
    """One query of one head."""
    sc = [sat(requant(dot(query, key), *score_scale), 16) for key in keys]
    best = max(sc)
    extra = 4 if passes == 1 else 0
    p = [rshift(exp_table((best - v) & 255), min((best - v) >> 8, 31) + extra) for v in sc]
    assert sum(p) >= 255 and max(p) <= (255 if passes == 1 else 4080)
    scale = query_scale(sum(p), *output_scale, passes)
    out = []
    for c in range(len(values[0])):
        o = sum(a * v[c] for a, v in zip(p, values, strict=True))
        a = o if passes == 1 else rshift(o, 4)
        assert -(1 << 26) < a < 1 << 26
        out.append(sat(requant(a, *scale), 8))
    return out


def route(logits, top_k, selected_only):
    """One token: list of (expert, gate), best first."""
    chosen = sorted(range(len(logits)), key=lambda e: (-logits[e], e))[:top_k]
    powers = []
    for value in logits:
        delta = (max(logits) - value + 128) >> 8
        powers.append(rshift(gate_table(delta & 255), delta >> 8) if delta >> 8 <= 31 else 0)
    total = sum(powers[e] for e in chosen) if selected_only else sum(powers)
    return [(e, min(65535, 65536 * powers[e] // total)) for e in chosen]


def gated(hidden, gate, second):
    """Second layer of an expert for one token; layers are lists of (weights, bias, mult, shift)."""
    out = []
    for weights, bias, mult, shift in second:
        acc = wrap27(bias + dot(hidden, weights))
        fine = sat(rshift(acc * mult, (shift - 8) % 64), 27)
        out.append(sat(rshift(fine * gate, 24), 16))
    return out


def expert(x, gate, first, second, gelu):
    """One token through one expert: its hidden row and its gated result."""
    hidden = []
    for weights, bias, mult, shift in first:
        hidden.append(gelu[sat(requant(wrap27(bias + dot(x, weights)), mult, shift), 8) + 128])
    return hidden, gated(hidden, gate, second)


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
