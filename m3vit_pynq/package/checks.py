# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether the parts of a package belong together.

Every instruction of every task is held against the rules with which the
accelerator would refuse it (``docs/numerics.md``, Refusals), so what loads also
runs on each board whose buffers suffice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from m3vit_pynq.abi import isa
from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.errors import EXPLANATION, ErrorCode
from m3vit_pynq.abi.isa import TaskKind
from m3vit_pynq.config import ModelConfig, TaskConfig
from m3vit_pynq.errors import PackageError
from m3vit_pynq.reference.refusals import first_refusal

#: A file cannot make the driver allocate more than this for a workspace, in bytes.
WORKSPACE_LIMIT = 1 << 29

KINDS = {"segmentation": TaskKind.CLASSES, "depth": TaskKind.DEPTH}
DTYPES = {TaskKind.CLASSES: np.dtype(np.uint8), TaskKind.DEPTH: np.dtype("<u2")}
_OUTPUTS = {
    TaskKind.CLASSES: isa.Opcode.OUTPUT_CLASSES,
    TaskKind.DEPTH: isa.Opcode.OUTPUT_DEPTH,
}


def output_shape(config: ModelConfig) -> tuple[int, int]:
    """Height and width of every task's result."""
    factor = config.head.enlargement
    return config.grid[0] * factor, config.grid[1] * factor


def parse_config(data: dict[str, Any]) -> ModelConfig:
    """A model configuration from plain JSON; `PackageError` if it is none."""
    try:
        config = ModelConfig.from_dict(data)
        _check_config(config)
        return config
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError,
            OverflowError) as error:  # fmt: skip
        raise PackageError("config", f"is no model configuration: {error}") from None


def _check_config(config: ModelConfig) -> None:
    """Field types, which JSON does not guarantee."""
    counts = (
        *config.image_size, *config.head.channels, config.patch_size, config.embed_dim,
        config.depth, config.heads, config.head.output_upsample, config.mlp_ratio,
        *(task.outputs for task in config.tasks),
    )  # fmt: skip
    if any(type(value) is not int or not 1 <= value < 1 << 16 for value in counts):
        raise ValueError("a size is not a positive 16-bit integer")
    if type(config.per_image) is not bool or type(config.shared_hidden) is not int:
        raise ValueError("per_image or shared_hidden has the wrong type")
    if len(config.image_size) != 2 or len(config.head.channels) > 8:
        raise ValueError("image_size or head.channels has the wrong length")
    if not isinstance(config.name, str):
        raise ValueError("name is no text")
    for task in config.tasks:
        if task.kind not in KINDS:
            raise ValueError(f"task kind {task.kind!r}")
        if not isinstance(task.name, str) or not isinstance(task.label_set, str):
            raise ValueError("a task's name or label_set is no text")
    if len(set(config.task_names)) != len(config.tasks):
        raise ValueError("two tasks have the same name")


def check_weights(weights: np.ndarray) -> None:
    """Type and shape of a weight image."""
    if not isinstance(weights, np.ndarray) or weights.dtype != np.uint8:
        raise PackageError("weights", "is no uint8 array")
    parts = isa.WEIGHT_PARTS
    if weights.ndim != 2 or weights.shape[0] != parts or not weights.flags.c_contiguous:
        raise PackageError("weights", f"shape is {weights.shape}, not [{parts}, n]")
    if weights.shape[1] % LINE:
        raise PackageError("weights", f"{weights.shape[1]} bytes a part are no whole lines")


def check_program(program: isa.Program, weights: np.ndarray, config: ModelConfig) -> None:
    """Sections, tasks and every instruction.

    Raises
    ------
    PackageError
        Naming what is wrong, and the instruction.
    """
    layout = program.layout
    if layout.part_lines * LINE != weights.shape[1]:
        raise PackageError(
            "program", f"wants {layout.part_lines * LINE} bytes of weights a part, "
            f"the image has {weights.shape[1]}"
        )  # fmt: skip
    if layout.workspace_lines * LINE > WORKSPACE_LIMIT:
        raise PackageError(
            "program", f"wants a workspace of {layout.workspace_lines * LINE} bytes, "
            f"the limit is {WORKSPACE_LIMIT}"
        )  # fmt: skip
    if layout != isa.BankLayout.of(
        len(program.instructions), layout.part_lines, layout.workspace_lines
    ):
        raise PackageError("program", f"sections do not follow each other: {layout}")
    if (program.frame_height, program.frame_width) != config.image_size:
        raise PackageError("program", "frame size differs from config.image_size")
    if len(program.tasks) != len(config.tasks):
        raise PackageError(
            "program", f"has {len(program.tasks)} tasks, config has {len(config.tasks)}"
        )
    for index, task in enumerate(config.tasks):
        _check_task(program, index, task, config)
        _check_legal(program, index, task)


def _check_task(program: isa.Program, index: int, task: TaskConfig, config: ModelConfig) -> None:
    """Kind and result of a task, as the configuration has them."""
    where, entry = f"task {task.name}", program.tasks[index]
    if entry.kind != KINDS[task.kind]:
        raise PackageError("program", f"{where} is {entry.kind.name}, config says {task.kind}")
    height, width = output_shape(config)
    if entry.output_bytes != height * width * DTYPES[entry.kind].itemsize:
        raise PackageError(
            "program", f"{where} writes {entry.output_bytes} bytes, "
            f"config gives {height}x{width} of {DTYPES[entry.kind]}"
        )  # fmt: skip
    body = program.instructions[entry.first : entry.first + entry.count]
    if body[-1].opcode != isa.Opcode.END:
        raise PackageError("program", f"{where} does not stop at END")
    outputs = [i for i in body if i.opcode in _OUTPUTS.values()]
    shapes = [(i.height * i.factor, i.width * i.factor) for i in outputs]
    if shapes != [(height, width)] or outputs[0].opcode != _OUTPUTS[entry.kind]:
        raise PackageError("program", f"{where} has outputs {shapes}, config gives one of "
                           f"{height}x{width}")  # fmt: skip


def _check_legal(program: isa.Program, index: int, task: TaskConfig) -> None:
    """Nothing the accelerator would refuse, on a board with any buffers."""
    code, pc = first_refusal(program, index, None)
    if code == ErrorCode.OK:
        return
    opcode = program.instructions[pc].opcode.name if pc < len(program.instructions) else "none"
    raise PackageError(
        "program", f"task {task.name}, instruction {pc} ({opcode}): {code.name}, "
        f"{EXPLANATION[code]}"
    )  # fmt: skip
