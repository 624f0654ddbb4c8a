# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Looking inside a frame: which experts its tokens chose in every layer.

The choices never leave the accelerator, so they come from the integer machine
of `m3vit_pynq.reference`, which computes the same bits in numpy. It runs
anywhere, a board included, and takes some seconds for a full-size model.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m3vit_pynq.abi.isa import Instruction, Opcode
from m3vit_pynq.drawing import BACKGROUND, FAINT, put_text, text_size
from m3vit_pynq.package import Package
from m3vit_pynq.palette import palette
from m3vit_pynq.reference.machine import Machine
from m3vit_pynq.sources.frames import as_rgb, resized


@dataclass(frozen=True)
class ExpertChoice:
    """What the router of one layer decided for every token of a frame.

    Attributes
    ----------
    layer : str
        Name of the layer.
    experts : ndarray
        int64 ``[tokens, top_k]``: chosen experts, largest gate weight first.
    gates : ndarray
        float32 ``[tokens, top_k]``: their weights, 0 to 1.
    count : int
        Experts of the layer.
    grid : tuple of int
        Rows and columns of patches; token 0 is the class token.
    """

    layer: str
    experts: np.ndarray
    gates: np.ndarray
    count: int
    grid: tuple[int, int]

    def first_choice(self) -> np.ndarray:
        """int64 [rows, columns]: the expert with the largest weight of every patch."""
        return self.experts[1:, 0].reshape(self.grid)

    def load(self) -> np.ndarray:
        """int64 [experts]: tokens in every expert's queue."""
        return np.bincount(self.experts.reshape(-1), minlength=self.count)


@dataclass(frozen=True)
class Inspection:
    """One frame seen from inside.

    Attributes
    ----------
    task : str
        The task that ran.
    frame : ndarray
        The frame as the accelerator read it, uint8 RGB.
    data : ndarray
        The result, bit for bit what the accelerator writes.
    choices : tuple of ExpertChoice
        One for every mixture-of-experts layer.
    """

    task: str
    frame: np.ndarray
    data: np.ndarray
    choices: tuple[ExpertChoice, ...]


class _Recorder:
    """Collects the records that each GATE leaves."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers
        self.found: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}

    def __call__(self, pc: int, instruction: Instruction, machine: Machine) -> None:
        if instruction.opcode != Opcode.GATE:
            return
        layer = self.layers[pc].removesuffix(".gate")
        records = machine.read_rows(instruction.dst, instruction.rows, 1, 1).view("<u2")
        entries = records[:, : 4 * instruction.top_k]
        experts = entries[:, 0::4].astype(np.int64)
        gates = entries[:, 1::4].astype(np.float32) / np.float32(65536)
        self.found[layer] = experts, gates, instruction.experts


def expert_choices(package: Package, frame: np.ndarray, task: str) -> Inspection:
    """Run one frame on the integer machine and record every router's choices.

    Parameters
    ----------
    package : Package
        The model.
    frame : ndarray
        uint8 RGB of any size.
    task : str
        Name of the task whose routers decide.

    Raises
    ------
    ValueError
        If the model has no such task.
    FrameError
        If the frame is no picture.
    """
    index = package.task(task).index
    frame = resized(as_rgb(frame), package.config.image_size)
    machine = Machine()
    machine.load(package.program, package.weights)
    names = package.metadata.get("layers") or [
        f"instruction {pc}" for pc in range(len(package.decoded.instructions))
    ]
    recorder = machine.observer = _Recorder(names)
    data = machine.run(index, frame)
    choices = tuple(
        ExpertChoice(layer, experts, gates, count, package.config.grid)
        for layer, (experts, gates, count) in recorder.found.items()
    )
    return Inspection(task, frame, data, choices)


def draw_choices(inspections: list[Inspection], panel: int = 200) -> np.ndarray:
    """Token grids coloured by first-choice expert: a row per task, a column per layer.

    The colour of an expert is the same in both rows, but expert 3 of one layer
    has nothing to do with expert 3 of another.

    Parameters
    ----------
    inspections : list of Inspection
        Of the same package, one for every task to compare.
    panel : int
        Width of one grid in pixels.

    Returns
    -------
    ndarray
        uint8 RGB.
    """
    return np.vstack([_row(inspection, panel) for inspection in inspections])


def _row(inspection: Inspection, panel: int) -> np.ndarray:
    height, width = inspection.frame.shape[:2]
    high, gap, head = round(panel * height / width), 6, 26
    cells = []
    for picture, caption in _cells(inspection):
        cell = np.full((high + head + gap, panel + gap, 3), BACKGROUND, np.uint8)
        cell[head : head + high, :panel] = cv2.resize(
            picture, (panel, high), interpolation=cv2.INTER_NEAREST
        )
        scale = min(0.45, 0.45 * (panel - 4) / max(1, text_size(caption, 0.45)[1]))
        put_text(cell, caption, 2, 17, FAINT, scale)
        cells.append(cell)
    return np.hstack(cells)


def _cells(inspection: Inspection):
    colours = palette("")
    rows, columns = inspection.frame.shape[:2]
    yield inspection.frame, inspection.task
    for choice in inspection.choices:
        grid = colours[choice.first_choice()]
        large = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_NEAREST)
        grey = cv2.cvtColor(inspection.frame, cv2.COLOR_RGB2GRAY)
        shade = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
        used = int(np.count_nonzero(choice.load()))
        caption = f"{choice.layer}: {used} of {choice.count} experts"
        yield cv2.addWeighted(large, 0.75, shade, 0.25, 0), caption
