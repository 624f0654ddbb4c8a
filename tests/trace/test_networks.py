# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks whose time is known by hand.

A region starts at cycle 0, a process's first tick is cycle 1. A pipeline of depth D
writes D - 1 cycles after it reads; what is written is read a cycle later at the
earliest. A loop is left a cycle after its last tick.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from network_library import MACHINE


def processes(report):
    return {p["name"]: p for p in report["processes"]}


def test_a_slow_consumer_sets_the_pace_and_its_producer_waits(networks):
    # Word 0 is written in cycle 2 and read in 3, the others every third cycle.
    count, depth = 50, 5
    report = networks.run("slow_consumer", count, SLOWLY=depth)
    assert report["problem"] == ""
    assert report["cycles"] == 3 + 3 * (count - 1) + depth
    # Four words fit the stream: word k leaves a cycle after word k - 4 was read.
    producer = processes(report)["produce"]
    last_written = 3 + 3 * (count - 1 - 4) + 1
    assert producer["end"] == last_written + 1
    assert producer["stalled"] == last_written - (1 + count)
    assert producer["stalls"] == [["full", "words", producer["stalled"]]]


def test_a_rare_producer_sets_the_pace(networks):
    # The last word is written in iteration 3 n - 1, a cycle later read.
    report = networks.run("rare_producer", 40, CONSUME=3)
    assert report["cycles"] == (1 + 3 * 40 - 1 + 1) + 1 + 3
    consumer = processes(report)["consume"]
    assert consumer["stalls"][0][:2] == ["empty", "words"]
    assert consumer["stalled"] + 40 + 3 - 1 == report["cycles"] - 1


def test_a_stream_of_one_word_halves_the_rate(networks):
    report = networks.run("shallow_stream", 30)
    assert report["cycles"] == 3 + 2 * 29 + 2


def test_paths_that_join_need_room_for_what_waits(networks):
    # `second` holds 20 words, and one more waits in the last stage of the pipeline.
    assert networks.run("paths_that_join", 20)["problem"] == ""
    report = networks.run("paths_that_join", 21)
    assert report["problem"] == (
        "fork waits for room in second; join waits for a word of first"
    ) and report["cycles"] == 0  # fmt: skip


def test_a_stalled_pipeline_keeps_what_is_in_flight(networks):
    # Ten words must come in before the first leaves, but only four may wait elsewhere.
    assert networks.run("stalled_pipeline", 30, DEEP=4)["problem"] == ""
    problem = networks.run("stalled_pipeline", 30, DEEP=10)["problem"]
    assert problem.startswith("fork waits for room in waiting; deep waits for a word of early")
    # A flushed one delivers them.
    assert networks.run("flushed_pipeline", 30, DEEP_FLUSHED=10)["problem"] == ""


def test_a_flushed_pipeline_takes_its_depth_and_no_more(networks):
    # Written in 2, read in 3, out D - 1 later, read in the cycle after that.
    for depth in (1, 7):
        report = networks.run("flushed_alone", 20, DEEP_FLUSHED=depth)
        assert report["cycles"] == 3 + (depth - 1) + 1 + 3 * 19 + 2


@pytest.mark.parametrize(("fill", "use"), [(10, 40), (40, 10), (25, 25)])
def test_a_pingpong_overlaps_filling_and_use(networks, fill, use):
    # A call: the half is taken, a loop of n + 2 cycles, (use) a word, the half is given.
    def call(steps, words):
        return 1 + (steps + 2) + words + 1

    few, more = (networks.run("pingpong", chunks, fill, use)["cycles"] for chunks in (5, 9))
    assert more - few == 4 * max(call(fill, 0), call(use, 1))
    alone = call(fill, 0) + call(use, 1)
    assert few < 5 * alone


def test_only_two_halves_are_filled_ahead(networks):
    report = networks.run("pingpong", 4, 5, 60)
    calls = {p["name"].rpartition(".")[2]: p["calls"] for p in report["processes"]}
    fills, uses = calls["fill"], calls["use"]
    assert fills[1][0] < uses[0][1]  # the second half while the first is in use
    assert fills[2][0] == uses[0][1] + 1  # the third waits for the first
    assert [words for _, _, words in uses] == [1, 1, 1, 1]


def test_a_long_burst_takes_its_latency_and_a_beat_a_cycle(networks):
    # Asked in 1, sent in 2, first beat 100 later; 256 beats in flight hide the latency.
    report = networks.run("one_reader", 1000)
    assert report["cycles"] == 102 + 999 + 2
    assert report["beats"][0] == [1000, 0]


def test_the_beats_in_flight_limit_a_burst_of_long_latency(networks):
    # 16 bursts of 16 beats are under way. The next one is sent when the first was read:
    # 16 beats, a cycle, and 1000 to its own first beat.
    far = replace(MACHINE, request=400, answer=600)
    report = networks.run("one_reader", 256 * 5, machine=far)
    assert report["cycles"] == 1002 + 4 * (16 + 1 + 1000) + 255 + 2


def test_a_port_that_keeps_up_less_than_a_beat_a_cycle(networks):
    slow = replace(MACHINE, interval=1.25)
    assert networks.run("one_reader", 1001, machine=slow)["cycles"] == 102 + 1250 + 2


def test_two_masters_share_a_port_and_its_beats(networks):
    count = 800
    alone = networks.run("two_on_two_ports", count)["cycles"]
    shared = networks.run("two_on_one_port", count)["cycles"]
    assert alone == 102 + count - 1 + 2 + 4  # DRAM: 4 cycles for the other's first burst
    assert shared == 102 + 2 * count - 1 + 2


def test_ports_share_dram(networks):
    # Each port could do a beat a cycle, DRAM does one in two cycles for both.
    narrow = replace(MACHINE, dram_interval=2.0)
    count = 800
    cycles = networks.run("two_on_two_ports", count, machine=narrow)["cycles"]
    assert cycles == pytest.approx(102 + 2 * 2 * count, abs=40)


def test_a_write_ends_with_its_response(networks):
    # Asked in 1; beat k is given in k + 3. A burst is sent when it is whole: 16 beats in
    # 19, moved in 35; then the last 4, a cycle in DRAM.
    report = networks.run("one_writer", 20)
    moved = (3 + 15 + 1) + 16 + 4
    assert report["cycles"] == moved + 40 + 1 + 60
    assert report["beats"][0] == [0, 20]


def test_a_trace_that_is_too_long_is_refused(networks):
    assert networks.run("rare_producer", 1000, limit=500) == "too long"
    assert networks.run("rare_producer", 10)["problem"] == ""  # usable after that
