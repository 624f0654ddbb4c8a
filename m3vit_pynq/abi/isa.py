# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instruction encoding, program header and weight image layout.

Memories an instruction can address (semantics of every opcode: docs/numerics.md)

* *activation memory*: int8, lines of 64 bytes. A tensor row ``r`` starts at
  line ``base + r * stride``; its channels are consecutive bytes. Bytes of the
  last line beyond the row's channels are unspecified.
* *residual memory*: int16 elements, row ``r`` at ``base + r * stride``.
* *score memory*: int32 elements, router logits.
* *queues*: filled by GATE, read by EXPERTS.
* *weight image*: four parts of equal size, one per AXI port, addressed in
  16-byte beats by the same offset in each. Tables lie in part 0.

Weight rows: output channel ``o`` of a layer is row ``o // 4`` of part
``o % 4`` (layers are padded with zero rows to a multiple of four). A row is
one parameter beat, then ``Kpad / 16`` beats of int8 weights, K padded with
zeros to a multiple of 64. Parameter beat, little endian: int32 bias, uint16
multiplier, uint8 shift, nine zero bytes.

A program buffer is: header (64 bytes), task directory (16 entries of 16
bytes), instructions (64 bytes each). Every task's instruction list is complete
in itself, from loading the frame to END.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from m3vit_pynq.abi import ABI_VERSION
from m3vit_pynq.abi.boards import LINE

INSTRUCTION_WORDS = 16
INSTRUCTION_BYTES = 4 * INSTRUCTION_WORDS
PROGRAM_MAGIC = 0x4D335650  # "M3VP"
HEADER_BYTES = 64
MAX_TASKS = 16
TASK_ENTRY_BYTES = 16
INSTRUCTIONS_OFFSET = HEADER_BYTES + MAX_TASKS * TASK_ENTRY_BYTES
MAX_INSTRUCTIONS = 4096  # per program, so that the fetch loop is bounded

# Architectural limits, the same for every board (loop bounds in the HLS).
MAX_ROWS = 65536  # rows of a LINEAR or pixels of a map
MAX_TOKENS = 2048  # rows of ATTENTION and GATE
MAX_COLS = 8192  # padded K of a weight row
MAX_OUTPUTS = 8192  # output channels of one LINEAR
MAX_LAYERNORM = 1024  # channels of LAYERNORM
MAX_HEADS = 32
MAX_HEAD_DIM = 64
MAX_EXPERTS = 64
MAX_TOP_K = 8
MAX_SIDE = 2048  # height or width of a frame or map
MAX_PATCH = 32
MAX_CLASSES = 256  # channels of OUTPUT_CLASSES
KEY_BLOCK = 64  # keys per step of the streaming softmax; part of the numerics


class Opcode(IntEnum):
    END = 0
    LOAD_PATCHES = 1
    LOAD_RESIDUAL = 2
    LAYERNORM = 3
    LINEAR = 4
    ATTENTION = 5
    GATE = 6
    EXPERTS = 7
    CONV3X3 = 8
    UPSAMPLE2X = 9
    OUTPUT_CLASSES = 10
    OUTPUT_DEPTH = 11


class Store(IntEnum):
    """Where and how LINEAR and CONV3X3 put their results."""

    ACT8 = 0  # int8 to activation memory
    ACT16 = 1  # int16 little endian to activation memory
    RESIDUAL = 2  # added to residual memory with saturation
    SCORES = 3  # int32 to score memory


class Activation(IntEnum):
    """Applied to an int8 result."""

    NONE = 0
    RELU = 1
    GELU = 2  # 256-entry table in the weight image


class GateMode(IntEnum):
    SOFTMAX_ALL = 0  # noisy_vmoe: softmax over all experts, then top-k
    SOFTMAX_SELECTED = 1  # noisy: top-k, then softmax over those


class TaskKind(IntEnum):
    CLASSES = 0  # uint8 class ids
    DEPTH = 1  # uint16 millimetres


@dataclass(frozen=True)
class Field:
    """A bit field at a fixed place of every instruction."""

    name: str
    word: int
    shift: int
    bits: int
    doc: str
    signed: bool = False


_FIELDS = (
    Field("opcode", 0, 0, 8, "Opcode"),
    Field("store", 0, 8, 4, "Store: where results go"),
    Field("activation", 0, 12, 4, "Activation applied to an int8 result"),
    Field("pad", 0, 16, 8, "CONV3X3: int8 value outside the map", signed=True),
    Field("wide", 0, 24, 1, "OUTPUT_*: the map is int16 instead of int8"),
    Field("gate_mode", 0, 25, 2, "GATE: GateMode"),
    Field("per_image", 0, 27, 1, "GATE: every token takes the decision of row 0"),
    Field("rows", 1, 0, 32, "tokens or pixels"),
    Field("src", 2, 0, 32, "source base: line, or element of residual/score memory"),
    Field("dst", 3, 0, 32, "destination base: line, or element of residual/score memory"),
    Field("src_stride", 4, 0, 16, "lines or elements from one source row to the next"),
    Field("dst_stride", 4, 16, 16, "lines or elements from one destination row to the next"),
    Field("cols_in", 5, 0, 16, "input channels (without padding)"),
    Field("cols_out", 5, 16, 16, "output channels (without padding)"),
    Field("weights", 6, 0, 32, "first weight row, beats within each part"),
    Field("table", 7, 0, 32, "table, beats within part 0"),
    Field("height", 8, 0, 16, "rows of the frame or input map"),
    Field("width", 8, 16, 16, "columns of the frame or input map"),
    Field("mult_a", 9, 0, 16, "ATTENTION: multiplier of the scores"),
    Field("shift_a", 9, 16, 8, "ATTENTION: shift of the scores; LAYERNORM: output shift"),
    Field("mult_b", 10, 0, 16, "ATTENTION: multiplier of the output"),
    Field("shift_b", 10, 16, 8, "ATTENTION: shift of the output"),
    Field("heads", 11, 0, 16, "ATTENTION: heads"),
    Field("head_dim", 11, 16, 16, "ATTENTION: channels per head: 16, 32 or 64"),
    Field("k_offset", 12, 0, 16, "ATTENTION: byte of the first key channel in a row"),
    Field("v_offset", 12, 16, 16, "ATTENTION: byte of the first value channel in a row"),
    Field("experts", 11, 0, 16, "GATE, EXPERTS: number of experts"),
    Field("top_k", 11, 16, 16, "GATE, EXPERTS: experts per token"),
    Field("hidden", 12, 0, 16, "EXPERTS: hidden channels of one expert"),
    Field("scratch_stride", 12, 16, 16, "EXPERTS: lines per hidden row"),
    Field("scratch", 13, 0, 32, "EXPERTS: first line of the hidden rows, one per queued token"),
    Field("expert_beats", 14, 0, 32, "EXPERTS: beats from one expert to the next in each part"),
    Field("patch", 11, 0, 16, "LOAD_PATCHES: patch side in pixels"),
    Field("factor", 11, 0, 16, "OUTPUT_*: enlargement, 1, 2 or 4"),
    Field("eps_low", 12, 0, 32, "LAYERNORM: epsilon in integer units, low word"),
    Field("eps_high", 13, 0, 32, "LAYERNORM: epsilon in integer units, high word"),
)

#: Field by name; fields of different opcodes may share bits.
FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}

#: The fields each opcode uses; all others must be zero.
OPERANDS: dict[Opcode, tuple[str, ...]] = {
    Opcode.END: (),
    Opcode.LOAD_PATCHES: ("height", "width", "patch", "dst", "dst_stride"),
    Opcode.LOAD_RESIDUAL: ("rows", "cols_out", "table", "dst", "dst_stride"),
    Opcode.LAYERNORM: (
        "rows", "cols_in", "src", "src_stride", "dst", "dst_stride", "table", "shift_a",
        "eps_low", "eps_high",
    ),
    Opcode.LINEAR: (
        "rows", "cols_in", "cols_out", "src", "src_stride", "dst", "dst_stride", "weights",
        "store", "activation", "table",
    ),
    Opcode.ATTENTION: (
        "rows", "heads", "head_dim", "src", "src_stride", "k_offset", "v_offset", "dst",
        "dst_stride", "mult_a", "shift_a", "mult_b", "shift_b",
    ),
    Opcode.GATE: ("rows", "experts", "top_k", "gate_mode", "per_image", "src", "src_stride"),
    Opcode.EXPERTS: (
        "rows", "experts", "top_k", "cols_in", "cols_out", "hidden", "src", "src_stride", "dst",
        "dst_stride", "scratch", "scratch_stride", "weights", "expert_beats", "table",
    ),
    Opcode.CONV3X3: (
        "height", "width", "cols_in", "cols_out", "src", "src_stride", "dst", "dst_stride",
        "weights", "store", "activation", "table", "pad",
    ),
    Opcode.UPSAMPLE2X: ("height", "width", "cols_in", "src", "src_stride", "dst", "dst_stride"),
    Opcode.OUTPUT_CLASSES: (
        "height", "width", "cols_in", "src", "src_stride", "wide", "factor",
    ),
    Opcode.OUTPUT_DEPTH: ("height", "width", "src", "src_stride", "factor"),
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One instruction as named operands; operands not named are zero.

    Examples
    --------
    >>> Instruction(Opcode.UPSAMPLE2X, height=16, width=22, cols_in=128, src=0,
    ...             src_stride=2, dst=704, dst_stride=2).encode()
    """

    opcode: Opcode
    operands: Mapping[str, int]

    def __init__(self, opcode: Opcode, **operands: int) -> None:
        unknown = set(operands) - set(OPERANDS[opcode])
        if unknown:
            raise ValueError(f"{opcode.name} has no operand {', '.join(sorted(unknown))}")
        for name, value in operands.items():
            field = FIELDS[name]
            low = -(1 << (field.bits - 1)) if field.signed else 0
            high = (1 << (field.bits - 1)) if field.signed else (1 << field.bits)
            if not low <= value < high:
                raise ValueError(f"{opcode.name}.{name} = {value} does not fit {field.bits} bits")
        object.__setattr__(self, "opcode", Opcode(opcode))
        object.__setattr__(self, "operands", {k: int(v) for k, v in operands.items()})

    def __getattr__(self, name: str) -> int:
        if name.startswith("_") or name not in FIELDS:
            raise AttributeError(name)
        return self.operands.get(name, 0)

    def encode(self) -> bytes:
        """64 bytes, little-endian words."""
        words = [0] * INSTRUCTION_WORDS
        words[0] = int(self.opcode)
        for name, value in self.operands.items():
            field = FIELDS[name]
            words[field.word] |= (value & ((1 << field.bits) - 1)) << field.shift
        return struct.pack(f"<{INSTRUCTION_WORDS}I", *words)

    @classmethod
    def decode(cls, data: bytes) -> Instruction:
        """Inverse of `encode`.

        Raises
        ------
        ValueError
            If the opcode is unknown or bits outside its operands are set.
        """
        words = struct.unpack(f"<{INSTRUCTION_WORDS}I", data)
        opcode = Opcode(words[0] & 0xFF)
        operands = {}
        for name in OPERANDS[opcode]:
            field = FIELDS[name]
            value = (words[field.word] >> field.shift) & ((1 << field.bits) - 1)
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            operands[name] = value
        instruction = cls(opcode, **operands)
        if instruction.encode() != bytes(data):
            raise ValueError(f"{opcode.name}: bits outside its operands are set")
        return instruction


@dataclass(frozen=True)
class TaskEntry:
    """One entry of the task directory.

    Attributes
    ----------
    first : int
        Index of the task's first instruction.
    count : int
        Number of instructions, END included.
    output_bytes : int
        Bytes the task writes to the output buffer.
    """

    kind: TaskKind
    first: int
    count: int
    output_bytes: int


@dataclass(frozen=True)
class Program:
    """What the accelerator's program buffer holds."""

    frame_height: int
    frame_width: int
    weights_bytes: int  # of each of the four parts
    tasks: tuple[TaskEntry, ...]
    instructions: tuple[Instruction, ...]

    def encode(self) -> bytes:
        """Header, task directory and instructions as bytes."""
        if not 1 <= len(self.tasks) <= MAX_TASKS:
            raise ValueError(f"a program has 1 to {MAX_TASKS} tasks, not {len(self.tasks)}")
        if len(self.instructions) > MAX_INSTRUCTIONS:
            raise ValueError(
                f"{len(self.instructions)} instructions exceed the limit of {MAX_INSTRUCTIONS}"
            )
        header = struct.pack(
            "<8I", PROGRAM_MAGIC, ABI_VERSION, len(self.tasks), len(self.instructions),
            self.weights_bytes, self.frame_height, self.frame_width, 0,
        ).ljust(HEADER_BYTES, b"\0")  # fmt: skip
        directory = b"".join(
            struct.pack("<4I", t.kind, t.first, t.count, t.output_bytes) for t in self.tasks
        ).ljust(MAX_TASKS * TASK_ENTRY_BYTES, b"\0")
        return header + directory + b"".join(i.encode() for i in self.instructions)

    @classmethod
    def decode(cls, data: bytes) -> Program:
        """Inverse of `encode`; `ValueError` names the field that is wrong."""
        if len(data) < INSTRUCTIONS_OFFSET:
            raise ValueError(f"program: {len(data)} bytes are shorter than its header")
        magic, abi, tasks, count, weights, height, width, _ = struct.unpack_from("<8I", data)
        if magic != PROGRAM_MAGIC:
            raise ValueError(f"program: magic is 0x{magic:08x}, not 0x{PROGRAM_MAGIC:08x}")
        if abi != ABI_VERSION:
            raise ValueError(f"program: ABI version {abi}, this package speaks {ABI_VERSION}")
        if not 1 <= tasks <= MAX_TASKS or count > MAX_INSTRUCTIONS:
            raise ValueError(f"program: {tasks} tasks and {count} instructions")
        if len(data) != INSTRUCTIONS_OFFSET + count * INSTRUCTION_BYTES:
            raise ValueError(f"program: {len(data)} bytes do not hold {count} instructions")
        entries = []
        for index in range(tasks):
            kind, first, length, output = struct.unpack_from(
                "<4I", data, HEADER_BYTES + index * TASK_ENTRY_BYTES
            )
            if first + length > count or not length:
                raise ValueError(f"program: task {index} covers {first}+{length} of {count}")
            entries.append(TaskEntry(TaskKind(kind), first, length, output))
        instructions = tuple(
            Instruction.decode(data[start : start + INSTRUCTION_BYTES])
            for start in range(INSTRUCTIONS_OFFSET, len(data), INSTRUCTION_BYTES)
        )
        return cls(height, width, weights, tuple(entries), instructions)


def lines(channels: int) -> int:
    """Activation lines (64 bytes) that hold ``channels`` bytes."""
    return -(-channels // LINE)


def row_beats(cols_in: int) -> int:
    """Beats of one weight row: the parameter beat and K padded to 64 bytes."""
    return 1 + 4 * lines(cols_in)


def concatenate(programs: Sequence[Iterable[Instruction]]) -> tuple[Instruction, ...]:
    """Instruction lists of several tasks one after the other."""
    return tuple(instruction for program in programs for instruction in program)
