# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark found: as data, as a table, as a line of a CSV file."""

from __future__ import annotations

import csv
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from typing import Any

from m3vit_pynq.abi.boards import DEFAULT_BOARD
from m3vit_pynq.analysis.workload import Workload
from m3vit_pynq.bench.competitors import ONNXRUNTIME, TITLES, TORCH
from m3vit_pynq.bench.cycles import NOT_COUNTED, BoardCycles, by_layer
from m3vit_pynq.bench.speed import Comparison, Timing
from m3vit_pynq.computer import commit, cores, processor, versions
from m3vit_pynq.package import Package


@dataclass(frozen=True)
class Setting:
    """How everything was measured.

    Attributes
    ----------
    engine : str
        What computed on the emulated board; empty on a real one.
    path : str
        Arithmetic of the fast engine; empty for another.
    threads : int
        Of each.
    peak : float or None
        Products per second that one thread reaches on registers alone with the
        path's instruction, where that is known.
    load : float
        Of the computer, when the measurement began.
    notes : tuple of str
        What is missing, or not as it was asked for.
    """

    engine: str = ""
    path: str = ""
    threads: int = 1
    peak: float | None = None
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.engine} ({self.path})" if self.path else self.engine


@dataclass(frozen=True)
class BenchReport:
    """Figures of one benchmark run.

    Attributes
    ----------
    comparisons : mapping of str to Comparison
        By task.
    boards : mapping of str to BoardCycles
        By board.
    workloads : mapping of str to Workload
        What a frame asks for if all experts are used, by task.
    registers_per_frame, registers_per_switch_frame : float
        Accesses without status polls.
    """

    package: Package
    board: str
    comparisons: Mapping[str, Comparison]
    boards: Mapping[str, BoardCycles]
    workloads: Mapping[str, Workload]
    registers_per_frame: float
    registers_per_switch_frame: float
    setting: Setting = field(default_factory=Setting)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "package": self.package.config.name,
            "board": self.board,
            "engine": self.setting.engine,
            "path": self.setting.path,
            "threads": self.setting.threads,
            "load": self.setting.load,
            "notes": list(self.setting.notes),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": {"processor": processor(), "cores": cores()},
            "commit": commit(),
            "versions": _versions(),
            "speed": {task: self._speed(c) for task, c in self.comparisons.items()},
            "workload": {
                task: {
                    "macs": w.macs, "parameters": w.parameters, "weight_bytes": w.weight_bytes,
                    "frame_bytes": w.frame_bytes, "output_bytes": w.output_bytes,
                    "read_bytes": w.read_bytes, "written_bytes": w.written_bytes,
                }
                for task, w in self.workloads.items()
            },
            "registers_per_frame": self.registers_per_frame,
            "registers_per_switch_frame": self.registers_per_switch_frame,
            "boards": {name: self._board(found) for name, found in self.boards.items()},
            "cycles": None if any(b.tasks for b in self.boards.values()) else NOT_COUNTED,
        }  # fmt: skip

    def _board(self, found: BoardCycles) -> dict[str, Any]:
        if found.problem:
            return {"does_not_fit": found.problem}
        return {task: self._frame(found, task) for task in self.package.task_names}

    def _frame(self, found: BoardCycles, task: str) -> dict[str, Any]:
        """Figures of one task on one board; None where cycles are not counted."""
        frame = found.tasks.get(task)
        return {
            "cycles": found.cycles(task),
            "milliseconds": found.milliseconds(task),
            "bytes": frame.bytes if frame else None,
            "utilisation": frame.utilisation if frame else None,
            "layers": by_layer(self.package, frame) if frame else {},
        }

    def _speed(self, comparison: Comparison) -> dict[str, Any]:
        others = comparison.others
        forms = {form: others[form].median for form in ONNXRUNTIME if form in others}
        return {
            "emulated_ms": comparison.emulated.median,
            "onnxruntime_ms": {form.partition("_")[2]: ms for form, ms in forms.items()} or None,
            "torch_ms": others[TORCH].median if TORCH in others else None,
            "ratio_onnxruntime": comparison.ratio_onnxruntime,
            "ratio_torch": comparison.ratio_torch,
            "timings": {
                "emulated": _figures(comparison.emulated),
                **{name: _figures(timing) for name, timing in others.items()},
            },
            "classes": {
                opcode: {
                    "ms": found.milliseconds, "macs": found.products,
                    "of_peak": self._of_peak(found.milliseconds, found.products),
                }
                for opcode, found in comparison.classes.items()
            },
        }  # fmt: skip

    def _of_peak(self, milliseconds: float, products: int) -> float | None:
        """Share of what all threads would reach on registers alone."""
        if not (self.setting.peak and products and milliseconds):
            return None
        return products / (1e-3 * milliseconds) / (self.setting.peak * self._at_work)

    @property
    def _at_work(self) -> int:
        """Threads that can be at work at the same time."""
        return min(self.setting.threads, cores())

    def table(self) -> str:
        """The figures for a person."""
        setting = self.setting
        lines = [
            f"{self.package.config.name}, {processor()}, {cores()} cores, load {setting.load:.1f}; "
            f"{setting.threads} thread{'s' if setting.threads > 1 else ''} each"
        ]
        for task, comparison in self.comparisons.items():
            lines += self._task_lines(task, comparison)
        lines += [f"note: {text}" for text in setting.notes]
        lines += self._class_lines()
        lines += ["", "a frame asks for"]
        for task, w in self.workloads.items():
            lines.append(
                f"  {task:<22}{w.macs / 1e9:.3f} GMAC; at most {w.weight_bytes / 1e6:.2f} MB of "
                f"weights, {(w.dram_bytes - w.weight_bytes) / 1e6:.2f} MB of activations"
            )
        lines.append(
            f"  {'registers':<22}{self.registers_per_frame:g} accesses, "
            f"{self.registers_per_switch_frame:g} after a change of task"
        )
        return "\n".join([*lines, "", *self._board_lines(), *self._layer_lines()])

    def _task_lines(self, task: str, comparison: Comparison) -> list[str]:
        who = f"emulated board, {self.setting.name}" if self.setting.engine else "board"
        best = comparison.best_onnxruntime
        lines = [
            "", f"{task}: milliseconds per frame, median (quartiles) of "
            f"{len(comparison.emulated.milliseconds)}",
            f"  {who:<36}{_timing(comparison.emulated)}",
        ]  # fmt: skip
        for name, timing in comparison.others.items():
            lines.append(f"  {TITLES[name]:<36}{_timing(timing)}")
        if best is not None:
            who = f"{TITLES[best].partition(',')[0]} / this"
            lines.append(f"  {who:<36}{comparison.ratio_onnxruntime:8.2f}")
        if comparison.ratio_torch is not None:
            lines.append(f"  {'PyTorch / this':<36}{comparison.ratio_torch:8.2f}")
        return lines

    def _class_lines(self) -> list[str]:
        """Time of the first task by kind of instruction."""
        task, comparison = next(iter(self.comparisons.items()))
        if not comparison.classes:
            return []
        whole, peak = mean(comparison.emulated.milliseconds), self.setting.peak
        heads = f"  {'':<22}{'ms':>8}{'share':>8}{'GMAC':>8}{'GMAC/s':>9}{'of peak':>9}"
        lines = ["", f"{task} by instruction, mean milliseconds of a frame", heads]
        rest, products = whole, 0
        for opcode, found in comparison.classes.items():
            lines.append(self._class_line(opcode, found.milliseconds, found.products, whole))
            rest, products = rest - found.milliseconds, products + found.products
        lines.append(self._class_line("around them", rest, 0, whole))
        lines.append(self._class_line("frame", whole, products, whole))
        if peak:
            lines.append(
                f"  peak: {self._at_work} x {peak / 1e9:.0f} GMAC/s with the instruction of "
                f"{self.setting.path}, on registers alone"
            )
        return lines

    def _class_line(self, name: str, milliseconds: float, products: int, whole: float) -> str:
        line = f"  {name:<22}{milliseconds:8.2f}{milliseconds / whole:8.1%}"
        if products:
            line += f"{products / 1e9:8.2f}{products / milliseconds / 1e6:9.0f}"
            share = self._of_peak(milliseconds, products)
            line += f"{share:9.0%}" if share else ""
        return line

    def _board_lines(self) -> list[str]:
        lines = ["boards"]
        for found in self.boards.values():
            if found.problem:
                lines.append(f"  {found.board.title:<14}does not fit: {found.problem}")
            elif not found.tasks:
                lines.append(f"  {found.board.title:<14}fits; cycles are {NOT_COUNTED}")
            for task, frame in found.tasks.items():
                lines.append(
                    f"  {found.board.title:<14}{task:<14}{frame.total:>12,} cycles "
                    f"{found.milliseconds(task):8.2f} ms, engine busy {frame.utilisation:4.0%}, "
                    f"{frame.bytes / 1e6:6.2f} MB"
                )
        return lines

    def _layer_lines(self) -> list[str]:
        """Cycles of the first task by kind of layer, on the board that was asked for."""
        found = self.boards.get(self.board) or self.boards.get(DEFAULT_BOARD)
        if found is None or not found.tasks:
            return []
        task, frame = next(iter(found.tasks.items()))
        kinds: dict[str, int] = {}
        for layer, entry in by_layer(self.package, frame).items():
            kind = ".".join(part for part in layer.split(".") if not part.isdigit())
            kinds[kind] = kinds.get(kind, 0) + entry["cycles"]
        lines = ["", f"cycles by kind of layer, {task} on the {found.board.title}"]
        for kind, cycles in sorted(kinds.items(), key=lambda item: -item[1]):
            lines.append(f"  {kind:<34}{cycles:>12,} {cycles / frame.total:6.1%}")
        return lines

    def records(self) -> list[dict[str, Any]]:
        """One flat record per task, for `append_csv`."""
        data, setting = self.to_dict(), self.setting
        return [
            {
                "date": data["date"], "commit": data["commit"],
                "processor": data["machine"]["processor"], "cores": data["machine"]["cores"],
                "load": round(setting.load, 1), "package": data["package"], "task": task,
                "engine": setting.engine, "path": setting.path, "threads": setting.threads,
                "repeats": len(c.emulated.milliseconds),
                "emulated_ms": round(c.emulated.median, 2),
                "emulated_busy_cores": round(c.emulated.busy_cores, 2),
                "onnxruntime": data["versions"].get("onnxruntime", ""),
                **{f"{form}_ms": _rounded(c.others.get(form)) for form in ONNXRUNTIME},
                "ratio_onnxruntime": round(c.ratio_onnxruntime or 0, 3) or "",
                "torch": data["versions"].get("torch", ""),
                "torch_ms": _rounded(c.others.get(TORCH)),
                "ratio_torch": round(c.ratio_torch or 0, 3) or "",
                "registers_per_frame": self.registers_per_frame,
                "notes": "; ".join(setting.notes),
                **{
                    f"cycles_{name}": found.cycles(task) or ""
                    for name, found in self.boards.items()
                },
            }
            for task, c in self.comparisons.items()
        ]  # fmt: skip


def _versions() -> dict[str, str]:
    found = versions()
    for name in ("onnxruntime", "onnx"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _rounded(timing: Timing | None) -> float | str:
    return "" if timing is None else round(timing.median, 2)


def _figures(timing: Timing) -> dict[str, Any]:
    return {
        "median": timing.median, "quartiles": list(timing.spread),
        "busy_cores": timing.busy_cores, "repeats": list(timing.milliseconds),
    }  # fmt: skip


def _timing(timing: Timing) -> str:
    low, high = timing.spread
    return f"{timing.median:8.1f} ({low:.1f} to {high:.1f}), {timing.busy_cores:.1f} cores busy"


def append_csv(path: Path, records: list[dict[str, Any]]) -> None:
    """Add records to a CSV file, which is made if need be.

    Raises
    ------
    ValueError
        If the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(records[0])
    fresh = not path.exists()
    if not fresh:
        with path.open(newline="") as file:
            if (found := next(csv.reader(file), [])) != columns:
                raise ValueError(f"{path}: has the columns {', '.join(found)}; move it away")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(records)
