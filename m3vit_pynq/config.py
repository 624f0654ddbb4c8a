# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an M³ViT is, as data: model configurations and the registry of variants.

Everything that differs between two variants is a field here; no other module
branches on a variant's name.

A *float checkpoint* is a flat mapping ``name -> float32 array`` with the names
of the published M³ViT ``state_dict`` (BatchNorm and LayerScale already folded
into the neighbouring weights):

======================================================  ======================
name                                                    shape
======================================================  ======================
``backbone.cls_token``                                  [1, 1, D]
``backbone.pos_embed``                                  [1, 1 + gh*gw, D]
``backbone.patch_embed.proj.weight`` / ``.bias``        [D, 3, P, P] / [D]
``backbone.blocks.{i}.norm1.weight`` / ``.bias``        [D]
``backbone.blocks.{i}.attn.qkv.weight`` / ``.bias``     [3D, D] / [3D]
``backbone.blocks.{i}.attn.proj.weight`` / ``.bias``    [D, D] / [D]
``backbone.blocks.{i}.norm2.weight`` / ``.bias``        [D]
dense block: ``.mlp.fc1.weight`` / ``.bias``            [4D, D] / [4D]
dense block: ``.mlp.fc2.weight`` / ``.bias``            [D, 4D] / [D]
MoE block: ``.mlp.experts.htoh4.weight`` / ``.bias``    [E, h, D] / [E, h]
MoE block: ``.mlp.experts.h4toh.weight`` / ``.bias``    [E, D, h] / [E, D]
MoE block: ``.mlp.gate.{t}.w_gate``                     [D, E], t = task index
  optionally ``.mlp.gate.{t}.bias``                     [E], a task-conditioned router
  with a shared expert ``.mlp.shared.fc1`` / ``.fc2``   as a dense block's, ``shared_hidden`` wide
``decoders.{task}.norm.{j}.weight`` / ``.bias``         [D], j = tap index
``decoders.{task}.proj.weight`` / ``.bias``             [C0, taps*D] / [C0]
``decoders.{task}.conv.{j}.weight`` / ``.bias``         [Cj+1, Cj, 3, 3] / [Cj+1]
``decoders.{task}.out.weight`` / ``.bias``              [outputs, Clast] / [outputs]
======================================================  ======================
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

#: ImageNet statistics, used by the NYUD-v2 and PASCAL configurations.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TaskConfig:
    """One task of a model.

    Attributes
    ----------
    name : str
        Name a user types, for example ``"segmentation"``.
    kind : str
        ``"segmentation"`` (argmax of class logits) or ``"depth"`` (one
        channel, natural logarithm of metres).
    outputs : int
        Channels the head produces.
    label_set : str
        Which class names and palette ``m3vit_pynq.tasks`` shows.
    """

    name: str
    kind: str
    outputs: int
    label_set: str = ""


@dataclass(frozen=True)
class HeadConfig:
    """The light task head.

    Tokens of the tapped blocks (class token dropped) are layer-normalised one
    by one, concatenated, projected to ``channels[0]`` by a 1x1 layer; then for
    every further entry: bilinear x2, 3x3 convolution (zero padding), ReLU;
    then a 1x1 layer to the task's outputs. The map is ``2**convs`` times the
    token grid in each direction.

    Attributes
    ----------
    taps : tuple of int
        Blocks (0-based) whose *output* residual stream is read, ascending.
    channels : tuple of int
        ``(C0, C1, ...)``; one 3x3 convolution for every entry after the first.
    output_upsample : int
        Further bilinear enlargement (1, 2 or 4) done by the OUTPUT
        instruction just before the argmax or the exponential.
    """

    taps: tuple[int, ...] = (7, 11)
    channels: tuple[int, ...] = (128, 64, 64)
    output_upsample: int = 2

    @property
    def enlargement(self) -> int:
        """Results per token, in each direction."""
        return 2 ** (len(self.channels) - 1) * self.output_upsample


@dataclass(frozen=True)
class ModelConfig:
    """Shape of one M³ViT variant (Liang et al., NeurIPS 2022).

    Attributes
    ----------
    image_size : tuple of int
        Input (height, width) in pixels, multiples of ``patch_size``.
    expert_hidden : int
        Hidden width *h* of one expert.
    moe_blocks : tuple of int
        Blocks whose feed-forward layer is a mixture of experts. Empty for a
        dense ViT.
    router : str
        ``"noisy_vmoe"``: softmax over all experts, then top-k, not
        renormalised. ``"noisy"``: top-k, then softmax over the k.
    per_image : bool
        Every token takes the experts that the class token's router chose.
    shared_hidden : int
        Hidden width of an expert that every token takes besides the routed
        ones, ungated; 0 for none.
    """

    name: str
    image_size: tuple[int, int]
    patch_size: int
    embed_dim: int
    depth: int
    heads: int
    experts: int
    top_k: int
    expert_hidden: int
    tasks: tuple[TaskConfig, ...]
    moe_blocks: tuple[int, ...]
    mlp_ratio: int = 4
    router: str = "noisy_vmoe"
    head: HeadConfig = HeadConfig()
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    layernorm_eps: float = 1e-6
    per_image: bool = False
    shared_hidden: int = 0

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"{self.name}: image_size {self.image_size} is not a multiple "
                f"of patch_size {self.patch_size}"
            )
        if self.embed_dim % self.heads:
            raise ValueError(
                f"{self.name}: embed_dim {self.embed_dim} is not a multiple of heads {self.heads}"
            )
        if self.moe_blocks and not 1 <= self.top_k <= self.experts:
            raise ValueError(f"{self.name}: top_k {self.top_k} of {self.experts} experts")
        if self.router not in ("noisy_vmoe", "noisy"):
            raise ValueError(f"{self.name}: unknown router {self.router!r}")
        if any(not 0 <= b < self.depth for b in self.moe_blocks + self.head.taps):
            raise ValueError(f"{self.name}: a MoE block or head tap is outside 0..{self.depth - 1}")

    @property
    def grid(self) -> tuple[int, int]:
        """Token grid (rows, columns)."""
        return (
            self.image_size[0] // self.patch_size,
            self.image_size[1] // self.patch_size,
        )

    @property
    def tokens(self) -> int:
        """Tokens including the class token."""
        return 1 + self.grid[0] * self.grid[1]

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.embed_dim // self.heads

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    def task_index(self, name: str) -> int:
        """Index of a task; `ValueError` names the tasks that exist."""
        for index, task in enumerate(self.tasks):
            if task.name == name:
                return index
        raise ValueError(f"unknown task {name!r}; this model has: {', '.join(self.task_names)}")

    def to_dict(self) -> dict:
        """Plain data, for JSON metadata."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> ModelConfig:
        """Inverse of `to_dict`; lists become tuples again."""
        data = dict(data)
        data["tasks"] = tuple(TaskConfig(**task) for task in data["tasks"])
        head = dict(data["head"])
        head["taps"] = tuple(head["taps"])
        head["channels"] = tuple(head["channels"])
        data["head"] = HeadConfig(**head)
        for key in ("image_size", "moe_blocks", "mean", "std"):
            data[key] = tuple(data[key])
        return cls(**data)


def alternate(depth: int) -> tuple[int, ...]:
    """MoE blocks of the published models: 1, 3, 5, ..."""
    return tuple(range(1, depth, 2))


NYUD_TASKS = (
    TaskConfig("segmentation", "segmentation", 39, "nyud39"),
    TaskConfig("depth", "depth", 1),
)
CITYSCAPES_TASKS = (
    TaskConfig("segmentation", "segmentation", 19, "cityscapes19"),
    TaskConfig("depth", "depth", 1),
)

_REGISTRY: dict[str, ModelConfig] = {}


def register(config: ModelConfig) -> ModelConfig:
    """Add a variant to the registry; a name can be registered once."""
    if config.name in _REGISTRY:
        raise ValueError(f"variant {config.name!r} is already registered")
    _REGISTRY[config.name] = config
    return config


def variants() -> tuple[str, ...]:
    """Names of all registered variants."""
    return tuple(_REGISTRY)


def get_config(name: str, **changes) -> ModelConfig:
    """Look a variant up, optionally with fields replaced.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if name not in _REGISTRY:
        raise ValueError(f"unknown variant {name!r}; known: {', '.join(variants())}")
    return dataclasses.replace(_REGISTRY[name], **changes)


register(
    # Ten of the blocks of `small`, from which it is distilled, on 12 x 16 patches.
    ModelConfig(
        name="tiny", image_size=(240, 320), patch_size=20, embed_dim=384, depth=10, heads=6,
        experts=16, top_k=4, expert_hidden=384, tasks=NYUD_TASKS, moe_blocks=alternate(10),
        head=HeadConfig(taps=(7, 9)),
    )
)  # fmt: skip
_TINY = register(
    # The published tiny's width and depth, at a camera's size.
    ModelConfig(
        name="tiny-published", image_size=(240, 320), patch_size=16, embed_dim=192, depth=12,
        heads=3, experts=16, top_k=2, expert_hidden=384, tasks=NYUD_TASKS,
        moe_blocks=alternate(12), head=HeadConfig(channels=(64, 64, 32)),
    )
)  # fmt: skip
register(
    # Shaped like the DINOv2 ViT-S/14 that training starts from.
    ModelConfig(
        name="small", image_size=(252, 336), patch_size=14, embed_dim=384, depth=12, heads=6,
        experts=16, top_k=4, expert_hidden=384, tasks=NYUD_TASKS, moe_blocks=alternate(12),
    )
)  # fmt: skip
register(
    # The shape in the paper: 12 heads of 32, 480x640.
    ModelConfig(
        name="small-published", image_size=(480, 640), patch_size=16, embed_dim=384, depth=12,
        heads=12, experts=16, top_k=4, expert_hidden=384, tasks=NYUD_TASKS,
        moe_blocks=alternate(12),
    )
)  # fmt: skip
register(
    ModelConfig(
        name="base", image_size=(240, 320), patch_size=16, embed_dim=768, depth=12, heads=12,
        experts=16, top_k=4, expert_hidden=768, tasks=NYUD_TASKS, moe_blocks=alternate(12),
    )
)  # fmt: skip
register(
    # The shape of the published Cityscapes weights and of Edge-MoE's measurements:
    # pixels in [0, 1], no further normalisation.
    dataclasses.replace(
        _TINY, name="tiny-cityscapes", image_size=(128, 256), tasks=CITYSCAPES_TASKS,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )
)  # fmt: skip
register(
    # For tests: every feature of the family in a model that runs in milliseconds.
    ModelConfig(
        name="micro", image_size=(32, 48), patch_size=8, embed_dim=64, depth=4, heads=2,
        experts=8, top_k=2, expert_hidden=96, tasks=(
            TaskConfig("segmentation", "segmentation", 13, "nyud13"),
            TaskConfig("depth", "depth", 1),
        ), moe_blocks=alternate(4), head=HeadConfig(taps=(1, 3), channels=(32, 24)),
    )
)  # fmt: skip
