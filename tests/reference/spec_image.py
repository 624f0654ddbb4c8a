# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weight images and machines for the tests of the specification, built row by row.

Every bank has its weights at line `WEIGHTS` and its workspace at line `WORKSPACE`,
so that addresses are known before it is complete.
"""

import struct

import numpy as np

from m3vit_pynq.abi.isa import BankLayout
from m3vit_pynq.reference.machine import Machine

WEIGHTS, WORKSPACE, WORKSPACE_LINES = 48, 6000, 2048


def random_layer(rng, outputs, cols, extreme=False):
    """A layer as a list of (weights, bias, mult, shift); results about fill an int8."""
    if extreme:
        weights = rng.choice([-128, 127], (outputs, cols))
        bias = rng.choice([-(2**30), 0, 2**30, 2**26 - 1, -(2**26)], outputs)
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
    """Collects layers and tables; every method returns the address, a line of the bank."""

    def __init__(self):
        self.parts = [b"", b"", b"", b""]

    def _append(self, parts):
        address = WEIGHTS + len(self.parts[0]) // 64
        size = max(len(p) for p in parts)
        size += -size % 64
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

    def residual(self, values):
        """Rows of int16, each padded to whole lines."""
        rows = [bytes(np.asarray(row, "<i2")) for row in values]
        return self.table(b"".join(row.ljust(-(-len(row) // 64) * 64, b"\0") for row in rows))

    def array(self):
        return np.stack([np.frombuffer(p, dtype=np.uint8) for p in self.parts])


def fill_workspace(made, seed=0):
    """Rubbish, as other runs leave it."""
    workspace = workspace_of(made)
    rng = np.random.default_rng(seed)
    workspace[:] = rng.integers(0, 256, workspace.shape, dtype=np.uint8)


def workspace_of(made):
    """The workspace, uint8 [lines, 64], a view."""
    first, count = made.layout.workspace_line, made.layout.workspace_lines
    return made.bank[64 * first : 64 * (first + count)].reshape(count, 64)


def machine(image=None, seed=0, **capacity):
    """A machine with a bank of `image` and a workspace full of rubbish."""
    parts = np.zeros((4, 64), np.uint8) if image is None else image.array()
    layout = BankLayout(WEIGHTS, parts.shape[1] // 64, WORKSPACE, WORKSPACE_LINES)
    bank = np.zeros(64 * layout.lines, np.uint8)
    bank[64 * WEIGHTS : 64 * WEIGHTS + parts.size] = parts.reshape(-1)
    assert layout.valid(1, bank.size)
    made = Machine(capacity)
    made.attach(bank, layout)
    fill_workspace(made, seed)
    return made


def at(line):
    """Address of a line of the workspace."""
    return WORKSPACE + line


def put(made, line, stride, rows, dtype="<i1"):
    """Write rows into the workspace without the machine's own addressing."""
    flat = workspace_of(made).reshape(-1)
    for r, row in enumerate(rows):
        data = np.frombuffer(np.asarray(row, dtype).tobytes(), np.uint8)
        start = 64 * (line + r * stride)
        flat[start : start + -(-len(data) // 64) * 64] = 0
        flat[start : start + len(data)] = data


def get(made, line, stride, rows, channels, dtype="<i1"):
    """Read rows of the workspace as nested lists, and require that padding is zero."""
    data = workspace_of(made).tobytes()
    size = channels * np.dtype(dtype).itemsize
    starts = [64 * (line + r * stride) for r in range(rows)]
    for s in starts:
        assert not any(data[s + size : s + -(-size // 64) * 64]), "padding is not zero"
    return [np.frombuffer(data[s : s + size], dtype).tolist() for s in starts]


def put_planar(made, line, plane, rows):
    """Write int8 rows planar: channels 64 p to 64 p + 63 of row r at line + p * plane + r."""
    space = workspace_of(made)
    for r, row in enumerate(rows):
        padded = np.zeros(-(-len(row) // 64) * 64, np.int8)
        padded[: len(row)] = row
        for p, part in enumerate(padded.view(np.uint8).reshape(-1, 64)):
            space[line + p * plane + r] = part


def untouched(made, before, *ranges):
    """Whether all lines of the workspace outside `ranges` (first, end) are as before."""
    same = np.ones(len(before), bool)
    for first, end in ranges:
        same[first:end] = False
    return bool((workspace_of(made)[same] == before[same]).all())
