# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Banks with one matrix instruction, and what the specification makes of them."""

from __future__ import annotations

import struct

import front_bench
import numpy as np

from m3vit_pynq.abi.boards import BEAT, LINE, get_board
from m3vit_pynq.abi.footprint import conv_cols, output_lines
from m3vit_pynq.abi.isa import (
    Activation,
    BankLayout,
    Instruction,
    Opcode,
    Store,
    layer_lines,
    lines,
    row_beats,
)
from m3vit_pynq.reference.machine import Machine

SOURCE = "matrix_pass.cpp"
#: Lines in front of the weight image and between tensors: nobody may write them.
GAP = 3


class Case:
    """A bank of noise, with sections and tensors laid out as they are asked for."""

    def __init__(self, seed: int, part_lines: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.part_lines = part_lines
        self._part_next = 1
        self._next = 0
        self._layers: list[tuple[int, int, int, int]] = []
        self._records: tuple[int, np.ndarray] | None = None

    def weights(self, outputs: int, cols: int, scale: int = 16) -> int:
        """A layer; its line in the weight image (not yet of the bank)."""
        line = self._part_next
        self._part_next += layer_lines(outputs, cols) + 1
        self._layers.append((line, outputs, cols, scale))
        return line

    def table(self, count: int) -> int:
        """Lines of noise in the weight image."""
        line = self._part_next
        self._part_next += count + 1
        return line

    def tensor(self, count: int) -> int:
        """Lines in the workspace (not yet of the bank)."""
        line = self._next + GAP
        self._next = line + count
        return line

    def build(self, workspace_of: tuple[str, ...], weights_of: tuple[str, ...], opcode: Opcode,
              **operands: int):  # fmt: skip
        """The bank, its layout and the instruction, with lines counted from the bank's start."""
        part = max(self.part_lines, self._part_next)
        layout = BankLayout(GAP + 5, part, GAP + 6 + 4 * part, self._next + GAP)
        for name in workspace_of:
            operands[name] += layout.workspace_line
        for name in weights_of:
            operands[name] += layout.weights_line
        bank = self.rng.integers(0, 256, LINE * layout.lines, dtype=np.uint8)
        image = bank[LINE * layout.weights_line :][: 4 * LINE * part].reshape(4, -1)
        for line, outputs, cols, scale in self._layers:
            self._parameters(image, line, outputs, cols, scale)
        if self._records is not None:
            line, records = self._records
            first = LINE * (layout.workspace_line + line)
            bank[first : first + records.size] = records.reshape(-1)
        return bank, layout, Instruction(opcode, **operands)

    def _parameters(self, image, line: int, outputs: int, cols: int, scale: int) -> None:
        groups = -(-outputs // 4)
        size = BEAT * row_beats(cols)
        rows = image[:, LINE * line : LINE * line + groups * size].reshape(4, groups, size)
        weights = rows[:, :, BEAT:].view(np.int8)
        weights[...] = self.rng.integers(-scale, scale, weights.shape)
        bias = self.rng.integers(-(1 << 20), 1 << 20, (4, groups)).astype("<i4")
        rows[:, :, 0:4] = bias[:, :, None].view(np.uint8)
        mult = self.rng.integers(1 << 15, 1 << 16, (4, groups)).astype("<u2")
        rows[:, :, 4:6] = mult[:, :, None].view(np.uint8)
        rows[:, :, 6] = self.rng.integers(24, 30, (4, groups))

    def linear(self, rows: int, cols: int, outputs: int, store: Store = Store.ACT8,
               activation: Activation = Activation.NONE, planar: bool = False,
               src_stride: int | None = None, dst_gap: int = 0):  # fmt: skip
        """LINEAR; strides are those of tensors without gaps, and `dst_gap` more."""
        width = lines(cols)
        stride = width if src_stride is None else src_stride
        shape = Instruction(Opcode.LINEAR, store=store, cols_out=outputs)
        out = output_lines(shape)
        dst_stride = (rows if planar else out) + dst_gap
        size = (out - 1) * dst_stride + rows if planar else (rows - 1) * dst_stride + out
        return self.build(
            ("src", "dst"), ("weights", "table"), Opcode.LINEAR,
            rows=rows, cols_in=cols, cols_out=outputs, store=store, activation=activation,
            planar=int(planar), src=self.tensor((rows - 1) * stride + width), src_stride=stride,
            dst=self.tensor(size), dst_stride=dst_stride, weights=self.weights(outputs, cols),
            table=self.table(4),
        )  # fmt: skip

    def conv3x3(self, height: int, width: int, cols: int, outputs: int,
                store: Store = Store.ACT8, activation: Activation = Activation.NONE,
                pad: int = -7, src_stride: int | None = None, dst_gap: int = 0):  # fmt: skip
        """CONV3X3, likewise."""
        rows, pixel = height * width, lines(cols)
        stride = pixel if src_stride is None else src_stride
        shape = Instruction(Opcode.CONV3X3, store=store, cols_out=outputs)
        dst_stride = output_lines(shape) + dst_gap
        return self.build(
            ("src", "dst"), ("weights", "table"), Opcode.CONV3X3,
            height=height, width=width, cols_in=cols, cols_out=outputs, store=store,
            activation=activation, pad=pad, src=self.tensor((rows - 1) * stride + pixel),
            src_stride=stride, dst=self.tensor(rows * dst_stride), dst_stride=dst_stride,
            weights=self.weights(outputs, conv_cols(cols)), table=self.table(4),
        )  # fmt: skip

    def records(self, rows: int, experts: int, top_k: int, kind: str) -> int:
        """Records of GATE, or such as GATE would never write."""
        records = self.rng.integers(0, 256, (rows, LINE), dtype=np.uint8)
        entries = records.view("<u2").reshape(rows, 8, 4)
        if kind == "gate":
            for row in entries:
                row[:top_k, 0] = self.rng.permutation(experts)[:top_k]
        elif kind == "few":
            entries[:, :, 0] = self.rng.integers(0, max(1, experts // 4), (rows, 8))
        elif kind == "range":
            entries[:, :, 0] = self.rng.integers(0, 2 * experts + 1, (rows, 8))
            entries[::3, :, 0] |= self.rng.integers(0, 256, entries[::3, :, 0].shape, "u2") << 8
        elif kind == "none":
            entries[:, :, 0] |= 0x8000
        else:
            assert kind == "noise", kind
        line = self.tensor(rows)
        self._records = (line, records)
        return line

    def experts(self, opcode: Opcode, rows: int, experts: int, top_k: int, cols: int,
                outputs: int, kind: str = "gate", activation: Activation = Activation.NONE,
                first_slot: int = 0, src_stride: int | None = None, gap: int = 0):  # fmt: skip
        """EXPERTS_UP or EXPERTS_DOWN."""
        up = opcode == Opcode.EXPERTS_UP
        first = self.weights(outputs, cols)
        for _ in range(experts - 1):
            self._part_next += gap
            self.weights(outputs, cols)
        stride = lines(cols) if src_stride is None else src_stride
        out = lines(outputs if up else 2 * outputs)
        source = (rows - 1) * stride + lines(cols) if up else rows * top_k * lines(cols)
        common = {
            "rows": rows, "experts": experts, "top_k": top_k, "cols_in": cols, "cols_out": outputs,
            "src": self.tensor(source), "dst": self.tensor((rows * (top_k + first_slot)) * out),
            "records": self.records(rows, experts, top_k, kind), "weights": first,
            "expert_lines": layer_lines(outputs, cols) + 1 + gap,
        }  # fmt: skip
        if up:
            common |= {
                "src_stride": stride,
                "activation": activation,
                "table": self.table(4 * experts),
            }
            return self.build(("src", "dst", "records"), ("weights", "table"), opcode, **common)
        common |= {"first_slot": first_slot}
        return self.build(("src", "dst", "records"), ("weights",), opcode, **common)

    def attention(self, rows: int, heads: int, head_dim: int, passes: int = 1,
                  src_gap: int = 0, dst_gap: int = 0, shift_a: int = 22):  # fmt: skip
        """ATTENTION on the planes that a QKV layer leaves."""
        planes = lines(heads * head_dim)
        stride, dst_stride = rows + src_gap, planes + dst_gap
        return self.build(
            ("src", "dst"), (), Opcode.ATTENTION,
            rows=rows, heads=heads, head_dim=head_dim, passes=passes,
            src=self.tensor((3 * planes - 1) * stride + rows), src_stride=stride,
            k_offset=planes, v_offset=2 * planes, dst=self.tensor(rows * dst_stride),
            dst_stride=dst_stride, mult_a=int(self.rng.integers(1 << 15, 1 << 16)),
            shift_a=shift_a, mult_b=int(self.rng.integers(1 << 15, 1 << 16)), shift_b=17,
        )  # fmt: skip


def expected(board: str, bank: np.ndarray, layout: BankLayout, instruction: Instruction):
    """The bank behind the instruction, by the specification."""
    machine = Machine(get_board(board))
    machine.attach(bank.copy(), layout)
    if instruction.first_slot:
        from m3vit_pynq.reference.refusals import Pending

        machine.pending = Pending(
            instruction.first_slot, instruction.dst, instruction.rows, instruction.cols_out
        )
    machine.execute(instruction)
    return machine.bank


def check(board: str, case, flags: tuple[str, ...] = front_bench.CHECKED, source: str = SOURCE,
          running: front_bench.Bench | None = None) -> None:  # fmt: skip
    """Compare the whole bank behind the pass with the specification's."""
    bank, layout, instruction = case
    wanted = expected(board, bank, layout, instruction)
    assert (wanted != bank).any() or instruction.opcode in (
        Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN,
    )  # fmt: skip
    bench = running or front_bench.bench(source, board, flags)
    found = bench.ask(instruction.encode(), struct.pack("<I", layout.part_lines), bank)[0]
    wrong = np.flatnonzero((found != wanted).reshape(-1, LINE).any(axis=1))
    places = wrong[:8] - layout.workspace_line
    assert not wrong.size, (
        f"{board}: {wrong.size} lines differ, of the workspace {places.tolist()} ...; "
        f"{instruction.opcode.name} {instruction.operands} at {layout}"
    )
