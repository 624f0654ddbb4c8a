# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Error codes that the accelerator puts in its ``run_error`` register."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a run stopped; ``run_pc`` holds the index of the instruction."""

    OK = 0
    BAD_COMMAND = 1
    ALIGNMENT = 2
    PROGRAM_RANGE = 3
    BAD_MAGIC = 4
    BAD_ABI = 5
    BAD_TASK = 6
    BANK_LAYOUT = 7
    BAD_OPCODE = 8
    SHAPE = 9
    READ_RANGE = 10
    FRAME_RANGE = 11
    WRITE_RANGE = 12
    RESULT_RANGE = 13
    OVERLAP = 14
    WEIGHTS_RANGE = 15
    CAPACITY = 16
    SLOTS = 17


#: What to tell a person about each code.
EXPLANATION: dict[ErrorCode, str] = {
    ErrorCode.OK: "no error",
    ErrorCode.BAD_COMMAND: "the command register holds an unknown command",
    ErrorCode.ALIGNMENT: "the address of bank, frame or result is not a multiple of 64 bytes",
    ErrorCode.PROGRAM_RANGE: "the program runs beyond its section without END",
    ErrorCode.BAD_MAGIC: "the bank does not start with a program header",
    ErrorCode.BAD_ABI: "the program was compiled for another ABI version",
    ErrorCode.BAD_TASK: "the task index is not in the program's task directory",
    ErrorCode.BANK_LAYOUT: "program, weights and workspace overlap or exceed the bank",
    ErrorCode.BAD_OPCODE: "an instruction has an unknown opcode",
    ErrorCode.SHAPE: "an instruction has a shape or parameter outside the architecture's limits",
    ErrorCode.READ_RANGE: "an instruction reads outside the workspace",
    ErrorCode.FRAME_RANGE: "the program reads beyond the end of the frame buffer",
    ErrorCode.WRITE_RANGE: "an instruction writes outside the workspace",
    ErrorCode.RESULT_RANGE: "the program writes beyond the end of the result buffer",
    ErrorCode.OVERLAP: "an instruction reads what it writes",
    ErrorCode.WEIGHTS_RANGE: "an instruction reads weights or a table outside the weight image",
    ErrorCode.CAPACITY: "an instruction needs larger buffers than this bitstream has",
    ErrorCode.SLOTS: "results of experts are left uncombined, combined twice or do not match",
}
