# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Made-up instructions of every opcode that the accelerator accepts, with their data."""

import numpy as np
from fast_pair import LAYOUT, LINE, PART, WEIGHTS, Pair, at, matrix_case, random_layer

from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Instruction, Opcode, layer_lines, lines


def pick(rng, *values):
    return int(rng.choice(values))


def load_patches(rng, engines):
    patch = pick(rng, 1, 3, 7, 8, 14)
    down, across = (int(v) for v in rng.integers(1, 6, 2))
    pair = Pair(rng, engines, frame_bytes=3 * patch * patch * down * across)
    return pair, Instruction(
        Opcode.LOAD_PATCHES, height=down * patch, width=across * patch, patch=patch,
        dst=at(pick(rng, 0, 9)), dst_stride=lines(3 * patch**2) + pick(rng, 0, 2),
    )  # fmt: skip


def load_residual(rng, engines):
    cols, rows = pick(rng, 1, 32, 33, 96, 200), int(rng.integers(1, 30))
    return Pair(rng, engines), Instruction(
        Opcode.LOAD_RESIDUAL, rows=rows, cols_out=cols, table=WEIGHTS + 3, dst=at(2),
        dst_stride=lines(2 * cols) + pick(rng, 0, 3),
    )  # fmt: skip


def layernorm(rng, engines):
    pair = Pair(rng, engines)
    cols, rows = pick(rng, 1, 2, 15, 32, 64, 65, 100, 384, 1024), pick(rng, 1, 3, 33)
    width, slots = lines(2 * cols), pick(rng, 0, 0, 1, 4)
    kind = pick(rng, 0, 1, 2)
    if kind == 1:  # rows of one value, and of two far apart
        pair.space[:200].view("<i2")[:] = pick(rng, -32768, 0, 32767)
        pair.space[:100].view("<i2")[:, 0] = pick(rng, -32768, 1, 32767)
    elif kind == 2:
        pair.space.view("<i2")[:] >>= 9
    if slots:
        pair.step(
            Instruction(
                Opcode.EXPERTS_DOWN, rows=rows, experts=16, top_k=slots, cols_in=1, cols_out=cols,
                src=at(10), dst=at(600), weights=WEIGHTS, records=at(0), first_slot=0,
            )
        )  # fmt: skip
    return pair, Instruction(
        Opcode.LAYERNORM, rows=rows, cols_in=cols, src=at(0),
        src_stride=width + pick(rng, 0, 2) if slots else pick(rng, 0, 1, width), slots=slots,
        slot_base=at(600) if slots else pick(rng, 0, 77), dst=at(1200),
        dst_stride=lines(cols) + (rows < 4), table=WEIGHTS + 100,
        shift_a=pick(rng, 1, 8, 22, 25, 28, 31), eps_low=pick(rng, 1, 7, 2**32 - 1),
        eps_high=pick(rng, 0, 0, 2**31 - 1),
    )  # fmt: skip


def attention(rng, engines):
    pair = Pair(rng, engines)
    dim, heads = pick(rng, 16, 32, 64), pick(rng, 1, 2, 3, 5)
    rows, kind = pick(rng, 1, 2, 15, 33, 64, 65, 130), pick(rng, 0, 1, 2, 3)
    planes, stride = lines(dim * heads), rows + pick(rng, 0, 1)
    if kind == 1:  # all scores equal, and their sums the largest
        pair.space[:] = pick(rng, 0x80, 0x7F, 0)
    elif kind == 2:
        pair.space[:] = rng.choice([0x80, 0x7F], pair.space.shape)
    fine = rng.random() < 0.7
    return pair, Instruction(
        Opcode.ATTENTION, rows=rows, heads=heads, head_dim=dim, src=at(3), src_stride=stride,
        k_offset=pick(rng, 0, planes), v_offset=pick(rng, 0, planes, 2 * planes), dst=at(1100),
        dst_stride=planes, passes=pick(rng, 1, 2), mult_a=pick(rng, 0, 40000, 65535),
        shift_a=pick(rng, 18, 20, 24) if fine else pick(rng, 1, 5, 6, 47),
        mult_b=pick(rng, 40000, 65535) if fine else pick(rng, 0, 1, 30000),
        shift_b=pick(rng, 14, 16) if fine else pick(rng, 1, 3, 47),
    )  # fmt: skip


def gate(rng, engines):
    pair = Pair(rng, engines)
    experts, rows = pick(rng, 1, 2, 16, 17, 64), pick(rng, 1, 5, 70)
    logits = pair.space.view("<i4")
    kind = pick(rng, 0, 1, 2)
    if kind == 1:  # ties everywhere
        logits[:] = rng.choice([-(2**31), 0, 2**31 - 1], logits.shape)
    elif kind == 2:
        logits[:] >>= 12
    return pair, Instruction(
        Opcode.GATE, rows=rows, experts=experts, top_k=int(rng.integers(1, min(8, experts) + 1)),
        gate_mode=pick(rng, 0, 1), per_image=pick(rng, 0, 1), src=at(1), dst=at(1000),
        src_stride=pick(rng, 0, 1, lines(4 * experts)),
    )  # fmt: skip


def _records(rng, pair, rows, experts):
    """Records as GATE writes them, or anything at all."""
    records = pair.space[900 : 900 + rows].view("<u2")[:, : 4 * 8].reshape(rows, 8, 4)
    if rng.random() < 0.7:
        high = experts + pick(rng, 0, 3)
        records[:, :, 0] = rng.integers(0, high, (rows, 8))
    if rng.random() < 0.4:
        records[:, :, 0] = np.argsort(rng.random((rows, max(8, experts))))[:, :8]
    return at(900)


def _experts(rng, engines, opcode):
    pair = Pair(rng, engines)
    experts, rows = pick(rng, 1, 3, 8), pick(rng, 1, 7, 40)
    top_k = int(rng.integers(1, min(8, experts) + 1))
    cols, outputs = pick(rng, 1, 64, 65, 130), pick(rng, 1, 17, 64, 96)
    size = layer_lines(outputs, cols)
    apart = pick(rng, 0, size, size, size + 1, 3)
    while size + (experts - 1) * apart > PART - 40:
        experts, top_k = experts - 1, min(top_k, experts - 1)
    extreme = rng.random() < 0.3
    for e in range(experts):
        random_layer(rng, pair, 40 + e * apart, outputs, cols, extreme)
    return pair, {
        "rows": rows, "experts": experts, "top_k": top_k, "cols_in": cols, "cols_out": outputs,
        "weights": WEIGHTS + 40, "expert_lines": apart,
        "records": _records(rng, pair, rows, experts),
    }  # fmt: skip


def experts_up(rng, engines):
    pair, operands = _experts(rng, engines, Opcode.EXPERTS_UP)
    return pair, Instruction(
        Opcode.EXPERTS_UP, **operands, src=at(5), src_stride=pick(rng, 0, 1, 4), dst=at(960),
        activation=pick(rng, 0, 1, 2), table=WEIGHTS,
    )  # fmt: skip


def experts_down(rng, engines):
    """Also a second one, that goes on behind the first."""
    while True:
        pair, operands = _experts(rng, engines, Opcode.EXPERTS_DOWN)
        rows, width = operands["rows"], lines(2 * operands["cols_out"])
        if 2 * operands["top_k"] * rows * width <= 500:
            break
    hidden = operands["top_k"] * rows * lines(operands["cols_in"])
    assert hidden <= 960
    more = dict(operands, src=at(0), dst=at(950))
    more["records"] = at(960 + 500)
    pair.space[1460 : 1460 + rows] = pair.space[900 : 900 + rows]
    first = Instruction(Opcode.EXPERTS_DOWN, **more, first_slot=0)
    if rng.random() < 0.5 and hidden < 900:
        assert pair.step(first) == ErrorCode.OK, first
        return pair, Instruction(Opcode.EXPERTS_DOWN, **more, first_slot=operands["top_k"])
    return pair, first


def upsample2x(rng, engines):
    height, width = (int(v) for v in rng.integers(1, 9, 2))
    cols = pick(rng, 1, 63, 64, 65, 130)
    return Pair(rng, engines), Instruction(
        Opcode.UPSAMPLE2X, height=height, width=width, cols_in=cols, src=at(4),
        src_stride=pick(rng, 0, 1, 3), dst=at(300), dst_stride=lines(cols) + pick(rng, 0, 1),
    )  # fmt: skip


def _output(rng, engines, opcode, pixel_bytes, **operands):
    height, width, factor = *(int(v) for v in rng.integers(1, 12, 2)), pick(rng, 1, 2, 4)
    size = LINE * lines(pixel_bytes * factor**2 * height * width) + pick(rng, 0, 64)
    pair = Pair(rng, engines, result_bytes=size)
    if rng.random() < 0.3:  # ties, and all negative
        pair.space[:] = rng.choice([0x80, 0xFF], pair.space.shape)
    return pair, Instruction(
        opcode, height=height, width=width, factor=factor, src=at(pick(rng, 0, 30)),
        src_stride=pick(rng, 0, 1, 9), **operands,
    )  # fmt: skip


def output_classes(rng, engines):
    return _output(
        rng, engines, Opcode.OUTPUT_CLASSES, 1, wide=pick(rng, 0, 1),
        cols_in=pick(rng, 1, 2, 39, 64, 65, 256),
    )  # fmt: skip


def output_depth(rng, engines):
    return _output(rng, engines, Opcode.OUTPUT_DEPTH, 2)


def linear(rng, engines):
    pair = Pair(rng, engines)
    return pair, matrix_case(rng, pair, Opcode.LINEAR)


def conv3x3(rng, engines):
    pair = Pair(rng, engines)
    return pair, matrix_case(rng, pair, Opcode.CONV3X3)


def end(rng, engines):
    return Pair(rng, engines), Instruction(Opcode.END)


#: A function(rng, engines) -> pair, instruction for every opcode.
CASES = {op: globals()[op.name.lower()] for op in Opcode}
assert LAYOUT.workspace_lines > 1460 + 40
