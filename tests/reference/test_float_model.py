# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The float model against a second one that loops, and its parts against their definitions."""

import math

import numpy as np
import pytest

from m3vit_pynq.config import HeadConfig, ModelConfig, TaskConfig, get_config
from m3vit_pynq.errors import FrameError
from m3vit_pynq.reference.checkpoint import (
    expected_shapes,
    gate_bias_name,
    random_checkpoint,
    validate_checkpoint,
)
from m3vit_pynq.reference.float_model import FloatModel, bilinear, convolve3x3, gelu

SMALL = get_config(
    "micro", image_size=(16, 24), embed_dim=32, depth=2, heads=2, experts=4, top_k=2,
    expert_hidden=24, moe_blocks=(1,), head=HeadConfig(taps=(0, 1), channels=(12, 8)),
    tasks=(TaskConfig("segmentation", "segmentation", 5), TaskConfig("depth", "depth", 1)),
)  # fmt: skip


def frame_of(config, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*config.image_size, 3), dtype=np.uint8)


class LoopingModel:
    """The same network token by token and pixel by pixel, in Python floats."""

    def __init__(self, config, checkpoint, task):
        self.c, self.p, self.t = config, checkpoint, task
        self.routing = {}

    def matvec(self, name, x):
        weight, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
        return [math.fsum(map(float, w * x)) + float(b) for w, b in zip(weight, bias, strict=True)]

    def norm(self, name, x):
        mean = math.fsum(x) / len(x)
        variance = math.fsum((v - mean) ** 2 for v in x) / len(x)
        weight, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
        root = math.sqrt(variance + self.c.layernorm_eps)
        return [(v - mean) / root * w + b for v, w, b in zip(x, weight, bias, strict=True)]

    @staticmethod
    def activate(x):
        return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])

    @staticmethod
    def soften(x):
        powers = [math.exp(v - max(x)) for v in x]
        return [p / sum(powers) for p in powers]

    def tokens(self, frame):
        size, (rows, columns) = self.c.patch_size, self.c.grid
        weight = self.p["backbone.patch_embed.proj.weight"]
        bias = self.p["backbone.patch_embed.proj.bias"]
        position = self.p["backbone.pos_embed"][0]
        out = [self.p["backbone.cls_token"][0, 0] + position[0]]
        for gy in range(rows):
            for gx in range(columns):
                token = np.array(bias, float)
                for d in range(self.c.embed_dim):
                    for c in range(3):
                        for ky in range(size):
                            for kx in range(size):
                                pixel = frame[gy * size + ky, gx * size + kx, c] / 255
                                pixel = (pixel - self.c.mean[c]) / self.c.std[c]
                                token[d] += weight[d, c, ky, kx] * pixel
                out.append(token + position[len(out)])
        return out

    def attend(self, prefix, xs):
        dim, width = self.c.embed_dim, self.c.head_dim
        qkv = [self.matvec(f"{prefix}.qkv", np.array(x)) for x in xs]
        out = np.zeros((len(xs), dim))
        for h in range(self.c.heads):
            at = range(h * width, (h + 1) * width)
            for i, mine in enumerate(qkv):
                scores = [sum(mine[c] * k[dim + c] for c in at) / math.sqrt(width) for k in qkv]
                for p, other in zip(self.soften(scores), qkv, strict=True):
                    for c in at:
                        out[i, c] += p * other[2 * dim + c]
        return [np.array(self.matvec(f"{prefix}.proj", x)) for x in out]

    def routed(self, prefix, block, x):
        gate = self.p[f"{prefix}.gate.{self.t}.w_gate"]
        logits = [float(sum(x * gate[:, e])) for e in range(self.c.experts)]
        bias = self.p.get(f"{prefix}.gate.{self.t}.bias")
        if bias is not None:
            logits = [v + b for v, b in zip(logits, bias, strict=True)]
        best = sorted(range(self.c.experts), key=lambda e: -logits[e])[: self.c.top_k]
        if self.c.router == "noisy_vmoe":
            gates = [self.soften(logits)[e] for e in best]
        else:
            gates = self.soften([logits[e] for e in best])
        self.routing.setdefault(block, []).append(dict(zip(best, gates, strict=True)))
        total = np.zeros(self.c.embed_dim)
        for e, g in zip(best, gates, strict=True):
            up, down = f"{prefix}.experts.htoh4", f"{prefix}.experts.h4toh"
            hidden = self.activate(self.p[f"{up}.weight"][e] @ x + self.p[f"{up}.bias"][e])
            total += g * (self.p[f"{down}.weight"][e] @ hidden + self.p[f"{down}.bias"][e])
        return total

    def run(self, frame):
        xs, taps = self.tokens(frame), []
        for block in range(self.c.depth):
            prefix = f"backbone.blocks.{block}"
            updates = self.attend(f"{prefix}.attn", [self.norm(f"{prefix}.norm1", x) for x in xs])
            xs = [x + u for x, u in zip(xs, updates, strict=True)]
            for i, x in enumerate(xs):
                y = np.array(self.norm(f"{prefix}.norm2", x))
                if block in self.c.moe_blocks:
                    xs[i] = x + self.routed(f"{prefix}.mlp", block, y)
                else:
                    hidden = self.activate(self.matvec(f"{prefix}.mlp.fc1", y))
                    xs[i] = x + np.array(self.matvec(f"{prefix}.mlp.fc2", hidden))
            if block in self.c.head.taps:
                taps.append(xs[1:])
        return self.decode(taps)

    def decode(self, taps):
        prefix = f"decoders.{self.c.tasks[self.t].name}"
        rows, columns = self.c.grid
        image = np.zeros((rows, columns, self.c.head.channels[0]))
        for i in range(rows * columns):
            joined = [self.norm(f"{prefix}.norm.{j}", tap[i]) for j, tap in enumerate(taps)]
            image[divmod(i, columns)] = self.matvec(f"{prefix}.proj", np.concatenate(joined))
        for j in range(len(self.c.head.channels) - 1):
            image = looping_bilinear(image, 2)
            weight, bias = self.p[f"{prefix}.conv.{j}.weight"], self.p[f"{prefix}.conv.{j}.bias"]
            image = np.maximum(looping_convolution(image, weight, bias), 0)
        return np.array([[self.matvec(f"{prefix}.out", pixel) for pixel in row] for row in image])


def looping_bilinear(image, factor):
    height, width, channels = image.shape
    out = np.zeros((height * factor, width * factor, channels))

    def source(position, size):
        at = max((position + 0.5) / factor - 0.5, 0)
        low = min(int(at), size - 1)
        return low, min(low + 1, size - 1), at - low

    for y in range(height * factor):
        for x in range(width * factor):
            (y0, y1, fy), (x0, x1, fx) = source(y, height), source(x, width)
            top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
            bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
            out[y, x] = top * (1 - fy) + bottom * fy
    return out


def looping_convolution(image, weight, bias):
    height, width, _ = image.shape
    out = np.zeros((height, width, len(weight)))
    for y in range(height):
        for x in range(width):
            out[y, x] = bias
            for ky in range(3):
                for kx in range(3):
                    if 0 <= y + ky - 1 < height and 0 <= x + kx - 1 < width:
                        out[y, x] += weight[:, :, ky, kx] @ image[y + ky - 1, x + kx - 1]
    return out


@pytest.mark.parametrize("router", ["noisy_vmoe", "noisy"])
@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("biased", [False, True])
def test_the_model_is_the_one_that_loops(router, task, biased):
    config = ModelConfig.from_dict(SMALL.to_dict() | {"router": router})
    checkpoint = random_checkpoint(config, seed=task)
    if biased:
        checkpoint[gate_bias_name(1, task)] = np.array([3.0, -3.0, 0.5, 0.0], np.float32)
    frame = frame_of(config)
    wide = {name: value.astype(np.float64) for name, value in checkpoint.items()}
    looping = LoopingModel(config, wide, task)
    expected = looping.run(frame)
    result = FloatModel(config, checkpoint, dtype=np.float64).run(frame, task)
    assert np.abs(result.output - expected).max() < 1e-8
    routing = result.routing[1]
    assert list(result.routing) == [1]
    for token, choice in enumerate(looping.routing[1]):
        assert routing.experts[token].tolist() == sorted(choice)
        assert routing.gates[token] == pytest.approx([choice[e] for e in sorted(choice)])
    single = FloatModel(config, checkpoint).run(frame, config.tasks[task].name)
    assert single.output.dtype == np.float32
    assert np.abs(single.output - expected).max() < 1e-3 * max(1, np.abs(expected).max())


def test_a_dense_model_has_no_routing():
    config = get_config("micro", moe_blocks=())
    result = FloatModel(config, random_checkpoint(config)).run(frame_of(config), "depth")
    assert result.routing == {} and np.isfinite(result.output).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gelu(dtype):
    x = np.concatenate([np.linspace(-12, 12, 20001), [0.0, -1e-30, 1e4, -1e4]]).astype(dtype)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])
    bound = 3e-10 if dtype == np.float64 else 3e-7
    assert (np.abs(gelu(x) - exact) <= bound * np.maximum(1, np.abs(x))).all()
    assert gelu(x).dtype == dtype


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 4, 1), (5, 2, 3)])
def test_bilinear(factor, shape):
    image = np.random.default_rng(1).normal(size=shape)
    assert np.allclose(bilinear(image, factor), looping_bilinear(image, factor), atol=1e-12)


def test_convolution():
    rng = np.random.default_rng(2)
    image, weight, bias = (rng.normal(size=s) for s in ((4, 5, 3), (2, 3, 3, 3), (2,)))
    expected = looping_convolution(image, weight, bias)
    assert np.allclose(convolve3x3(image, weight, bias), expected, atol=1e-12)


def test_results_at_the_output_resolution():
    config = SMALL
    model = FloatModel(config, random_checkpoint(config, 3), dtype=np.float64)
    segmented = model.run(frame_of(config), "segmentation")
    measured = model.run(frame_of(config), "depth")
    big = looping_bilinear(segmented.output, config.head.output_upsample)
    classes = segmented.classes()
    assert classes.dtype == np.uint8 and classes.shape == big.shape[:2]
    assert (classes == big.argmax(axis=2)).all()
    metres = np.exp(looping_bilinear(measured.output, config.head.output_upsample)[:, :, 0])
    assert np.allclose(measured.metres(), metres)
    with pytest.raises(ValueError, match="depth task"):
        measured.classes()
    with pytest.raises(ValueError, match="no depth task"):
        segmented.metres()


def test_observer_sees_consistent_intermediates():
    config = get_config("micro")
    seen = {}
    model = FloatModel(config, random_checkpoint(config, 4), dtype=np.float64)
    result = model.run(frame_of(config), "segmentation", seen.__setitem__)
    tokens, dim = config.tokens, config.embed_dim
    b, moe = "backbone.blocks.0", "backbone.blocks.1"
    assert seen["backbone.patches"].shape == (tokens - 1, 3 * config.patch_size**2)
    before = seen["backbone.residual"]
    half = seen[f"{b}.residual.attn"]
    assert np.allclose(half, before + seen[f"{b}.attn.proj"])
    assert np.allclose(seen[f"{b}.residual.mlp"], half + seen[f"{b}.mlp"])
    assert np.allclose(seen[f"{b}.mlp.gelu"], gelu(seen[f"{b}.mlp.fc1"]))
    assert seen[f"{b}.attn.qkv"].shape == (tokens, 3 * dim)
    assert seen[f"{b}.attn.scores"].shape == (config.heads, tokens, tokens)
    assert seen[f"{b}.attn.mixed"].shape == (tokens, dim)
    update = np.zeros((tokens, dim))
    chosen, gates = seen[f"{moe}.mlp.chosen"], seen[f"{moe}.mlp.gates"]
    for expert in range(config.experts):
        prefix = f"{moe}.mlp.experts.{expert}"
        queue, slots = np.nonzero(chosen == expert)
        if not len(queue):
            assert f"{prefix}.tokens" not in seen
            continue
        assert seen[f"{prefix}.tokens"].tolist() == queue.tolist()
        assert np.allclose(seen[f"{prefix}.gelu"], gelu(seen[f"{prefix}.htoh4"]))
        update[queue] += gates[queue, slots][:, None] * seen[f"{prefix}.h4toh"]
    assert np.allclose(update, seen[f"{moe}.mlp"])
    assert (np.sort(chosen, axis=1) == result.routing[1].experts).all()
    d = "decoders.segmentation"
    assert seen[f"{d}.norm.1"].shape == (tokens - 1, dim)
    assert np.allclose(seen[f"{d}.up.0"], bilinear(seen[f"{d}.proj"], 2))
    assert np.allclose(seen[f"{d}.relu.0"], np.maximum(seen[f"{d}.conv.0"], 0))
    assert seen[f"{d}.out"] is result.output


@pytest.mark.parametrize("value", [0, 255])
def test_frames_of_one_extreme_value(value):
    config = SMALL
    frame = np.full((*config.image_size, 3), value, np.uint8)
    seen = {}
    FloatModel(config, random_checkpoint(config)).run(frame, 0, seen.__setitem__)
    expected = [(value / 255 - m) / s for m, s in zip(config.mean, config.std, strict=True)]
    assert np.allclose(seen["backbone.patches"].reshape(-1, 3), expected, rtol=1e-6)


def test_bad_input():
    config = SMALL
    checkpoint = random_checkpoint(config)
    model = FloatModel(config, checkpoint)
    with pytest.raises(FrameError, match=r"uint8 \[16, 24, 3\]"):
        model.run(np.zeros((16, 24), np.uint8), 0)
    with pytest.raises(FrameError, match="float64"):
        model.run(np.zeros((16, 24, 3)), 0)
    with pytest.raises(ValueError, match="segmentation, depth"):
        model.run(frame_of(config), "normals")
    for task in (-1, 2):
        with pytest.raises(ValueError, match="has 2"):
            model.run(frame_of(config), task)
    name = "backbone.blocks.1.mlp.experts.h4toh.weight"
    missing = {k: v for k, v in checkpoint.items() if k != name}
    with pytest.raises(ValueError, match=r"lacks backbone\.blocks\.1"):
        FloatModel(config, missing)
    with pytest.raises(ValueError, match=r"is \[4, 32, 23\]"):
        FloatModel(config, checkpoint | {name: checkpoint[name][:, :, 1:]})
    broken = checkpoint[name].copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        FloatModel(config, checkpoint | {name: broken})
    with pytest.raises(ValueError, match=r"gate.0.bias is \[3\]"):
        FloatModel(config, checkpoint | {gate_bias_name(1, 0): np.zeros(3)})


@pytest.mark.parametrize("name", ["micro", "tiny-cityscapes"])
def test_random_checkpoints_behave(name):
    config = get_config(name)
    checkpoint = random_checkpoint(config, 7)
    validate_checkpoint(config, checkpoint)
    assert {k: v.shape for k, v in checkpoint.items()} == expected_shapes(config)
    again = random_checkpoint(config, 7)
    assert all((checkpoint[k] == again[k]).all() for k in checkpoint)
    other = random_checkpoint(config, 8)
    assert any((checkpoint[k] != other[k]).any() for k in checkpoint)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (*(s // 8 for s in config.image_size), 3), dtype=np.uint8)
    frame = coarse.repeat(8, axis=0).repeat(8, axis=1)
    seen, used = {}, set()
    result = FloatModel(config, checkpoint).run(frame, 0, seen.__setitem__)
    last = seen[f"backbone.blocks.{config.depth - 1}.residual.mlp"]
    assert 0.5 < last.std() < 5, "the residual stream neither dies nor explodes"
    for block, routing in result.routing.items():
        logits = np.sort(seen[f"backbone.blocks.{block}.mlp.logits"], axis=1)[:, ::-1]
        gap = logits[:, config.top_k - 1] - logits[:, config.top_k]
        assert np.median(gap) > 0.3 * logits.std(), "routers are decisive"
        used.update(routing.experts.ravel())
    assert used == set(range(config.experts))
    assert len(np.unique(result.classes())) > 2
    metres = FloatModel(config, checkpoint).run(frame, "depth").metres()
    assert 0.2 < metres.min() < metres.max() < 20
