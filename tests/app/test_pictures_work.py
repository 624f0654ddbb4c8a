# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products and bytes by kind of layer, against the shape of the model."""

import pytest
from drawn_figures import nothing_is_cut_off, words
from shape_arithmetic import encoder_macs, head_macs

from m3vit_pynq import pictures
from m3vit_pynq.analysis.workload import task_workload
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.config import get_config
from m3vit_pynq.inspection import expert_choices

CONFIG = get_config("micro")
FRAME = random_frames(CONFIG, 1, seed=4)[0]
TASKS = CONFIG.task_names


@pytest.mark.parametrize("task", CONFIG.tasks, ids=lambda task: task.name)
def test_products_are_those_of_the_shape(package, task):
    kinds = pictures.work_by_kind(package, task.name)
    head = head_macs(CONFIG, task.outputs)
    assert kinds["task head"].macs == head
    assert sum(w.macs for w in kinds.values()) == encoder_macs(CONFIG, CONFIG.top_k) + head
    tokens, width, hidden = 25, 64, CONFIG.expert_hidden
    assert kinds["experts"].macs == 2 * tokens * 2 * CONFIG.top_k * width * hidden
    assert kinds["layer norm"].macs == 0
    ordered = [w.macs for w in kinds.values()]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("task", TASKS)
def test_bytes_are_those_of_the_program(package, task):
    """END moves nothing; everything else belongs to one kind."""
    kinds = pictures.work_by_kind(package, task)
    whole = task_workload(package.decoded, package.task(task).index)
    assert sum(w.dram_bytes for w in kinds.values()) == whole.dram_bytes
    assert sum(w.weight_bytes for w in kinds.values()) == whole.weight_bytes
    assert kinds["patch embedding"].frame_bytes == 32 * 48 * 3
    assert kinds["task head"].output_bytes >= package.task(task).output_bytes


def test_experts_without_tokens_are_not_read(package):
    """Expert by expert, from the choices of one frame."""
    seen = expert_choices(package, FRAME, "depth")
    used = {c.layer: len(set(c.experts.ravel().tolist())) for c in seen.choices}
    every = pictures.work_by_layer(package, "depth")
    real = pictures.work_by_layer(package, "depth", seen)
    hidden = CONFIG.expert_hidden
    one = {"up": hidden * (16 + 64) + 256, "down": 64 * (16 + 64 * -(-hidden // 64))}
    for block, count in used.items():
        for part, size in one.items():
            layer = f"{block}.experts.{part}"
            assert real[layer].weight_bytes == count * size
            assert every[layer].weight_bytes == CONFIG.experts * size
            assert real[layer].macs == every[layer].macs
    others = [layer for layer in every if ".experts." not in layer]
    assert all(every[layer] == real[layer] for layer in others)
    with pytest.raises(ValueError, match="of task 'depth', not of 'segmentation'"):
        pictures.work_by_kind(package, "segmentation", seen)


def test_bars_and_table_are_the_work(package):
    kinds = pictures.work_by_kind(package, "segmentation")
    figure = pictures.work_bars(package, "segmentation")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.containers[0]] == pytest.approx(
        [w.macs / 1e9 for w in kinds.values()]
    )
    ends = [bar.get_x() + bar.get_width() for bar in right.containers[-1]]
    assert ends == pytest.approx([w.dram_bytes / 1e6 for w in kinds.values()])
    total = sum(w.dram_bytes for w in kinds.values()) / 1e6
    assert f"{total:.1f} MB, each line once" in words(figure)
    assert nothing_is_cut_off(figure)
    table = pictures.work_table(package, "segmentation")
    assert [row[0] for row in table.rows] == [*kinds, "all"]
    macs = [float(row[1].replace(",", "")) for row in table.rows]
    assert sum(macs[:-1]) == pytest.approx(macs[-1], abs=0.05 * len(macs))
