# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The M³ViT as a PyTorch module, built from a `ModelConfig`.

Parameter names are those of the float checkpoint described in
`m3vit_pynq.config`; the only extra ones are LayerScale
(``backbone.blocks.{i}.ls1`` and ``.ls2``) and the BatchNorm layers of the heads
(``decoders.{task}.bn.{j}``), which `m3vit_pynq.training.export` folds away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import HeadConfig, ModelConfig, TaskConfig


@dataclass
class RouterRecord:
    """What one MoE block decided for one batch (filled when asked for).

    Attributes
    ----------
    block : int
        Index of the block.
    logits : Tensor
        Router logits *without* noise, ``[tokens, experts]``, float32.
    probabilities : Tensor
        Softmax of the (possibly noisy) logits that were used.
    chosen : Tensor
        Expert indices, ``[tokens, k]``.
    """

    block: int
    logits: Tensor
    probabilities: Tensor
    chosen: Tensor


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.embed_dim, size, stride=size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self attention with a fused qkv projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if query.dtype == torch.bfloat16 and not query.is_cuda:
            # Three times as fast as the fused kernel on a CPU with bf16 products.
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
            mixed = scores.softmax(dim=-1) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    """The dense feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden = config.mlp_ratio * config.embed_dim
        self.fc1 = nn.Linear(config.embed_dim, hidden)
        self.fc2 = nn.Linear(hidden, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ExpertLinear(nn.Module):
    """One linear layer of every expert: weight ``[E, out, in]``, bias ``[E, out]``."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(experts, outputs))
        nn.init.trunc_normal_(self.weight, std=0.02)


class _Dispatch(torch.autograd.Function):
    """Copy tokens into queue order; the gradient gathers instead of scattering."""

    @staticmethod
    def forward(ctx, tokens: Tensor, source: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return tokens.index_select(0, source)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return _gather_sum(grad, place), None, None


class _Combine(torch.autograd.Function):
    """Weigh rows in queue order and sum every token's k rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, gates: Tensor, source: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(rows, gates, source)
        return _gather_sum(rows * gates.to(rows.dtype).unsqueeze(1), place)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, gates, source = ctx.saved_tensors
        spread = grad.to(rows.dtype).index_select(0, source)
        return (
            spread * gates.to(rows.dtype).unsqueeze(1),
            (spread * rows).sum(1, dtype=gates.dtype),
            None,
            None,
        )


def _gather_sum(rows: Tensor, place: Tensor) -> Tensor:
    """Sum over k of ``rows[place[:, k]]``."""
    total = rows.index_select(0, place[:, 0])
    for column in range(1, place.shape[1]):
        total = total + rows.index_select(0, place[:, column])
    return total


class Experts(nn.Module):
    """The feed-forward experts of one block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.htoh4 = ExpertLinear(config.experts, config.embed_dim, config.expert_hidden)
        self.h4toh = ExpertLinear(config.experts, config.expert_hidden, config.embed_dim)

    def forward(self, tokens: Tensor, chosen: Tensor, gates: Tensor) -> Tensor:
        """Sum of ``gate * expert(token)`` over every token's chosen experts.

        Tokens are gathered into one queue per expert, as on the accelerator.
        """
        k = chosen.shape[1]
        order = torch.argsort(chosen.flatten(), stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        place, source = place.view(-1, k), order // k
        sizes = torch.bincount(chosen.flatten(), minlength=self.htoh4.weight.shape[0]).tolist()
        device = tokens.device.type
        if torch.is_autocast_enabled(device):
            tokens = tokens.to(torch.get_autocast_dtype(device))
        queues = _Dispatch.apply(tokens, source, place).split(sizes)
        # unbind and not indexing: its gradient is one stack, not one full tensor per expert.
        layers = (self.htoh4.weight, self.htoh4.bias, self.h4toh.weight, self.h4toh.bias)
        parts = zip(*(layer.to(tokens.dtype).unbind(0) for layer in layers), strict=True)
        outputs = [
            F.linear(F.gelu(F.linear(queue, w1, b1)), w2, b2)
            for queue, (w1, b1, w2, b2) in zip(queues, parts, strict=True)
        ]
        return _Combine.apply(torch.cat(outputs), gates.flatten()[order], source, place)


class Gate(nn.Module):
    """Router of one task: a bias-free linear map to the experts' logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w_gate = nn.Parameter(torch.empty(config.embed_dim, config.experts))
        nn.init.trunc_normal_(self.w_gate, std=config.embed_dim**-0.5)


class MoeMlp(nn.Module):
    """Mixture-of-experts feed-forward layer with one router per task."""

    def __init__(self, config: ModelConfig, block: int) -> None:
        super().__init__()
        self.block = block
        self.top_k = config.top_k
        self.renormalise = config.router == "noisy"
        #: Noise for training: on the router's logits, relative to their spread,
        #: and on the tokens (router and experts alike), relative to their size.
        self.logit_noise = 0.0
        self.token_noise = 0.0
        self.generator: torch.Generator | None = None
        self.records: list[RouterRecord] | None = None
        self.experts = Experts(config)
        self.gate = nn.ModuleList(Gate(config) for _ in config.tasks)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=like.device)

    def forward(self, x: Tensor, task: int) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        if self.token_noise:
            size = tokens.detach().square().mean(dim=1, keepdim=True).sqrt()
            tokens = tokens + self.token_noise * size * self._normal(tokens)
        with torch.autocast(tokens.device.type, enabled=False):
            logits = tokens.float() @ self.gate[task].w_gate.float()
            used = logits
            if self.logit_noise:
                spread = logits.detach().std(dim=1, keepdim=True)
                used = logits + self.logit_noise * spread * self._normal(logits)
            probabilities = used.softmax(dim=1)
            if self.renormalise:
                top, chosen = used.topk(self.top_k, dim=1)
                gates = top.softmax(dim=1)
            else:
                gates, chosen = probabilities.topk(self.top_k, dim=1)
        if self.records is not None:
            self.records.append(RouterRecord(self.block, logits, probabilities, chosen))
        return self.experts(tokens, chosen, gates).view(x.shape)


class Block(nn.Module):
    """Pre-norm transformer block with a dense or a routed feed-forward layer."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=config.layernorm_eps)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=config.layernorm_eps)
        self.routed = index in config.moe_blocks
        self.mlp = MoeMlp(config, index) if self.routed else Mlp(config)
        # LayerScale, folded away on export. It stays apart in training: Adam moves
        # every weight by about the learning rate, and folding a scale of 0.2 into
        # a weight would multiply that step by five.
        self.ls1 = nn.Parameter(torch.ones(config.embed_dim))
        self.ls2 = nn.Parameter(torch.ones(config.embed_dim))

    def forward(self, x: Tensor, task: int) -> Tensor:
        x = x + self.ls1 * self.attn(self.norm1(x))
        normed = self.norm2(x)
        return x + self.ls2 * (self.mlp(normed, task) if self.routed else self.mlp(normed))


class Backbone(nn.Module):
    """Patch embedding and transformer blocks; returns the tapped token maps."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.taps = config.head.taps
        self.grid = config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.depth))

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Position embeddings, resampled when the input is not of the model's own size."""
        if grid == self.grid:
            return self.pos_embed
        cls, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        image = patches.view(1, *self.grid, -1).permute(0, 3, 1, 2)
        image = F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
        return torch.cat((cls, image.flatten(2).transpose(1, 2)), dim=1)

    def forward(self, images: Tensor, task: int = 0) -> list[Tensor]:
        patches = self.patch_embed(images)
        cls = self.cls_token.expand(len(images), -1, -1).to(patches.dtype)
        size = self.patch_embed.proj.kernel_size[0]
        grid = (images.shape[-2] // size, images.shape[-1] // size)
        x = torch.cat((cls, patches), dim=1) + self.positions(grid)
        tapped = []
        for index, block in enumerate(self.blocks):
            x = block(x, task)
            if index in self.taps:
                tapped.append(x[:, 1:])
        return tapped


class Decoder(nn.Module):
    """The light head of one task (see `HeadConfig`), with BatchNorm for training."""

    def __init__(self, config: ModelConfig, task: TaskConfig) -> None:
        super().__init__()
        head: HeadConfig = config.head
        self.norm = nn.ModuleList(
            nn.LayerNorm(config.embed_dim, eps=config.layernorm_eps) for _ in head.taps
        )
        self.proj = nn.Linear(len(head.taps) * config.embed_dim, head.channels[0])
        pairs = list(zip(head.channels[:-1], head.channels[1:], strict=True))
        self.conv = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.bn = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.out = nn.Linear(head.channels[-1], task.outputs)
        if task.kind == "depth":
            nn.init.constant_(self.out.bias, 0.9)

    def forward(self, taps: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Token maps of ``grid`` (rows, columns) to ``[batch, outputs, rows, columns]``."""
        normed = [norm(tap) for norm, tap in zip(self.norm, taps, strict=True)]
        x = self.proj(torch.cat(normed, dim=-1))
        # A channels-last image without a copy.
        x = x.view(len(x), *grid, -1).permute(0, 3, 1, 2)
        for conv, norm in zip(self.conv, self.bn, strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.relu(norm(conv(x)))
        return self.out(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class M3ViT(nn.Module):
    """Backbone and one head per task.

    Parameters
    ----------
    config : ModelConfig
        With ``moe_blocks=()`` the model is a dense ViT.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.decoders = nn.ModuleDict({task.name: Decoder(config, task) for task in config.tasks})
        mean = torch.tensor(config.mean).view(1, 3, 1, 1)
        std = torch.tensor(config.std).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(
        self,
        images: Tensor,
        task: str | Sequence[str] | None = None,
        taps_seen: dict[str, list[Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Run one task, some, or all of them.

        Parameters
        ----------
        images : Tensor
            uint8 ``[batch, 3, height, width]``, RGB; any multiple of the patch size.
        task : str or sequence of str, optional
            Only these tasks' pathways and heads. Without it every task runs: in
            one pass of the backbone when the model is dense.
        taps_seen : dict, optional
            Is given the token maps that every task's head read, by task name.
        """
        x = (images.float() / 255.0 - self.mean) / self.std
        grid = tuple(side // self.config.patch_size for side in images.shape[-2:])
        names = self.config.task_names if task is None else task
        if isinstance(names, str):
            names = (names,)
        outputs, taps = {}, None
        for name in names:
            if taps is None or self.config.moe_blocks:
                taps = self.backbone(x, self.config.task_index(name))
            if taps_seen is not None:
                taps_seen[name] = taps
            outputs[name] = self.decoders[name](taps, grid)
        return outputs

    def share_routers(self) -> None:
        """Let every task use the router of the first one: one parameter, under all its names."""
        for layer in self.moe_layers():
            layer.gate = nn.ModuleList([layer.gate[0]] * len(layer.gate))

    def moe_layers(self) -> list[MoeMlp]:
        """The routed feed-forward layers, in order."""
        return [block.mlp for block in self.backbone.blocks if block.routed]
