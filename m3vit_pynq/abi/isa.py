# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instruction encoding, program header and the layout of a bank.

Semantics of every opcode: ``docs/numerics.md``; what each one touches:
`m3vit_pynq.abi.footprint`.

Everything that one package needs in device memory is one allocation, the
*bank*, in lines of 64 bytes::

    line 0              program: header, task directory, instructions
    weights_line        weight image: four parts of part_lines lines each
    workspace_line      workspace of workspace_lines lines: activations, residual
                        stream, scores, records, slots

Addresses in instructions are line numbers counted from the start of the bank.
Frame and result are buffers of their own. Instructions write the workspace and
the result, and nothing else.

Tensors in the workspace: row ``r`` starts at line ``base + r * stride``; its
channels are consecutive bytes (int8), 16-bit or 32-bit little-endian words.
Bytes of the last line behind the row's channels are written as zero. A
*planar* tensor holds line ``l`` of row ``r`` at ``base + l * stride + r``.

Weight rows: output channel ``o`` of a layer is row ``o // 4`` of part
``o % 4`` (layers are padded with zero rows to a multiple of four). A row is
one parameter beat of 16 bytes, then ``lines(K) * 64`` bytes of int8 weights.
Parameter beat, little endian: int32 bias, uint16 multiplier, uint8 shift, nine
zero bytes. Every layer starts on a line, at the same line of each part; the
operand ``weights`` is that line in part 0. Tables lie in part 0.

A program is: header (64 bytes), task directory (16 entries of 16 bytes),
instructions (64 bytes each). Every task's instruction list is complete in
itself, from loading the frame to END.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from m3vit_pynq.abi import ABI_VERSION
from m3vit_pynq.abi.boards import BEAT, LINE

#: Parts of the weight image, each behind an AXI master of its own.
WEIGHT_PARTS = 4
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
MAX_TOKENS = 2048  # rows of ATTENTION, GATE and EXPERTS
MAX_K = 4096  # bytes of a weight row: accumulators stay below 2**26
MAX_OUTPUTS = 8192  # output channels of one layer
MAX_LAYERNORM = 1024  # channels of LAYERNORM
MAX_HEADS = 32
MAX_EXPERTS = 64
MAX_TOP_K = 8
MAX_SLOTS = 16  # rows per token that one LAYERNORM adds to the residual stream
MAX_SIDE = 2048  # height or width of a frame or map
MAX_PATCH = 32
MAX_STRIP = 32768  # bytes of one row of patches: 3 * patch * width
MAX_CLASSES = 256  # channels of OUTPUT_CLASSES
KEY_BLOCK = 64  # attention reads keys and values in whole blocks; the rest has weight 0
RECORD_ENTRY = 8  # bytes of one expert in a record of GATE; a record is one line


class Opcode(IntEnum):
    END = 0
    LOAD_PATCHES = 1
    LOAD_RESIDUAL = 2
    LAYERNORM = 3
    LINEAR = 4
    ATTENTION = 5
    GATE = 6
    EXPERTS_UP = 7
    CONV3X3 = 8
    UPSAMPLE2X = 9
    OUTPUT_CLASSES = 10
    OUTPUT_DEPTH = 11
    EXPERTS_DOWN = 12


class Store(IntEnum):
    """What LINEAR and CONV3X3 write."""

    ACT8 = 0  # int8
    ACT16 = 1  # int16
    RESIDUAL = 2  # int16, added to what is there, with saturation
    SCORES = 3  # int32


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

    def extract(self, words: Sequence[int]) -> int:
        """Value of the field in the words of an instruction."""
        value = words[self.word] >> self.shift & ((1 << self.bits) - 1)
        if self.signed and value >> (self.bits - 1):
            value -= 1 << self.bits
        return value


_FIELDS = (
    Field("opcode", 0, 0, 8, "Opcode"),
    Field("store", 0, 8, 4, "Store: what is written"),
    Field("activation", 0, 12, 4, "Activation applied to an int8 result"),
    Field("pad", 0, 16, 8, "CONV3X3: int8 value outside the map", signed=True),
    Field("wide", 0, 24, 1, "OUTPUT_CLASSES: the map is int16 instead of int8"),
    Field("gate_mode", 0, 25, 2, "GATE: GateMode"),
    Field("per_image", 0, 27, 1, "GATE: every token takes the decision of row 0"),
    Field("planar", 0, 28, 1, "LINEAR: the destination is planar"),
    Field("passes", 0, 29, 2, "ATTENTION: 1 for 8-bit probabilities, 2 for 12-bit ones"),
    Field("rows", 1, 0, 32, "tokens or pixels"),
    Field("src", 2, 0, 32, "first line of the source"),
    Field("dst", 3, 0, 32, "first line of the destination"),
    Field("src_stride", 4, 0, 16, "lines from one source row (plane) to the next"),
    Field("dst_stride", 4, 16, 16, "lines from one destination row (plane) to the next"),
    Field("cols_in", 5, 0, 16, "input channels (without padding)"),
    Field("cols_out", 5, 16, 16, "output channels (without padding)"),
    Field("weights", 6, 0, 32, "first line of the layer in part 0"),
    Field("table", 7, 0, 32, "first line of the table, in part 0"),
    Field("height", 8, 0, 16, "rows of the frame or input map"),
    Field("width", 8, 16, 16, "columns of the frame or input map"),
    Field("mult_a", 9, 0, 16, "ATTENTION: multiplier of the scores"),
    Field("shift_a", 9, 16, 8, "ATTENTION: shift of the scores; LAYERNORM: output shift"),
    Field("mult_b", 10, 0, 16, "ATTENTION: multiplier of the output"),
    Field("shift_b", 10, 16, 8, "ATTENTION: shift of the output"),
    Field("heads", 11, 0, 16, "ATTENTION: heads"),
    Field("head_dim", 11, 16, 16, "ATTENTION: channels per head: 16, 32 or 64"),
    Field("k_offset", 12, 0, 16, "ATTENTION: plane of the first key channel"),
    Field("v_offset", 12, 16, 16, "ATTENTION: plane of the first value channel"),
    Field("experts", 11, 0, 16, "GATE, EXPERTS: number of experts"),
    Field("top_k", 11, 16, 16, "GATE, EXPERTS: experts per token"),
    Field("slots", 11, 0, 16, "LAYERNORM: slots to add first"),
    Field("patch", 11, 0, 16, "LOAD_PATCHES: patch side in pixels"),
    Field("factor", 11, 0, 16, "OUTPUT_*: enlargement, 1, 2 or 4"),
    Field("eps_low", 12, 0, 32, "LAYERNORM: epsilon in integer units, low word"),
    Field("eps_high", 13, 0, 32, "LAYERNORM: epsilon in integer units, high word"),
    Field("first_slot", 12, 0, 16, "EXPERTS_DOWN: slot of a token's first expert"),
    Field("records", 13, 0, 32, "EXPERTS: first line of the records that GATE wrote"),
    Field("expert_lines", 14, 0, 32, "EXPERTS: lines from one expert to the next in each part"),
    Field("slot_base", 14, 0, 32, "LAYERNORM: first line of the slots"),
    Field("weight_bits", 15, 0, 8, "width of a weight; 8, others are reserved"),
    Field("expert_kind", 15, 8, 8, "EXPERTS: 0 two layers, others are reserved"),
    Field("top_p", 15, 16, 16, "GATE: 0, others are reserved for a count per token"),
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
        "eps_low", "eps_high", "slots", "slot_base",
    ),
    Opcode.LINEAR: (
        "rows", "cols_in", "cols_out", "src", "src_stride", "dst", "dst_stride", "weights",
        "store", "activation", "table", "planar", "weight_bits",
    ),
    Opcode.ATTENTION: (
        "rows", "heads", "head_dim", "src", "src_stride", "k_offset", "v_offset", "dst",
        "dst_stride", "mult_a", "shift_a", "mult_b", "shift_b", "passes",
    ),
    Opcode.GATE: (
        "rows", "experts", "top_k", "gate_mode", "per_image", "src", "src_stride", "dst", "top_p",
    ),
    Opcode.EXPERTS_UP: (
        "rows", "experts", "top_k", "cols_in", "cols_out", "src", "src_stride", "dst",
        "weights", "expert_lines", "activation", "table", "records", "weight_bits", "expert_kind",
    ),
    Opcode.EXPERTS_DOWN: (
        "rows", "experts", "top_k", "cols_in", "cols_out", "src", "dst", "weights",
        "expert_lines", "records", "first_slot", "weight_bits", "expert_kind",
    ),
    Opcode.CONV3X3: (
        "height", "width", "cols_in", "cols_out", "src", "src_stride", "dst", "dst_stride",
        "weights", "store", "activation", "table", "pad", "weight_bits",
    ),
    Opcode.UPSAMPLE2X: ("height", "width", "cols_in", "src", "src_stride", "dst", "dst_stride"),
    Opcode.OUTPUT_CLASSES: (
        "height", "width", "cols_in", "src", "src_stride", "wide", "factor",
    ),
    Opcode.OUTPUT_DEPTH: ("height", "width", "src", "src_stride", "factor"),
}  # fmt: skip

#: Operands that are not addresses or counts and have one value until another is defined.
DEFAULTS: dict[str, int] = {"weight_bits": 8, "passes": 1}


@dataclass(frozen=True)
class Instruction:
    """One instruction as named operands; operands not named are zero.

    Examples
    --------
    >>> Instruction(Opcode.UPSAMPLE2X, height=16, width=22, cols_in=128, src=64,
    ...             src_stride=2, dst=768, dst_stride=2).encode()
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
        for name, value in DEFAULTS.items():
            if name in OPERANDS[opcode]:
                operands.setdefault(name, value)
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
        operands = {name: FIELDS[name].extract(words) for name in OPERANDS[opcode]}
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
class BankLayout:
    """Where the sections of a bank lie; see the module's text.

    Attributes
    ----------
    weights_line, part_lines : int
        First line of part 0, and the lines of each of the four parts.
    workspace_line, workspace_lines : int
        First line of the workspace, and its lines.
    """

    weights_line: int
    part_lines: int
    workspace_line: int
    workspace_lines: int

    @classmethod
    def of(cls, instructions: int, part_lines: int, workspace_lines: int) -> BankLayout:
        """Sections one behind the other."""
        weights = lines(INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * instructions)
        workspace = weights + WEIGHT_PARTS * part_lines
        return cls(weights, part_lines, workspace, workspace_lines)

    @property
    def lines(self) -> int:
        """Lines of the whole bank."""
        return self.workspace_line + self.workspace_lines

    def valid(self, instructions: int, bank_bytes: int) -> bool:
        """Whether the sections follow each other without overlap inside `bank_bytes`."""
        program = lines(INSTRUCTIONS_OFFSET + INSTRUCTION_BYTES * instructions)
        return (
            program <= self.weights_line
            and self.weights_line + WEIGHT_PARTS * self.part_lines <= self.workspace_line
            and self.lines * LINE <= bank_bytes
        )


@dataclass(frozen=True)
class Program:
    """What stands at the start of a bank."""

    frame_height: int
    frame_width: int
    layout: BankLayout
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
        where = self.layout
        header = struct.pack(
            "<10I", PROGRAM_MAGIC, ABI_VERSION, len(self.tasks), len(self.instructions),
            where.weights_line, where.part_lines, where.workspace_line, where.workspace_lines,
            self.frame_height, self.frame_width,
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
        magic, abi, tasks, count, *sections, height, width = struct.unpack_from("<10I", data)
        if magic != PROGRAM_MAGIC:
            raise ValueError(f"program: magic is 0x{magic:08x}, not 0x{PROGRAM_MAGIC:08x}")
        if abi != ABI_VERSION:
            raise ValueError(f"program: ABI version {abi}, this package speaks {ABI_VERSION}")
        if not 1 <= tasks <= MAX_TASKS or count > MAX_INSTRUCTIONS:
            raise ValueError(f"program: {tasks} tasks and {count} instructions")
        if len(data) != INSTRUCTIONS_OFFSET + count * INSTRUCTION_BYTES:
            raise ValueError(f"program: {len(data)} bytes do not hold {count} instructions")
        layout = BankLayout(*sections)
        if not layout.valid(count, layout.lines * LINE):
            raise ValueError(f"program: the sections of its bank overlap: {layout}")
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
        return cls(height, width, layout, tuple(entries), instructions)


def lines(channels: int) -> int:
    """Lines of 64 bytes that hold ``channels`` bytes."""
    return -(-channels // LINE)


def row_beats(cols_in: int) -> int:
    """Beats of one weight row: the parameter beat and K padded to 64 bytes."""
    return 1 + 4 * lines(cols_in)


def layer_lines(outputs: int, cols_in: int) -> int:
    """Lines of a layer in each part; layers start on a line."""
    return lines(-(-outputs // WEIGHT_PARTS) * row_beats(cols_in) * BEAT)


def concatenate(programs: Sequence[Iterable[Instruction]]) -> tuple[Instruction, ...]:
    """Instruction lists of several tasks one after the other."""
    return tuple(instruction for program in programs for instruction in program)
