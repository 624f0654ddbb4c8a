# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""GATE and EXPERTS: choosing experts, their queues, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.isa import Activation, GateMode
from m3vit_pynq.reference.image import WeightRows
from m3vit_pynq.reference.linear import accumulate, activate, scale
from m3vit_pynq.reference.primitives import GATE_TABLE, rshift, saturate


@dataclass(frozen=True)
class Queues:
    """What a GATE leaves for EXPERTS.

    Attributes
    ----------
    rows, experts, top_k : int
        Operands of the GATE.
    tokens : tuple of int64 [queued]
        Tokens of each expert's queue, ascending.
    gates : tuple of int64 [queued]
        Their gate weights, 0 to 65535.
    """

    rows: int = 0
    experts: int = 0
    top_k: int = 0
    tokens: tuple[np.ndarray, ...] = ()
    gates: tuple[np.ndarray, ...] = ()


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


def fill_queues(rows: int, experts: int, chosen: np.ndarray, gates: np.ndarray) -> Queues:
    """Sort (token, expert, gate) triples into one queue per expert.

    Parameters
    ----------
    chosen, gates : int [rows or 1, top_k]
        One row is the decision for every token.
    """
    top_k = chosen.shape[1]
    chosen = np.broadcast_to(chosen, (rows, top_k))
    gates = np.broadcast_to(gates, (rows, top_k))
    tokens, weights = [], []
    for expert in range(experts):
        token, slot = np.nonzero(chosen == expert)
        tokens.append(token)
        weights.append(gates[token, slot])
    return Queues(rows, experts, top_k, tuple(tokens), tuple(weights))


def expert_hidden(x: np.ndarray, first: WeightRows, gelu: np.ndarray) -> np.ndarray:
    """Hidden layer of one expert: int8 [queued, cols_in] to int8 [queued, hidden]."""
    hidden = activate(scale(accumulate(x, first), first, 8), Activation.GELU, gelu)
    return hidden.astype(np.int8)


def expert_update(hidden: np.ndarray, gates: np.ndarray, second: WeightRows) -> np.ndarray:
    """Gated contribution of one expert to the residual stream.

    Parameters
    ----------
    hidden : int8 [queued, hidden]
    gates : int64 [queued]
    second : WeightRows

    Returns
    -------
    int64 [queued, cols_out] within the range of int16
    """
    product = accumulate(hidden, second) * second.mult
    fine = saturate(rshift(product, (second.shift - 8) % 64), 32)
    return saturate(rshift(fine * gates[:, None], 24), 16)
