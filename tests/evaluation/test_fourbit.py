# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Expert weights of four bits: what is rounded, how well, and what stays."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from m3vit_pynq.compiler import compile_checkpoint
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.compiler.checkpoint import load_checkpoint, read_meta
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import CheckpointError, FrameError
from m3vit_pynq.evaluation import fourbit
from m3vit_pynq.evaluation.predictors import FloatPredictor, IntegerPredictor
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel


@pytest.fixture(scope="module")
def micro():
    config = get_config("micro")
    return config, random_checkpoint(config, 7)


def values_in_units(row):
    """Distinct values of a row in units of its smallest positive size."""
    sizes = np.unique(np.abs(row[row != 0]))
    return row / sizes[0] if len(sizes) else row


def test_rows_have_at_most_fifteen_evenly_spaced_values():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(60, 400)).astype(np.float32)
    inputs = rng.normal(size=(1000, 400)) @ rng.normal(size=(400, 400))
    fed_back = fourbit.round_rows(weight, moment=inputs.T @ inputs / 1000)
    rounded = fourbit.round_rows(weight)
    assert rounded.dtype == fed_back.dtype == np.float32
    assert rounded.shape == fed_back.shape == weight.shape
    for row in (*rounded, *fed_back):
        assert len(np.unique(row)) <= 15
        units = values_in_units(row)
        assert np.allclose(units, np.rint(units), atol=1e-4)
        assert np.abs(units).max() < 7.5


def test_the_step_is_better_than_covering_the_range_and_nearly_the_best():
    """Against a brute-force search over a thousand steps, row by row."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(6, 300))
    weight[0, 0] = 12.0  # an outlier

    def error(row, step):
        return np.square(np.clip(np.round(row / step), -7, 7) * step - row).sum()

    steps = fourbit.row_steps(weight)
    for row, step in zip(weight, steps, strict=True):
        largest = np.abs(row).max()
        best = min(error(row, largest / 7 * k / 1000) for k in range(300, 1001))
        assert error(row, step) <= error(row, largest / 7)
        assert error(row, step) <= 1.15 * best


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, (3, 9), elements=st.floats(-10, 10, width=32)),
    st.integers(2, 8),
)
def test_no_weight_moves_further_than_clipping_and_half_a_step(weight, bits):
    step = fourbit.row_steps(weight, bits)[:, None]
    rounded = fourbit.round_rows(weight, bits)
    limit = (2 ** (bits - 1) - 1) * step
    clipped = np.clip(weight, -limit, limit)
    assert np.all(np.abs(rounded - clipped) <= step / 2 + 1e-5)
    assert np.all(np.sign(rounded) * np.sign(weight) >= 0)


def test_only_the_weights_of_experts_change(micro):
    config, checkpoint = micro
    narrow = fourbit.narrow_experts(config, checkpoint)
    assert narrow.keys() == checkpoint.keys()
    changed = {name for name in checkpoint if narrow[name] is not checkpoint[name]}
    assert changed == {
        f"backbone.blocks.{block}.mlp.experts.{layer}.weight"
        for block in (1, 3)
        for layer in ("htoh4", "h4toh")
    }
    for name in changed:
        difference = narrow[name] - checkpoint[name]
        ratio = np.square(checkpoint[name]).sum() / np.square(difference).sum()
        assert 15 < 10 * np.log10(ratio) < 25  # four bits of a bell-shaped distribution


def test_columns_of_the_first_layer_are_rounded_in_the_units_of_their_norm(micro):
    config, checkpoint = micro
    checkpoint = dict(checkpoint)
    gamma = np.ones(config.embed_dim, np.float32)
    gamma[5], gamma[6] = 100.0, 0.0
    checkpoint["backbone.blocks.1.norm2.weight"] = gamma
    name = "backbone.blocks.1.mlp.experts.htoh4.weight"
    narrow = fourbit.narrow_experts(config, checkpoint)[name]
    assert np.isfinite(narrow).all()
    relative = np.abs(narrow - checkpoint[name]) / np.abs(checkpoint[name]).mean()
    # The column that matters a hundred times more decides the steps.
    assert relative[:, :, 5].mean() < 0.05 * relative[:, :, 7].mean()


def test_feedback_keeps_the_outputs_closer():
    """On inputs whose channels move together, and that rounding has not seen."""
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(20, 96))
    seen, others = (rng.normal(size=(2000, 20)) @ mixing for _ in range(2))
    weight = rng.normal(size=(50, 96))
    errors = [
        np.square(others @ (fourbit.round_rows(weight, moment=moment) - weight).T).mean()
        for moment in (None, seen.T @ seen / len(seen))
    ]
    assert errors[1] < 0.25 * errors[0]


def test_moments_are_those_of_what_each_expert_reads(micro):
    config, checkpoint = micro
    frames = random_frames(config, 2, 3)
    moments = fourbit.expert_moments(config, checkpoint, frames)
    reads = {}
    for frame in frames:
        for task in config.task_names:
            values = {}
            result = FloatModel(config, checkpoint).run(frame, task, values.__setitem__)
            normed = values["backbone.blocks.3.norm2"]
            for token, chosen in enumerate(result.routing[3].experts):
                for expert in chosen:
                    reads.setdefault(int(expert), []).append(normed[token])
    every = np.concatenate([np.array(rows, np.float64) for rows in reads.values()])
    pooled = every.T @ every / len(every)
    found = moments.moments(3, "htoh4")
    assert len(found) == config.experts
    for expert, moment in enumerate(found):
        rows = np.array(reads.get(expert, np.zeros((0, config.embed_dim))), np.float64)
        expected = (rows.T @ rows + 64 * pooled) / (len(rows) + 64)
        assert np.allclose(moment, expected, rtol=1e-3, atol=1e-4)
    assert moments.moments(1, "h4toh")[0].shape == (config.expert_hidden,) * 2


def test_calibration_helps_the_whole_model(micro):
    config, checkpoint = micro
    variants = {
        "exact": checkpoint,
        "nearest": fourbit.narrow_experts(config, checkpoint),
        "fed back": fourbit.narrow_experts(config, checkpoint, frames=random_frames(config, 12, 1)),
    }
    results = {
        name: np.stack([
            FloatModel(config, arrays).run(frame, task).output.ravel()
            for frame in random_frames(config, 4, 99) for task in ("depth",)
        ])
        for name, arrays in variants.items()
    }  # fmt: skip
    errors = {name: np.square(values - results["exact"]).mean() for name, values in results.items()}
    assert errors["fed back"] < 0.8 * errors["nearest"]


def test_frames_of_another_size_are_refused(micro):
    with pytest.raises(FrameError, match="takes uint8"):
        fourbit.narrow_experts(*micro, frames=[np.zeros((9, 9, 3), np.uint8)])


def test_fewer_bits_are_worse_and_eight_are_good(micro):
    config, checkpoint = micro
    name = "backbone.blocks.3.mlp.experts.h4toh.weight"
    errors = [
        np.square(fourbit.narrow_experts(config, checkpoint, bits)[name] - checkpoint[name]).mean()
        for bits in (3, 4, 6, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


def test_a_rounded_checkpoint_compiles(micro):
    config, checkpoint = micro
    narrow = fourbit.narrow_experts(config, checkpoint)
    frames = random_frames(config, 2)
    package = compile_checkpoint(config, narrow, frames, progress=False)
    exact, integer = FloatPredictor(config, narrow), IntegerPredictor(package)
    image = random_frames(config, 1, 50)[0]
    assert np.mean(exact(image, "segmentation") == integer(image, "segmentation")) > 0.9


@pytest.mark.parametrize("bits", [1, 9, 0])
def test_bits_out_of_range(micro, bits):
    with pytest.raises(ValueError, match="from 2 to 8"):
        fourbit.narrow_experts(*micro, bits)


def test_a_dense_model_is_refused():
    config = get_config("micro", moe_blocks=())
    with pytest.raises(CheckpointError, match="has no experts"):
        fourbit.narrow_experts(config, random_checkpoint(config, 0))


def test_the_command_writes_a_checkpoint(micro, tmp_path, capsys):
    config, checkpoint = micro
    fourbit.save_checkpoint(tmp_path / "in.npz", config, checkpoint, {"licence": "for tests"})
    out = tmp_path / "new" / "out.npz"
    assert fourbit.main([str(tmp_path / "in.npz"), str(out), "--bits", "3"]) == 0
    found, arrays = load_checkpoint(out)
    assert found == config
    expected = fourbit.narrow_experts(config, checkpoint, 3)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
    assert read_meta(out) == {"licence": "for tests", "expert_bits": 3}
    assert [path.name for path in out.parent.iterdir()] == ["out.npz"]


def test_errors_are_one_line(micro, tmp_path, capsys):
    out = tmp_path / "out.npz"
    assert fourbit.main([str(tmp_path / "nothing.npz"), str(out)]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    fourbit.save_checkpoint(tmp_path / "in.npz", *micro, json.loads("{}"))
    assert fourbit.main([str(tmp_path / "in.npz"), str(out), "--bits", "12"]) == 2
    assert "from 2 to 8" in capsys.readouterr().err
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((32, 48, 3), np.uint8))
    arguments = [str(tmp_path / "in.npz"), str(out), "--calibration", str(folder)]
    assert fourbit.main(arguments) == 2
    assert "has 1 images to choose 24 frames from" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_calibrates(micro, tmp_path):
    config, checkpoint = micro
    fourbit.save_checkpoint(tmp_path / "in.npz", config, checkpoint, {})
    folder = tmp_path / "images"
    folder.mkdir()
    frames = random_frames(config, 3, 8)
    for name, frame in zip("abc", frames, strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), frame[:, :, ::-1])
    (tmp_path / "list.txt").write_text("a\nc\n")
    out = tmp_path / "out.npz"
    assert fourbit.main([
        str(tmp_path / "in.npz"), str(out), "--calibration", str(folder), "--frames", "2",
        "--list", str(tmp_path / "list.txt"),
    ]) == 0  # fmt: skip
    expected = fourbit.narrow_experts(config, checkpoint, frames=[frames[0], frames[2]])
    arrays = load_checkpoint(out)[1]
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
