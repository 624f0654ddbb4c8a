# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weight images and machines for the tests of the specification, built row by row."""

import struct

import numpy as np

from m3vit_pynq.reference.machine import Machine


def random_layer(rng, outputs, cols, extreme=False):
    """A layer as a list of (weights, bias, mult, shift); results about fill an int8."""
    if extreme:
        weights = rng.choice([-128, 127], (outputs, cols))
        bias = rng.choice([-(2**30), 0, 2**30], outputs)
        mult = rng.choice([0, 1, 65535], outputs)
        shift = rng.choice([1, 9, 30, 47], outputs)
    else:
        weights = rng.integers(-128, 128, (outputs, cols))
        bias = rng.integers(-5000, 5001, outputs)
        mult = rng.integers(32768, 65536, outputs)
        shift = rng.integers(24, 27, outputs)
    return [
        (w.tolist(), int(b), int(m), int(s))
        for w, b, m, s in zip(weights, bias, mult, shift, strict=True)
    ]


def layer_parts(layer):
    """Four lists of bytes; row o goes to part o % 4, padded to whole quadruples."""
    cols = len(layer[0][0])
    padded = -(-cols // 64) * 64
    parts = [b"", b"", b"", b""]
    rows = layer + [([0] * cols, 0, 0, 0)] * (-len(layer) % 4)
    for o, (weights, bias, mult, shift) in enumerate(rows):
        row = struct.pack("<iHB9x", bias, mult, shift)
        row += struct.pack(f"<{cols}b", *weights).ljust(padded, b"\0")
        parts[o % 4] += row
    return parts


class Image:
    """Collects layers and tables; every method returns the address in beats."""

    def __init__(self):
        self.parts = [b"", b"", b"", b""]

    def _append(self, parts):
        address = len(self.parts[0]) // 16
        size = max(len(p) for p in parts)
        size += -size % 16
        self.parts = [
            have + p.ljust(size, b"\0") for have, p in zip(self.parts, parts, strict=True)
        ]
        return address

    def layer(self, layer):
        return self._append(layer_parts(layer))

    def table(self, data):
        return self._append([bytes(data), b"", b"", b""])

    def norm(self, gamma, beta):
        return self.table(
            b"".join(struct.pack("<ihxx", b, g) for g, b in zip(gamma, beta, strict=True))
        )

    def array(self):
        return np.stack([np.frombuffer(p, dtype=np.uint8) for p in self.parts])


def machine(image=None, seed=0, **capacity):
    """A machine whose memories hold rubbish, as after other runs."""
    sizes = {
        "act_lines": 2048, "residual_elements": 65536, "score_elements": 16384,
        "weight_tile_beats": 600, "queue_entries": 4096, "strip_bytes": 4096,
    }  # fmt: skip
    made = Machine({**sizes, **capacity})
    rng = np.random.default_rng(seed)
    made.act[:] = rng.integers(-128, 128, made.act.shape)
    made.residual[:] = rng.integers(-32768, 32768, made.residual.shape)
    made.scores[:] = rng.integers(-(2**31), 2**31, made.scores.shape)
    if image is not None:
        made.load(b"", image.array())
    return made


def put_act(made, base, stride, rows):
    """Write int8 rows without the machine's own addressing."""
    flat = made.act.reshape(-1)
    for r, row in enumerate(rows):
        start = 64 * (base + r * stride)
        flat[start : start + len(row)] = row


def get_act(made, base, stride, rows, channels, dtype="<i1"):
    """Read rows of a tensor as nested lists."""
    data = made.act.tobytes()
    size = channels * np.dtype(dtype).itemsize
    starts = [64 * (base + r * stride) for r in range(rows)]
    return [np.frombuffer(data[s : s + size], dtype).tolist() for s in starts]
