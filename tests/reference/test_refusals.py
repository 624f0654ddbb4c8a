# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the machine refuses, with which code, and that nothing has changed then."""

import numpy as np
import pytest
import spec_image
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_image import WEIGHTS, at

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import BOARDS, get_board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference.refusals import Capacity

CAPACITY = {"half_lines": 300, "tokens": 64, "map_lines": 64}
FRAME, RESULT, PART = 3 * 32 * 48, 384, 500
END = 2048  # lines of the workspace
TOP = 2**32 - 1
E, O = ErrorCode, Opcode  # noqa: E741


def ops(**operands):
    return operands


def weight(line):
    """Address of a line of the weight image."""
    return WEIGHTS + line


# One acceptable instruction of every opcode ...
GOOD = {
    O.LOAD_PATCHES: ops(height=32, width=32, patch=8, dst=at(10), dst_stride=3),
    O.LOAD_RESIDUAL: ops(rows=10, cols_out=40, table=weight(100), dst=at(7), dst_stride=2),
    O.LAYERNORM: ops(
        rows=10, cols_in=70, src=at(5), src_stride=3, dst=at(100), dst_stride=2, table=weight(50),
        shift_a=17, eps_low=1,
    ),
    O.LINEAR: ops(
        rows=10, cols_in=70, cols_out=90, src=at(0), src_stride=2, dst=at(20), dst_stride=2,
        weights=weight(16), table=weight(0), activation=Activation.GELU,
    ),
    O.ATTENTION: ops(
        rows=10, heads=4, head_dim=32, src=at(0), src_stride=10, k_offset=2, v_offset=4,
        dst=at(60), dst_stride=2, mult_a=1, shift_a=20, mult_b=1, shift_b=20,
    ),
    O.GATE: ops(rows=10, experts=20, top_k=2, src=at(0), src_stride=2, dst=at(20)),
    O.EXPERTS_UP: ops(
        rows=10, experts=4, top_k=2, cols_in=64, cols_out=100, src=at(0), src_stride=1, dst=at(20),
        weights=weight(128), expert_lines=50, activation=Activation.GELU, table=weight(0),
        records=at(10),
    ),
    O.EXPERTS_DOWN: ops(
        rows=10, experts=4, top_k=2, cols_in=100, cols_out=64, src=at(20), dst=at(100),
        weights=weight(160), expert_lines=50, records=at(10),
    ),
    O.CONV3X3: ops(
        height=4, width=5, cols_in=64, cols_out=9, src=at(0), src_stride=1, dst=at(20),
        dst_stride=1, weights=weight(0),
    ),
    O.UPSAMPLE2X: ops(
        height=4, width=5, cols_in=64, src=at(0), src_stride=1, dst=at(20), dst_stride=1
    ),
    O.OUTPUT_CLASSES: ops(height=4, width=5, cols_in=13, src=at(0), src_stride=1, factor=4),
    O.OUTPUT_DEPTH: ops(height=4, width=5, src=at(0), src_stride=1, factor=2),
}  # fmt: skip

ACT = ops(store=Store.ACT16, activation=Activation.NONE, dst_stride=3)
RES = ops(store=Store.RESIDUAL, activation=Activation.NONE, dst_stride=3)
SCO = ops(store=Store.SCORES, activation=Activation.NONE, dst_stride=6)
PLANAR = ops(planar=1, dst_stride=10)
SLOTTED = ops(slots=2, slot_base=at(200))

# ... and changes to it, each with what the document says about the result.
CASES = [
    # LOAD_PATCHES
    (O.LOAD_PATCHES, ops(height=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(width=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(patch=0), E.SHAPE),
    (O.LOAD_PATCHES, ops(patch=33, height=33, width=33, dst_stride=52), E.SHAPE),
    (O.LOAD_PATCHES, ops(height=30), E.SHAPE),
    (O.LOAD_PATCHES, ops(width=33), E.SHAPE),
    (O.LOAD_PATCHES, ops(dst_stride=2), E.SHAPE),
    (O.LOAD_PATCHES, ops(height=2056), E.SHAPE),
    (O.LOAD_PATCHES, ops(height=16, width=688, patch=16, dst_stride=12), E.SHAPE),  # strip
    (O.LOAD_PATCHES, ops(height=48), E.OK),
    (O.LOAD_PATCHES, ops(height=56), E.FRAME_RANGE),
    (O.LOAD_PATCHES, ops(dst=at(END - 48)), E.OK),
    (O.LOAD_PATCHES, ops(dst=at(END - 47)), E.WRITE_RANGE),
    (O.LOAD_PATCHES, ops(dst=at(-1)), E.WRITE_RANGE),
    (O.LOAD_PATCHES, ops(dst=0), E.WRITE_RANGE),
    (O.LOAD_PATCHES, ops(dst=weight(10)), E.WRITE_RANGE),
    (O.LOAD_PATCHES, ops(dst=TOP), E.WRITE_RANGE),
    (O.LOAD_PATCHES, ops(height=56, dst=TOP), E.FRAME_RANGE),
    # LOAD_RESIDUAL
    (O.LOAD_RESIDUAL, ops(rows=0), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(cols_out=0), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(dst_stride=1), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(rows=65537, dst_stride=65535), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(cols_out=8193, dst_stride=257), E.SHAPE),
    (O.LOAD_RESIDUAL, ops(dst=at(END - 20)), E.OK),
    (O.LOAD_RESIDUAL, ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.LOAD_RESIDUAL, ops(rows=65536, dst_stride=65535, dst=TOP), E.WRITE_RANGE),
    (O.LOAD_RESIDUAL, ops(table=weight(PART - 20)), E.OK),
    (O.LOAD_RESIDUAL, ops(table=weight(PART - 19)), E.WEIGHTS_RANGE),
    (O.LOAD_RESIDUAL, ops(table=weight(-1)), E.WEIGHTS_RANGE),
    (O.LOAD_RESIDUAL, ops(table=at(0)), E.WEIGHTS_RANGE),
    (O.LOAD_RESIDUAL, ops(table=TOP), E.WEIGHTS_RANGE),
    # LAYERNORM
    (O.LAYERNORM, ops(rows=0), E.SHAPE),
    (O.LAYERNORM, ops(rows=65537), E.SHAPE),
    (O.LAYERNORM, ops(cols_in=0), E.SHAPE),
    (O.LAYERNORM, ops(cols_in=1025, dst_stride=17), E.SHAPE),
    (O.LAYERNORM, ops(dst_stride=1), E.SHAPE),
    (O.LAYERNORM, ops(shift_a=0), E.SHAPE),
    (O.LAYERNORM, ops(shift_a=31), E.OK),
    (O.LAYERNORM, ops(shift_a=32), E.SHAPE),
    (O.LAYERNORM, ops(eps_low=0), E.SHAPE),
    (O.LAYERNORM, ops(eps_low=0, eps_high=1), E.OK),
    (O.LAYERNORM, ops(eps_low=2**32 - 1, eps_high=2**31 - 1), E.OK),
    (O.LAYERNORM, ops(eps_low=0, eps_high=2**31), E.SHAPE),
    (O.LAYERNORM, ops(slots=17), E.SHAPE),
    (O.LAYERNORM, SLOTTED, E.SLOTS),
    (O.LAYERNORM, SLOTTED | ops(src_stride=2), E.SHAPE),
    (O.LAYERNORM, SLOTTED | ops(slot_base=at(END - 60)), E.SLOTS),
    (O.LAYERNORM, SLOTTED | ops(slot_base=at(END - 59)), E.READ_RANGE),
    (O.LAYERNORM, SLOTTED | ops(slot_base=at(34)), E.OVERLAP),  # with the rows it completes
    (O.LAYERNORM, SLOTTED | ops(slot_base=at(119)), E.OVERLAP),  # with the rows it writes
    (O.LAYERNORM, SLOTTED | ops(slot_base=at(35)), E.SLOTS),
    (O.LAYERNORM, SLOTTED | ops(dst=at(34)), E.OVERLAP),
    (O.LAYERNORM, ops(src=at(END - 30)), E.OK),
    (O.LAYERNORM, ops(src=at(END - 29)), E.READ_RANGE),
    (O.LAYERNORM, ops(src=at(-1)), E.READ_RANGE),
    (O.LAYERNORM, ops(src=weight(0)), E.READ_RANGE),
    (O.LAYERNORM, ops(src_stride=0), E.OK),
    (O.LAYERNORM, ops(dst=at(END - 20)), E.OK),
    (O.LAYERNORM, ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.LAYERNORM, ops(dst=at(34)), E.OVERLAP),
    (O.LAYERNORM, ops(dst=at(35)), E.OK),
    (O.LAYERNORM, ops(src=at(END), dst=at(END)), E.READ_RANGE),
    (O.LAYERNORM, ops(table=weight(PART - 9)), E.OK),
    (O.LAYERNORM, ops(table=weight(PART - 8)), E.WEIGHTS_RANGE),
    # LINEAR: a weight row of 70 channels is 9 beats; 23 rows in a part are 52 lines
    (O.LINEAR, ops(rows=0), E.SHAPE),
    (O.LINEAR, ops(rows=65537), E.SHAPE),
    (O.LINEAR, ops(cols_in=0), E.SHAPE),
    (O.LINEAR, ops(cols_in=4097), E.SHAPE),
    (O.LINEAR, ops(cols_out=0), E.SHAPE),
    (O.LINEAR, ops(cols_out=8193, dst_stride=129), E.SHAPE),
    (O.LINEAR, ops(weight_bits=4), E.SHAPE),
    (O.LINEAR, ops(weight_bits=0), E.SHAPE),
    (O.LINEAR, ops(dst_stride=1), E.SHAPE),
    (O.LINEAR, ops(store=4, activation=0), E.SHAPE),
    (O.LINEAR, ops(activation=3), E.SHAPE),
    (O.LINEAR, ACT | ops(activation=Activation.RELU), E.SHAPE),
    (O.LINEAR, RES | ops(activation=Activation.RELU), E.SHAPE),
    (O.LINEAR, SCO | ops(activation=Activation.GELU), E.SHAPE),
    (O.LINEAR, ACT | ops(dst_stride=2), E.SHAPE),
    (O.LINEAR, ACT, E.OK),
    (O.LINEAR, RES | ops(dst_stride=2), E.SHAPE),
    (O.LINEAR, SCO | ops(dst_stride=5), E.SHAPE),
    (O.LINEAR, PLANAR, E.OK),
    (O.LINEAR, PLANAR | ops(dst_stride=9), E.SHAPE),
    (O.LINEAR, PLANAR | ACT | ops(dst_stride=10), E.SHAPE),
    (O.LINEAR, PLANAR | ops(dst=at(END - 20)), E.OK),
    (O.LINEAR, PLANAR | ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.LINEAR, ops(src=at(END - 20), dst=at(0)), E.OK),
    (O.LINEAR, ops(src=at(END - 19), dst=at(0)), E.READ_RANGE),
    (O.LINEAR, ops(src=TOP), E.READ_RANGE),
    (O.LINEAR, ops(src_stride=65535), E.READ_RANGE),
    (O.LINEAR, ops(dst=at(END - 20)), E.OK),
    (O.LINEAR, ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.LINEAR, ops(dst=at(19)), E.OVERLAP),  # last source line
    (O.LINEAR, ops(dst=at(0)), E.OVERLAP),
    (O.LINEAR, ops(src=at(20), dst=at(0)), E.OK),
    (O.LINEAR, ops(src=at(19), dst=at(0)), E.OVERLAP),
    (O.LINEAR, ops(src=at(0), src_stride=4, dst=at(2), dst_stride=4), E.OVERLAP),  # interleaved
    (O.LINEAR, RES | ops(dst=at(END - 30)), E.OK),
    (O.LINEAR, RES | ops(dst=at(END - 29)), E.READ_RANGE),  # it is read first
    (O.LINEAR, RES | ops(dst=at(19)), E.OVERLAP),
    (O.LINEAR, SCO | ops(dst=at(END - 60)), E.OK),
    (O.LINEAR, SCO | ops(dst=at(END - 59)), E.WRITE_RANGE),
    (O.LINEAR, ops(weights=weight(PART - 52)), E.OK),
    (O.LINEAR, ops(weights=weight(PART - 51)), E.WEIGHTS_RANGE),
    (O.LINEAR, ops(weights=weight(-1)), E.WEIGHTS_RANGE),
    (O.LINEAR, ops(table=weight(PART - 4)), E.OK),
    (O.LINEAR, ops(table=weight(PART - 3)), E.WEIGHTS_RANGE),
    (O.LINEAR, ops(table=weight(PART - 3), activation=Activation.RELU), E.OK),
    (O.LINEAR, ops(cols_in=9 * 64, cols_out=4, src_stride=0, dst=at(30)), E.OK),
    (O.LINEAR, ops(cols_in=9 * 64 + 1, cols_out=4, src_stride=0, dst=at(30)), E.CAPACITY),
    (O.LINEAR, RES | ops(cols_in=18 * 64, cols_out=4, src_stride=0, dst=at(30)), E.OK),
    (O.LINEAR, RES | ops(cols_in=18 * 64 + 1, cols_out=4, src_stride=0, dst=at(30)), E.CAPACITY),
    (O.LINEAR, ACT | ops(cols_in=18 * 64 + 1, cols_out=4, src_stride=0, dst=at(50)), E.CAPACITY),
    (O.LINEAR, SCO | ops(cols_in=37 * 64, cols_out=4, src_stride=0, dst=at(50)), E.OK),
    (O.LINEAR, SCO | ops(cols_in=37 * 64 + 1, cols_out=4, src_stride=0, dst=at(50)), E.CAPACITY),
    # ATTENTION
    (O.ATTENTION, ops(rows=0), E.SHAPE),
    (O.ATTENTION, ops(rows=2049), E.SHAPE),
    (O.ATTENTION, ops(heads=0), E.SHAPE),
    (O.ATTENTION, ops(heads=33, dst_stride=17), E.SHAPE),
    (O.ATTENTION, ops(head_dim=0), E.SHAPE),
    (O.ATTENTION, ops(head_dim=48), E.SHAPE),
    (O.ATTENTION, ops(head_dim=128), E.SHAPE),
    (O.ATTENTION, ops(shift_a=0), E.SHAPE),
    (O.ATTENTION, ops(shift_a=48), E.SHAPE),
    (O.ATTENTION, ops(shift_b=0), E.SHAPE),
    (O.ATTENTION, ops(shift_b=47), E.OK),
    (O.ATTENTION, ops(shift_b=48), E.SHAPE),
    (O.ATTENTION, ops(passes=0), E.SHAPE),
    (O.ATTENTION, ops(passes=2), E.OK),
    (O.ATTENTION, ops(passes=3), E.SHAPE),
    (O.ATTENTION, ops(dst_stride=1), E.SHAPE),
    (O.ATTENTION, ops(src=at(END - 60), dst=at(0)), E.OK),
    (O.ATTENTION, ops(src=at(END - 59), dst=at(0)), E.READ_RANGE),
    (O.ATTENTION, ops(src=at(END - 60), dst=at(0), k_offset=5), E.READ_RANGE),
    (O.ATTENTION, ops(src=at(END - 60), dst=at(0), v_offset=65535), E.READ_RANGE),
    (O.ATTENTION, ops(dst=at(END - 20)), E.OK),
    (O.ATTENTION, ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.ATTENTION, ops(dst=at(59)), E.OVERLAP),
    (O.ATTENTION, ops(rows=64, src_stride=64, dst=at(500)), E.OK),
    (O.ATTENTION, ops(rows=65, src_stride=65, dst=at(500)), E.CAPACITY),
    # GATE: two lines of scores
    (O.GATE, ops(rows=0), E.SHAPE),
    (O.GATE, ops(rows=2049), E.SHAPE),
    (O.GATE, ops(experts=0, top_k=0), E.SHAPE),
    (O.GATE, ops(experts=65), E.SHAPE),
    (O.GATE, ops(top_k=0), E.SHAPE),
    (O.GATE, ops(top_k=9), E.SHAPE),
    (O.GATE, ops(experts=2, top_k=3), E.SHAPE),
    (O.GATE, ops(gate_mode=2), E.SHAPE),
    (O.GATE, ops(top_p=1), E.SHAPE),
    (O.GATE, ops(src=at(END - 20)), E.OK),
    (O.GATE, ops(src=at(END - 19)), E.READ_RANGE),
    (O.GATE, ops(src=at(END - 2), per_image=1), E.OK),
    (O.GATE, ops(src=at(END - 1), per_image=1), E.READ_RANGE),
    (O.GATE, ops(dst=at(END - 10)), E.OK),
    (O.GATE, ops(dst=at(END - 9)), E.WRITE_RANGE),
    (O.GATE, ops(dst=at(19)), E.OVERLAP),
    (O.GATE, ops(rows=64, dst=at(200)), E.OK),
    (O.GATE, ops(rows=65, dst=at(200)), E.CAPACITY),
    # EXPERTS_UP: 25 rows of 5 beats are 32 lines
    (O.EXPERTS_UP, ops(rows=0), E.SHAPE),
    (O.EXPERTS_UP, ops(top_k=0), E.SHAPE),
    (O.EXPERTS_UP, ops(top_k=9, experts=16), E.SHAPE),
    (O.EXPERTS_UP, ops(experts=65), E.SHAPE),
    (O.EXPERTS_UP, ops(cols_in=0), E.SHAPE),
    (O.EXPERTS_UP, ops(cols_in=4097), E.SHAPE),
    (O.EXPERTS_UP, ops(cols_out=0), E.SHAPE),
    (O.EXPERTS_UP, ops(cols_out=8193), E.SHAPE),
    (O.EXPERTS_UP, ops(activation=3), E.SHAPE),
    (O.EXPERTS_UP, ops(expert_kind=1), E.SHAPE),
    (O.EXPERTS_UP, ops(weight_bits=7), E.SHAPE),
    (O.EXPERTS_UP, ops(src=at(END - 10)), E.OK),
    (O.EXPERTS_UP, ops(src=at(END - 9)), E.READ_RANGE),
    (O.EXPERTS_UP, ops(records=at(END - 10)), E.OK),
    (O.EXPERTS_UP, ops(records=at(END - 9)), E.READ_RANGE),
    (O.EXPERTS_UP, ops(dst=at(END - 40)), E.OK),
    (O.EXPERTS_UP, ops(dst=at(END - 39)), E.WRITE_RANGE),
    (O.EXPERTS_UP, ops(dst=at(19)), E.OVERLAP),  # the last record
    (O.EXPERTS_UP, ops(src=at(59)), E.OVERLAP),
    (O.EXPERTS_UP, ops(weights=weight(PART - 182)), E.OK),
    (O.EXPERTS_UP, ops(weights=weight(PART - 181)), E.WEIGHTS_RANGE),
    (O.EXPERTS_UP, ops(expert_lines=TOP), E.WEIGHTS_RANGE),
    (O.EXPERTS_UP, ops(table=weight(PART - 16)), E.OK),
    (O.EXPERTS_UP, ops(table=weight(PART - 15)), E.WEIGHTS_RANGE),
    (O.EXPERTS_UP, ops(table=weight(PART), activation=Activation.RELU), E.OK),
    (O.EXPERTS_UP, ops(cols_in=577, cols_out=4, src=at(100), src_stride=0), E.CAPACITY),
    (O.EXPERTS_UP, ops(rows=65, records=at(200), dst=at(300)), E.CAPACITY),
    # EXPERTS_DOWN: 16 rows of 9 beats are 36 lines
    (O.EXPERTS_DOWN, ops(rows=0), E.SHAPE),
    (O.EXPERTS_DOWN, ops(top_k=0), E.SHAPE),
    (O.EXPERTS_DOWN, ops(cols_in=4097), E.SHAPE),
    (O.EXPERTS_DOWN, ops(cols_out=0), E.SHAPE),
    (O.EXPERTS_DOWN, ops(first_slot=15), E.SHAPE),
    (O.EXPERTS_DOWN, ops(first_slot=14), E.SLOTS),
    (O.EXPERTS_DOWN, ops(expert_kind=2), E.SHAPE),
    (O.EXPERTS_DOWN, ops(src=at(END - 40)), E.OK),
    (O.EXPERTS_DOWN, ops(src=at(END - 39)), E.READ_RANGE),
    (O.EXPERTS_DOWN, ops(records=at(END - 9)), E.READ_RANGE),
    (O.EXPERTS_DOWN, ops(dst=at(END - 40)), E.OK),
    (O.EXPERTS_DOWN, ops(dst=at(END - 39)), E.WRITE_RANGE),
    (O.EXPERTS_DOWN, ops(dst=at(END - 320), first_slot=14), E.SLOTS),
    (O.EXPERTS_DOWN, ops(dst=at(END - 319), first_slot=14), E.WRITE_RANGE),
    (O.EXPERTS_DOWN, ops(dst=at(59)), E.OVERLAP),
    (O.EXPERTS_DOWN, ops(weights=weight(PART - 186)), E.OK),
    (O.EXPERTS_DOWN, ops(weights=weight(PART - 185)), E.WEIGHTS_RANGE),
    (O.EXPERTS_DOWN, ops(cols_in=1152, cols_out=4, src=at(400)), E.OK),
    (O.EXPERTS_DOWN, ops(cols_in=1153, cols_out=4, src=at(400)), E.CAPACITY),
    # CONV3X3: K = 576, a row is 37 beats, 3 rows a part are 28 lines
    (O.CONV3X3, ops(height=0), E.SHAPE),
    (O.CONV3X3, ops(width=0), E.SHAPE),
    (O.CONV3X3, ops(height=2049), E.SHAPE),
    (O.CONV3X3, ops(height=256, width=257), E.SHAPE),
    (O.CONV3X3, ops(cols_in=0), E.SHAPE),
    (O.CONV3X3, ops(cols_in=449), E.SHAPE),
    (O.CONV3X3, ops(cols_out=0), E.SHAPE),
    (O.CONV3X3, ops(cols_out=8193, dst_stride=129), E.SHAPE),
    (O.CONV3X3, ops(store=Store.RESIDUAL), E.SHAPE),
    (O.CONV3X3, ops(store=Store.ACT16, activation=Activation.RELU), E.SHAPE),
    (O.CONV3X3, ops(store=Store.ACT16), E.OK),
    (O.CONV3X3, ops(dst_stride=0), E.SHAPE),
    (O.CONV3X3, ops(weight_bits=1), E.SHAPE),
    (O.CONV3X3, ops(src=at(END - 20), dst=at(0)), E.OK),
    (O.CONV3X3, ops(src=at(END - 19), dst=at(0)), E.READ_RANGE),
    (O.CONV3X3, ops(dst=at(END - 19)), E.WRITE_RANGE),
    (O.CONV3X3, ops(dst=at(19)), E.OVERLAP),
    (O.CONV3X3, ops(weights=weight(PART - 28)), E.OK),
    (O.CONV3X3, ops(weights=weight(PART - 27)), E.WEIGHTS_RANGE),
    (O.CONV3X3, ops(cols_in=65, cols_out=4, src_stride=0), E.CAPACITY),
    (O.CONV3X3, ops(height=1, width=32, dst=at(40)), E.OK),
    (O.CONV3X3, ops(height=1, width=33, dst=at(40)), E.CAPACITY),
    # UPSAMPLE2X
    (O.UPSAMPLE2X, ops(height=0), E.SHAPE),
    (O.UPSAMPLE2X, ops(width=1025, height=1), E.SHAPE),
    (O.UPSAMPLE2X, ops(width=128, height=129), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=0), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=8193, dst_stride=129), E.SHAPE),
    (O.UPSAMPLE2X, ops(cols_in=65), E.SHAPE),
    (O.UPSAMPLE2X, ops(src=at(END - 20), dst=at(0)), E.OK),
    (O.UPSAMPLE2X, ops(src=at(END - 19), dst=at(0)), E.READ_RANGE),
    (O.UPSAMPLE2X, ops(dst=at(END - 80)), E.OK),
    (O.UPSAMPLE2X, ops(dst=at(END - 79)), E.WRITE_RANGE),
    (O.UPSAMPLE2X, ops(dst=at(19)), E.OVERLAP),
    (O.UPSAMPLE2X, ops(width=32, dst=at(200)), E.OK),
    (O.UPSAMPLE2X, ops(width=33, dst=at(200)), E.CAPACITY),
    # OUTPUT_CLASSES: 16 * 20 bytes are five lines
    (O.OUTPUT_CLASSES, ops(height=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(width=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(cols_in=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(cols_in=257, src_stride=5), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(factor=0), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(factor=3), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(height=513), E.SHAPE),
    (O.OUTPUT_CLASSES, ops(src=at(END - 20)), E.OK),
    (O.OUTPUT_CLASSES, ops(src=at(END - 19)), E.READ_RANGE),
    (O.OUTPUT_CLASSES, ops(src=at(END - 20), cols_in=33, wide=1), E.READ_RANGE),
    (O.OUTPUT_CLASSES, ops(height=1, width=24), E.OK),
    (O.OUTPUT_CLASSES, ops(height=1, width=25), E.RESULT_RANGE),
    (O.OUTPUT_CLASSES, ops(height=6, src=at(END)), E.READ_RANGE),
    (O.OUTPUT_CLASSES, ops(height=1, width=64, factor=1), E.OK),
    (O.OUTPUT_CLASSES, ops(height=1, width=65, factor=1), E.CAPACITY),
    # OUTPUT_DEPTH: 2 * 4 * 20 bytes
    (O.OUTPUT_DEPTH, ops(factor=0), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(factor=8), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(width=1025, height=1), E.SHAPE),
    (O.OUTPUT_DEPTH, ops(src=at(END - 19)), E.READ_RANGE),
    (O.OUTPUT_DEPTH, ops(height=9), E.OK),
    (O.OUTPUT_DEPTH, ops(height=10), E.RESULT_RANGE),
    (O.OUTPUT_DEPTH, ops(factor=4), E.RESULT_RANGE),
    (O.OUTPUT_DEPTH, ops(height=1, width=65, factor=1), E.CAPACITY),
]


def made_machine():
    image = spec_image.Image()
    rng = np.random.default_rng(0)
    image.parts = [rng.bytes(64 * PART) for _ in range(4)]
    made = spec_image.machine(image, **CAPACITY)
    made.frame = np.zeros(FRAME, np.uint8)
    made.result = np.full(RESULT, 255, np.uint8)
    # Records that name some experts, wherever an instruction looks for them.
    return made


def snapshot(made):
    return made.bank.tobytes() + made.result.tobytes()


def outcome(made, opcode, operands):
    try:
        made.execute(Instruction(opcode, **operands), pc=77)
    except AcceleratorError as error:
        assert error.pc == 77
        return error.code
    return E.OK


@pytest.mark.parametrize("opcode", GOOD, ids=lambda o: o.name)
def test_the_good_instruction_is_accepted_and_does_something(opcode):
    made = made_machine()
    if opcode in (O.EXPERTS_UP, O.EXPERTS_DOWN):
        spec_image.put(made, 10, 1, [[1, 5]] * 10, "<u2")
    before = snapshot(made)
    assert outcome(made, opcode, GOOD[opcode]) == E.OK
    assert snapshot(made) != before


@pytest.mark.parametrize(
    ("opcode", "changes", "code"),
    CASES,
    ids=[f"{o.name}-{'-'.join(f'{k}={int(v)}' for k, v in c.items())}" for o, c, _ in CASES],
)
def test_refusal(opcode, changes, code):
    made = made_machine()
    before = snapshot(made)
    assert outcome(made, opcode, GOOD[opcode] | changes) == code
    if code != E.OK:
        assert snapshot(made) == before


def test_every_opcode_has_cases_of_every_kind_it_can_raise():
    raised = {opcode: {c for o, _, c in CASES if o == opcode} for opcode in GOOD}
    assert all(E.OK in codes and E.SHAPE in codes for codes in raised.values())
    elsewhere = {  # before the first instruction: test_machine.py
        E.BAD_COMMAND, E.ALIGNMENT, E.PROGRAM_RANGE, E.BAD_MAGIC, E.BAD_ABI, E.BAD_TASK,
        E.BANK_LAYOUT, E.BAD_OPCODE,
    }  # fmt: skip
    assert {c for codes in raised.values() for c in codes} == set(E) - elsewhere


def test_checks_come_in_the_documented_order():
    """Everything is wrong at first; repairing the reported fault reveals the next."""
    made = made_machine()
    faults = [
        ({"top_k": 9}, {"top_k": 2}, E.SHAPE),
        ({"src": at(END)}, {"src": at(20)}, E.READ_RANGE),
        ({"dst": at(END)}, {"dst": at(50)}, E.WRITE_RANGE),
        ({}, {"dst": at(500)}, E.OVERLAP),
        ({"weights": weight(PART)}, {"weights": weight(0)}, E.WEIGHTS_RANGE),
        ({"cols_in": 1153, "cols_out": 4}, {"cols_in": 100}, E.CAPACITY),
        ({"first_slot": 1}, {"first_slot": 0}, E.SLOTS),
    ]
    operands = GOOD[O.EXPERTS_DOWN] | {"expert_lines": 0}
    for wrong, _, _ in faults:
        operands.update(wrong)
    for _, repair, code in faults:
        assert outcome(made, O.EXPERTS_DOWN, operands) == code
        operands.update(repair)
    assert outcome(made, O.EXPERTS_DOWN, operands) == E.OK


def test_error_says_what_and_where():
    made = made_machine()
    with pytest.raises(AcceleratorError, match=r"SHAPE at instruction 5: .*LAYERNORM.*'rows': 0"):
        made.execute(Instruction(O.LAYERNORM, **GOOD[O.LAYERNORM] | {"rows": 0}), pc=5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_accepted_stays_inside_the_memories(data):
    """A wrong acceptance would end in an IndexError or a ValueError of numpy."""
    opcode = data.draw(st.sampled_from(sorted(GOOD)))
    operands = dict(GOOD[opcode])
    for name in data.draw(st.lists(st.sampled_from(isa.OPERANDS[opcode]), min_size=1, max_size=3)):
        field = isa.FIELDS[name]
        top = (1 << field.bits) - 1
        if field.signed:
            operands[name] = data.draw(st.integers(-128, 127))
            continue
        near = st.integers(0, min(top, 2 * operands.get(name, 0) + 3))
        operands[name] = data.draw(near | st.integers(0, top) | st.just(top))
    made = made_machine()
    before = snapshot(made)
    if outcome(made, opcode, operands) != E.OK:
        assert snapshot(made) == before


def test_capacity_comes_from_a_board_a_mapping_or_nothing():
    board = get_board("pynq-z2")
    assert Capacity.of(board) == Capacity(board.half_lines, board.max_tokens, board.map_lines)
    partial = Capacity.of({"tokens": 5, "name": "x"})
    assert partial.tokens == 5 and partial.half_lines == Capacity().half_lines
    assert Capacity.of(None) == Capacity.of(Capacity()) == Capacity()


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda b: b.name)
def test_buffers_of_a_board_agree_with_each_other(board):
    """What the chunk rule and ATTENTION of the accelerator rely on."""
    assert board.max_tokens % 64 == 0 and board.max_tokens <= min(board.half_lines, isa.MAX_TOKENS)
    assert board.first_groups % 16 == 0
    assert board.half_lines >= 32 * 24, "K of 1536, as `small` needs it"
