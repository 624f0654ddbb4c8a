# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rates, medians, and the line that people read; on a clock of the test's own."""

import pytest

from m3vit_pynq.live import markup
from m3vit_pynq.live.compose import Reading
from m3vit_pynq.live.figures import STALE, WINDOW, Figures, Median, Rate, Switch
from m3vit_pynq.live.status import Status
from m3vit_pynq.palette import palette
from m3vit_pynq.tasks import DepthScale


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_rate_is_over_the_last_events_and_gets_stale():
    clock = Clock()
    rate = Rate(clock)
    assert rate.value == 0
    for step in [1.0] * 5 + [0.05] * (WINDOW - 1):
        rate.tick()
        clock.now += step
    rate.tick()
    assert rate.value == pytest.approx(20.0)
    clock.now += STALE + 0.1
    assert rate.value == 0
    rate.tick()
    assert rate.value == 0  # one event is no rate, and the old ones do not count
    clock.now += 0.5
    rate.tick()
    assert rate.value == pytest.approx(2.0)


def test_a_median_forgets():
    median = Median()
    assert median.value is None
    for value in [1000.0] * 40 + [3.0, 5.0, 4.0] * (WINDOW // 3):
        median.add(value)
    assert median.value == 4.0


def test_the_line_of_an_emulated_board():
    figures = Figures()
    assert figures.line(True, "ZCU104") == "0.0 frames/s"
    figures.device.add(0.132)
    figures.modelled = 0.01884
    figures.end_to_end.add(0.3004)
    figures.switch = Switch(1, 0.0451)
    assert figures.line(True, "ZCU104", frozen=True).split("  |  ") == [
        "frozen", "device 132 ms emulated (18.8 ms modelled for ZCU104)", "end to end 300 ms",
        "last switch 1 frame, 45.1 ms",
    ]  # fmt: skip


def test_the_line_says_that_cycles_are_not_counted():
    figures = Figures()
    figures.device.add(0.132)
    line = figures.line(True, "ZCU104")
    assert line == "0.0 frames/s  |  device 132 ms emulated (cycles are not counted)"
    assert "counted" not in figures.line(False)  # on a board the time is the board's


def test_the_line_of_a_board():
    figures = Figures()
    figures.switch = Switch(2, 0.04)
    figures.device.add(0.0205)
    assert "device 20.5 ms  |  last switch 2 frames, 40.0 ms" in figures.line(False)
    figures.modelled = 0.0188  # a board that counts cycles knows best
    assert "device 18.8 ms" in figures.line(False)


@pytest.mark.parametrize(
    ("spent", "limit"),
    [
        ({"wait": 0.02, "capture": 0.01, "resize": 0.03}, "the emulated board"),
        ({"wait": 0.001, "capture": 0.05, "resize": 0.01, "device": 9.0}, "the source"),
        ({"wait": 0.0, "capture": 0.01, "resize": 0.005, "consumer": 0.02}, "this computer's own"),
    ],
)
def test_the_line_says_what_limits_it(spent, limit):
    """While the accelerator is waited for it is the limit, however long the rest takes."""
    figures = Figures()
    for count in (1, 2, 3):
        figures.spent({name: count * seconds for name, seconds in spent.items()})
    assert f"limited by {limit}" in figures.line(True)
    assert "limited" not in figures.line(True, frozen=True)
    figures.spent(spent)  # another stream: its totals begin again
    assert f"limited by {limit}" in figures.line(True)
    assert ("limited by the accelerator" in figures.line(False)) == ("board" in limit)


def test_the_line_tells_pictures_where_they_are_fewer():
    clock = Clock()
    figures = Figures()
    figures.results, figures.pictures = Rate(clock), Rate(clock)
    for number in range(20):
        figures.results.tick()
        if number % 2:
            figures.pictures.tick()
        clock.now += 0.05
    assert figures.line(True).startswith("20.0 frames/s  |  10.0 pictures/s shown")
    figures.pictures = figures.results
    assert "pictures" not in figures.line(True)


def test_the_legend_has_names_colours_and_shares():
    html = markup.legend([(0, 0.41), (3, 0.055)], "nyud39")
    r, g, b = palette("nyud39")[3]
    assert f"rgb({r},{g},{b})" in html and "wall" in html and "41%" in html and "bed" in html
    assert markup.legend([], "nyud39") == ""


def test_names_from_a_package_cannot_be_markup():
    from m3vit_pynq.labels import LabelSet

    labels = LabelSet("evil", ("<script>x</script>",))
    assert "<script>" not in markup.legend([(0, 1.0)], labels)
    assert "<b>" not in markup.message(Status("failed", "<b>"))
    assert "<i>" not in markup.readout([Reading('"<i>', "<i>")]).replace("<b", "")
    assert "<u>" not in markup.figures("<u>")


def test_the_scale_has_ticks_in_metres_and_a_mark():
    html = markup.depth_scale(DepthScale(1.0, 100.0), 10.0)
    assert 'class="m3vit-mark" style="left:50.0%"' in html
    assert 'style="left:50.0%">10</span>' in html
    assert "100 m</span>" in html
    assert "m3vit-mark" not in markup.depth_scale(DepthScale(), None)


def test_messages_tell_the_state():
    assert 'data-state="waiting"' in markup.message(Status("waiting", "x"))
    assert "m3vit-alert" in markup.message(Status("failed", "x"))
    assert "m3vit-alert" not in markup.message(Status("running", "x"))
    assert "One. Two</div>" in markup.message(Status("running", "one"), "two")
