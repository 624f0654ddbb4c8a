# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames through the traced accelerator: same bits, no deadlock, figures that add up."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from m3vit_pynq.abi.boards import LINE, get_board
from m3vit_pynq.abi.isa import Opcode, lines
from m3vit_pynq.abi.registers import BANK_MASTERS, Command
from m3vit_pynq.analysis.costs import layer_names
from m3vit_pynq.analysis.cycles import layer_classes, total
from m3vit_pynq.bench import cycles as bench
from m3vit_pynq.bench.cycles import count_cycles, count_on_boards, count_task
from m3vit_pynq.compiler import random_package
from m3vit_pynq.config import get_config
from m3vit_pynq.emulator.hostlib import HostLibrary, Slots, build
from m3vit_pynq.emulator.trace import store
from m3vit_pynq.emulator.trace.library import TraceError, TraceLibrary
from m3vit_pynq.emulator.trace.machine import Machine, MachineError
from m3vit_pynq.package import Package, shipped
from m3vit_pynq.pictures.pingpong import waits
from m3vit_pynq.pictures.timeline import spans

BOARDS = ("zcu104", "pynq-z2")


@pytest.fixture(scope="module")
def package():
    return random_package(get_config("micro"))


@pytest.fixture(scope="module")
def image(package):
    return np.random.default_rng(5).integers(0, 256, (*package.config.image_size, 3), np.uint8)


@pytest.fixture(autouse=True)
def counted(tmp_path, monkeypatch):
    """A cache of counts of this test's own; libraries stay in the user's."""
    folder = tmp_path / "cycles"
    monkeypatch.setattr(store, "folder", lambda: folder)
    return folder


def aligned(size: int) -> np.ndarray:
    raw = np.zeros(LINE * (lines(size) + 2), np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size]


def memories(package, task, image):
    """Bank, frame and result of a run."""
    bank = aligned(package.bank_bytes)
    start = package.bank_image()
    bank[: start.size] = start
    frame = aligned(image.nbytes)
    frame[:] = image.reshape(-1)
    return bank, frame, aligned(package.task(task).output_bytes)


def steps(library, package, task, image, count=None):
    """Reports of the first instructions of a task, and the memories behind them."""
    bank, frame, result = memories(package, task, image)
    entry = package.decoded.tasks[package.task(task).index]
    slots = Slots()
    reports = [
        library.step(pc, bank, package.layout, frame, result, slots)
        for pc in range(entry.first, entry.first + (count or entry.count))
    ]
    return reports, bank, result


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("task", ["segmentation", "depth"])
def test_the_traced_copy_computes_the_same_bits(board, task, package, image):
    _, bank, result = steps(TraceLibrary(get_board(board)), package, task, image)
    other, frame, expected = memories(package, task, image)
    found = HostLibrary(build(board)).accel(
        run_command=Command.RUN, run_task=package.task(task).index,
        **dict.fromkeys(BANK_MASTERS, other.ctypes.data), frame_pixels=frame.ctypes.data,
        result_pixels=expected.ctypes.data, bank_bytes=other.nbytes, frame_bytes=frame.nbytes,
        result_bytes=expected.nbytes,
    )  # fmt: skip
    assert found["run_error"] == 0
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(bank, other)


@pytest.mark.parametrize("board", BOARDS)
def test_figures_of_a_frame_add_up(board, package, image):
    board = get_board(board)
    for task in package.task_names:
        frame = count_task(board, package, task, image)
        assert frame.total == sum(record.total for record in frame.records)
        assert frame.records[-1].opcode == Opcode.END
        assert [s.cycles for s in spans(package, task, frame)] == [r.total for r in frame.records]
        for one in frame.instructions:
            record = one.record
            assert 0 <= record.compute <= record.total and 0 <= record.stall <= record.load
            assert record.bytes == sum(a + b for a, b in one.moved.values())
            assert one.region < record.total
            for process in one.processes:
                assert min(process.busy, process.stalled, process.idle) >= 0
                assert process.busy + process.stalled + process.idle == one.region
                assert sum(lost for _, _, lost in process.waits) == process.stalled
                assert process.memory <= process.stalled
        assert sum(wait.cycles for wait in waits(frame)) == sum(r.stall for r in frame.records)
        _check_passages(frame)
        names = layer_names(package.decoded, package.metadata.get("layers"))
        classes = layer_classes(board, package.decoded, names, frame.instructions)
        assert sum(found.cycles for found in classes.values()) == frame.total
        assert 0 < total(classes, board).roofline_share < 1
        assert all(0 < found.limit_share <= 1 for found in classes.values())


def _check_passages(frame):
    end = 0
    for passage in frame.passages.records:
        assert passage.load_start < passage.load_end <= passage.compute_start
        assert end <= passage.compute_start < passage.compute_end
        assert 0 < passage.multiply <= passage.compute_end - passage.compute_start
        end = passage.compute_end
    assert frame.passages.complete and end <= frame.total
    experts = {r.pc for r in frame.records if r.opcode == Opcode.EXPERTS_UP}
    for pc in experts:
        chosen = [p.expert for p in frame.passages.records if p.pc == pc]
        assert chosen == sorted(chosen) and len(chosen) >= 1


def test_another_frame_takes_other_experts_and_its_own_time(package, image):
    board = get_board("zcu104")
    first, again = (count_task(board, package, "depth", image) for _ in range(2))
    assert first == again  # the second from the cache
    other = count_task(board, package, "depth", np.zeros_like(image))
    assert other.counted_on != first.counted_on


@pytest.mark.skipif("small" not in shipped(), reason="the package small is not installed")
@pytest.mark.parametrize("board", BOARDS)
def test_the_first_blocks_of_small_never_stop(board):
    # Embedding, a dense block and one with experts: the longest rows and most chunks.
    package = Package.load("small")
    frame = np.random.default_rng(6).integers(0, 256, (*package.config.image_size, 3), np.uint8)
    count = 1 + next(
        pc for pc, i in enumerate(package.decoded.instructions)
        if i.opcode == Opcode.LAYERNORM and i.slots
    )  # fmt: skip
    count -= package.decoded.tasks[0].first
    reports, _, _ = steps(
        TraceLibrary(get_board(board)), package, package.task_names[0], frame, count
    )
    assert len(reports) == count > 20


@cache
def long_queues():
    """A model of 400 tokens, its task and a frame: more rows an expert than streams hold."""
    package = random_package(get_config("micro", image_size=(160, 160)))
    return package, "segmentation", np.full((160, 160, 3), 90, np.uint8)


def test_no_pipeline_needs_to_be_flushed(package, image):
    # UG1448 restricts flp to functions: the depths must do without it.
    library = TraceLibrary(get_board("zcu104"), flushed="none")
    steps(library, package, "segmentation", image)


def test_no_pipeline_needs_to_be_flushed_with_long_queues():
    steps(TraceLibrary(get_board("zcu104"), flushed="none"), *long_queues(), 24)


def test_long_queues_never_stop():
    steps(TraceLibrary(get_board("zcu104")), *long_queues(), 24)


def test_a_refused_instruction_is_named(package, image):
    library = TraceLibrary(get_board("zcu104"))
    bank, frame, result = memories(package, "depth", image)
    with pytest.raises(TraceError, match="instruction 1 is refused by the accelerator: FRAME"):
        library.step(1, bank, package.layout, frame[:10], result, Slots())


def test_a_trace_too_long_for_memory_is_a_clear_line(package, image):
    library = TraceLibrary(get_board("zcu104"), limit=50)
    with pytest.raises(TraceError, match="more than 50 entries"):
        steps(library, package, "depth", image)
    assert TraceLibrary(get_board("zcu104")).limit > 50


def test_a_board_without_a_figure_is_named():
    board = get_board("zcu104")
    with pytest.raises(MachineError, match="zcu104: no dram_gbytes"):
        Machine.of(replace(board, dram_gbytes=0))
    with pytest.raises(MachineError, match="no family 'versal'"):
        Machine.of(replace(board, family="versal"))


def test_reports_show_what_is_in_the_cache_and_count_nothing_themselves(package, image, counted):
    board = get_board("zcu104")
    assert count_on_boards(package, image)["zcu104"].tasks == {}
    frames = count_cycles(board, package, image).tasks
    assert count_on_boards(package, np.zeros_like(image))["zcu104"].tasks == frames
    for file in counted.iterdir():
        file.write_bytes(b"damaged")
    assert count_on_boards(package, image)["zcu104"].tasks == {}


def test_a_count_belongs_to_its_sources_and_settings(package, image, monkeypatch):
    board = get_board("zcu104")
    count_cycles(board, package, image)
    assert count_cycles(board, package, image, cached_only=True).tasks
    monkeypatch.setattr(bench, "INSTRUCTION_CYCLES", 41)
    assert not count_cycles(board, package, image, cached_only=True).tasks
