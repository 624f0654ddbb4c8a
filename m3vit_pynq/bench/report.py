# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark found: as data, as a table, as a line of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from m3vit_pynq.abi.boards import DEFAULT_BOARD
from m3vit_pynq.analysis.workload import Workload
from m3vit_pynq.bench.cycles import NOT_COUNTED, BoardCycles, by_layer
from m3vit_pynq.bench.speed import Comparison, Timing
from m3vit_pynq.computer import commit, cores, processor, versions
from m3vit_pynq.package import Package


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
    engine : str
        What computed on the emulated board; empty on a real one.
    """

    package: Package
    board: str
    comparisons: Mapping[str, Comparison]
    boards: Mapping[str, BoardCycles]
    workloads: Mapping[str, Workload]
    registers_per_frame: float
    registers_per_switch_frame: float
    engine: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "package": self.package.config.name,
            "board": self.board,
            "engine": self.engine,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": {"processor": processor(), "cores": cores()},
            "commit": commit(),
            "versions": versions(),
            "speed": {task: _speed(c) for task, c in self.comparisons.items()},
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

    def table(self) -> str:
        """The figures for a person."""
        lines = [f"{self.package.config.name}, {processor()}, {cores()} cores", ""]
        for task, comparison in self.comparisons.items():
            lines += [f"{task}: milliseconds per frame, median (quartiles) of "
                      f"{len(comparison.emulated.milliseconds)}"]  # fmt: skip
            who = f"emulated board, {self.engine}" if self.engine else "board"
            lines.append(f"  {who:<26}{_timing(comparison.emulated)}")
            if comparison.torch is not None:
                who = f"PyTorch fp32, {comparison.torch_threads} threads"
                lines.append(f"  {who:<26}{_timing(comparison.torch)}")
                lines.append(f"  {'PyTorch / this':<26}{comparison.ratio:8.2f}")
        if all(c.torch is None for c in self.comparisons.values()):
            lines.append("  PyTorch is not installed: no comparison")
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
        data = self.to_dict()
        return [
            {
                "date": data["date"], "commit": data["commit"],
                "processor": data["machine"]["processor"], "cores": data["machine"]["cores"],
                "package": data["package"], "task": task, "engine": self.engine,
                "emulated_ms": round(c.emulated.median, 2),
                "emulated_busy_cores": round(c.emulated.busy_cores, 2),
                "torch": data["versions"].get("torch", "") if c.torch else "",
                "torch_ms": round(c.torch.median, 2) if c.torch else "",
                "torch_threads": c.torch_threads or "",
                "ratio": round(c.ratio, 3) if c.ratio else "",
                "registers_per_frame": self.registers_per_frame,
                **{
                    f"cycles_{name}": found.cycles(task) or ""
                    for name, found in self.boards.items()
                },
            }
            for task, c in self.comparisons.items()
        ]  # fmt: skip


def _speed(comparison: Comparison) -> dict[str, Any]:
    return {
        "emulated_ms": _figures(comparison.emulated),
        "torch_ms": _figures(comparison.torch),
        "torch_threads": comparison.torch_threads,
        "ratio": comparison.ratio,
    }


def _figures(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
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
