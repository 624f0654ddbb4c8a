# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Error codes that the accelerator puts in its ``error`` register."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a run stopped; ``error_pc`` holds the index of the instruction."""

    OK = 0
    BAD_MAGIC = 1
    BAD_ABI = 2
    BAD_TASK = 3
    BAD_OPCODE = 4
    ACT_RANGE = 5
    RESIDUAL_RANGE = 6
    WEIGHTS_RANGE = 7
    SHAPE = 8
    WEIGHT_TILE = 9
    QUEUE = 10
    FRAME_RANGE = 11
    OUTPUT_RANGE = 12
    PROGRAM_RANGE = 13
    SCORES_RANGE = 14
    BAD_COMMAND = 15


#: What to tell a person about each code.
EXPLANATION: dict[ErrorCode, str] = {
    ErrorCode.OK: "no error",
    ErrorCode.BAD_MAGIC: "the program buffer does not start with a program header",
    ErrorCode.BAD_ABI: "the program was compiled for another ABI version",
    ErrorCode.BAD_TASK: "the task index is not in the program's task directory",
    ErrorCode.BAD_OPCODE: "an instruction has an unknown opcode",
    ErrorCode.ACT_RANGE: "an instruction addresses activation memory outside its capacity",
    ErrorCode.RESIDUAL_RANGE: "an instruction addresses residual memory outside its capacity",
    ErrorCode.WEIGHTS_RANGE: "an instruction reads beyond the end of the weight image",
    ErrorCode.SHAPE: "an instruction has a shape or parameter outside the architecture's limits",
    ErrorCode.WEIGHT_TILE: "one row of weights does not fit the on-chip weight tile",
    ErrorCode.QUEUE: "tokens times top-k do not fit the expert queues",
    ErrorCode.FRAME_RANGE: "the program reads beyond the end of the frame buffer",
    ErrorCode.OUTPUT_RANGE: "the program writes beyond the end of the output buffer",
    ErrorCode.PROGRAM_RANGE: "the program runs beyond its buffer without END",
    ErrorCode.SCORES_RANGE: "router scores do not fit the score memory",
    ErrorCode.BAD_COMMAND: "the command register holds an unknown command",
}
