# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bank and the workspace in pictures, against the header's words and the machine itself."""

import numpy as np
import pytest
from drawn_figures import nothing_is_cut_off, rgb, words

from m3vit_pynq import pictures
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.pictures import theme
from m3vit_pynq.pictures.program import program_rows
from m3vit_pynq.reference.machine import Machine

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]
TASKS = CONFIG.task_names


def test_sections_are_those_of_the_header(package):
    """Words 4 to 7 of the program; sections follow each other without a gap."""
    weights, part, workspace, size = np.frombuffer(package.program, "<u4", 4, 16).tolist()
    rows = pictures.bank_table(package).rows
    numbers = {row[0]: tuple(int(cell.replace(",", "")) for cell in row[1:3]) for row in rows}
    assert numbers["program"] == (0, weights)
    for index in range(4):
        assert numbers[f"weights, part {index}"] == (weights + index * part, part)
    assert numbers["workspace"] == (workspace, size)
    assert numbers["bank"] == (0, workspace + size)
    assert rows[-1][3] == f"{package.bank_bytes / 1e6:.2f} MB"


@pytest.mark.parametrize("task", TASKS)
def test_what_changes_in_memory_was_drawn(package, task):
    """Every line of the workspace that an instruction changes lies in a region it touches."""
    machine = Machine()
    machine.load(package.program, package.weights)
    layout = package.layout
    inside = slice(layout.workspace_line, layout.workspace_line + layout.workspace_lines)
    regions = {}
    for touch in pictures.touches(package, task):
        if touch.way != "read":
            regions.setdefault(touch.pc, []).append((touch.start, touch.end))
    before, changed = machine.bank.reshape(-1, 64)[inside].copy(), 0

    def compare(pc, instruction, machine):
        nonlocal before, changed
        now = machine.bank.reshape(-1, 64)[inside]
        for line in np.flatnonzero((now != before).any(axis=1)):
            assert any(start <= line < end for start, end in regions[pc]), (pc, line)
            changed += 1
        before = now.copy()

    machine.observer = compare
    machine.run(package.task(task).index, FRAME)
    assert changed > layout.workspace_lines


def test_blocks_of_one_part_by_hand(package):
    """LAYERNORM reads the residual stream, and the experts write their slots."""
    rows = [row for row in program_rows(package, "depth") if row.group == "block 1"]
    found = {}
    for touch in pictures.touches(package, "depth"):
        found.setdefault(touch.pc, []).append((touch.way, touch.what))
    by_name = {row.instruction.opcode.name: found[row.pc] for row in rows}
    assert by_name["ATTENTION"] == [
        ("read", "queries"), ("read", "keys"), ("read", "values"), ("written", "destination"),
    ]  # fmt: skip
    assert by_name["EXPERTS_UP"] == [("read", "source"), ("read", "records"), ("written", "hidden")]
    assert by_name["EXPERTS_DOWN"] == [
        ("read", "hidden"),
        ("read", "records"),
        ("written", "slots"),
    ]


@pytest.mark.parametrize("group", [None, "block 1"])
def test_the_picture_has_a_bar_for_every_region(package, group):
    figure = pictures.workspace_picture(package, "segmentation", group)
    (axes,) = figure.axes
    shown = [r.pc for r in program_rows(package, "segmentation") if group in (None, r.group)]
    every = [t for t in pictures.touches(package, "segmentation") if t.pc in shown]
    bars = [bar for container in axes.containers for bar in container]
    assert len(bars) == len(every)
    colours = {"read": theme.SKY, "written": theme.ORANGE, "updated in place": theme.VERMILION}
    for bar, touch in zip(bars, every, strict=True):
        assert int(bar.get_x()) == shown.index(touch.pc)
        assert bar.get_y() == pytest.approx(64 * touch.start / 1e6)
        assert bar.get_height() == pytest.approx(64 * (touch.end - touch.start) / 1e6)
        assert tuple(round(255 * v) for v in bar.get_facecolor()[:3]) == rgb(colours[touch.way])
    assert axes.get_ylim() == pytest.approx((64 * package.layout.workspace_lines / 1e6, 0))
    assert nothing_is_cut_off(figure)
    assert ("EXPERTS_DOWN" in words(figure)) == ("slots" in words(figure)) == (group is not None)


def test_a_part_that_is_not_there_is_refused(package):
    with pytest.raises(ValueError, match="no part 'block 9'; this program has: input, block 0"):
        pictures.workspace_picture(package, "depth", "block 9")
