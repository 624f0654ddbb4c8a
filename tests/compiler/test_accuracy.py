# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole models: the integer machine against the float model."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from compiled_model import compiled

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.compiler import random_package
from m3vit_pynq.compiler.build import package_model, random_frames
from m3vit_pynq.compiler.lower import draft
from m3vit_pynq.compiler.lower_task import Plan
from m3vit_pynq.compiler.report import Agreement, Power, chosen_experts, measure, near_ties
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import FrameError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.reference.machine import Machine


@pytest.fixture(scope="module")
def quality(micro):
    return measure(micro.model, micro.package, micro.exact, micro.frames, progress=False)


def test_encoder_and_routing(quality):
    assert quality.encoder.sqnr_db > 30
    assert quality.agreement.fraction >= 0.98
    assert quality.agreement.fraction_clear >= quality.agreement.fraction
    assert quality.agreement.pairs == 4 * 2 * 2 * 25


def test_every_layer_is_measured(micro, quality):
    layers = micro.package.metadata["layers"]
    silent = {"pos_embed", "patches", "end"}
    expected = {
        name.removesuffix(".down")  # the residual stream with what the experts added
        for name in layers
        if name not in silent and not name.endswith((".output", ".gate", ".up"))
    }
    assert {layer for _, layer in quality.layers} == expected
    # GELU of the channels with the least reach is small; everything else is well above.
    for (task, layer), power in quality.layers.items():
        assert power.sqnr_db > (12 if ".fc1" in layer else 25), (task, layer)


def test_outputs(quality):
    assert quality.outputs["segmentation"] > 0.95
    assert quality.outputs["depth"] < 0.01


def test_the_measured_encoder_sqnr_is_that_of_the_residual_stream(micro, quality):
    signal = noise = 0.0
    machine = Machine()
    machine.load(micro.package.program, micro.package.weights)
    residual = []

    def observe(pc, i, machine):
        if i.opcode == Opcode.LAYERNORM:
            residual[:] = [machine.read_residual(i.src, i.rows, i.src_stride, i.cols_in).copy()]

    machine.observer = observe
    for task in (0, 1):
        for frame in micro.frames:
            machine.run(task, frame)
            seen = {}
            micro.exact.run(frame, task, seen.__setitem__)
            exact = seen["backbone.blocks.3.residual.mlp"].astype(float)
            real = residual[0] * micro.package.metadata["scales"]["residual"]
            signal += np.sum(exact**2)
            noise += np.sum((real - exact) ** 2)
    assert np.isclose(quality.encoder.sqnr_db, 10 * np.log10(signal / noise), atol=0.01)


def test_report_as_data_table_and_csv(quality, tmp_path):
    summary = quality.summary()
    assert summary["encoder_sqnr_db"] == round(quality.encoder.sqnr_db, 2)
    assert summary["routing_agreement"] == round(quality.agreement.fraction, 5)
    assert len(summary["layer_sqnr_db"]) == len(quality.layers)
    quality.write_csv(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["task"], r["layer"]) for r in rows] == list(quality.layers)
    routed = [r for r in rows if r["routing_agreement"]]
    assert len(routed) == len(quality.routing) == 4
    assert "whole encoder" in quality.table()


@pytest.mark.parametrize(
    "changes",
    [
        {"moe_blocks": ()},
        {"router": "noisy"},
        {"per_image": True},
        {"shared_hidden": 96},
        {"top_k": 8},
        {"top_k": 4, "expert_hidden": 64},
        {"heads": 4, "mlp_ratio": 2, "moe_blocks": (0, 1, 2, 3)},
        {"embed_dim": 96, "heads": 3, "expert_hidden": 80},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_members_of_the_family(changes):
    model = compiled(get_config("micro", **changes))
    quality = measure(model.model, model.package, model.exact, model.frames[:2], progress=False)
    assert quality.encoder.sqnr_db > 28
    assert quality.agreement.fraction > 0.97
    assert quality.outputs["segmentation"] > 0.92
    assert quality.outputs["depth"] < 0.015
    assert quality.layers["depth", "blocks.2.attn.qkv"].sqnr_db > 25


def test_split_experts(micro):
    """Both parts of an expert add up; only their sum is compared."""
    split = compiled(micro.config, split_experts=True)
    quality = measure(split.model, split.package, split.exact, split.frames, progress=False)
    layers = split.package.metadata["layers"]
    assert {f"blocks.1.experts.{p}.{half}" for p in "01" for half in ("up", "down")} <= set(layers)
    assert quality.encoder.sqnr_db > 28
    assert ("depth", "blocks.3.experts.1") in quality.layers
    assert ("depth", "blocks.3.experts.0") not in quality.layers


def test_a_gate_bias_moves_the_routing():
    config = get_config("micro")
    checkpoint = random_checkpoint(config)
    bias = np.zeros(config.experts, np.float32)
    bias[3] = 40.0
    checkpoint["backbone.blocks.1.mlp.gate.1.bias"] = bias
    from m3vit_pynq.compiler.quantise import quantise

    model = quantise(config, checkpoint, random_frames(config, 2), progress=False)
    package = package_model(model)
    machine = Machine()
    machine.load(package.program, package.weights)
    queues = {}

    def observe(pc, i, machine):
        if i.opcode == Opcode.EXPERTS_UP:
            queues[package.metadata["layers"][pc]] = machine.queues(i)

    machine.observer = observe
    frame = random_frames(config, 1, 9)[0]
    machine.run(1, frame)
    assert len(queues["blocks.1.experts.up"][3].tokens) == config.tokens
    quality = measure(model, package, FloatModel(config, checkpoint), [frame], progress=False)
    assert quality.agreement.fraction > 0.97


def test_narrow_logits(micro):
    """Class logits as int8 where a board has no room for int16."""
    lowered = draft(micro.model, Plan(wide_logits=False)).finish()
    package = Package(
        micro.config, lowered.program.encode(), lowered.weights, {"layers": list(lowered.layers)}
    )
    narrow = measure(micro.model, package, micro.exact, micro.frames, progress=False)
    key = ("segmentation", "segmentation.out")
    assert narrow.layers[key].sqnr_db > 25
    assert narrow.outputs["segmentation"] > 0.93


def test_random_packages():
    config = get_config("micro")
    first, again, other = (random_package(config, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.weights, again.weights)
    assert first.program == again.program
    assert not np.array_equal(first.weights, other.weights)


def test_calibration_frames_are_checked():
    config = get_config("micro")
    from m3vit_pynq.compiler.quantise import quantise

    checkpoint = random_checkpoint(config)
    good = random_frames(config, 1)[0]
    for bad, message in (
        ([], "at least one"),
        ([good, good[:-1]], "frame 1"),
        ([good.astype(np.float32)], "float32"),
        ([good[:, :, :1]], "needs uint8"),
    ):
        with pytest.raises(FrameError, match=message):
            quantise(config, checkpoint, bad, progress=False)


# The figures themselves


def test_power():
    power = Power()
    power.add(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    power.add(np.array([0.0]), np.array([0.0]))
    assert np.isclose(power.sqnr_db, 10 * np.log10(25 / 0.25))
    assert Power(1.0, 0.0).sqnr_db == float("inf")


def test_agreement_counts_sets_and_leaves_near_ties_out():
    logits = np.array([[9.0, 5, 1, 0], [9, 5, 4.99, 0], [0, 1, 5, 9]])
    assert near_ties(logits, 2).tolist() == [False, True, False]
    same = Agreement()
    same.add(np.array([[1, 0], [0, 2], [3, 1]]), np.array([[0, 1], [0, 1], [3, 2]]), logits)
    assert (same.same, same.pairs, same.same_clear, same.clear) == (1, 3, 1, 2)
    assert (same + same).fraction == pytest.approx(1 / 3)
    assert not near_ties(logits[:, :2], 2).any()


def test_chosen_experts_are_read_from_the_records(micro):
    machine = Machine()
    machine.load(micro.package.program, micro.package.weights)
    chosen, queues = [], []

    def observe(pc, i, machine):
        if i.opcode == Opcode.GATE:
            chosen.append(chosen_experts(i, machine))
        if i.opcode == Opcode.EXPERTS_DOWN:
            queues.append(machine.queues(i))

    machine.observer = observe
    machine.run(0, micro.frames[0])
    assert len(chosen) == len(queues) == 2
    for experts, queue in zip(chosen, queues, strict=True):
        assert experts.shape == (25, 2)
        for expert in range(micro.config.experts):
            tokens = np.nonzero((experts == expert).any(axis=1))[0]
            assert tokens.tolist() == queue[expert].tokens.tolist()


def test_twelve_bit_probabilities(micro):
    fine = compiled(micro.config, passes=2)
    quality = measure(fine.model, fine.package, fine.exact, fine.frames, progress=False)
    assert quality.encoder.sqnr_db > 30
    assert quality.outputs["depth"] < 0.01
    with pytest.raises(ValueError, match="passes is 1 or 2, not 3"):
        compiled(micro.config, passes=3)
