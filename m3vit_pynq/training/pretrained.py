# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Start a backbone from a DINOv2-shaped ViT.

Two sources are understood: an ONNX file exported from a Hugging Face style
``Dinov2Model`` and a mapping with DINOv2's own names. Positions are resampled
to the model's token grid, the patch filter to its patch size, and LayerScale
is folded into the layer before it.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig
from .model import Backbone

log = logging.getLogger(__name__)

_HUGGING_FACE = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """DINOv2's own names and weights from a Hugging Face style ``Dinov2Model`` in ONNX.

    The exporter stores linear weights transposed and without a name; the name
    of the MatMul node that reads them tells which layer they belong to.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ImportError(f"reading {path} needs the package 'onnx': pip install onnx") from error
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf has an exception class per implementation
        raise ValueError(f"{path} is not a readable ONNX file: {error}") from error
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
    try:
        return from_hugging_face(found)
    except KeyError as error:
        raise ValueError(f"{path}: the weights {error} were not found") from error


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


def resample_grid(positions: Tensor, have: tuple[int, int], want: tuple[int, int]) -> Tensor:
    """Bicubic resampling of positions ``[1, 1 + rows*columns, D]`` to another token grid."""
    cls, patches = positions[:, :1], positions[:, 1:]
    image = patches.reshape(1, *have, -1).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=want, mode="bicubic", align_corners=False)
    return torch.cat((cls, image.permute(0, 2, 3, 1).reshape(1, want[0] * want[1], -1)), dim=1)


def resample_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions of a square token grid for another grid."""
    side = math.isqrt(positions.shape[1] - 1)
    if side * side != positions.shape[1] - 1:
        raise ValueError(f"{positions.shape[1]} positions are not 1 + a square grid")
    return resample_grid(positions, (side, side), grid)


def resample_patches(weight: Tensor, size: int) -> Tensor:
    """Patch filters ``[D, 3, p, p]`` for patches of another size.

    The new filter answers to a bilinearly resized patch as the old one did to
    the patch: the pseudo-inverse of the resize (Beyer et al., *FlexiViT*, 2023).
    """
    old = weight.shape[-1]
    if size == old:
        return weight
    basis = torch.eye(old * old, dtype=torch.float64).view(-1, 1, old, old)
    resized = F.interpolate(basis, size=(size, size), mode="bilinear", align_corners=False)
    back = torch.linalg.pinv(resized.view(old * old, size * size))
    flat = weight.double().flatten(2)
    return (flat @ back.T).unflatten(2, (size, size)).to(weight.dtype)


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
    read = read_onnx if path.suffix == ".onnx" else _read_state
    tensors = {name: torch.from_numpy(np.array(v, np.float32)) for name, v in read(path).items()}
    missing = {"cls_token", "pos_embed", "patch_embed.proj.weight"} - tensors.keys()
    if missing:
        raise ValueError(
            f"{path} has no {', '.join(sorted(missing))}: --start takes the weights of a "
            "DINOv2-shaped ViT (a run of this program goes to --teacher, or to --resume)"
        )
    dims = tensors["cls_token"].shape[-1]
    if dims != config.embed_dim:
        raise ValueError(f"{path}: width {dims}, but variant {config.name} is {config.embed_dim}")
    tensors["pos_embed"] = resample_positions(tensors["pos_embed"], config.grid)
    patch = tensors["patch_embed.proj.weight"]
    tensors["patch_embed.proj.weight"] = resample_patches(patch, config.patch_size)
    kept = {
        f"backbone.{name.removesuffix('.gamma')}": value
        for name, value in tensors.items()
        if name.split(".")[0] in ("cls_token", "pos_embed", "patch_embed", "blocks")
    }
    _check_fits(kept, config, path)
    log.info("start weights from %s: %d tensors", path, len(kept))
    return kept


def _read_state(path: Path) -> dict[str, np.ndarray]:
    """A DINOv2 state dict from a PyTorch file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        # PyTorch's own message advises to load it with pickle, which runs what is inside.
        raise ValueError(
            f"{path} is no PyTorch file of plain weights (incomplete, of another format, or with "
            "objects inside); --start takes a .pth with a state dict, or an .onnx"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a state dict")
    return {name: v.float().numpy() for name, v in state.items() if isinstance(v, Tensor)}


def _check_fits(kept: Mapping[str, Tensor], config: ModelConfig, path: Path) -> None:
    """Every weight of the backbone must be there, with its shape, and nothing else."""
    backbone = Backbone(dataclasses.replace(config, moe_blocks=()))
    wanted = {f"backbone.{name}": value.shape for name, value in backbone.state_dict().items()}
    found = {name: value.shape for name, value in kept.items()}
    wrong = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
    if wrong:
        blocks = len({name.split(".")[2] for name in found if ".blocks." in name})
        raise ValueError(
            f"{path} has {blocks} blocks and does not fit the {config.depth} of variant "
            f"{config.name}: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''} missing, "
            "unknown or of another shape"
        )
