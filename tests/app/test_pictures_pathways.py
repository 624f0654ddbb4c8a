# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Choices of experts and the ways of two tasks: every pixel and number by its definition."""

import itertools

import numpy as np
import pytest
from drawn_figures import nothing_is_cut_off, pixels, words

from m3vit_pynq import pictures
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.inspection import ExpertChoice, Inspection, expert_choices
from m3vit_pynq.palette import palette

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]
TASKS = CONFIG.task_names


@pytest.fixture(scope="module")
def inspections(package):
    return [expert_choices(package, FRAME, task) for task in TASKS]


# Pathways


def test_the_expert_map_is_tint_over_grey(inspections):
    """Pixel by pixel, from the definition."""
    choice = inspections[0].choices[0]
    drawn = pictures.expert_map(FRAME, choice)
    rows, columns = CONFIG.grid
    colours = palette("").astype(float)
    for y, x in itertools.product(range(0, 32, 3), range(0, 48, 5)):
        token = 1 + (y // 8) * columns + x // 8
        tint = colours[choice.experts[token, 0]]
        red, green, blue = FRAME[y, x].astype(float)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        np.testing.assert_allclose(drawn[y, x], 0.7 * tint + 0.3 * grey, atol=1.0)
    assert drawn.shape == FRAME.shape and rows * columns + 1 == len(choice.experts)


def test_loads_are_counts_of_choices(inspections):
    loads = pictures.expert_loads(inspections)
    for task, layer, expert in np.ndindex(loads.shape):
        experts = inspections[task].choices[layer].experts.tolist()
        assert loads[task, layer, expert] == sum(row.count(expert) for row in experts)
    assert loads.shape == (2, len(CONFIG.moe_blocks), CONFIG.experts)


def test_experts_in_common_and_same_company(inspections):
    found = pictures.compare(*inspections)
    assert found.tasks == TASKS and found.by_chance == CONFIG.top_k / CONFIG.experts
    assert found.layers == tuple(f"blocks.{b}" for b in CONFIG.moe_blocks)
    for layer, (a, b) in enumerate(zip(*(i.choices for i in inspections), strict=True)):
        one, two = (
            [set(row) for row in a.experts.tolist()],
            [set(row) for row in b.experts.tolist()],
        )
        shared = [len(x & y) / CONFIG.top_k for x, y in zip(one, two, strict=True)]
        np.testing.assert_allclose(found.shared[layer], shared)
        for token in range(CONFIG.tokens):
            others = [t for t in range(CONFIG.tokens) if t != token]
            company = [[len(way[token] & way[t]) for t in others] for way in (one, two)]
            if np.ptp(company[0]) and np.ptp(company[1]):
                expected = np.corrcoef(company)[0, 1]
                assert found.alike[layer, token] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(found.alike[layer, token])
    patches = found.on_patches(found.shared)
    assert patches[0, 1, 2] == found.shared[0, 1 + CONFIG.grid[1] + 2]


def choice(experts: list[list[int]]) -> ExpertChoice:
    """A layer with four experts over one row of patches."""
    chosen = np.array(experts)
    return ExpertChoice(
        "blocks.1", chosen, np.ones(chosen.shape, np.float32), 4, (1, len(experts) - 1)
    )


def seen(task: str, *layers: list[list[int]]) -> Inspection:
    frame = np.zeros((8, 24, 3), np.uint8)
    return Inspection(task, frame, frame[:, :, 0], tuple(map(choice, layers)))


def test_the_comparison_knows_the_extremes():
    halves = [[0, 1], [0, 1], [2, 3], [2, 3]]
    crossed = [[0, 2], [1, 3], [0, 2], [1, 3]]  # other pairs, one expert in common
    renamed = [[2, 3], [2, 3], [0, 1], [0, 1]]  # the same parts by other experts
    first = seen("a", halves)
    same, other, swapped = (
        pictures.compare(first, seen("b", w)) for w in (halves, crossed, renamed)
    )
    assert same.shared.min() == 1 and np.allclose(same.alike, 1)
    assert np.allclose(other.shared, 0.5) and np.allclose(other.alike, -0.5)
    assert swapped.shared.max() == 0 and np.allclose(swapped.alike, 1)
    alone = pictures.compare(first, seen("b", [[0, 1]] * 4))
    assert np.isnan(alone.alike).all()
    assert alone.table().rows[-1] == ("all", "50%", "nan")
    assert pixels(pictures.comparison_picture(first.frame, alone)).size


def test_the_table_of_the_comparison(inspections):
    found = pictures.compare(*inspections)
    table = found.table()
    assert [row[0] for row in table.rows] == ["block 1", "block 3", "all"]
    assert table.rows[0][1] == f"{100 * sum(found.shared[0]) / CONFIG.tokens:.0f}%"
    assert "by chance 25%" in table.header[1]


def test_pictures_of_pathways(inspections):
    figure = pictures.expert_picture(inspections)
    shown = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    wanted = [
        picture
        for inspection in inspections
        for picture in (FRAME, *(pictures.expert_map(FRAME, c) for c in inspection.choices))
    ]
    assert len(shown) == len(wanted)
    for a, b in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    legend = [text for text in words(figure) if text.isdigit()]
    assert legend == [str(expert) for expert in range(CONFIG.experts)]
    used = len(np.unique(inspections[0].choices[0].experts))
    assert f"block 1: {used} used" in words(figure)
    loads = pictures.load_picture(inspections)
    table = pictures.expert_loads(inspections)
    for axes, task in zip(loads.axes, table, strict=True):
        np.testing.assert_array_equal(axes.get_images()[0].get_array(), task)
        assert [int(t.get_text()) for t in axes.texts] == task.ravel().tolist()
    found = pictures.compare(*inspections)
    drawn = [
        a.get_images()[0].get_array() for a in pictures.comparison_picture(FRAME, found).axes[:6]
    ]
    np.testing.assert_array_equal(drawn[1], found.shared[0, 1:].reshape(CONFIG.grid))
    np.testing.assert_array_equal(drawn[5], found.alike[1, 1:].reshape(CONFIG.grid))


def test_inspections_that_do_not_go_together():
    one, two = seen("a", [[0, 1]] * 4), seen("b", [[0, 1]] * 5)
    with pytest.raises(ValueError, match="same package"):
        pictures.compare(one, two)
    with pytest.raises(ValueError, match="no layers with experts"):
        pictures.expert_picture([seen("a"), seen("b")])
    with pytest.raises(ValueError, match="expert_choices"):
        pictures.load_picture([])


def test_pictures_of_pathways_fill_their_card(inspections):
    for figure in (
        pictures.expert_picture(inspections),
        pictures.load_picture(inspections),
        pictures.comparison_picture(FRAME, pictures.compare(*inspections)),
    ):
        assert nothing_is_cut_off(figure)
    assert pictures.show(pictures.load_picture(inspections)).format == "png"
    assert pictures.show(pictures.expert_picture(inspections)).format == "jpeg"  # photographs
