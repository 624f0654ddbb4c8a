# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A package's float weights, had back."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from compiled_model import compiled

from m3vit_pynq.cli import main
from m3vit_pynq.compiler import load_checkpoint, made_up_package
from m3vit_pynq.compiler.build import compile_checkpoint, package_model, random_frames
from m3vit_pynq.compiler.checkpoint import read_meta
from m3vit_pynq.compiler.decode import decode_model
from m3vit_pynq.compiler.export import export_checkpoint, write_checkpoint
from m3vit_pynq.compiler.gauge import read_gauge, store_gauge
from m3vit_pynq.compiler.gelu_grids import table_grids
from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.compiler.layers import Linear
from m3vit_pynq.compiler.lower import draft, lower
from m3vit_pynq.compiler.lower_task import Plan
from m3vit_pynq.compiler.unfold import unfold, unfold_model, without_bias
from m3vit_pynq.config import get_config
from m3vit_pynq.errors import CheckpointError, PackageError
from m3vit_pynq.package import Package, shipped
from m3vit_pynq.reference.checkpoint import expected_shapes
from m3vit_pynq.reference.float_model import FloatModel

MICRO = get_config("micro")
VARIANTS = {
    "micro": ({}, {}),
    "noisy, per image, shared": ({"router": "noisy", "per_image": True, "shared_hidden": 64}, {}),
    "split experts": ({"expert_hidden": 128}, {"split_experts": True}),
    "dense": ({"moe_blocks": ()}, {}),
    "other shape": ({"embed_dim": 96, "heads": 3, "mlp_ratio": 3}, {}),
}


@pytest.fixture(scope="module", params=VARIANTS)
def case(request):
    changes, options = VARIANTS[request.param]
    return compiled(dataclasses.replace(MICRO, **changes), seed=1, **options)


def without_gauge(package):
    """What a package of before this entry has."""
    metadata = {key: value for key, value in package.metadata.items() if key != "gauge"}
    return Package(package.config, package.program, package.weights, metadata)


def decibels(exact, found):
    exact, found = (np.concatenate([np.ravel(a) for a in arrays]) for arrays in (exact, found))
    noise = np.sum((exact - found) ** 2, dtype=np.float64)
    return 10 * np.log10(max(np.sum(exact**2), 1e-30) / max(noise, 1e-30))


def passes(config, checkpoint, frames):
    """Residual stream after the last block, and the heads' maps, of every frame and task."""
    encoder, maps = [], []
    last = f"backbone.blocks.{config.depth - 1}.residual.mlp"
    for frame in frames:
        for task in config.task_names:
            seen = {}
            result = FloatModel(config, checkpoint).run(frame, task, seen.__setitem__)
            encoder.append(seen[last])
            maps.append(result.output)
    return encoder, maps


def test_the_export_computes_what_was_compiled(case):
    exact = passes(case.config, case.checkpoint, case.frames)
    for package in (case.package, without_gauge(case.package)):
        arrays = export_checkpoint(package)
        assert {name: array.shape for name, array in arrays.items()} == expected_shapes(case.config)
        assert all(array.dtype == np.float32 for array in arrays.values())
        found = passes(case.config, arrays, case.frames)
        assert decibels(exact[0], found[0]) > 30  # 39 to 48 measured
        assert decibels(exact[1], found[1]) > 30


def test_scales_that_cancel_do_not_matter(case):
    kept, natural = (
        passes(case.config, export_checkpoint(package), case.frames[:2])
        for package in (case.package, without_gauge(case.package))
    )
    assert decibels(kept[0], natural[0]) > 90
    assert decibels(kept[1], natural[1]) > 90


def test_with_its_gauge_an_export_has_the_checkpoints_own_weights(case):
    arrays = export_checkpoint(case.package)
    split = case.config.expert_hidden == 128
    for name, exact in case.checkpoint.items():
        if "norm" in name and name.endswith("weight"):
            assert decibels([exact], [arrays[name]]) > 60, name
        elif "w_gate" in name:
            assert decibels([exact], [arrays[name]]) > 30, name
        elif name.endswith("weight") and not (split and "experts" in name):
            assert decibels([exact], [arrays[name]]) > 26, name
    position = case.checkpoint["backbone.pos_embed"][0].copy()
    position[0] += case.checkpoint["backbone.cls_token"][0, 0]
    found = (
        arrays["backbone.pos_embed"][0] + np.eye(len(position), 1) * arrays["backbone.cls_token"]
    )
    assert decibels([position], [found]) > 60


def test_an_export_compiled_and_exported_again_stays_what_it_was(micro):
    first = export_checkpoint(without_gauge(micro.package))
    calibration = random_frames(MICRO, 4, 0)
    again = compile_checkpoint(MICRO, first, calibration, progress=False)
    second = export_checkpoint(again)
    exact, once, twice = (
        passes(MICRO, checkpoint, micro.frames) for checkpoint in (micro.checkpoint, first, second)
    )
    assert decibels(once[0], twice[0]) > 30
    assert decibels(exact[0], twice[0]) > decibels(exact[0], once[0]) - 4


def test_decoding_is_the_inverse_of_lowering(case):
    model = decode_model(case.package)
    lowered = lower(model)
    assert lowered.program.encode() == case.package.program
    assert np.array_equal(lowered.weights, case.package.weights)
    assert list(lowered.layers) == case.package.metadata["layers"]
    assert model.scales == case.model.scales
    for head, exact in zip(model.heads, case.model.heads, strict=True):
        if exact.out is not None:  # not in the program: made of the layer with int16 results
            assert np.array_equal(head.out.weights, exact.out.weights)
            assert np.array_equal(head.out.shift, exact.out.shift)
            assert np.abs(head.out.mult.astype(int) - exact.out.mult).max() <= 1


def test_packages_with_narrow_logits(micro):
    lowered = draft(micro.model, Plan(wide_logits=False)).finish()
    metadata = {"layers": list(lowered.layers), "scales": micro.model.scales}
    package = Package(MICRO, lowered.program.encode(), lowered.weights, metadata)
    exact = export_checkpoint(without_gauge(micro.package))
    for name, array in export_checkpoint(package).items():
        assert np.allclose(exact[name], array, rtol=1e-3, atol=1e-3 * np.abs(exact[name]).max()), (
            name
        )


def test_blocks_behind_the_last_tap_come_back_as_blocks_that_add_nothing():
    head = dataclasses.replace(MICRO.head, taps=(0, 1))
    case = compiled(dataclasses.replace(MICRO, head=head))
    arrays = export_checkpoint(case.package)
    assert {name: array.shape for name, array in arrays.items()} == expected_shapes(case.config)
    exact, found = (passes(case.config, c, case.frames) for c in (case.checkpoint, arrays))
    assert decibels(exact[1], found[1]) > 30
    seen = {}
    FloatModel(case.config, arrays).run(case.frames[0], 0, seen.__setitem__)
    for index in (2, 3):
        assert np.array_equal(
            seen[f"backbone.blocks.{index}.residual.mlp"], seen["backbone.blocks.1.residual.mlp"]
        )
    again = compile_checkpoint(case.config, arrays, case.frames[:2], progress=False)
    assert len(again.decoded.instructions) == len(case.package.decoded.instructions)


def test_made_up_integers_can_be_exported():
    package = made_up_package(MICRO, seed=3)
    arrays = export_checkpoint(package)
    code = decode_model(package)
    # The residual stream is in units of 1/1024; patches and positions have no grid in between.
    layer = code.patches
    factor = Fraction(int(layer.mult[5]), 2 ** int(layer.shift[5])) / 1024
    pixel = 255 * 0.229  # red: one step of a pixel is 1 / (255 std)
    want = float(factor) * int(layer.weights[5, 0]) * pixel
    assert arrays["backbone.patch_embed.proj.weight"][5, 0, 0, 0] == pytest.approx(want, rel=1e-5)
    assert arrays["backbone.pos_embed"][0, 7, 3] == pytest.approx(code.embedding[7, 3] / 1024)
    assert arrays["backbone.cls_token"][0, 0, 3] == pytest.approx(code.embedding[0, 3] / 1024)


def test_without_scales_the_epsilon_gives_the_unit(micro):
    arrays = export_checkpoint(without_gauge(micro.package))
    bare = dataclasses.replace(decode_model(micro.package), scales={}, grids={}, channels={})
    found = unfold_model(bare)["backbone.pos_embed"]
    assert decibels([arrays["backbone.pos_embed"]], [found]) > 20


def test_one_layer_by_hand():
    rng = np.random.default_rng(2)
    layer = Linear(
        "x", rng.integers(-127, 128, (5, 7), np.int8), rng.integers(-999, 999, 5).astype(np.int32),
        rng.integers(32768, 65536, 5).astype(np.uint16), rng.integers(18, 26, 5).astype(np.uint8),
    )  # fmt: skip
    source, target = (Grid(rng.uniform(0.01, 0.1, n), rng.normal(size=n)) for n in (7, 5))
    weight, bias = unfold(layer, source, target)
    integers = rng.integers(-128, 128, 7)
    real = integers * source.scale + source.offset
    for row in range(5):
        products = (int(w) * int(i) for w, i in zip(layer.weights[row], integers, strict=True))
        scale = Fraction(int(layer.mult[row]), 2 ** int(layer.shift[row]))
        result = scale * (sum(products) + int(layer.bias[row]))  # not rounded
        want = float(result) * target.scale[row] + target.offset[row]
        assert weight[row] @ real + bias[row] == pytest.approx(want, rel=1e-9)


def exact_gelu(x):
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def table_of(before, after):
    scaled = [
        (exact_gelu(before[0] * i + before[1]) - after[1]) / after[0] for i in range(-128, 128)
    ]
    return np.clip(np.rint(scaled), -128, 127).astype(np.int8), np.array(scaled)


@pytest.mark.parametrize("low", [-5.0, -3.4, -2.7, -1.5])
@pytest.mark.parametrize("high", [0.6, 3.0, 11.0, 45.0])
def test_a_gelu_table_tells_its_scales(low, high):
    ends = exact_gelu(max(low, -0.7518)), exact_gelu(high)
    before = (high - low) / 255, (high + low) / 2 + (high - low) / 510
    step = (ends[1] - ends[0]) / 255
    table, scaled = table_of(before, (step, sum(ends) / 2 + step / 2))
    found = table_grids(table)
    _, again = table_of(found.before, found.after)
    assert np.sqrt(np.mean((again - scaled) ** 2)) < 0.1  # of a step; rounding is 0.29
    if high < 20:  # far out a GELU is a ReLU, which has no scale
        assert found.before[0] == pytest.approx(before[0], rel=0.03)


def test_a_saturated_table_and_tables_that_are_none():
    table, scaled = table_of((0.05, 0.0), (0.024, 2.9))
    found = table_grids(table)
    _, again = table_of(found.before, found.after)
    inside = np.abs(scaled) < 120
    assert np.abs(again - scaled)[inside].max() < 0.3
    for wrong in (np.zeros(256), np.random.default_rng(0).integers(-128, 128, 256)):
        with pytest.raises(ValueError, match="table"):
            table_grids(wrong.astype(np.int8))


def test_biases_of_routers_move_into_the_norm():
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=(8, 32)) for _ in range(2)]
    biases = [rng.normal(size=8) + 5 for _ in range(2)]
    shift, rest = without_bias(weights, biases)
    assert rest is None
    token = rng.normal(size=32)
    for weight, bias in zip(weights, biases, strict=True):
        difference = weight @ (token + shift) - (weight @ token + bias)
        assert np.ptp(difference) < 2e-3  # a constant changes no routing
    # Three routers of 16 experts cannot all be served by 32 channels.
    shift, rest = without_bias(
        [rng.normal(size=(16, 32)) for _ in range(3)], [rng.normal(size=16) for _ in range(3)]
    )
    assert not shift.any()
    assert len(rest) == 3


def test_what_a_package_keeps_of_its_gauge(case):
    stored = json.loads(json.dumps(store_gauge(case.model)))
    grids, channels = read_gauge({"gauge": stored})
    for name, grid in grids.items():
        assert np.allclose(grid.scale, case.model.grids[name].scale, rtol=1e-6), name
        assert np.allclose(grid.offset, case.model.grids[name].offset, rtol=1e-6), name
    assert {name: order.tolist() for name, order in channels.items()} == {
        name: order.tolist() for name, order in case.model.channels.items()
    }
    assert read_gauge({}) == ({}, {})


@pytest.mark.parametrize(
    ("gauge", "message"),
    [
        ([], "no JSON object"),
        ({"a": 3}, "no JSON object"),
        ({"blocks.0.norm1": {"scale": "!", "offset": ""}}, "cannot be read"),
        ({"blocks.0.norm1": {}}, "cannot be read"),
        ({"blocks.0.norm1": {"scale": "AAAAAA==", "offset": "AAAAAA=="}}, "no scales"),  # 0
        ({"blocks.0.norm1": {"scale": "AADAfw==", "offset": "AAAAAA=="}}, "no scales"),  # NaN
        ({"blocks.0.norm1": {"scale": "AACAPw==", "offset": "AAAAAA=="}}, "has 1 channels"),
    ],
)
def test_a_damaged_gauge_is_named(micro, gauge, message):
    metadata = {**micro.package.metadata, "gauge": gauge}
    package = Package(MICRO, micro.package.program, micro.package.weights, metadata)
    with pytest.raises(PackageError, match=message):
        export_checkpoint(package)


# The command


@pytest.fixture
def file(micro, tmp_path):
    note = {"provenance": "made up", "licence": "none", "quality": {"frames": 1}}
    return package_model(micro.model, None, note).save(tmp_path / "micro.m3vit")


def test_command_writes_what_convert_reads(file, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    out = tmp_path / "float.npz"
    assert main(["export", str(file), "-o", str(out)]) == 0
    assert "micro" in capsys.readouterr().out
    config, arrays = load_checkpoint(out)
    assert config == MICRO
    assert set(arrays) == set(expected_shapes(MICRO))
    meta = read_meta(out)
    assert meta["provenance"].startswith("made up; ")
    assert meta["licence"] == "none"
    assert meta["exported"]["quality"] == {"frames": 1}
    assert not {"layers", "gauge", "scales", "quality"} & set(meta)
    before = out.read_bytes()
    assert main(["export", str(file), "-o", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["export", str(file), "-o", str(out), "--force"]) == 0
    assert out.read_bytes() == before  # no clock inside
    images = tmp_path / "images"
    images.mkdir()
    for index, frame in enumerate(random_frames(MICRO, 2)):
        cv2.imwrite(str(images / f"{index}.png"), frame)
    again = ["convert", str(out), str(tmp_path / "again.m3vit"), "--calibration", str(images)]
    assert main([*again, "--images", "2"]) == 0
    assert Package.load(tmp_path / "again.m3vit").metadata["exported"]["package"] == "micro"


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("none.m3vit", "a.npz", "no such file"),
        ("text.m3vit", "a.npz", "not a readable package"),
        ("micro.m3vit", "a.txt", "ends in .npz"),
        ("micro.m3vit", "none/a.npz", "no folder"),
        ("micro.m3vit", "folder.npz", "is a folder"),
    ],
)
def test_command_says_what_is_wrong(file, tmp_path, capsys, name, out, message):
    (tmp_path / "text.m3vit").write_text("hello")
    (tmp_path / "folder.npz").mkdir()
    assert main(["export", str(tmp_path / name), "-o", str(tmp_path / out)]) == 2
    assert message in capsys.readouterr().err


def test_numbers_that_are_none_are_refused(micro, tmp_path, capsys):
    flat = dataclasses.replace(MICRO, std=(1.0, 0.0, float("1e-320")))
    metadata = micro.package.metadata
    broken = Package(
        dataclasses.replace(MICRO, std=(math.inf, 0.2, 0.2)), micro.package.program,
        micro.package.weights, metadata,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="patch_embed"):
        export_checkpoint(broken)
    for scales in ({"residual": math.inf}, {"residual": -1.0}, {"residual": "1"}, 3):
        package = Package(
            MICRO, micro.package.program, micro.package.weights, {**metadata, "scales": scales}
        )
        with pytest.raises(PackageError, match=r"metadata\.scales"):
            export_checkpoint(package)
    unnamed = Package(MICRO, micro.package.program, micro.package.weights, {})
    with pytest.raises(PackageError, match="which layer is which"):
        export_checkpoint(unnamed)
    Package(flat, micro.package.program, micro.package.weights, metadata).save(
        tmp_path / "flat.m3vit"
    )
    assert main(["export", str(tmp_path / "flat.m3vit"), "-o", str(tmp_path / "x.npz")]) == 2
    assert "not finite" in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize(
    "rename",
    [
        lambda names: names[::-1],
        lambda names: [0] * len(names),
        lambda names: [["pos_embed"]] * len(names),
        lambda names: [name.replace("attn.qkv", "attn.proj") for name in names],
        lambda names: ["blocks.0.norm1" if name == "pos_embed" else name for name in names],
        lambda names: [name.replace("norm1", "norm2") for name in names],
    ],
)
def test_layers_that_are_not_what_their_names_say(micro, rename):
    metadata = {**micro.package.metadata, "layers": rename(micro.package.metadata["layers"])}
    package = Package(MICRO, micro.package.program, micro.package.weights, metadata)
    with pytest.raises((PackageError, CheckpointError), match=r"layer|cannot be exported"):
        export_checkpoint(package)


def test_a_write_that_fails_leaves_the_old_file(micro, tmp_path):
    out = tmp_path / "a.npz"
    out.write_text("old")
    with pytest.raises(ValueError):
        write_checkpoint(out, MICRO, {"x": np.array([{}], object)}, {})
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", shipped())
def test_shipped_packages_can_be_exported(name):
    package = Package.load(name)
    arrays = export_checkpoint(package)
    assert {n: a.shape for n, a in arrays.items()} == expected_shapes(package.config)
    gammas = np.concatenate([a for n, a in arrays.items() if "norm" in n and "weight" in n])
    assert 0.5 < np.abs(gammas).mean() < 2
