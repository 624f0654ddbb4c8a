# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator as a machine: memories, programs, one method per opcode."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.isa import Activation, Instruction, Opcode, Store, lines
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference import layernorm, linear, outputs, routing
from m3vit_pynq.reference.attention import attention
from m3vit_pynq.reference.image import WeightImage, WeightRows
from m3vit_pynq.reference.refusals import Buffers, Capacity, check, conv_cols, layernorm_eps
from m3vit_pynq.reference.routing import Queues

Observer = Callable[[int, Instruction, "Machine"], None]


class Machine:
    """Runs programs with the integer semantics of ``docs/numerics.md``.

    Parameters
    ----------
    capacity : Board, Capacity, mapping or None
        On-chip capacities to enforce; None for generous ones.

    Attributes
    ----------
    act : int8 [lines, 64]
    residual : int16 [elements]
    scores : int32 [elements]
    queues : Queues
    weights : WeightImage
    frame, output : uint8 [bytes]
        Buffers of the run.
    observer : callable(pc, instruction, machine) or None
        Called after every instruction but END.
    """

    def __init__(self, capacity: Board | Capacity | Mapping[str, int] | None = None) -> None:
        self.capacity = Capacity.of(capacity)
        self.act = np.zeros((self.capacity.act_lines, LINE), dtype=np.int8)
        self.residual = np.zeros(self.capacity.residual_elements, dtype=np.int16)
        self.scores = np.zeros(self.capacity.score_elements, dtype=np.int32)
        self.queues = Queues()
        self.weights = WeightImage(np.zeros((4, 0), dtype=np.uint8))
        self.program = b""
        self.frame = np.zeros(0, dtype=np.uint8)
        self.output = np.zeros(0, dtype=np.uint8)
        self.observer: Observer | None = None
        self._result: tuple[int, int, str] | None = None

    def load(self, program: bytes | np.ndarray, weights: np.ndarray) -> None:
        """Take a program and a weight image.

        Parameters
        ----------
        program : bytes or uint8 [n]
            Not looked at before `run`.
        weights : uint8 [4, n]

        Raises
        ------
        ValueError
            If `weights` is no weight image.
        """
        self.program = bytes(program)
        self.weights = WeightImage(weights)

    def run(self, task: int, frame: np.ndarray, output_bytes: int | None = None) -> np.ndarray:
        """Run one task of the loaded program.

        Parameters
        ----------
        task : int
            Index into the task directory.
        frame : uint8 [height, width, 3]
        output_bytes : int, optional
            Size of the output buffer; by default what the directory states.

        Returns
        -------
        uint8 [h, w] or uint16 [h, w]
            What the last OUTPUT instruction wrote.

        Raises
        ------
        AcceleratorError
            With the code and instruction index the hardware reports.
        ValueError
            If the frame is not uint8, or the task ends without an output.
        """
        frame = np.ascontiguousarray(frame)
        if frame.dtype != np.uint8:
            raise ValueError(f"the frame is {frame.dtype}, not uint8")
        first, count, stated = self._directory(task)
        self.frame = frame.reshape(-1)
        self.output = np.zeros(stated if output_bytes is None else output_bytes, dtype=np.uint8)
        self.queues = Queues()
        self._result = None
        for pc in range(first, first + count):
            instruction = self._fetch(pc)
            if instruction.opcode == Opcode.END:
                return self.result()
            self.execute(instruction, pc)
            if self.observer is not None:
                self.observer(pc, instruction, self)
        raise AcceleratorError(ErrorCode.PROGRAM_RANGE, first + count)

    def execute(self, instruction: Instruction, pc: int = 0) -> None:
        """Check and execute one instruction.

        Parameters
        ----------
        instruction : Instruction
        pc : int
            Index to report in an error.

        Raises
        ------
        AcceleratorError
            If the instruction is refused; no memory has changed.
        """
        buffers = Buffers(self.frame.size, self.output.size, self.weights.beats)
        routed = (self.queues.rows, self.queues.experts, self.queues.top_k)
        code = check(instruction, self.capacity, buffers, routed)
        if code != ErrorCode.OK:
            raise AcceleratorError(code, pc, f"{instruction.opcode.name} {instruction.operands}")
        if instruction.opcode != Opcode.END:
            getattr(self, f"_{instruction.opcode.name.lower()}")(instruction)

    def result(self) -> np.ndarray:
        """The output buffer as the last OUTPUT instruction shaped it.

        Raises
        ------
        ValueError
            If none was executed.
        """
        if self._result is None:
            raise ValueError("the task has no OUTPUT instruction")
        height, width, dtype = self._result
        size = height * width * np.dtype(dtype).itemsize
        return self.output[:size].view(dtype).reshape(height, width).copy()

    # Program

    def _directory(self, task: int) -> tuple[int, int, int]:
        """First instruction, count and output bytes of a task."""
        program = self.program
        if len(program) < isa.INSTRUCTIONS_OFFSET:
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        magic, abi, tasks, instructions = struct.unpack_from("<4I", program)
        if magic != isa.PROGRAM_MAGIC:
            raise AcceleratorError(ErrorCode.BAD_MAGIC, 0)
        if abi != ABI_VERSION:
            raise AcceleratorError(ErrorCode.BAD_ABI, 0)
        if not 1 <= tasks <= isa.MAX_TASKS or not 0 <= task < tasks:
            raise AcceleratorError(ErrorCode.BAD_TASK, 0)
        needed = isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * instructions
        if instructions > isa.MAX_INSTRUCTIONS or needed > len(program):
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        entry = isa.HEADER_BYTES + isa.TASK_ENTRY_BYTES * task
        _, first, count, output_bytes = struct.unpack_from("<4I", program, entry)
        if count == 0 or first + count > instructions:
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        return first, count, output_bytes

    def _fetch(self, pc: int) -> Instruction:
        """Decode as the hardware does: bits outside the operands are ignored."""
        words = struct.unpack_from(
            f"<{isa.INSTRUCTION_WORDS}I",
            self.program,
            isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * pc,
        )
        try:
            opcode = Opcode(words[0] & 0xFF)
        except ValueError:
            raise AcceleratorError(ErrorCode.BAD_OPCODE, pc) from None
        operands = {}
        for name in isa.OPERANDS[opcode]:
            field = isa.FIELDS[name]
            value = words[field.word] >> field.shift & ((1 << field.bits) - 1)
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            operands[name] = value
        return Instruction(opcode, **operands)

    # Memories

    def read_act(self, base: int, rows: int, stride: int, channels: int) -> np.ndarray:
        """Rows of a tensor in activation memory: int8 [rows, channels]."""
        index = base + stride * np.arange(rows)[:, None] + np.arange(lines(channels))
        return self.act[index].reshape(rows, -1)[:, :channels]

    def write_act(self, base: int, stride: int, data: np.ndarray) -> None:
        """Write int8 [rows, channels]; the rest of each last line stays as it is."""
        rows, channels = data.shape
        starts = LINE * (base + stride * np.arange(rows))
        self.act.reshape(-1)[starts[:, None] + np.arange(channels)] = data

    def _elements(self, base: int, rows: int, stride: int, channels: int) -> np.ndarray:
        """Indices [rows, channels] into residual or score memory."""
        return base + stride * np.arange(rows)[:, None] + np.arange(channels)

    def _add_residual(self, index: np.ndarray, update: np.ndarray) -> None:
        total = self.residual[index] + update
        self.residual[index] = np.clip(total, -32768, 32767)

    # Opcodes

    def _load_patches(self, i: Instruction) -> None:
        size = 3 * i.height * i.width
        frame = self.frame[:size].reshape(i.height, i.width, 3)
        self.write_act(i.dst, i.dst_stride, linear.patches(frame, i.patch))

    def _load_residual(self, i: Instruction) -> None:
        values = self.weights.table(i.table, i.rows * i.cols_out, "<i2")
        index = self._elements(i.dst, i.rows, i.dst_stride, i.cols_out)
        self.residual[index] = values.reshape(i.rows, i.cols_out)

    def _layernorm(self, i: Instruction) -> None:
        x = self.residual[self._elements(i.src, i.rows, i.src_stride, i.cols_in)]
        gamma, beta = self.weights.layernorm(i.table, i.cols_in)
        y = layernorm.layernorm(x, gamma, beta, layernorm_eps(i), i.shift_a)
        self.write_act(i.dst, i.dst_stride, y)

    def _linear(self, i: Instruction) -> None:
        a = self.read_act(i.src, i.rows, i.src_stride, i.cols_in)
        self._matrix(i, a, self.weights.rows(i.weights, i.cols_out, i.cols_in))

    def _conv3x3(self, i: Instruction) -> None:
        image = self._map(i, i.cols_in).reshape(i.height, i.width, i.cols_in)
        layer = self.weights.rows(i.weights, i.cols_out, conv_cols(i.cols_in))
        self._matrix(i, linear.neighbourhoods(image, i.pad), layer)

    def _matrix(self, i: Instruction, a: np.ndarray, layer: WeightRows) -> None:
        acc = linear.accumulate(a, layer)
        if i.store == Store.ACT8:
            gelu = self.weights.gelu(i.table) if i.activation == Activation.GELU else None
            q = linear.activate(linear.scale(acc, layer, 8), i.activation, gelu)
            self.write_act(i.dst, i.dst_stride, q.astype(np.int8))
        elif i.store == Store.ACT16:
            q = linear.scale(acc, layer, 16).astype("<i2")
            self.write_act(i.dst, i.dst_stride, q.view(np.int8))
        else:
            index = self._elements(i.dst, len(a), i.dst_stride, i.cols_out)
            if i.store == Store.RESIDUAL:
                self._add_residual(index, linear.scale(acc, layer, 16))
            else:
                self.scores[index] = linear.scale(acc, layer, 32)

    def _attention(self, i: Instruction) -> None:
        width = i.heads * i.head_dim
        rows = self.read_act(i.src, i.rows, i.src_stride, max(i.k_offset, i.v_offset) + width)

        def heads(offset: int) -> np.ndarray:
            part = rows[:, offset : offset + width]
            return part.reshape(i.rows, i.heads, i.head_dim).transpose(1, 0, 2)

        out = attention(
            heads(0), heads(i.k_offset), heads(i.v_offset),
            (i.mult_a, i.shift_a), (i.mult_b, i.shift_b),
        )  # fmt: skip
        self.write_act(i.dst, i.dst_stride, out.transpose(1, 0, 2).reshape(i.rows, width))

    def _gate(self, i: Instruction) -> None:
        rows = 1 if i.per_image else i.rows
        logits = self.scores[self._elements(i.src, rows, i.src_stride, i.experts)]
        chosen = routing.choose(logits, i.top_k)
        gates = routing.gate_weights(logits, chosen, i.gate_mode)
        self.queues = routing.fill_queues(i.rows, i.experts, chosen, gates)

    def _experts(self, i: Instruction) -> None:
        x = self.read_act(i.src, i.rows, i.src_stride, i.cols_in)
        first_beats = -(-i.hidden // 4) * isa.row_beats(i.cols_in)
        for expert in range(i.experts):
            tokens = self.queues.tokens[expert]
            if not len(tokens):
                continue
            base = i.weights + expert * i.expert_beats
            first = self.weights.rows(base, i.hidden, i.cols_in)
            second = self.weights.rows(base + first_beats, i.cols_out, i.hidden)
            gelu = self.weights.gelu(i.table + 16 * expert)
            hidden = routing.expert_hidden(x[tokens], first, gelu)
            self.write_act(i.scratch, i.scratch_stride, hidden)
            update = routing.expert_update(hidden, self.queues.gates[expert], second)
            index = i.dst + i.dst_stride * tokens[:, None] + np.arange(i.cols_out)
            self._add_residual(index, update)

    def _map(self, i: Instruction, row_bytes: int) -> np.ndarray:
        """Pixels of the source map: int8 [height * width, row_bytes]."""
        return self.read_act(i.src, i.height * i.width, i.src_stride, row_bytes)

    def _upsample2x(self, i: Instruction) -> None:
        image = self._map(i, i.cols_in).reshape(i.height, i.width, i.cols_in)
        self.write_act(i.dst, i.dst_stride, outputs.upsample2x(image).reshape(-1, i.cols_in))

    def _output_classes(self, i: Instruction) -> None:
        image = self._map(i, 2 * i.cols_in if i.wide else i.cols_in)
        if i.wide:
            image = np.ascontiguousarray(image).view("<i2")
        image = image.reshape(i.height, i.width, i.cols_in)
        self._write_output(outputs.output_classes(image, i.factor))

    def _output_depth(self, i: Instruction) -> None:
        image = np.ascontiguousarray(self._map(i, 2)).view("<i2")
        self._write_output(outputs.output_depth(image.reshape(i.height, i.width), i.factor))

    def _write_output(self, result: np.ndarray) -> None:
        data = np.ascontiguousarray(result, dtype=result.dtype.newbyteorder("<"))
        self.output[: data.nbytes] = data.reshape(-1).view(np.uint8)
        self._result = (*result.shape, data.dtype.str)
