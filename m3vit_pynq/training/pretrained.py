# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Start a backbone from a DINOv2-shaped ViT.

Two sources are understood: an ONNX file exported from a Hugging Face style
``Dinov2Model`` and a mapping with DINOv2's own names. Positions are resampled
to the model's token grid, the patch filter to its patch size, and LayerScale
is folded into the layer before it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig

log = logging.getLogger(__name__)

_HUGGING_FACE = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """Named weights of a Hugging Face style ``Dinov2Model`` inside an ONNX file.

    The exporter stores linear weights transposed and without a name; the name
    of the MatMul node that reads them tells which layer they belong to.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ImportError(f"reading {path} needs the package 'onnx': pip install onnx") from error
    graph = onnx.load(str(path)).graph
    initialisers = {item.name: item for item in graph.initializer}
    found = {
        name: numpy_helper.to_array(item)
        for name, item in initialisers.items()
        if name.startswith("backbone.")
    }
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.endswith("/MatMul") and len(node.input) == 2:
            item = initialisers.get(node.input[1])
            if item is not None:
                layer = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
                found[f"{layer}.weight"] = numpy_helper.to_array(item).T
    if "backbone.embeddings.cls_token" not in found:
        raise ValueError(f"{path}: no DINOv2-shaped backbone inside (no embeddings.cls_token)")
    found["positions"] = _onnx_positions(graph, initialisers, path)
    return found


def _onnx_positions(graph, initialisers: Mapping, path: Path) -> np.ndarray:
    """The position table, which the exporter split into class and patch parts."""
    from onnx import numpy_helper

    reshape = [n.input[0] for n in graph.node if n.name == "/backbone/embeddings/Reshape_1"]
    concat = [
        name
        for node in graph.node
        if node.name == "/backbone/embeddings/Concat_6"
        for name in node.input
        if name in initialisers
    ]
    if len(reshape) != 1 or len(concat) != 1 or reshape[0] not in initialisers:
        raise ValueError(f"{path}: the position embeddings were not found")
    parts = [numpy_helper.to_array(initialisers[name]) for name in (concat[0], reshape[0])]
    return np.concatenate([part.reshape(1, -1, part.shape[-1]) for part in parts], axis=1)


def from_hugging_face(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename Hugging Face ``Dinov2Model`` weights to DINOv2's own names."""
    prefix = "backbone.embeddings."
    patch = f"{prefix}patch_embeddings.projection"
    out = {
        "cls_token": weights[f"{prefix}cls_token"],
        "pos_embed": weights["positions"],
        "patch_embed.proj.weight": weights[f"{patch}.weight"],
        "patch_embed.proj.bias": weights[f"{patch}.bias"],
    }
    index = 0
    while f"backbone.encoder.layer.{index}.norm1.weight" in weights:
        source, target = f"backbone.encoder.layer.{index}.", f"blocks.{index}."
        for theirs, ours in _HUGGING_FACE.items():
            for kind in ("weight", "bias"):
                out[f"{target}{ours}.{kind}"] = weights[f"{source}{theirs}.{kind}"]
        for kind in ("weight", "bias"):
            parts = [
                weights[f"{source}attention.attention.{part}.{kind}"]
                for part in ("query", "key", "value")
            ]
            out[f"{target}attn.qkv.{kind}"] = np.concatenate(parts)
        out[f"{target}ls1.gamma"] = weights[f"{source}layer_scale1.lambda1"]
        out[f"{target}ls2.gamma"] = weights[f"{source}layer_scale2.lambda1"]
        index += 1
    return out


def resample_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bicubic resampling of ``[1, 1 + n*n, D]`` positions to another token grid."""
    side = math.isqrt(positions.shape[1] - 1)
    if side * side != positions.shape[1] - 1:
        raise ValueError(f"{positions.shape[1]} positions are not 1 + a square grid")
    cls, patches = positions[:, :1], positions[:, 1:]
    image = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
    return torch.cat((cls, image.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1)), dim=1)


def load_start(path: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Backbone weights for the *dense* version of ``config``, float32.

    Parameters
    ----------
    path : Path
        ``.onnx``, or a PyTorch file holding a DINOv2 state dict.

    Returns
    -------
    dict
        Names start with ``backbone.``; load with ``strict=False`` beside
        freshly initialised heads.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --start takes an .onnx or .pth file")
    if path.suffix == ".onnx":
        raw = from_hugging_face(read_onnx(path))
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        raw = {name: value.float().numpy() for name, value in state.items()}
    tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in raw.items()}
    tensors["pos_embed"] = resample_positions(tensors["pos_embed"], config.grid)
    patch = tensors["patch_embed.proj.weight"]
    if patch.shape[-1] != config.patch_size:
        tensors["patch_embed.proj.weight"] = F.interpolate(
            patch, size=(config.patch_size,) * 2, mode="bicubic", align_corners=False
        )
    kept = {
        f"backbone.{name.removesuffix('.gamma')}": value
        for name, value in tensors.items()
        if name.split(".")[0] in ("cls_token", "pos_embed", "patch_embed", "blocks")
    }
    dims = kept["backbone.cls_token"].shape[-1]
    if dims != config.embed_dim:
        raise ValueError(f"{path}: width {dims}, but variant {config.name} is {config.embed_dim}")
    log.info("start weights from %s: %d tensors", path, len(kept))
    return kept
