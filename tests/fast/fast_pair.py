# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The integer machine and the fast engine side by side, and made-up instructions for them."""

import functools

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import (
    BankLayout,
    Instruction,
    Opcode,
    Store,
    layer_lines,
    lines,
    row_beats,
)
from m3vit_pynq.emulator.fast import FastEngine, Slots, available_paths
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.reference.refusals import Capacity

PATHS = available_paths()
GENEROUS = {"half_lines": 4096, "tokens": isa.MAX_TOKENS, "map_lines": 1 << 20}
WEIGHTS, PART, SPACE = 8, 700, 1600
LAYOUT = BankLayout(WEIGHTS, PART, WEIGHTS + 4 * PART, SPACE)


@functools.lru_cache(maxsize=64)
def engine(path, threads):
    """One engine for all tests that want this path and these threads."""
    return FastEngine(GENEROUS, threads=threads, path=path)


def at(line):
    """Address of a line of the workspace."""
    return LAYOUT.workspace_line + line


class Pair:
    """A bank in which the machine and every engine execute the same instruction."""

    def __init__(self, rng, engines, frame_bytes=0, result_bytes=0, capacity=None):
        self.engines = engines
        self.machine = Machine(Capacity.of(capacity or GENEROUS))
        bank = rng.integers(0, 256, LINE * LAYOUT.lines, np.uint8)
        self.machine.attach(bank, LAYOUT)
        self.machine.frame = rng.integers(0, 256, frame_bytes, np.uint8)
        self.machine.result = rng.integers(0, 256, result_bytes, np.uint8)

    @property
    def bank(self):
        return self.machine.bank

    @property
    def space(self):
        """The workspace, uint8 [lines, 64]."""
        return self.bank[LINE * LAYOUT.workspace_line :].reshape(-1, LINE)

    @property
    def weights(self):
        """The weight image, uint8 [4, lines, 64]."""
        return self.bank[LINE * WEIGHTS : LINE * LAYOUT.workspace_line].reshape(4, PART, LINE)

    def slots(self):
        pending = self.machine.pending
        if pending is None:
            return Slots()
        return Slots(pending.slots, pending.base, pending.rows, pending.channels)

    def step(self, instruction):
        """Execute everywhere, compare everything, and return the code."""
        bank, result, slots = self.bank.copy(), self.machine.result.copy(), self.slots()
        try:
            self.machine.execute(instruction)
            code = ErrorCode.OK
        except AcceleratorError as error:
            code = ErrorCode(error.code)
        for each in self.engines:
            where = f"{each.path}, {each.threads} threads: {instruction}"
            mine, mine_result, mine_slots = aligned(bank), aligned(result), Slots(**vars(slots))
            got = each.step(instruction, mine, LAYOUT, self.machine.frame, mine_result, mine_slots)
            assert got == code, f"{ErrorCode(got)!r} instead of {code!r}: {where}"
            if not np.array_equal(mine, self.bank):
                different = np.flatnonzero(mine != self.bank)
                line = different[0] // LINE - LAYOUT.workspace_line
                raise AssertionError(f"{len(different)} bytes from line {line} on: {where}")
            assert np.array_equal(mine_result, self.machine.result), where
            assert mine_slots.count == self.slots().count, where
            if mine_slots.count:
                assert mine_slots == self.slots(), where
        return code


def aligned(array):
    """A copy that starts at a multiple of 64 bytes."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def random_layer(rng, pair, line, outputs, cols, extreme=False):
    """Parameters that make results of every size; weights may be anything at all."""
    per_part, size = -(-outputs // 4), 16 * row_beats(cols)
    flat = pair.weights[:, line:].reshape(4, -1)[:, : per_part * size]
    rows = flat.reshape(4, per_part, size)
    shape = rows.shape[:2]
    if extreme:
        rows[:, :, 16:] = rng.choice([0x80, 0x7F], (*shape, size - 16))
        bias = rng.choice([-(2**31), 2**31 - 1, 0, 2**26 - 1, -(2**26)], shape)
        mult = rng.choice([0, 1, 65535], shape)
        shift = rng.integers(0, 256, shape)
    else:
        rows[:, :, 16:] = rng.integers(0, 256, (*shape, size - 16))
        bias = rng.integers(-(2**20), 2**20, shape)
        mult = rng.integers(0, 65536, shape)
        shift = rng.integers(rng.choice([9, 20, 24]), 40, shape)
    rows[:, :, 0:4] = bias.astype("<i4")[..., None].view(np.uint8).reshape(*shape, 4)
    rows[:, :, 4:6] = mult.astype("<u2")[..., None].view(np.uint8).reshape(*shape, 2)
    rows[:, :, 6] = shift
    flat[:] = rows.reshape(4, -1)  # a view in every case; written back for good measure


def matrix_case(rng, pair, opcode):
    """LINEAR or CONV3X3 with a layer behind it."""
    extreme = rng.random() < 0.3
    conv = opcode == Opcode.CONV3X3
    cols = int(rng.choice([1, 16, 64, 65, 130] if conv else [1, 63, 64, 65, 200, 384]))
    outputs = int(rng.choice([1, 4, 16, 17, 39, 64, 65, 100]))
    k = 9 * 64 * lines(cols) if conv else cols
    while layer_lines(outputs, k) > PART - 8:
        outputs = -(-outputs // 2)
    random_layer(rng, pair, 4, outputs, k, extreme)
    store = int(rng.integers(0, 2 if conv else 4))
    planar = int(not conv and store == Store.ACT8 and rng.random() < 0.3)
    width = lines(outputs * (1, 2, 2, 4)[store])
    if conv:
        height, across = (int(v) for v in rng.integers(1, 7, 2))
        rows, shape = height * across, {"height": height, "width": across}
    else:
        rows = int(rng.choice([1, 2, 5, 16, 31, 33, 50]))
        shape = {"rows": rows}
    stride = rows + int(rng.integers(0, 3)) if planar else width + int(rng.integers(0, 3))
    operands = dict(
        shape, cols_in=cols, cols_out=outputs, src=at(int(rng.integers(0, 20))),
        src_stride=int(rng.integers(0, 8)), dst=at(500), dst_stride=stride,
        weights=WEIGHTS + 4, store=store,
        activation=int(rng.integers(0, 3)) if store == Store.ACT8 else 0, table=WEIGHTS,
    )  # fmt: skip
    if conv:
        operands["pad"] = int(rng.integers(-128, 128))
    else:
        operands["planar"] = planar
    return Instruction(opcode, **operands)
