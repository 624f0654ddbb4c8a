# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every opcode in words, in a few characters, and as a colour.

An opcode without an entry is an error when this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store
from m3vit_pynq.pictures import theme

#: Colour of instructions that only put rows in order or make them larger.
_ROWS = "#4a525c"


@dataclass(frozen=True)
class Look:
    """How an opcode is shown.

    Attributes
    ----------
    colour : str
        Of its cells in a map of the program.
    words : callable
        What an instruction does, as a sentence.
    shape : callable
        Its shape in a few characters.
    """

    colour: str
    words: Callable[[Instruction], str]
    shape: Callable[[Instruction], str]


def _grid(i: Instruction) -> str:
    return f"{i.height} x {i.width}"


def _columns(i: Instruction) -> str:
    return f"{i.cols_in} → {i.cols_out}"


def _enlarged(i: Instruction) -> str:
    return f", map enlarged {i.factor}-fold" if i.factor > 1 else ""


def _activated(i: Instruction) -> str:
    return f", then {Activation(i.activation).name}" if i.activation else ""


_ENDS = {
    Store.ACT8: "",
    Store.ACT16: ", kept in 16 bits",
    Store.RESIDUAL: ", added to the token",
    Store.SCORES: ": the router's scores",
}


def _matrix(i: Instruction, rows: str, how: str = "") -> str:
    return f"{rows}: {_columns(i)} channels{how}{_activated(i)}{_ENDS[Store(i.store)]}"


def _layernorm(i: Instruction) -> str:
    first = f"add what the token's {i.slots} experts wrote, then " if i.slots else ""
    return f"{first}normalise each of {i.rows} tokens"


def _gate(i: Instruction) -> str:
    whom = "the whole image" if i.per_image else f"each of {i.rows} tokens"
    return f"the router's top {i.top_k} of {i.experts} experts for {whom}"


def _experts_up(i: Instruction) -> str:
    return (
        f"first layers of {i.experts} experts, {_columns(i)}{_activated(i)}: "
        f"each token in the queues of its {i.top_k}"
    )


def _experts_down(i: Instruction) -> str:
    return (
        f"second layers of {i.experts} experts, {_columns(i)}: times the gate's weight, "
        f"to {i.top_k} slots a token"
    )


LOOKS: dict[Opcode, Look] = {
    Opcode.END: Look(theme.LINE, lambda i: "stop and raise the interrupt", lambda i: ""),
    Opcode.LOAD_PATCHES: Look(
        theme.GREY,
        lambda i: f"read the frame, {_grid(i)}, as patches of {i.patch} x {i.patch} pixels",
        _grid,
    ),
    Opcode.LOAD_RESIDUAL: Look(
        theme.GREY,
        lambda i: f"start {i.rows} tokens from the table of positions",
        lambda i: f"{i.rows} x {i.cols_out}",
    ),
    Opcode.LAYERNORM: Look(_ROWS, _layernorm, lambda i: f"{i.rows} x {i.cols_in}"),
    Opcode.LINEAR: Look(theme.SKY, lambda i: _matrix(i, f"{i.rows} rows"), _columns),
    Opcode.ATTENTION: Look(
        theme.YELLOW,
        lambda i: f"every token looks at all {i.rows}: {i.heads} heads of {i.head_dim}",
        lambda i: f"{i.heads} heads of {i.head_dim}",
    ),
    Opcode.GATE: Look(theme.PURPLE, _gate, lambda i: f"top {i.top_k} of {i.experts}"),
    Opcode.EXPERTS_UP: Look(theme.ORANGE, _experts_up, _columns),
    Opcode.EXPERTS_DOWN: Look(theme.ORANGE, _experts_down, _columns),
    Opcode.CONV3X3: Look(
        theme.GREEN,
        lambda i: _matrix(i, f"map of {_grid(i)}", ", from 3 x 3 neighbours"),
        _columns,
    ),
    Opcode.UPSAMPLE2X: Look(_ROWS, lambda i: f"enlarge the map twofold, from {_grid(i)}", _grid),
    Opcode.OUTPUT_CLASSES: Look(
        theme.GREY,
        lambda i: f"the largest of {i.cols_in} classes{_enlarged(i)}",
        lambda i: f"{i.cols_in} classes",
    ),
    Opcode.OUTPUT_DEPTH: Look(
        theme.GREY, lambda i: f"logarithm to millimetres{_enlarged(i)}", lambda i: "mm"
    ),
}

if set(LOOKS) != set(Opcode):
    raise LookupError(f"no look for {set(Opcode) - set(LOOKS)}")


def describe(instruction: Instruction) -> str:
    """What an instruction does, in words."""
    return LOOKS[instruction.opcode].words(instruction)
