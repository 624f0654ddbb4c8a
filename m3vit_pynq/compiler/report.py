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

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.abi.footprint import footprint
from m3vit_pynq.abi.isa import Instruction, Opcode, Store, lines
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
    block = block_of(name)
    part = name.removeprefix(f"{block}.")
    if part == "mlp.shared.fc2":
        return None  # the float model has no name for the stream between shared and routed
    if instruction.opcode == Opcode.LINEAR and instruction.store == Store.RESIDUAL:
        return f"backbone.{block}.residual.{'attn' if part == 'attn.proj' else 'mlp'}"
    for mlp in ("mlp", "mlp.shared"):
        if part.startswith(f"{mlp}.fc1"):
            return f"backbone.{block}.{mlp}.gelu"
    names = {
        "attn": "attn.mixed", "norm1": "norm1", "norm2": "norm2", "attn.qkv": "attn.qkv",
    }  # fmt: skip
    if instruction.store == Store.SCORES:
        return f"backbone.{block}.mlp.logits"
    return f"backbone.{block}.{names[part]}" if part in names else None


class _Comparison:
    """Observer of the machine: compares what each instruction left behind.

    Experts leave slots; the residual stream with them exists once the next
    LAYERNORM has added them, and is compared then, under the experts' name.
    """

    def __init__(
        self, model: QuantisedModel, layers: Sequence[str], task: str, exact: dict[str, np.ndarray],
        quality: Quality,
    ) -> None:  # fmt: skip
        self.model, self.layers, self.task = model, layers, task
        self.exact, self.quality = exact, quality
        self.scale = model.scales["residual"]
        self.last = max(model.config.head.taps)
        self.experts = ""

    def __call__(self, pc: int, instruction: Instruction, machine: Machine) -> None:
        name, i = self.layers[pc], instruction
        if i.opcode == Opcode.GATE:
            self._routing(name, i, machine)
        elif i.opcode == Opcode.EXPERTS_DOWN:
            self.experts = name.removesuffix(".down")
        elif i.opcode == Opcode.LAYERNORM and i.slots:
            stream = machine.read_residual(i.src, i.rows, i.src_stride, i.cols_in)
            exact_name = f"backbone.{block_of(self.experts)}.residual.mlp"
            self._compare(self.experts, exact_name, stream.astype(np.float64) * self.scale)
        if i.opcode not in (Opcode.GATE, Opcode.EXPERTS_UP, Opcode.EXPERTS_DOWN):
            self._compare(name, _float_name(name, i, self.task), self._real(name, i, machine))

    def _compare(self, name: str, exact_name: str | None, real: np.ndarray | None) -> None:
        exact = self.exact.get(exact_name)
        if exact is None or real is None:
            return
        if name in self.model.channels:
            exact = exact[:, self.model.channels[name]]
        power = self.quality.layers.setdefault((self.task, name), Power())
        if real.size == exact.size + real.shape[1]:
            real = real[1:]  # the float model's heads have no class token
        if real.size < exact.size:
            exact = exact[: len(real)]  # one decision for the image
        power.add(exact, real)
        if exact_name == f"backbone.blocks.{self.last}.residual.mlp":
            self.quality.encoder.add(exact, real)

    def _real(self, name: str, i: Instruction, machine: Machine) -> np.ndarray | None:
        """Real values of what an instruction wrote, [rows, channels]."""
        config = self.model.config
        if i.store == Store.RESIDUAL:
            return self._residual(i, machine).astype(np.float64) * self.scale
        if i.store == Store.SCORES:
            rows = machine.read_rows(i.dst, i.rows, i.dst_stride, lines(4 * i.cols_out))
            return rows.view("<i4")[:, : i.cols_out] / LOGIT_UNITS
        grid = self.model.grids.get(name)
        if grid is None:
            return None
        if i.store == Store.ACT8:
            grid = self.model.grids.get(f"{name}.narrow", grid)
        integers = written(i, machine)
        if i.planar:  # queries, keys and values begin with a plane each
            dim = config.embed_dim
            integers = integers.reshape(i.rows, 3, -1)[..., :dim].reshape(i.rows, 3 * dim)
        integers = integers[:, : len(grid.scale)]
        real = integers * grid.scale + grid.offset
        kind = config.tasks[config.task_index(self.task)].kind
        if name == f"{self.task}.out" and kind == "depth":
            real = (real - np.log2(1000)) * np.log(2)
        return real

    def _residual(self, i: Instruction, machine: Machine) -> np.ndarray:
        """The whole stream; the patch embedding updates all rows but the class token's."""
        missing = self.model.config.tokens - i.rows
        base = i.dst - missing * i.dst_stride
        return machine.read_residual(base, i.rows + missing, i.dst_stride, i.cols_out)

    def _routing(self, name: str, i: Instruction, machine: Machine) -> None:
        prefix = f"backbone.{name.removesuffix('.gate')}.mlp"
        key = (self.task, name.replace(".gate", f".mlp.gate.{self._index}"))
        same = self.quality.routing.setdefault(key, Agreement())
        chosen = chosen_experts(i, machine)
        same.add(chosen, self.exact[f"{prefix}.chosen"], self.exact[f"{prefix}.logits"])

    @property
    def _index(self) -> int:
        return self.model.config.task_index(self.task)


def block_of(layer: str) -> str:
    """Block of a layer: ``blocks.3`` of ``blocks.3.mlp.fc2``."""
    return ".".join(layer.split(".")[:2])


def written(i: Instruction, machine: Machine) -> np.ndarray:
    """Integers of what an instruction wrote as int8 or int16, [rows or pixels, channels]."""
    region = footprint(i).writes[0]
    if i.planar:
        planes = machine.read_rows(region.base, region.rows, region.stride, region.width)
        return planes.view(np.int8).reshape(region.rows, -1, LINE).swapaxes(0, 1).reshape(
            region.width, -1
        )  # fmt: skip
    rows = machine.read_rows(region.base, region.rows, region.stride, region.width)
    return rows.view("<i2" if i.store == Store.ACT16 else np.int8)


def chosen_experts(i: Instruction, machine: Machine) -> np.ndarray:
    """Experts of every token from the records that a GATE wrote, int [tokens, k]."""
    records = machine.read_rows(i.dst, i.rows, 1, 1).view("<u2")
    return records[:, 0 : 4 * i.top_k : 4].astype(np.int64)


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
