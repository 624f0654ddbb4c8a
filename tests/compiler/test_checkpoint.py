# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints from disk, and the command line that compiles them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from m3vit_pynq.abi.isa import Opcode
from m3vit_pynq.compiler import load_checkpoint
from m3vit_pynq.compiler.__main__ import choose, main
from m3vit_pynq.compiler.build import random_frames
from m3vit_pynq.compiler.checkpoint import fold_task_embedding, read_meta
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import CheckpointError
from m3vit_pynq.package import Package
from m3vit_pynq.reference.checkpoint import random_checkpoint


@pytest.fixture(scope="module")
def arrays():
    config = get_config("micro")
    return {
        **random_checkpoint(config),
        "__config__": np.array(json.dumps(config.to_dict())),
        "__meta__": np.array(json.dumps({"provenance": "made up"})),
    }


@pytest.fixture
def write(arrays, tmp_path):
    def save(**changes):
        path = tmp_path / "model.npz"
        content = {**arrays, **changes}
        np.savez(path, **{name: value for name, value in content.items() if value is not None})
        return path

    return save


def test_round_trip(arrays, write):
    config, loaded = load_checkpoint(write())
    assert config == get_config("micro")
    assert set(loaded) == set(arrays) - {"__config__", "__meta__"}
    assert all(np.array_equal(loaded[name], arrays[name]) for name in loaded)
    assert read_meta(write()) == {"provenance": "made up"}
    assert read_meta(write(__meta__=None)) == {}


def test_half_precision_and_json_as_bytes_are_fine(arrays, write):
    name = "backbone.pos_embed"
    text = np.frombuffer(str(arrays["__config__"]).encode(), np.uint8)
    config, loaded = load_checkpoint(
        write(**{name: arrays[name].astype(np.float16), "__config__": text})
    )
    assert config.name == "micro"
    assert loaded[name].dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"__config__": None}, "no entry __config__"),
        ({"__config__": np.array("{")}, "__config__ is not JSON"),
        ({"__config__": np.array("[1]")}, "no JSON object"),
        ({"__config__": np.array('{"name": "x"}')}, "describes no model"),
        ({"backbone.cls_token": None}, "lacks backbone.cls_token"),
        ({"backbone.cls_token": np.zeros((1, 1, 3), np.float32)}, r"cls_token is \[1, 1, 3\]"),
        ({"backbone.cls_token": np.zeros((1, 1, 64), np.int64)}, "int64, not floating"),
        ({"backbone.cls_token": np.full((1, 1, 64), np.nan, np.float32)}, "not finite"),
        ({"backbone.cls_token": np.array([{}], dtype=object)}, "not a readable checkpoint"),
        (
            {"backbone.blocks.1.mlp.gate.0.bias": np.zeros(3, np.float32)},
            r"gate.0.bias is \[3\]",
        ),
    ],
)
def test_errors_name_the_array(write, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(write(**changes))


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(CheckpointError, match="not a readable"):
        load_checkpoint(tmp_path / "text.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match="single array"):
        load_checkpoint(tmp_path / "single.npy")


def test_a_truncated_file(write):
    path = write()
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(CheckpointError, match="not a readable"):
        load_checkpoint(path)


def test_task_embeddings_fold_into_biases():
    rng = np.random.default_rng(0)
    gate, embeddings, token = rng.normal(size=(20, 8)), rng.normal(size=(3, 4)), rng.normal(size=16)
    for embedding, (weight, bias) in zip(
        embeddings, fold_task_embedding(gate, embeddings), strict=True
    ):
        assert np.allclose(token @ weight + bias, np.concatenate([token, embedding]) @ gate)
    with pytest.raises(ValueError, match="4 rows"):
        fold_task_embedding(gate[:4], embeddings)


def test_chosen_images_are_apart():
    paths = list(range(100))
    calibration, check = choose(paths, 12, 4)
    assert len(calibration) == 12
    assert len(check) == 4
    assert not set(calibration) & set(check)
    with pytest.raises(ValueError, match="not enough"):
        choose(paths[:10], 8, 4)
    assert choose(paths, 3, 0)[1] == []


@pytest.fixture
def images(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "images"
    folder.mkdir()
    for index, frame in enumerate(random_frames(get_config("micro", image_size=(64, 96)), 6)):
        cv2.imwrite(str(folder / f"{index:02}.png"), frame)
    return folder


def test_command_line(write, images, tmp_path, capsys):
    out, report = tmp_path / "x.m3vit", tmp_path / "x.csv"
    status = main(
        [
            str(write()), "--calibration", str(images), "--out", str(out), "--board", "pynq-z2",
            "--frames", "4", "--check", "2", "--report", str(report),
        ]
    )  # fmt: skip
    assert status == 0
    package = Package.load(out)
    assert package.metadata["provenance"] == "made up"
    assert package.metadata["quality"]["frames"] == 2
    assert package.metadata["quality"]["encoder_sqnr_db"] > 25
    assert report.read_text().startswith("task,layer,sqnr_db")
    assert "whole encoder" in capsys.readouterr().out


@pytest.mark.parametrize("passes", [1, 2])
def test_passes_of_attention(write, images, tmp_path, passes):
    out = tmp_path / "x.m3vit"
    options = ["--passes", "2"] if passes == 2 else []
    common = ["--calibration", str(images), "--out", str(out), "--quiet", "--frames", "2"]
    assert main([str(write()), *common, "--check", "0", *options]) == 0
    attention = [i for i in Package.load(out).decoded.instructions if i.opcode == Opcode.ATTENTION]
    assert {i.passes for i in attention} == {passes}


def test_command_line_errors(write, images, tmp_path, capsys):
    out = tmp_path / "x.m3vit"
    common = ["--calibration", str(images), "--out", str(out), "--quiet"]
    assert main([str(tmp_path / "none.npz"), *common]) == 1
    assert main([str(write()), *common, "--frames", "400"]) == 1
    assert main([str(write()), "--calibration", str(tmp_path / "no"), "--out", str(out)]) == 1
    errors = capsys.readouterr().err
    assert "no such checkpoint" in errors
    assert "not enough" in errors
    assert not out.exists()
