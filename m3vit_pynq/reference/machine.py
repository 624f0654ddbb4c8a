# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator as a machine: a bank, programs, one method per opcode."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np

from m3vit_pynq.abi import ABI_VERSION, isa
from m3vit_pynq.abi.boards import LINE, Board
from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.footprint import conv_cols
from m3vit_pynq.abi.isa import Activation, BankLayout, Instruction, Opcode, Store, lines
from m3vit_pynq.abi.limits import layernorm_eps
from m3vit_pynq.errors import AcceleratorError
from m3vit_pynq.reference import layernorm, linear, outputs, routing
from m3vit_pynq.reference.attention import attention
from m3vit_pynq.reference.image import WeightImage, WeightRows
from m3vit_pynq.reference.refusals import Buffers, Capacity, Pending, after, check

Observer = Callable[[int, Instruction, "Machine"], None]


class Machine:
    """Runs programs with the integer semantics of ``docs/numerics.md``.

    Parameters
    ----------
    capacity : Board, Capacity, mapping or None
        Buffers to enforce; None for generous ones.

    Attributes
    ----------
    bank : uint8 [bytes]
        Program, weight image and workspace.
    layout : BankLayout
        Sections of the bank, from the program's header.
    pending : Pending or None
        Slots that no LAYERNORM has added yet.
    frame, result : uint8 [bytes]
        Buffers of the run.
    observer : callable(pc, instruction, machine) or None
        Called after every instruction but END.
    """

    def __init__(self, capacity: Board | Capacity | Mapping[str, int] | None = None) -> None:
        self.capacity = Capacity.of(capacity)
        self.frame = np.zeros(0, dtype=np.uint8)
        self.result = np.zeros(0, dtype=np.uint8)
        self.observer: Observer | None = None
        self.pending: Pending | None = None
        self._shape: tuple[int, int, str] | None = None
        self.attach(np.zeros(0, dtype=np.uint8), BankLayout(0, 0, 0, 0))

    def load(self, program: bytes | np.ndarray, weights: np.ndarray) -> None:
        """Fill a bank with a program and a weight image; the workspace becomes zero.

        Parameters
        ----------
        program : bytes or uint8 [n]
            Its header says where the sections lie.
        weights : uint8 [4, n]

        Raises
        ------
        ValueError
            If `weights` is no image of the size that the header states.
        """
        program = np.frombuffer(bytes(program), dtype=np.uint8)
        layout = BankLayout(*struct.unpack_from("<4I", program, 16))
        if weights.shape != (isa.WEIGHT_PARTS, LINE * layout.part_lines):
            raise ValueError(f"weights are {list(weights.shape)}, the header says {layout}")
        bank = np.zeros(LINE * layout.lines, dtype=np.uint8)
        bank[: program.size] = program
        first = LINE * layout.weights_line
        bank[first : first + weights.size] = weights.reshape(-1)
        self.attach(bank, layout)

    def attach(self, bank: np.ndarray, layout: BankLayout) -> None:
        """Work on a bank as it is, uint8 [bytes]; it is changed in place."""
        self.bank, self.layout = bank, layout
        self._lines = bank[: bank.size // LINE * LINE].reshape(-1, LINE)

    @property
    def weights(self) -> WeightImage:
        """The weight image in the bank."""
        where = self.layout
        image = self._lines[where.weights_line :][: isa.WEIGHT_PARTS * where.part_lines]
        return WeightImage(image.reshape(isa.WEIGHT_PARTS, -1), where.weights_line)

    def run(self, task: int, frame: np.ndarray, result_bytes: int | None = None) -> np.ndarray:
        """Run one task of the program in the bank.

        Parameters
        ----------
        task : int
            Index into the task directory.
        frame : uint8 [height, width, 3]
        result_bytes : int, optional
            Size of the result buffer; by default what the directory states, in
            whole lines.

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
        size = LINE * lines(stated) if result_bytes is None else result_bytes
        self.result = np.zeros(size, dtype=np.uint8)
        self.pending, self._shape = None, None
        for pc in range(first, first + count):
            instruction = self._fetch(pc)
            self.execute(instruction, pc)
            if instruction.opcode == Opcode.END:
                return self.shaped_result()
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
        buffers = Buffers(self.frame.size, self.result.size)
        code = check(instruction, self.capacity, buffers, self.layout, self.pending)
        if code != ErrorCode.OK:
            raise AcceleratorError(code, pc, f"{instruction.opcode.name} {instruction.operands}")
        if instruction.opcode != Opcode.END:
            getattr(self, f"_{instruction.opcode.name.lower()}")(instruction)
        self.pending = after(instruction, self.pending)

    def shaped_result(self) -> np.ndarray:
        """The result buffer as the last OUTPUT instruction shaped it.

        Raises
        ------
        ValueError
            If none was executed.
        """
        if self._shape is None:
            raise ValueError("the task has no OUTPUT instruction")
        height, width, dtype = self._shape
        size = height * width * np.dtype(dtype).itemsize
        return self.result[:size].view(dtype).reshape(height, width).copy()

    # Program

    def _directory(self, task: int) -> tuple[int, int, int]:
        """First instruction, count and output bytes of a task."""
        bank = self.bank
        if bank.size < isa.INSTRUCTIONS_OFFSET:
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        magic, abi, tasks, instructions, *sections = struct.unpack_from("<8I", bank)
        if magic != isa.PROGRAM_MAGIC:
            raise AcceleratorError(ErrorCode.BAD_MAGIC, 0)
        if abi != ABI_VERSION:
            raise AcceleratorError(ErrorCode.BAD_ABI, 0)
        if not 1 <= tasks <= isa.MAX_TASKS or not 0 <= task < tasks:
            raise AcceleratorError(ErrorCode.BAD_TASK, 0)
        needed = isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * instructions
        if instructions > isa.MAX_INSTRUCTIONS or needed > bank.size:
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        self.layout = BankLayout(*sections)
        if not self.layout.valid(instructions, bank.size):
            raise AcceleratorError(ErrorCode.BANK_LAYOUT, 0)
        entry = isa.HEADER_BYTES + isa.TASK_ENTRY_BYTES * task
        _, first, count, output_bytes = struct.unpack_from("<4I", bank, entry)
        if count == 0 or first + count > instructions:
            raise AcceleratorError(ErrorCode.PROGRAM_RANGE, 0)
        return first, count, output_bytes

    def _fetch(self, pc: int) -> Instruction:
        """Decode as the hardware does: bits outside the operands are ignored."""
        start = isa.INSTRUCTIONS_OFFSET + isa.INSTRUCTION_BYTES * pc
        words = struct.unpack_from(f"<{isa.INSTRUCTION_WORDS}I", self.bank, start)
        try:
            opcode = Opcode(words[0] & 0xFF)
        except ValueError:
            raise AcceleratorError(ErrorCode.BAD_OPCODE, pc) from None
        operands = {name: isa.FIELDS[name].extract(words) for name in isa.OPERANDS[opcode]}
        return Instruction(opcode, **operands)

    # Memory

    def read_rows(self, base: int, rows: int, stride: int, count: int) -> np.ndarray:
        """Rows of ``count`` lines: uint8 [rows, 64 * count]."""
        index = base + stride * np.arange(rows)[:, None] + np.arange(count)
        return self._lines[index].reshape(rows, -1)

    def write_rows(self, base: int | np.ndarray, stride: int, data: np.ndarray) -> None:
        """Write [rows, channels] of any integer type, padded with zeros to whole lines.

        ``base`` may also hold the first line of every row; ``stride`` is then 0.
        """
        rows = len(data)
        stored = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
        stored = stored.view(np.uint8).reshape(rows, -1)
        count = lines(stored.shape[1])
        padded = np.zeros((rows, LINE * count), dtype=np.uint8)
        padded[:, : stored.shape[1]] = stored
        starts = base + stride * np.arange(rows)
        self._lines[starts[:, None] + np.arange(count)] = padded.reshape(rows, count, LINE)

    def read_residual(self, base: int, rows: int, stride: int, channels: int) -> np.ndarray:
        """int16 [rows, channels]."""
        return self.read_rows(base, rows, stride, lines(2 * channels)).view("<i2")[:, :channels]

    def _operand(self, i: Instruction, rows: int, channels: int) -> np.ndarray:
        """Source rows of a matrix layer, whole lines: int8 [rows, K]."""
        return self.read_rows(i.src, rows, i.src_stride, lines(channels)).view(np.int8)

    # Opcodes

    def _load_patches(self, i: Instruction) -> None:
        frame = self.frame[: 3 * i.height * i.width].reshape(i.height, i.width, 3)
        self.write_rows(i.dst, i.dst_stride, linear.patches(frame, i.patch))

    def _load_residual(self, i: Instruction) -> None:
        size = LINE * lines(2 * i.cols_out)
        values = self.weights.table(i.table, i.rows * size, "u1")
        self.write_rows(i.dst, i.dst_stride, values.reshape(i.rows, size))

    def _layernorm(self, i: Instruction) -> None:
        x = self.read_residual(i.src, i.rows, i.src_stride, i.cols_in)
        if i.slots:
            width = lines(2 * i.cols_in)
            slots = self.read_residual(i.slot_base, i.slots * i.rows, width, i.cols_in)
            x = layernorm.combine(x, slots.reshape(i.slots, i.rows, i.cols_in))
            self.write_rows(i.src, i.src_stride, x)
        gamma, beta = self.weights.layernorm(i.table, i.cols_in)
        y = layernorm.layernorm(x, gamma, beta, layernorm_eps(i), i.shift_a)
        self.write_rows(i.dst, i.dst_stride, y)

    def _linear(self, i: Instruction) -> None:
        a = self._operand(i, i.rows, i.cols_in)
        self._matrix(i, a, self.weights.rows(i.weights, i.cols_out, i.cols_in))

    def _conv3x3(self, i: Instruction) -> None:
        pixels = self._operand(i, i.height * i.width, i.cols_in)
        image = pixels.reshape(i.height, i.width, -1)
        layer = self.weights.rows(i.weights, i.cols_out, conv_cols(i.cols_in))
        self._matrix(i, linear.neighbourhoods(image, i.pad), layer)

    def _matrix(self, i: Instruction, a: np.ndarray, layer: WeightRows) -> None:
        acc = linear.accumulate(a, layer)
        if i.store == Store.ACT8:
            gelu = self.weights.gelu(i.table) if i.activation == Activation.GELU else None
            q = linear.activate(linear.scale(acc, layer, 8), i.activation, gelu).astype(np.int8)
            if i.planar:
                self._write_planar(i, q)
            else:
                self.write_rows(i.dst, i.dst_stride, q)
        elif i.store == Store.ACT16:
            self.write_rows(i.dst, i.dst_stride, linear.scale(acc, layer, 16).astype(np.int16))
        elif i.store == Store.RESIDUAL:
            old = self.read_residual(i.dst, len(a), i.dst_stride, i.cols_out)
            new = layernorm.combine(old, linear.scale(acc, layer, 16)[None])
            self.write_rows(i.dst, i.dst_stride, new)
        else:
            self.write_rows(i.dst, i.dst_stride, linear.scale(acc, layer, 32).astype(np.int32))

    def _write_planar(self, i: Instruction, q: np.ndarray) -> None:
        for plane in range(lines(i.cols_out)):
            channels = q[:, LINE * plane : LINE * (plane + 1)]
            self.write_rows(i.dst + plane * i.dst_stride, 1, channels)

    def _attention(self, i: Instruction) -> None:
        width = i.heads * i.head_dim

        def heads(plane: int) -> np.ndarray:
            base = i.src + plane * i.src_stride
            planes = self.read_rows(base, lines(width), i.src_stride, i.rows).view(np.int8)
            rows = planes.reshape(-1, i.rows, LINE).transpose(1, 0, 2).reshape(i.rows, -1)
            return rows[:, :width].reshape(i.rows, i.heads, i.head_dim).transpose(1, 0, 2)

        out = attention(
            heads(0), heads(i.k_offset), heads(i.v_offset),
            (i.mult_a, i.shift_a), (i.mult_b, i.shift_b), i.passes,
        )  # fmt: skip
        self.write_rows(i.dst, i.dst_stride, out.transpose(1, 0, 2).reshape(i.rows, width))

    def _gate(self, i: Instruction) -> None:
        rows = 1 if i.per_image else i.rows
        scores = self.read_rows(i.src, rows, i.src_stride, lines(4 * i.experts))
        logits = scores.view("<i4")[:, : i.experts]
        chosen = routing.choose(logits, i.top_k)
        gates = routing.gate_weights(logits, chosen, i.gate_mode)
        self.write_rows(i.dst, 1, routing.write_records(i.rows, chosen, gates))

    def queues(self, i: Instruction) -> list[routing.Queue]:
        """Queues of the experts from the records that an instruction names."""
        records = self.read_rows(i.records, i.rows, 1, 1)
        return routing.read_records(records, i.experts, i.top_k)

    def _experts_up(self, i: Instruction) -> None:
        x = self._operand(i, i.rows, i.cols_in)
        position, width = 0, lines(i.cols_out)
        for expert, queue in enumerate(self.queues(i)):
            if not queue.tokens.size:
                continue
            layer = self.weights.rows(i.weights + expert * i.expert_lines, i.cols_out, i.cols_in)
            wants_table = i.activation == Activation.GELU
            gelu = self.weights.gelu(i.table + 4 * expert) if wants_table else None
            hidden = routing.expert_hidden(x[queue.tokens], layer, i.activation, gelu)
            self.write_rows(i.dst + position * width, width, hidden)
            position += queue.tokens.size

    def _experts_down(self, i: Instruction) -> None:
        position, hidden_lines, width = 0, lines(i.cols_in), lines(2 * i.cols_out)
        for expert, queue in enumerate(self.queues(i)):
            count = queue.tokens.size
            if not count:
                continue
            layer = self.weights.rows(i.weights + expert * i.expert_lines, i.cols_out, i.cols_in)
            first = i.src + position * hidden_lines
            rows = self.read_rows(first, count, hidden_lines, hidden_lines).view(np.int8)
            update = routing.expert_update(rows, queue.gates, layer).astype(np.int16)
            places = (i.first_slot + queue.slots) * i.rows + queue.tokens
            self.write_rows(i.dst + places * width, 0, update)
            position += count

    def _map(self, i: Instruction, row_bytes: int) -> np.ndarray:
        """Pixels of the source map: int8 [height * width, row_bytes]."""
        rows = self.read_rows(i.src, i.height * i.width, i.src_stride, lines(row_bytes))
        return np.ascontiguousarray(rows[:, :row_bytes]).view(np.int8)

    def _upsample2x(self, i: Instruction) -> None:
        image = self._map(i, i.cols_in).reshape(i.height, i.width, i.cols_in)
        larger = outputs.upsample2x(image).reshape(-1, i.cols_in)
        self.write_rows(i.dst, i.dst_stride, larger)

    def _output_classes(self, i: Instruction) -> None:
        image = self._map(i, 2 * i.cols_in if i.wide else i.cols_in)
        if i.wide:
            image = image.view("<i2")
        image = image.reshape(i.height, i.width, i.cols_in)
        self._write_result(outputs.output_classes(image, i.factor))

    def _output_depth(self, i: Instruction) -> None:
        image = self._map(i, 2).view("<i2").reshape(i.height, i.width)
        self._write_result(outputs.output_depth(image, i.factor))

    def _write_result(self, result: np.ndarray) -> None:
        data = np.ascontiguousarray(result, dtype=result.dtype.newbyteorder("<"))
        padded = LINE * lines(data.nbytes)
        self.result[:padded] = 0
        self.result[: data.nbytes] = data.reshape(-1).view(np.uint8)
        self._shape = (*result.shape, data.dtype.str)
