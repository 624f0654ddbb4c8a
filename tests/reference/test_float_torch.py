# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The float model's parts against PyTorch, where it is installed."""

import numpy as np
import pytest

from m3vit_pynq.config import get_config
from m3vit_pynq.reference.checkpoint import random_checkpoint
from m3vit_pynq.reference.float_model import FloatModel, bilinear, convolve3x3, gelu

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def channels_first(image):
    return torch.from_numpy(image.transpose(2, 0, 1)[None])


def channels_last(image):
    return image[0].numpy().transpose(1, 2, 0)


def test_gelu():
    x = np.linspace(-9, 9, 5000)
    assert np.allclose(gelu(x), functional.gelu(torch.from_numpy(x)).numpy(), atol=3e-9)


@pytest.mark.parametrize("factor", [2, 4])
def test_bilinear(factor):
    image = np.random.default_rng(0).normal(size=(5, 7, 3))
    expected = functional.interpolate(
        channels_first(image), scale_factor=factor, mode="bilinear", align_corners=False
    )
    assert np.allclose(bilinear(image, factor), channels_last(expected), atol=1e-12)


def test_convolution():
    rng = np.random.default_rng(1)
    image, weight, bias = (rng.normal(size=s) for s in ((6, 5, 4), (3, 4, 3, 3), (3,)))
    expected = functional.conv2d(
        channels_first(image), torch.from_numpy(weight), torch.from_numpy(bias), padding=1
    )
    assert np.allclose(convolve3x3(image, weight, bias), channels_last(expected), atol=1e-10)


def test_a_dense_block():
    config = get_config("micro", moe_blocks=())
    checkpoint = random_checkpoint(config, 2)
    p = {name: torch.from_numpy(value).double() for name, value in checkpoint.items()}
    seen = {}
    frame = np.random.default_rng(2).integers(0, 256, (*config.image_size, 3), dtype=np.uint8)
    FloatModel(config, checkpoint, np.float64).run(frame, 0, seen.__setitem__)
    mean, std = (
        torch.tensor(v, dtype=torch.double).view(3, 1, 1) for v in (config.mean, config.std)
    )
    pixels = (torch.from_numpy(frame).permute(2, 0, 1) / 255.0 - mean) / std
    embed = "backbone.patch_embed.proj"
    patches = functional.conv2d(
        pixels[None].double(), p[f"{embed}.weight"], p[f"{embed}.bias"], stride=config.patch_size
    )
    x = (
        torch.cat([p["backbone.cls_token"][0], patches[0].flatten(1).T])
        + p["backbone.pos_embed"][0]
    )
    assert np.allclose(seen["backbone.residual"], x.numpy(), atol=1e-5)
    x = torch.from_numpy(seen["backbone.residual"])
    b = "backbone.blocks.0"

    def norm(name, value):
        weight, bias = p[f"{b}.{name}.weight"], p[f"{b}.{name}.bias"]
        return functional.layer_norm(value, (config.embed_dim,), weight, bias, config.layernorm_eps)

    def linear(name, value):
        return functional.linear(value, p[f"{b}.{name}.weight"], p[f"{b}.{name}.bias"])

    qkv = linear("attn.qkv", norm("norm1", x)).view(len(x), 3, config.heads, config.head_dim)
    mixed = functional.scaled_dot_product_attention(*qkv.permute(1, 2, 0, 3))
    x = x + linear("attn.proj", mixed.transpose(0, 1).reshape(len(x), -1))
    assert np.allclose(seen[f"{b}.residual.attn"], x.numpy(), atol=1e-9)
    x = x + linear("mlp.fc2", functional.gelu(linear("mlp.fc1", norm("norm2", x))))
    assert np.allclose(seen[f"{b}.residual.mlp"], x.numpy(), atol=1e-7)
