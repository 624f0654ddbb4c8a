# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions and runs with the machine's results, in a file for ``replay.cpp``.

Banks end where the instruction's last region ends, so that a sanitizer sees every
read behind it.
"""

import struct

import numpy as np
from fast_cases import CASES
from fast_pair import GENEROUS, LAYOUT, LINE

from m3vit_pynq.abi.errors import ErrorCode
from m3vit_pynq.abi.footprint import Section, footprint
from m3vit_pynq.abi.isa import BankLayout, Opcode
from m3vit_pynq.errors import AcceleratorError


def _pending(slots):
    return slots.count, slots.dst, slots.rows, slots.cols_out


def _record(machine, header, before, result):
    return b"".join((
        struct.pack("<38I", *header), before.tobytes(), machine.frame.tobytes(),
        result.tobytes(), machine.bank.tobytes(), machine.result.tobytes(),
    ))  # fmt: skip


def step_record(pair, instruction):
    """One instruction on a bank cut off behind its last region."""
    machine = pair.machine
    needs = footprint(instruction)
    regions = needs.reads + needs.writes + needs.updates
    ends = [r.end for r in regions if r.section == Section.WORKSPACE]
    end = min(max(ends, default=0), LAYOUT.workspace_line + LAYOUT.workspace_lines)
    end = max(end, LAYOUT.workspace_line)
    layout = BankLayout(
        LAYOUT.weights_line, LAYOUT.part_lines, LAYOUT.workspace_line, end - LAYOUT.workspace_line
    )
    machine.attach(machine.bank[: LINE * end].copy(), layout)
    before, result, slots = machine.bank.copy(), machine.result.copy(), _pending(pair.slots())
    code = ErrorCode.OK
    try:
        machine.execute(instruction)
    except AcceleratorError as error:
        code = error.code
    header = (
        0, 0, code, 0, machine.bank.size, machine.frame.size, machine.result.size,
        layout.weights_line, layout.part_lines, layout.workspace_line, layout.workspace_lines,
        *GENEROUS.values(), *slots, *_pending(pair.slots()),
        *np.frombuffer(instruction.encode(), "<u4"),
    )  # fmt: skip
    return _record(machine, header, before, result)


def run_record(machine, task, frame):
    """A whole frame."""
    before = machine.bank.copy()
    machine.run(task, frame)
    result = np.zeros_like(machine.result)
    header = (
        1, task, 0, 0, machine.bank.size, machine.frame.size, machine.result.size,
        0, 0, 0, 0, *GENEROUS.values(), *[0] * 24,
    )  # fmt: skip
    return _record(machine, header, before, result)


def record(path, machine, frames, steps, seed=0):
    """Write `steps` instructions of every opcode and each task of each frame."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as out:
        for op in Opcode:
            for _ in range(steps):
                out.write(step_record(*CASES[op](rng, [])))
        for task, frame in frames:
            out.write(run_record(machine, task, frame))
