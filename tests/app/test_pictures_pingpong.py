# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The ping-pong in time: every block where its record says, every wait one of the stalls."""

import dataclasses
from itertools import accumulate

import pytest
from drawn_figures import nothing_is_cut_off, rgb, words
from made_cycles import made_cycles

from m3vit_pynq import pictures
from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.bench.cycles import FrameCycles
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.cycle_records import CycleRecord, Passage, PassageLog
from m3vit_pynq.pictures import theme

CONFIG = get_config("micro")
EXPERTS, SECOND = "blocks.1.experts.up", "blocks.1.experts.down"
#: Centres of the lanes, and whether a lane shows loads, and of which half.
LANES = {3: (True, 0), 2: (True, 1), 1: (False, 0), 0: (False, 1)}


@pytest.fixture(scope="module")
def cycles(package):
    return made_cycles(package)


def record(pc: int, opcode: Opcode, total: int, stall: int = 0) -> CycleRecord:
    return CycleRecord(pc, opcode, total, 0, 0, stall, 0)


def passage(pc: int, half: int, load: tuple[int, int], compute: tuple[int, int]) -> Passage:
    return Passage(pc, None, False, half, *load, *compute, multiply=1)


def blocks(axes) -> list[tuple[int, float, float, str]]:
    """Lane, start, end and colour of every bar."""
    bars = [bar for container in axes.containers for bar in container]
    found = []
    for bar in bars:
        lane = bar.get_y() + bar.get_height() / 2
        assert lane == pytest.approx(round(lane))
        colour = "#" + bytes(round(255 * v) for v in bar.get_facecolor()[:3]).hex()
        found.append((round(lane), bar.get_x(), bar.get_x() + bar.get_width(), colour))
    return found


# Waiting


def test_waits_by_hand():
    """Four instructions, 100 cycles each, in which every kind of arrival happens once."""
    frame = FrameCycles(
        400,
        (record(7, Opcode.LINEAR, 100, 30), record(8, Opcode.ATTENTION, 100),
         record(9, Opcode.LINEAR, 100, 15), record(10, Opcode.EXPERTS_UP, 100)),
        PassageLog((
            passage(7, 0, (5, 25), (25, 60)),  # nothing hides it
            passage(7, 1, (25, 70), (70, 100)),  # arrives 10 later than it is needed
            passage(9, 0, (100, 190), (200, 250)),  # behind the attention, however long
            passage(9, 1, (200, 265), (265, 300)),  # 15 later
            passage(10, 0, (265, 290), (300, 400)),  # in good time
        )),
    )  # fmt: skip
    waits = pictures.waits(frame)
    assert [(wait.start, wait.end, wait.cycles) for wait in waits] == [
        (5, 25, 20), (60, 70, 10), (250, 265, 15),
    ]  # fmt: skip
    assert [wait.passage.half for wait in waits] == [0, 1, 1]


@pytest.mark.parametrize("task", CONFIG.task_names)
def test_waits_are_the_stalls_of_the_instructions(package, cycles, task):
    frame = cycles.tasks[task]
    edges = list(accumulate((r.total for r in frame.records), initial=0))
    for start, end, counted in zip(edges, edges[1:], frame.records, strict=False):
        inside = [wait for wait in pictures.waits(frame) if start <= wait.start < end]
        assert sum(wait.cycles for wait in inside) == counted.stall
        assert all(wait.end <= end for wait in inside)


# The picture


@pytest.mark.parametrize("layer", [EXPERTS, SECOND])
def test_blocks_are_the_passages(package, cycles, layer):
    """Lane, place, width and colour of every block of one layer of experts, from the log."""
    frame = cycles.tasks["segmentation"]
    figure = pictures.pingpong_timeline(package, "segmentation", frame, 250.0, layer=layer)
    (axes,) = figure.axes
    pc = package.metadata["layers"].index(layer)
    drawn = blocks(axes)
    start, end = (x * 250.0 for x in axes.get_xlim())
    index = [r.pc for r in frame.records].index(pc)
    assert start == pytest.approx(sum(r.total for r in frame.records[:index]))
    assert end - start == pytest.approx(frame.records[index].total)
    for lane, (loads, half) in LANES.items():
        expected = []
        for p in frame.passages.records:
            times = (p.load_start, p.load_end) if loads else (p.compute_start, p.compute_end)
            clipped = max(times[0], round(start)), min(times[1], round(end))
            if p.half == half and clipped[0] < clipped[1]:  # of neighbours too
                expected.append((*clipped, p.second))
        first, second = (theme.ORANGE, "#94") if loads else (theme.SKY, "#3")
        mine = [block for block in drawn if block[0] == lane and block[3] != theme.VERMILION]
        assert len(mine) == len(expected) >= 3  # 8 experts in two halves, first and last cut
        for (_, left, right, colour), (begin, stop, is_second) in zip(mine, expected, strict=True):
            assert left * 250.0 == pytest.approx(begin) and right * 250.0 == pytest.approx(stop)
            assert colour.startswith(second if is_second else first)
    waiting = sum((b[2] - b[1]) * 250.0 for b in drawn if b[3] == theme.VERMILION)
    assert waiting == pytest.approx(frame.records[index].stall)
    assert all(lane in (0, 1) for lane, _, _, colour in drawn if colour == theme.VERMILION)
    share = frame.records[index].stall / frame.records[index].total
    text = " ".join(words(figure))
    assert f"{layer}, segmentation: {frame.records[index].total:,} cycles, modelled" in text
    assert f"µs at 250 MHz; waiting for weights {share:.1%}" in text
    assert ("EXPERTS_DOWN" if layer == SECOND else "EXPERTS_UP") in words(figure)


def test_numbers_in_the_blocks_are_the_experts(package, cycles):
    frame = cycles.tasks["depth"]
    figure = pictures.pingpong_timeline(package, "depth", frame, 300.0, layer=EXPERTS)
    (axes,) = figure.axes
    seen = 0
    for text in axes.texts:
        x, y = text.get_position()
        if not text.get_text().isdigit():
            continue
        loads, half = LANES[round(y)]
        (hit,) = [
            p for p in frame.passages.records
            if p.half == half and p.expert is not None
            and (p.load_start if loads else p.compute_start) < x * 300.0
            < (p.load_end if loads else p.compute_end)
        ]  # fmt: skip
        assert text.get_text() == str(hit.expert)
        seen += 1
    assert seen >= len({p.expert for p in frame.passages.records if p.expert is not None})


def test_many_chunks_are_enlarged_where_the_engine_waits(package, cycles):
    """The whole frame: the framed part holds the longest waiting of 12 chunks in a row."""
    frame = cycles.tasks["segmentation"]
    figure = pictures.pingpong_timeline(
        package, "segmentation", frame, 300.0, window=(0, frame.total)
    )
    above, below = figure.axes
    assert above.get_xlim() == pytest.approx((0, frame.total / 300.0))
    lost = {wait.passage: wait.cycles for wait in pictures.waits(frame)}
    every = frame.passages.records
    sums = [sum(lost.get(p, 0) for p in every[i : i + 12]) for i in range(len(every) - 11)]
    first = sums.index(max(sums))
    start, end = (x * 300.0 for x in below.get_xlim())
    assert end == pytest.approx(every[first + 11].compute_end)
    assert start == pytest.approx(every[first].compute_start - lost.get(every[first], 0))
    waiting = sum((b[2] - b[1]) * 300.0 for b in blocks(below) if b[3] == theme.VERMILION)
    assert waiting == pytest.approx(max(sums))
    assert "the framed part enlarged" in words(figure)


def test_blocks_end_at_the_window(package, cycles):
    frame = cycles.tasks["segmentation"]
    cut = next(p for p in frame.passages.records if p.expert is not None)
    middle = (cut.compute_start + cut.compute_end) // 2
    figure = pictures.pingpong_timeline(
        package, "segmentation", frame, 300.0, window=(middle, middle + 200)
    )
    (axes,) = figure.axes
    drawn = blocks(axes)
    assert min(left for _, left, _, _ in drawn) == pytest.approx(middle / 300.0)
    assert max(right for _, _, right, _ in drawn) <= (middle + 200) / 300.0 + 1e-9


@pytest.mark.parametrize("layer", [EXPERTS, "blocks.3.experts.down"])
def test_the_experts_that_wait_longest_are_drawn(package, cycles, layer):
    """Whatever dense layers wait."""
    frame, names = cycles.tasks["segmentation"], package.metadata["layers"]
    longest = {layer: 10**9, "blocks.0.attn.qkv": 10**10}
    records = tuple(
        dataclasses.replace(r, stall=longest.get(names[r.pc], r.stall)) for r in frame.records
    )
    frame = dataclasses.replace(frame, records=records)
    text = " ".join(words(pictures.pingpong_timeline(package, "segmentation", frame, 300.0)))
    assert f"{layer}, segmentation" in text


def test_what_cannot_be_drawn_is_refused(package, cycles):
    frame = cycles.tasks["depth"]

    def draw(frame=frame, **what):
        return pictures.pingpong_timeline(package, "depth", frame, 300.0, **what)

    with pytest.raises(ValueError, match=r"no layer 'blocks\.9'.*blocks\.1\.experts"):
        draw(layer="blocks.9")
    with pytest.raises(ValueError, match="no weights pass"):
        draw(layer="depth.output")
    with pytest.raises(ValueError, match="same package and task"):
        draw(cycles.tasks["segmentation"])
    with pytest.raises(ValueError, match="no weights pass"):
        draw(dataclasses.replace(frame, passages=PassageLog()), layer=EXPERTS)


def test_a_log_that_was_full_is_not_drawn_as_if_complete(package, cycles):
    """What is in it can be drawn; what comes later is refused, with the number missing."""
    frame = cycles.tasks["segmentation"]
    kept = frame.passages.records[:9]
    missing = len(frame.passages.records) - 9
    full = dataclasses.replace(frame, passages=PassageLog(kept, missing))
    inside = pictures.pingpong_timeline(
        package, "segmentation", full, 300.0, window=(0, kept[-1].compute_end)
    )
    assert blocks(inside.axes[0])
    with pytest.raises(ValueError, match=f"full at cycle {kept[-1].compute_end:,}, {missing} are"):
        pictures.pingpong_timeline(package, "segmentation", full, 300.0, layer=EXPERTS)


def test_pictures_of_the_pingpong_fill_their_card(package, cycles):
    frame = cycles.tasks["segmentation"]
    for window in (None, (0, frame.total)):
        figure = pictures.pingpong_timeline(package, "segmentation", frame, 300.0, window=window)
        assert nothing_is_cut_off(figure)


def test_a_colour_towards_the_card():
    assert theme.towards_card(theme.SKY, 0.0) == theme.SKY
    assert theme.towards_card(theme.SKY, 1.0) == theme.CARD
    half = rgb(theme.towards_card("#ffffff", 0.5))
    assert half == tuple(round((255 + c) / 2) for c in rgb(theme.CARD))
