# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Limits of the architecture on the operands of each instruction (error SHAPE).

The same for every board; an opcode without an entry is an error when this
module is imported.
"""

from __future__ import annotations

from collections.abc import Callable

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.footprint import conv_cols, output_lines
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store, lines

MAX_SHIFT = 47
HEAD_DIMS = (16, 32, 64)
FACTORS = (1, 2, 4)
#: The only width of a weight so far.
WEIGHT_BITS = 8

#: Operands that count something and are therefore at least 1.
COUNTS = ("rows", "cols_in", "cols_out", "height", "width", "heads", "patch", "experts")


def layernorm_eps(instruction: Instruction) -> int:
    """Epsilon of a LAYERNORM, from its two words."""
    return instruction.eps_high << 32 | instruction.eps_low


def _activates(i: Instruction) -> bool:
    return i.activation <= Activation.GELU and (
        i.activation == Activation.NONE or i.store == Store.ACT8
    )


def _layer(i: Instruction, cols: int) -> bool:
    return (
        64 * lines(cols) <= isa.MAX_K
        and i.cols_out <= isa.MAX_OUTPUTS
        and i.weight_bits == WEIGHT_BITS
    )


def _map_fits(i: Instruction, factor: int, pixels: int) -> bool:
    return factor * max(i.height, i.width) <= isa.MAX_SIDE and pixels <= isa.MAX_ROWS


def _result_fits(i: Instruction) -> bool:
    return i.factor in FACTORS and _map_fits(i, i.factor, i.height * i.width)


def _routes(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_TOKENS
        and i.experts <= isa.MAX_EXPERTS
        and 1 <= i.top_k <= min(isa.MAX_TOP_K, i.experts)
    )


def _load_patches(i: Instruction) -> bool:
    return (
        i.patch <= isa.MAX_PATCH
        and max(i.height, i.width) <= isa.MAX_SIDE
        and i.height % i.patch == 0
        and i.width % i.patch == 0
        and (i.height // i.patch) * (i.width // i.patch) <= isa.MAX_ROWS
        and 3 * i.patch * i.width <= isa.MAX_STRIP
        and i.dst_stride >= lines(3 * i.patch**2)
    )


def _load_residual(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_ROWS
        and i.cols_out <= isa.MAX_OUTPUTS
        and i.dst_stride >= lines(2 * i.cols_out)
    )


def _layernorm(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_ROWS
        and i.cols_in <= isa.MAX_LAYERNORM
        and 1 <= i.shift_a <= 31
        and 1 <= layernorm_eps(i) < 1 << 63
        and i.slots <= isa.MAX_SLOTS
        and i.dst_stride >= lines(i.cols_in)
        and (i.slots == 0 or i.src_stride >= lines(2 * i.cols_in))
    )


def _linear(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_ROWS
        and i.store <= Store.SCORES
        and _layer(i, i.cols_in)
        and _activates(i)
        and (not i.planar or i.store == Store.ACT8)
        and i.dst_stride >= (i.rows if i.planar else output_lines(i))
    )


def _conv3x3(i: Instruction) -> bool:
    return (
        _map_fits(i, 1, i.height * i.width)
        and i.store <= Store.ACT16
        and _layer(i, conv_cols(i.cols_in))
        and _activates(i)
        and i.dst_stride >= output_lines(i)
    )


def _upsample2x(i: Instruction) -> bool:
    return (
        _map_fits(i, 2, 4 * i.height * i.width)
        and i.cols_in <= isa.MAX_OUTPUTS
        and i.dst_stride >= lines(i.cols_in)
    )


def _attention(i: Instruction) -> bool:
    return (
        i.rows <= isa.MAX_TOKENS
        and i.heads <= isa.MAX_HEADS
        and i.head_dim in HEAD_DIMS
        and 1 <= i.shift_a <= MAX_SHIFT
        and 1 <= i.shift_b <= MAX_SHIFT
        and 1 <= i.passes <= 2
        and i.dst_stride >= lines(i.heads * i.head_dim)
    )


def _experts(i: Instruction) -> bool:
    return _routes(i) and i.expert_kind == 0 and _layer(i, i.cols_in)


LIMITS: dict[Opcode, Callable[[Instruction], bool]] = {
    Opcode.END: lambda i: True,
    Opcode.LOAD_PATCHES: _load_patches,
    Opcode.LOAD_RESIDUAL: _load_residual,
    Opcode.LAYERNORM: _layernorm,
    Opcode.LINEAR: _linear,
    Opcode.ATTENTION: _attention,
    Opcode.GATE: lambda i: _routes(i) and i.gate_mode <= 1 and i.top_p == 0,
    Opcode.EXPERTS_UP: lambda i: _experts(i) and i.activation <= Activation.GELU,
    Opcode.EXPERTS_DOWN: lambda i: _experts(i) and i.first_slot + i.top_k <= isa.MAX_SLOTS,
    Opcode.CONV3X3: _conv3x3,
    Opcode.UPSAMPLE2X: _upsample2x,
    Opcode.OUTPUT_CLASSES: lambda i: _result_fits(i) and i.cols_in <= isa.MAX_CLASSES,
    Opcode.OUTPUT_DEPTH: _result_fits,
}

if set(LIMITS) != set(Opcode):
    raise LookupError(f"no limits for {set(Opcode) - set(LIMITS)}")


def within_limits(instruction: Instruction) -> bool:
    """Whether the architecture can express the instruction at all."""
    operands = isa.OPERANDS[instruction.opcode]
    if any(name in operands and getattr(instruction, name) < 1 for name in COUNTS):
        return False
    return LIMITS[instruction.opcode](instruction)
