# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Quantising the second half of a block: dense feed-forward layer or experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3vit_pynq.abi.isa import GateMode, Store
from m3vit_pynq.compiler.fit import Affine, Moments, fit_linear, fit_norm
from m3vit_pynq.compiler.fit_mlp import FloatMlp, fit_expert, fit_mlp
from m3vit_pynq.compiler.grids import Grid
from m3vit_pynq.compiler.layers import DenseFfn, Expert, Linear, MoeFfn, Norm
from m3vit_pynq.compiler.quantise_attention import affine, short_name
from m3vit_pynq.compiler.search import search_norm
from m3vit_pynq.compiler.simulate import accumulate, add_residual, requantise
from m3vit_pynq.compiler.streams import Context, Stream, folds, norm_rows, rows, stacked
from m3vit_pynq.reference.checkpoint import gate_bias_name
from m3vit_pynq.reference.float_model import softmax
from m3vit_pynq.reference.routing import choose, gate_weights

#: log2 units with 16 fractional bits in one natural unit of a router logit.
LOGIT_UNITS = 65536 / np.log(2)


def _layer_pair(context: Context, prefix: str) -> tuple[Affine, Affine]:
    layers = (affine(context, f"{prefix}.fc1"), affine(context, f"{prefix}.fc2"))
    return tuple(Affine(short_name(la.name), la.weight, la.bias) for la in layers)


def _quantised_norm(context: Context, name: str, grid: Grid) -> Norm:
    norm = fit_norm(
        short_name(name), context.array(f"{name}.weight"), context.array(f"{name}.bias"), grid,
        context.eps,
    )  # fmt: skip
    context.grids[norm.name] = grid
    return norm


def _advance(streams: list[Stream], integer: np.ndarray, real: np.ndarray) -> None:
    """Set the streams to the integer rows given; add the real rows."""
    shape = streams[0].real.shape
    pairs = zip(
        integer.reshape(-1, *shape), real.reshape(-1, *shape), streams, strict=True
    )  # fmt: skip
    for integers, update, stream in pairs:
        stream.integer = integers
        stream.real = stream.real + update


def quantise_dense(context: Context, prefix: str, streams: list[Stream]) -> DenseFfn:
    """Quantise and advance the streams past a dense feed-forward layer."""
    name = f"{prefix}.norm2"
    first, second = _layer_pair(context, f"{prefix}.mlp")
    exact_in = [context.norm(name, s.real) for s in streams]
    fold, exact_rows = folds(exact_in), stacked(exact_in)
    grid = search_norm(exact_rows, first.weight, fold)
    norm = _quantised_norm(context, name, grid)
    inputs = stacked(norm_rows(norm, streams))
    exact = FloatMlp.of(first, second, exact_rows)
    mlp = fit_mlp(context, exact, grid, inputs, fold).record(context)
    integer = add_residual(stacked([s.integer for s in streams]), mlp.update())
    _advance(streams, integer, exact.out)
    return DenseFfn(norm, mlp.layers)


@dataclass(frozen=True)
class Decision:
    """Experts of every row and their weights, [rows, k]."""

    experts: np.ndarray
    gates: np.ndarray

    @classmethod
    def joined(cls, parts: list[Decision]) -> Decision:
        """Decisions of several streams, one after the other."""
        return cls(
            np.concatenate([part.experts for part in parts]),
            np.concatenate([part.gates for part in parts]),
        )


class MixtureQuantiser:
    """Quantises one mixture of experts and advances one stream a task."""

    def __init__(self, context: Context, prefix: str, streams: list[Stream]) -> None:
        self.context, self.prefix, self.streams = context, prefix, streams
        self.config = context.config
        self.norm_name = f"{prefix}.norm2"
        exact_in = [context.norm(self.norm_name, s.real) for s in streams]
        self.fold, self.exact = folds(exact_in), stacked(exact_in)
        experts = f"{prefix}.mlp.experts"
        self.arrays = {
            name: context.array(f"{experts}.{name}")
            for name in ("htoh4.weight", "htoh4.bias", "h4toh.weight", "h4toh.bias")
        }
        shared = f"{prefix}.mlp.shared"
        self.shared = _layer_pair(context, shared) if self.config.shared_hidden else None

    def run(self) -> MoeFfn:
        """All layers of the mixture."""
        weight = self.arrays["htoh4.weight"].reshape(-1, self.config.embed_dim)
        if self.shared is not None:
            weight = np.concatenate([weight, self.shared[0].weight])
        grid = search_norm(self.exact, weight, self.fold)
        norm = _quantised_norm(self.context, self.norm_name, grid)
        inputs = norm_rows(norm, self.streams)
        exact = np.split(self.exact, len(self.streams))
        routers, ours, theirs = [], [], []
        for stream, x, y in zip(self.streams, inputs, exact, strict=True):
            gate = self._gate(stream)
            router = self._router(gate, rows(x), y, grid)
            routers.append(router)
            ours.append(self._decide(router, rows(x)))
            theirs.append(self._float_decision(gate, y))
        flat = stacked(inputs)
        integer, real = stacked([s.integer for s in self.streams]), np.zeros_like(self.exact)
        shared = None
        if self.shared is not None:
            shared_exact = FloatMlp.of(*self.shared, self.exact)
            mlp = fit_mlp(self.context, shared_exact, grid, flat, self.fold).record(self.context)
            integer, shared = add_residual(integer, mlp.update()), mlp.layers
            real += shared_exact.out
        experts = self._experts(
            grid, flat, Decision.joined(ours), Decision.joined(theirs), integer, real
        )
        _advance(self.streams, integer, real)
        return MoeFfn(norm, tuple(routers), experts, shared)

    # Routing

    def _gate(self, stream: Stream) -> Affine:
        block, task = int(self.prefix.rsplit(".", 1)[1]), stream.tasks[0]
        name = f"{self.prefix}.mlp.gate.{task}"
        weight = self.context.array(f"{name}.w_gate").T
        bias = self.context.checkpoint.get(gate_bias_name(block, task), np.zeros(len(weight)))
        return Affine(short_name(name), weight, np.asarray(bias, np.float32))

    def _router(self, gate: Affine, inputs: np.ndarray, exact: np.ndarray, grid: Grid) -> Linear:
        return fit_linear(
            gate, grid, Moments.of(inputs), Grid.uniform(len(gate.bias), 1 / LOGIT_UNITS),
            store=Store.SCORES, target_mean=gate(exact).mean(axis=0, dtype=np.float64),
        )  # fmt: skip

    def _decide(self, router: Linear, inputs: np.ndarray) -> Decision:
        logits = requantise(accumulate(router, inputs), router, 32)
        logits = self._shared_decision(logits.astype(np.int64))
        chosen = choose(logits, self.config.top_k)
        every = self.config.router == "noisy_vmoe"
        mode = GateMode.SOFTMAX_ALL if every else GateMode.SOFTMAX_SELECTED
        return Decision(chosen, gate_weights(logits, chosen, mode))

    def _float_decision(self, gate: Affine, exact: np.ndarray) -> Decision:
        logits = self._shared_decision(gate(exact))
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : self.config.top_k]
        if self.config.router == "noisy_vmoe":
            return Decision(chosen, np.take_along_axis(softmax(logits), chosen, axis=1))
        return Decision(chosen, softmax(np.take_along_axis(logits, chosen, axis=1)))

    def _shared_decision(self, logits: np.ndarray) -> np.ndarray:
        """With ``per_image`` the logits of each frame's first token, for all its tokens."""
        if not self.config.per_image:
            return logits
        return np.repeat(logits[:: self.config.tokens], self.config.tokens, axis=0)

    # Experts

    def _layers(self, expert: int) -> tuple[Affine, Affine]:
        prefix = short_name(f"{self.prefix}.mlp.experts.{expert}")
        first, second = (
            Affine(
                f"{prefix}.{name}",
                self.arrays[f"{name}.weight"][expert],
                self.arrays[f"{name}.bias"][expert],
            )
            for name in ("htoh4", "h4toh")
        )
        return first, second

    def _experts(
        self,
        grid: Grid,
        inputs: np.ndarray,
        ours: Decision,
        theirs: Decision,
        integer: np.ndarray,
        real: np.ndarray,
    ) -> tuple[Expert, ...]:
        """Quantise every expert; add its results to the integer and the real rows."""
        prior = Moments.of(inputs)
        experts = []
        for index in range(self.config.experts):
            mine, slot = np.nonzero(ours.experts == index)
            float_mine, float_slot = np.nonzero(theirs.experts == index)
            every = np.union1d(mine, float_mine)
            exact = FloatMlp.of(*self._layers(index), self.exact[every])
            gate = theirs.gates[float_mine, float_slot][:, None].astype(np.float32)
            real[float_mine] += gate * exact.out[np.searchsorted(every, float_mine)]
            fitted = fit_expert(
                self.context, exact.rows(np.searchsorted(every, mine)), grid, inputs[mine],
                self.fold[mine], prior,
            )  # fmt: skip
            for layer, hidden in zip(fitted.expert.second, fitted.hidden, strict=True):
                update = _gated(layer, hidden, ours.gates[mine, slot])
                integer[mine] = add_residual(integer[mine], update)
            experts.append(fitted.expert)
        return tuple(experts)


def _gated(layer: Linear, hidden: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """What experts add to the residual stream through slots, float32 integers [n, D]."""
    fine = np.ldexp(layer.mult.astype(np.float64), 8 - layer.shift.astype(np.int64))
    value = np.floor(accumulate(layer, hidden) * fine + 0.5)
    update = np.floor(value * (gates[:, None] * 2.0**-24) + 0.5)
    return np.clip(update, -32768, 32767).astype(np.float32)
