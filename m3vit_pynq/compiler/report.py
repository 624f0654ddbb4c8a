# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the integers cost: the specification's machine against the float model.

Signal-to-quantisation-noise ratios are of whole passes: what a layer gets
already carries the noise of all layers before it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from m3vit_pynq.abi.isa import Instruction, Opcode, Store
from m3vit_pynq.compiler.layers import QuantisedModel
from m3vit_pynq.compiler.quantise_ffn import LOGIT_UNITS
from m3vit_pynq.package import Package
from m3vit_pynq.reference.float_model import FloatModel
from m3vit_pynq.reference.machine import Machine

#: A token whose last chosen and first rejected expert are closer than this
#: fraction of the spread of its logits is a near tie.
NEAR_TIE = 0.05


@dataclass
class Power:
    """Accumulated signal and noise energy of one layer."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, exact: np.ndarray, real: np.ndarray) -> None:
        """Count one more result of the layer."""
        exact = exact.astype(np.float64)
        self.signal += float(np.sum(np.square(exact)))
        self.noise += float(np.sum(np.square(real.reshape(exact.shape) - exact)))

    @property
    def sqnr_db(self) -> float:
        """Ratio in decibels; infinite without noise."""
        if self.noise == 0:
            return float("inf")
        return float(10 * np.log10(max(self.signal, 1e-300) / self.noise))


@dataclass
class Agreement:
    """Tokens of one MoE layer whose set of experts is the float model's."""

    same: int = 0
    pairs: int = 0
    same_clear: int = 0
    clear: int = 0

    def add(self, chosen: np.ndarray, exact: np.ndarray, logits: np.ndarray) -> None:
        """Count one frame: sets as int [tokens, k], logits float [tokens, experts]."""
        equal = (np.sort(chosen, axis=1) == np.sort(exact, axis=1)).all(axis=1)
        clear = ~near_ties(logits, exact.shape[1])
        self.same += int(equal.sum())
        self.pairs += len(equal)
        self.same_clear += int(equal[clear].sum())
        self.clear += int(clear.sum())

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.same + other.same, self.pairs + other.pairs,
            self.same_clear + other.same_clear, self.clear + other.clear,
        )  # fmt: skip

    @property
    def fraction(self) -> float:
        return self.same / self.pairs if self.pairs else 1.0

    @property
    def fraction_clear(self) -> float:
        """Without near ties."""
        return self.same_clear / self.clear if self.clear else 1.0


def near_ties(logits: np.ndarray, top_k: int) -> np.ndarray:
    """Tokens for which the last chosen expert hardly beats the first rejected one."""
    if logits.shape[1] <= top_k:
        return np.zeros(len(logits), bool)
    ordered = np.sort(logits, axis=1)[:, ::-1]
    gap = ordered[:, top_k - 1] - ordered[:, top_k]
    return gap < NEAR_TIE * logits.std(axis=1)


@dataclass
class Quality:
    """Result of `measure`.

    Attributes
    ----------
    layers : dict
        (task, layer) -> `Power`, in the order of execution.
    routing : dict
        (task, layer) -> `Agreement`.
    outputs : dict
        task -> fraction of equal class ids, or mean relative error of depth.
    """

    frames: int
    layers: dict[tuple[str, str], Power] = field(default_factory=dict)
    routing: dict[tuple[str, str], Agreement] = field(default_factory=dict)
    outputs: dict[str, float] = field(default_factory=dict)
    encoder: Power = field(default_factory=Power)

    @property
    def agreement(self) -> Agreement:
        """Over all tasks and layers."""
        return sum(self.routing.values(), Agreement())

    def summary(self) -> dict[str, Any]:
        """The figures that go into a package's metadata, plain JSON."""
        total = self.agreement
        return {
            "frames": self.frames,
            "encoder_sqnr_db": round(self.encoder.sqnr_db, 2),
            "routing_agreement": round(total.fraction, 5),
            "routing_agreement_clear": round(total.fraction_clear, 5),
            "near_tie_share": round(1 - total.clear / max(total.pairs, 1), 5),
            "output_agreement": {name: round(v, 5) for name, v in self.outputs.items()},
            "layer_sqnr_db": {
                f"{task}/{layer}": round(power.sqnr_db, 2)
                for (task, layer), power in self.layers.items()
            },
        }

    def write_csv(self, path: Path) -> None:
        """One line a layer: task, layer, SQNR, routing agreement."""
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["task", "layer", "sqnr_db", "routing_agreement", "agreement_clear"])
            for (task, layer), power in self.layers.items():
                same = self.routing.get((task, layer))
                extra = [f"{same.fraction:.5f}", f"{same.fraction_clear:.5f}"] if same else ["", ""]
                writer.writerow([task, layer, f"{power.sqnr_db:.2f}", *extra])

    def table(self) -> str:
        """The figures as text."""
        lines = [f"{'task':<14} {'layer':<28} {'SQNR dB':>8}  routing"]
        for (task, layer), power in self.layers.items():
            same = self.routing.get((task, layer))
            note = f"{same.fraction:8.3%} ({same.fraction_clear:.3%} clear)" if same else ""
            lines.append(f"{task:<14} {layer:<28} {power.sqnr_db:8.2f}  {note}".rstrip())
        total = self.agreement
        lines.append(
            f"whole encoder: {self.encoder.sqnr_db:.2f} dB; experts as in float for "
            f"{total.fraction:.3%} of (token, layer) pairs, {total.fraction_clear:.3%} without "
            f"near ties; outputs "
            + ", ".join(f"{name} {value:.4f}" for name, value in self.outputs.items())
        )
        return "\n".join(lines)


def _float_name(name: str, instruction: Instruction, task: str) -> str | None:
    """Name under which the float model reports what an instruction computes."""
    if name == "patch_embed.proj":
        return "backbone.residual"
    if name.startswith(f"{task}."):
        if instruction.opcode == Opcode.UPSAMPLE2X:
            name = name.removesuffix(".upsample").replace(".conv.", ".up.")
        elif instruction.opcode == Opcode.CONV3X3:
            name = name.replace(".conv.", ".relu.")
        return f"decoders.{name}"
    block = ".".join(name.split(".")[:2])
    part = name.removeprefix(f"{block}.")
    if part == "mlp.shared.fc2":
        return None  # the float model has no name for the stream between shared and routed
    if instruction.opcode == Opcode.LINEAR and instruction.store == Store.RESIDUAL:
        return f"backbone.{block}.residual.{'attn' if part == 'attn.proj' else 'mlp'}"
    for mlp in ("mlp", "mlp.shared"):
        if part.startswith(f"{mlp}.fc1"):
            return f"backbone.{block}.{mlp}.gelu"
    if part.startswith("experts"):
        return f"backbone.{block}.residual.mlp"
    names = {
        "attn": "attn.mixed", "norm1": "norm1", "norm2": "norm2", "attn.qkv": "attn.qkv",
    }  # fmt: skip
    if instruction.store == Store.SCORES:
        return f"backbone.{block}.mlp.logits"
    return f"backbone.{block}.{names[part]}" if part in names else None


class _Comparison:
    """Observer of the machine: compares what each instruction left behind."""

    def __init__(
        self, model: QuantisedModel, layers: Sequence[str], task: str, exact: dict[str, np.ndarray],
        quality: Quality,
    ) -> None:  # fmt: skip
        self.model, self.layers, self.task = model, layers, task
        self.exact, self.quality = exact, quality
        self.scale = model.scales["residual"]

    def __call__(self, pc: int, instruction: Instruction, machine: Machine) -> None:
        name = self.layers[pc]
        if instruction.opcode == Opcode.GATE:
            self._routing(name, machine)
            return
        following = self.layers[pc + 1].rpartition(".")[0]
        if instruction.opcode == Opcode.EXPERTS and following == name.rpartition(".")[0]:
            return  # another part of the experts is still to be added
        exact_name = _float_name(name, instruction, self.task)
        exact = self.exact.get(exact_name)
        if exact is None or exact_name is None:
            return
        if name in self.model.channels:
            exact = exact[:, self.model.channels[name]]
        real = self._real(name, instruction, machine)
        # With tiles only the pass that completes a layer covers all of its rows.
        if real is None or real.size != exact.size:
            return
        power = self.quality.layers.setdefault((self.task, name), Power())
        power.add(exact, real)
        last = f"backbone.blocks.{self.model.config.depth - 1}.residual.mlp"
        if exact_name == last:
            self.quality.encoder.add(exact, real)

    def _real(self, name: str, i: Instruction, machine: Machine) -> np.ndarray | None:
        config = self.model.config
        if i.opcode == Opcode.EXPERTS or i.store == Store.RESIDUAL:
            count = config.tokens * config.embed_dim
            return machine.residual[:count].astype(np.float64) * self.scale
        if i.store == Store.SCORES:
            scores = machine.scores[i.dst : i.dst + i.rows * i.cols_out]
            return scores / LOGIT_UNITS
        grid = self.model.grids.get(name)
        if grid is None:
            return None
        if i.store == Store.ACT8:
            grid = self.model.grids.get(f"{name}.narrow", grid)
        channels = len(grid.scale)
        rows = i.rows or i.height * i.width
        if i.opcode == Opcode.UPSAMPLE2X:
            rows *= 4
        if i.store == Store.ACT16:
            wide = machine.read_act(i.dst, rows, i.dst_stride, 2 * channels)
            integers = np.ascontiguousarray(wide).view("<i2")
        else:
            integers = machine.read_act(i.dst, rows, i.dst_stride, channels)
        real = integers * grid.scale + grid.offset
        kind = config.tasks[config.task_index(self.task)].kind
        if name == f"{self.task}.out" and kind == "depth":
            real = (real - np.log2(1000)) * np.log(2)
        return real

    def _routing(self, name: str, machine: Machine) -> None:
        prefix = f"backbone.{name.removesuffix('.gate')}.mlp"
        logits = self.exact[f"{prefix}.logits"]
        chosen = chosen_experts(machine, len(logits))
        if chosen is not None:
            key = (self.task, name.replace(".gate", f".mlp.gate.{self._index}"))
            same = self.quality.routing.setdefault(key, Agreement())
            same.add(chosen, self.exact[f"{prefix}.chosen"], logits)

    @property
    def _index(self) -> int:
        return self.model.config.task_index(self.task)


def chosen_experts(machine: Machine, tokens: int) -> np.ndarray | None:
    """Experts of every token as the queues hold them, int [tokens, k]; None for a tile."""
    queues = machine.queues
    if queues.rows != tokens:
        return None
    pairs = [
        (token, expert) for expert, queue in enumerate(queues.tokens) for token in queue.tolist()
    ]
    return np.array(sorted(pairs))[:, 1].reshape(tokens, queues.top_k)


def _output_agreement(kind: str, output: np.ndarray, exact: Any) -> float:
    if kind == "depth":
        metres = exact.metres()
        return float(np.mean(np.abs(output / 1000 - metres) / metres))
    return float(np.mean(output == exact.classes()))


def measure(
    model: QuantisedModel,
    package: Package,
    exact: FloatModel,
    frames: Sequence[np.ndarray],
    progress: bool = True,
) -> Quality:
    """Compare a package with the float model on frames.

    Parameters
    ----------
    model : QuantisedModel
        What `package` was lowered from.
    frames : sequence of uint8 [height, width, 3]
        Not the calibration frames, if the figures are to mean something.
    """
    quality = Quality(len(frames))
    machine = Machine()
    machine.load(package.program, package.weights)
    runs = [(task, frame) for task in package.task_names for frame in frames]
    for task, frame in tqdm(runs, desc="measure", unit="frame", disable=not progress):
        seen: dict[str, np.ndarray] = {}
        result = exact.run(frame, task, seen.__setitem__)
        machine.observer = _Comparison(model, package.metadata["layers"], task, seen, quality)
        output = machine.run(package.task(task).index, frame)
        kind = package.config.tasks[package.task(task).index].kind
        value = _output_agreement(kind, output, result)
        quality.outputs[task] = quality.outputs.get(task, 0.0) + value / len(frames)
    return quality
