# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy per multiply-accumulate of task heads, on one frozen encoder.

Trains several heads for the same number of epochs on the features of the
pretrained start (no fine-tuning, so that the held-out frames are unseen) and
writes a CSV. Figures compare heads with each other; they are far below those
of a trained model.

    python benchmarks/head_choice.py --data DIR --start MODEL.onnx --out CSV
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
from pathlib import Path

import torch

from m3vit_pynq.config import HeadConfig, ModelConfig, get_config
from m3vit_pynq.training.dataset import prepare
from m3vit_pynq.training.evaluate import evaluate, resize_images
from m3vit_pynq.training.losses import task_losses
from m3vit_pynq.training.model import M3ViT
from m3vit_pynq.training.pretrained import load_start
from m3vit_pynq.training.split import select, training_rows

HEADS = {
    "linear, last block": HeadConfig((11,), (64,)),
    "linear": HeadConfig((7, 11), (128,)),
    "one 3x3": HeadConfig((7, 11), (128, 64)),
    "two 3x3, narrow": HeadConfig((7, 11), (64, 64, 32)),
    "two 3x3": HeadConfig((7, 11), (128, 64, 64)),
    "two 3x3, wide": HeadConfig((7, 11), (256, 128, 128)),
}


def head_macs(config: ModelConfig, outputs: int) -> int:
    """Multiply-accumulates of one head for one frame."""
    rows, columns = config.grid
    channels = config.head.channels
    pixels = rows * columns
    total = pixels * len(config.head.taps) * config.embed_dim * channels[0]
    for before, after in itertools.pairwise(channels):
        pixels *= 4
        total += pixels * 9 * before * after
    return total + pixels * channels[-1] * outputs


@torch.no_grad()
def features(model: M3ViT, images: torch.Tensor) -> list[torch.Tensor]:
    """Both taps of every image, bfloat16 ``[n, tokens, D]``."""
    parts = []
    for batch in images.split(8):
        x = (batch.float() / 255.0 - model.mean) / model.std
        with torch.autocast("cpu", torch.bfloat16):
            parts.append([tap.bfloat16() for tap in model.backbone(x)])
    return [torch.cat(taps) for taps in zip(*parts, strict=True)]


def train_head(config: ModelConfig, taps, labels, metres, epochs: int) -> M3ViT:
    """Fit the decoders of one configuration on cached features."""
    torch.manual_seed(0)
    model = M3ViT(config).train()
    chosen = taps[-len(config.head.taps) :]
    steps = epochs * (len(labels) // 16)
    optimiser = torch.optim.AdamW(model.decoders.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(16):
            if len(rows) < 16:
                continue
            inputs = [tap[rows].float() for tap in chosen]
            with torch.autocast("cpu", torch.bfloat16):
                outputs = {name: head(inputs) for name, head in model.decoders.items()}
            losses = task_losses(config, outputs, labels[rows], metres[rows])
            optimiser.zero_grad()
            sum(losses.values()).backward()
            optimiser.step()
            schedule.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="NYU Depth v2 folder")
    parser.add_argument("--cache", type=Path, required=True, help="folder for decoded frames")
    parser.add_argument("--start", type=Path, required=True, help="ONNX file of the start")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/head_choice.csv"))
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()

    base = get_config("small", moe_blocks=())
    encoder = M3ViT(base)
    encoder.load_state_dict(load_start(arguments.start, base), strict=False)
    encoder.eval()
    frames = prepare(arguments.data, "train", "nyud39", arguments.cache)
    rows, held_out = training_rows(frames, 80)
    taps = features(encoder, resize_images(frames.images[rows], base.image_size))
    labels = torch.from_numpy(frames.labels[rows][:, 2::4, 2::4].copy()).long()
    metres = torch.from_numpy(frames.depth_mm[rows][:, 2::4, 2::4] * 1e-3).float()

    with arguments.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["head", "taps", "channels", "mmacs", "miou39", "pixel_accuracy", "rmse"])
        for name, head in HEADS.items():
            config = dataclasses.replace(base, head=head)
            model = train_head(config, taps, labels, metres, arguments.epochs)
            backbone = {k: v for k, v in encoder.state_dict().items() if k.startswith("backbone.")}
            model.load_state_dict(backbone, strict=False)
            scores = evaluate(model.eval(), select(frames, held_out))
            writer.writerow([
                name, "+".join(map(str, head.taps)), "-".join(map(str, head.channels)),
                round(head_macs(config, 39) / 1e6, 1),
                round(scores["segmentation"]["miou"], 4),
                round(scores["segmentation"]["pixel_accuracy"], 4),
                round(scores["depth"]["rmse"], 4),
            ])  # fmt: skip
            file.flush()


if __name__ == "__main__":
    main()
