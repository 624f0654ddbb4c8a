# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes that train together, each on a device and a part of every batch of its own.

They are started by ``torchrun``. Process 0 alone writes files; all hold the
same weights after every step, because all take the mean of all gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .device import choose_device

#: The others wait at most this long, for example while process 0 evaluates.
TIMEOUT = timedelta(hours=2)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together.

    Attributes
    ----------
    device : torch.device
        What this process computes on.
    index, count : int
        Number of this process and of all; 0 and 1 when it is alone.
    """

    device: torch.device = CPU
    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float tensors by their means over all processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def share(self, model: nn.Module) -> None:
        """Give the weights and statistics of process 0 to all."""
        if self.count > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.detach(), 0)

    def check_same(self, value: int, what: str) -> None:
        """Raise `ValueError` in every process if they do not agree on a number."""
        if self.count == 1:
            return
        values = torch.zeros(self.count, dtype=torch.int64, device=self.device)
        values[self.index] = value
        dist.all_reduce(values)
        if len(set(values.tolist())) > 1:
            raise ValueError(
                f"the processes do not agree on {what}: {values.tolist()}; "
                "give all of them the same --out folder"
            )

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Process 0 does the block alone; then the others do it, and find its files."""
        if self.count > 1 and not self.first:
            dist.barrier()
        yield
        if self.count > 1 and self.first:
            dist.barrier()


@contextmanager
def connected(device: str = "auto") -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, if it did.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu`` or ``cuda``, see `choose_device`.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(choose_device(device))
        return
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    yield Ranks(chosen, dist.get_rank(), count)
    # Not after an error: the others may be in an exchange; torchrun ends them.
    dist.destroy_process_group()
