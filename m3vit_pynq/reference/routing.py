# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""GATE and EXPERTS: choosing experts, records and queues, and what experts compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.isa import GateMode
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.linear import accumulate, activate, scale
from m3vit_pynq.reference.primitives import GATE_TABLE, rshift, saturate


@dataclass(frozen=True)
class Queue:
    """Entries of one expert, tokens ascending.

    Attributes
    ----------
    tokens : int64 [queued]
    slots : int64 [queued]
        Rank of the expert among those of its token, below ``top_k``.
    gates : int64 [queued]
        0 to 65535.
    """

    tokens: np.ndarray
    slots: np.ndarray
    gates: np.ndarray


def choose(logits: np.ndarray, top_k: int) -> np.ndarray:
    """The `top_k` largest of each row, best first, ties to the lower index.

    Parameters
    ----------
    logits : int [tokens, experts]

    Returns
    -------
    int64 [tokens, top_k]
    """
    return np.argsort(-logits.astype(np.int64), axis=1, kind="stable")[:, :top_k]


def gate_weights(logits: np.ndarray, chosen: np.ndarray, mode: int) -> np.ndarray:
    """Softmax weights of the chosen experts with 16 fractional bits.

    Parameters
    ----------
    logits : int32 [tokens, experts]
        log2 units with 16 fractional bits.
    chosen : int [tokens, top_k]
    mode : int
        A `GateMode`.

    Returns
    -------
    int64 [tokens, top_k], 0 to 65535
    """
    logits = logits.astype(np.int64)
    below = (logits.max(axis=1, keepdims=True) - logits + 128) >> 8
    octaves = below >> 8
    powers = rshift(GATE_TABLE[below & 255], np.minimum(octaves, 31))
    powers = np.where(octaves <= 31, powers, 0)
    selected = np.take_along_axis(powers, chosen, axis=1)
    share = powers if mode == GateMode.SOFTMAX_ALL else selected
    return np.minimum(65535, (selected << 16) // share.sum(axis=1, keepdims=True))


def write_records(rows: int, chosen: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """What GATE leaves for EXPERTS: one line per token.

    Parameters
    ----------
    chosen, gates : int [rows or 1, top_k]
        One row is the decision for every token.

    Returns
    -------
    uint8 [rows, 64]
    """
    entries = np.zeros((rows, LINE // 2), dtype="<u2")
    entries[:, 0 : 4 * chosen.shape[1] : 4] = chosen
    entries[:, 1 : 4 * chosen.shape[1] : 4] = gates
    return entries.view(np.uint8)


def read_records(records: np.ndarray, experts: int, top_k: int) -> list[Queue]:
    """Queues of all experts from records, whatever these hold.

    Parameters
    ----------
    records : uint8 [rows, 64]
    """
    entries = np.ascontiguousarray(records).view("<u2").astype(np.int64)
    chosen = entries[:, 0 : 4 * top_k : 4]
    gates = entries[:, 1 : 4 * top_k : 4]
    # Rank by expert, then by place: a stable sort.
    slots = np.argsort(np.argsort(chosen, axis=1, kind="stable"), axis=1, kind="stable")
    queues = []
    for expert in range(experts):
        match = chosen == expert
        tokens = np.nonzero(match.any(axis=1))[0]
        first = match.argmax(axis=1)[tokens]
        queues.append(Queue(tokens, slots[tokens, first], gates[tokens, first]))
    return queues


def expert_hidden(
    x: np.ndarray, first: WeightRows, activation: int, gelu: np.ndarray | None
) -> np.ndarray:
    """First layer of one expert: int8 [queued, K] to int8 [queued, hidden]."""
    return activate(scale(accumulate(x, first), first, 8), activation, gelu).astype(np.int8)


def expert_update(hidden: np.ndarray, gates: np.ndarray, second: WeightRows) -> np.ndarray:
    """Gated contribution of one expert to the residual stream.

    Parameters
    ----------
    hidden : int8 [queued, K]
    gates : int64 [queued]
    second : WeightRows

    Returns
    -------
    int64 [queued, cols_out] within the range of int16
    """
    product = accumulate(hidden, second) * second.mult
    fine = saturate(rshift(product, (second.shift - 8) % 64), 27)
    return saturate(rshift(fine * gates[:, None], 24), 16)
