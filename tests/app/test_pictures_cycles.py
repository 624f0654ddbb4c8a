# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Time line, costs and stages: every bar computed another way."""

import itertools

import numpy as np
import pytest
from drawn_figures import nothing_is_cut_off, words
from made_cycles import made_cycles

from m3vit_pynq import pictures
from m3vit_pynq.abi.boards import BOARDS
from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.analysis.workload import EXPERTS
from m3vit_pynq.bench.cycles import BoardCycles, FrameCycles
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.cycle_records import CycleRecord
from m3vit_pynq.overlay import M3ViTOverlay
from m3vit_pynq.pictures.program import program_rows
from m3vit_pynq.pictures.timeline import Span

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]
TASKS = CONFIG.task_names


@pytest.fixture(scope="module")
def cycles(package):
    return made_cycles(package)


# Time line


@pytest.mark.parametrize("task", TASKS)
def test_spans_tile_the_frame(package, cycles, task):
    frame = cycles.tasks[task]
    timeline = pictures.spans(package, task, frame)
    assert timeline[0].start == 0 and timeline[-1].end == frame.total
    assert all(a.end == b.start for a, b in itertools.pairwise(timeline))
    assert [span.cycles for span in timeline] == [record.total for record in frame.records]
    for span in timeline:
        assert 0 <= span.stall <= span.load and 0 <= span.compute <= span.cycles


def test_every_instruction_but_end_is_on_the_time_line(package, cycles):
    timeline = pictures.spans(package, "depth", cycles.tasks["depth"])
    expected = [row.pc for row in program_rows(package, "depth")][:-1]
    assert [span.pc for span in timeline] == expected


def test_records_of_another_task_are_refused(package, cycles):
    with pytest.raises(ValueError, match="same package and task"):
        pictures.spans(package, "depth", cycles.tasks["segmentation"])


def span(load: int, stall: int) -> Span:
    return Span(0, Opcode.LINEAR, "", "", 0, 100, 50, load, stall)


def test_the_hidden_share():
    assert pictures.hidden_share([span(80, 20), span(20, 5)]) == pytest.approx(0.75)
    assert pictures.hidden_share([span(40, 0)]) == 1.0
    assert pictures.hidden_share([span(40, 40)]) == 0.0
    assert pictures.hidden_share([span(0, 0)]) == pictures.hidden_share([]) == 1.0


def test_bars_of_the_time_line_are_the_records(package, cycles):
    """Position, width and height of every bar, from the records by hand."""
    frame = cycles.tasks["segmentation"]
    figure = pictures.frame_timeline(package, "segmentation", frame, clock_mhz=250.0)
    above, below = figure.axes
    starts = np.cumsum([0, *(record.total for record in frame.records)]) / 250e3
    for container, name, base in zip(
        above.containers, ("compute", "load", "stall"), (2.5, 1.25, 0.0), strict=True
    ):
        assert len(container) == len(frame.records)
        for bar, start, record in zip(container, starts, frame.records, strict=False):
            assert bar.get_x() == pytest.approx(start)
            assert bar.get_width() == pytest.approx(record.total / 250e3)
            assert bar.get_y() == base
            share = min(getattr(record, name) / record.total, 1)  # two ports may load at once
            assert bar.get_height() == pytest.approx(share)
    first_with_experts = [
        row for row in program_rows(package, "segmentation") if row.group == "block 1"
    ]
    assert len(below.containers[0]) == len(first_with_experts)
    assert f"{frame.total:,} cycles, modelled" in " ".join(words(figure))
    assert f"{frame.total / 250e3:.2f} ms at 250 MHz" in " ".join(words(figure))


def test_the_part_to_enlarge(package, cycles):
    frame = cycles.tasks["depth"]
    text = words(pictures.frame_timeline(package, "depth", frame, 300.0, zoom="head"))
    assert "head enlarged" in text
    with pytest.raises(ValueError, match="input, block 0"):
        pictures.frame_timeline(package, "depth", frame, 300.0, zoom="block 7")


# Costs


def test_every_layer_is_of_some_kind(package):
    """Against a list written by hand for the micro model."""
    kinds = {row.layer: pictures.kind_of(row.layer, row.instruction.opcode)
             for row in program_rows(package, "depth")}  # fmt: skip
    expected = {
        "pos_embed": "patch embedding", "patches": "patch embedding",
        "patch_embed.proj": "patch embedding", "blocks.0.norm1": "layer norm",
        "blocks.0.attn.qkv": "attention", "blocks.0.attn": "attention",
        "blocks.0.attn.proj": "attention", "blocks.0.mlp.fc2": "dense feed-forward",
        "blocks.1.mlp.gate.1": "router", "blocks.1.gate": "router",
        "blocks.1.experts.up": "experts",
        "blocks.1.experts.down": "experts", "depth.proj": "task head", "depth.norm.0": "task head",
        "depth.output": "task head", "end": "end",
    }  # fmt: skip
    assert {layer: kinds[layer] for layer in expected} == expected


@pytest.mark.parametrize("task", TASKS)
def test_costs_add_up(package, cycles, task):
    frame = cycles.tasks[task]
    costs = pictures.costs_by_kind(package, task, frame)
    assert sum(cost.cycles for cost in costs.values()) == frame.total
    assert sum(cost.bytes for cost in costs.values()) == sum(r.bytes for r in frame.records)
    experts = [r for r in frame.records if r.opcode in EXPERTS]
    assert costs["experts"].cycles == sum(r.total for r in experts)
    assert costs["experts"].stall == sum(r.stall for r in experts)
    assert costs["experts"].compute == sum(r.compute for r in experts)
    dearest = [cost.cycles for cost in costs.values()]
    assert dearest == sorted(dearest, reverse=True)


def test_cost_bars_are_the_costs(package, cycles):
    frame = cycles.tasks["segmentation"]
    figure = pictures.cost_bars(package, "segmentation", frame)
    left, right = figure.axes
    costs = list(pictures.costs_by_kind(package, "segmentation", frame).values())
    ends = [bar.get_x() + bar.get_width() for bar in left.containers[-1]]
    assert ends == pytest.approx([cost.cycles for cost in costs if cost.cycles])
    assert [bar.get_width() for bar in left.containers[0]] == [c.compute for c in costs if c.cycles]
    assert [bar.get_width() for bar in right.containers[0]] == pytest.approx(
        [cost.bytes / 1e6 for cost in costs if cost.cycles]
    )
    shares = [float(t.get_text()[:-1]) for t in left.texts]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_stages_side_by_side():
    stages = {"capture": 1.0, "resize": 2.0, "device": 30.0, "wait": 20.0, "postprocess": 0.5,
              "consumer": 8.0}  # fmt: skip
    host, device = pictures.stage_lanes(stages)
    assert device == 30.0 and sum(host.values()) == 1.0 + 2.0 + 20.0 + 0.5 + 8.0
    assert list(host) == ["capture", "resize", "wait for the device", "copy", "draw"]
    figure = pictures.stage_bars(stages, "the board")
    (axes,) = figure.axes
    bars = [(bar.get_y(), bar.get_x(), bar.get_width()) for c in axes.containers for bar in c]
    lane = [(x, width) for y, x, width in bars if y < 0.5]
    assert lane == [(0.0, 1.0), (1.0, 2.0), (3.0, 20.0), (23.0, 0.5), (23.5, 8.0)]
    assert [(x, width) for y, x, width in bars if y > 0.5] == [(0.0, 30.0)]
    assert "31.5 ms a frame" in words(figure) and "the board" in words(figure)
    for bad in ({}, {"device": 1.0, "network": 2.0}):
        with pytest.raises(ValueError, match="capture"):
            pictures.stage_bars(bad)


def test_stages_of_a_real_stream_fill_the_time(package):
    """The host's lane is the time from frame to frame, whatever the computer does."""
    with M3ViTOverlay(package) as overlay:
        figures = overlay.throughput_test(FRAME, frames=30)
    host, device = pictures.stage_lanes(figures.stages_ms)
    assert set(host) == {"capture", "resize", "wait for the device", "copy", "draw"}
    assert device > 0 and sum(host.values()) == pytest.approx(1e3 / figures.fps, rel=0.5)


def test_the_table_of_boards():
    zcu104, small = BOARDS["zcu104"], BOARDS["pynq-z2"]
    record = CycleRecord(0, Opcode.LINEAR, total=600_000, compute=300_000, load=0, stall=0,
                         bytes=1_500_000)  # fmt: skip
    frame = FrameCycles(600_000, (record,))
    table = pictures.board_table(
        {"zcu104": BoardCycles(zcu104, {"depth": frame}),
         "kv260": BoardCycles(BOARDS["kv260"]),
         "pynq-z2": BoardCycles(small, problem="half_lines = 9, it has 8")}
    )  # fmt: skip
    assert table.rows == (
        ("ZCU104", "250 MHz", "depth", "600,000", "2.40 ms", "50%", "1.50 MB"),
        ("Kria KV260", "225 MHz", "", "fits; not counted", "", "", ""),
        (small.title, f"{small.clock_mhz:g} MHz", "", "does not fit: half_lines = 9, it has 8",
         "", "", ""),
    )  # fmt: skip


def test_the_table_of_boards_where_nothing_is_counted():
    zcu104, small = BOARDS["zcu104"], BOARDS["pynq-z2"]
    table = pictures.board_table(
        {"zcu104": BoardCycles(zcu104), "pynq-z2": BoardCycles(small, problem="tokens = 9")}
    )
    assert table.header == ("board", "clock aimed at", "cycles")
    assert table.rows == (
        ("ZCU104", "250 MHz", "fits; not counted"),
        ("PYNQ-Z2", "100 MHz", "does not fit: tokens = 9"),
    )


def test_a_layer_of_no_known_kind_is_an_error():
    with pytest.raises(ValueError, match=r"blocks\.1\.novelty: LINEAR"):
        pictures.kind_of("blocks.1.novelty", Opcode.LINEAR)


def test_pictures_of_cycles_fill_their_card(package, cycles):
    """No text or bar is cut off: the outermost pixels of every picture are background."""
    frame = cycles.tasks["segmentation"]
    for figure in (
        pictures.frame_timeline(package, "segmentation", frame, 300.0),
        pictures.cost_bars(package, "segmentation", frame),
        pictures.stage_bars({"capture": 1.0, "device": 2.0, "consumer": 0.5}),
    ):
        assert nothing_is_cut_off(figure)
