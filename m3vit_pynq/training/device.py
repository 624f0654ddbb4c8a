# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a model is trained and in which precision: all that depends on the device.

On a CPU everything here is run by the tests. The CUDA side has not been run on
a GPU; the tests check it with tensors that carry a device but no data.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Below this scale the gradients are not too large for float16: they are no numbers.
SMALLEST_SCALE = 2.0**-10

_CPU_FLAGS = ("avx512_bf16", "amx_bf16", " bf16")


def choose_device(wanted: str = "auto", local_rank: int = 0) -> torch.device:
    """The device that ``auto``, ``cpu`` or ``cuda`` stands for in this process.

    Parameters
    ----------
    local_rank : int
        Number of this process on this machine: process *n* takes GPU *n*.

    Raises
    ------
    ValueError
        If CUDA is asked for and missing, or there are more processes than GPUs.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(f"unknown device {wanted!r}: auto, cpu or cuda")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise ValueError(
            f"this PyTorch ({torch.__version__}) finds no CUDA device: check the driver and the "
            "build (https://pytorch.org/get-started/locally), or use --device cpu"
        )
    if local_rank >= found:
        raise ValueError(
            f"process {local_rank} of this machine needs a GPU of its own, but there are {found}: "
            "lower --nproc-per-node, or use --device cpu"
        )
    return torch.device("cuda", local_rank)


def _cpu_multiplies_bf16() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in text for flag in _CPU_FLAGS)


def choose_precision(wanted: str, device: torch.device) -> str:
    """The precision that ``auto`` stands for on a device: bfloat16 where that is fast.

    On a GPU without bfloat16 it is float16; on a CPU without it, float32.
    """
    if wanted != "auto":
        if wanted not in PRECISIONS:
            raise ValueError(f"unknown precision {wanted!r}: auto, {', '.join(PRECISIONS)}")
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Context in which matrix products run in ``precision``."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, PRECISIONS[precision])


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Keeps float16 gradients in range; does nothing in the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def device_of(model: nn.Module) -> torch.device:
    """The device that a model's weights are on."""
    return next(model.parameters()).device


def generator(device: torch.device, seed: int) -> torch.Generator:
    """A source of noise on a device, the same for the same seed."""
    return torch.Generator(device).manual_seed(seed)
