# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""When pictures may be sent, on a clock of the test's own."""

import itertools
import math

import pytest

from m3vit_pynq.live.pacing import ASK_FIRST, ASK_MOST, BUSY_MOST, BUSY_RATE, PATIENCE, Pacer


def simulate(pacer, seconds, latency=None, step=0.005, busy=False):
    """Send whenever allowed; answers arrive `latency` later. Returns sent and asked times."""
    sent, asked, answers = [], [], []
    for tick in range(round(seconds / step)):
        now = tick * step
        while answers and answers[0][0] <= now:
            pacer.answered(answers.pop(0)[1])
        if pacer.ready_in(now, busy) <= 0:
            pacer.sent(len(sent) + 1, now, busy)
            sent.append(now)
            if latency is not None:
                answers.append((now + latency, len(sent)))
        elif pacer.ask_in(now) <= 0:
            pacer.asked(now)
            asked.append(now)
    return sent, asked


def test_the_rate_is_a_cap():
    sent, _ = simulate(Pacer(rate=10.0), 3.0, latency=0.01)
    assert 28 <= len(sent) <= 31
    assert min(b - a for a, b in itertools.pairwise(sent)) >= 0.1 - 1e-9


def test_without_acknowledgement_only_the_rate_counts():
    pacer = Pacer(rate=20.0, acknowledged=False)
    sent, asked = simulate(pacer, 5.0)
    assert 98 <= len(sent) <= 101 and asked == []
    assert len(pacer._under_way) == 0


def test_a_slow_browser_gets_two_pictures_per_round_trip():
    sent, asked = simulate(Pacer(rate=30.0), 8.0, latency=0.8)
    assert abs(len(sent) - 2 * 8.0 / 0.8) <= 3
    assert asked == []


def test_a_closed_tab_gets_two_pictures_and_then_ever_fewer_questions():
    sent, asked = simulate(Pacer(rate=15.0), 600.0, step=0.05)
    assert len(sent) == 2
    assert asked[0] == pytest.approx(sent[-1] + PATIENCE, abs=0.1)
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert gaps[0] == pytest.approx(ASK_FIRST, abs=0.1)
    assert gaps[-1] == pytest.approx(ASK_MOST, abs=0.1)
    assert len(asked) < 30


def test_an_answer_to_a_question_opens_the_way():
    pacer = Pacer()
    pacer.sent(1, 0.0)
    pacer.sent(2, 0.1)
    assert pacer.waiting and pacer.ready_in(100.0) == math.inf
    pacer.asked(100.0)
    pacer.answered(2)
    assert not pacer.waiting and pacer.ready_in(101.0) == 0


def test_an_answer_settles_what_came_before_and_nothing_after():
    pacer = Pacer()
    pacer.sent(5, 1.0)
    pacer.sent(6, 1.2)
    assert pacer.answered(6) == 1.2
    assert not pacer._under_way
    pacer.sent(7, 2.0)
    pacer.sent(8, 2.2)
    pacer.answered(7)
    pacer.answered(3)  # late, or made up
    assert list(pacer._under_way) == [8]


def test_while_a_cell_runs_pictures_go_on_slowly_and_not_for_ever():
    sent, _ = simulate(Pacer(rate=15.0), 300.0, busy=True, step=0.02)
    assert len(sent) == 2 + BUSY_MOST
    assert sent[50] - sent[49] == pytest.approx(1 / BUSY_RATE, abs=0.05)


def test_a_new_viewer_is_sent_to_at_once():
    pacer = Pacer()
    simulate(pacer, 50.0)
    assert pacer.waiting
    pacer.reset()
    assert pacer.ready_in(51.0) == 0


@pytest.mark.parametrize("rate", [0, -3.0, float("nan")])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="above 0"):
        Pacer(rate=rate)
