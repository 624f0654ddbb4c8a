# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""One process through Bambu: synthesis, simulation of the Verilog, and what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from datetime import date
from pathlib import Path

from .bench import write_bench, write_top
from .sources import copy_sources, digest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "tests" / "rtl"

MISSING = """\
bambu is not on PATH: nothing was simulated.
Bambu is the HLS compiler of PandA (https://panda.deib.polimi.it, 2024.10 or newer), free
software under the GPL; with it Verilator (package `verilator`) and clang 16 are needed.
Its AppImage, named bambu and on PATH, is enough. Then run `make rtl` again."""

#: Front ends that Bambu may have been built with, best first.
COMPILERS = ("I386_CLANG16", "I386_CLANG13", "I386_CLANG12")


def found() -> bool:
    """Whether the tool is at hand."""
    return shutil.which("bambu") is not None


def version() -> str:
    """Of the tool, as it says itself."""
    said = subprocess.run(["bambu", "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"Version: (.*)", said.stdout + said.stderr)
    verilator = subprocess.run(["verilator", "--version"], capture_output=True, text=True,
                               check=False).stdout.split()  # fmt: skip
    return f"{number[1].split(' - ')[0].strip() if number else 'Bambu'}, Verilator {verilator[1]}"


def compiler() -> str:
    """A front end that this Bambu has."""
    said = subprocess.run(["bambu", "--help"], capture_output=True, text=True, check=False)
    text = said.stdout + said.stderr
    return next((name for name in COMPILERS if name in text), COMPILERS[0])


def _stop(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _simulated(folder: Path, timeout: float) -> tuple[str, str]:
    """The tool's and the simulation's logs; the first is empty after a timeout."""
    shutil.rmtree(folder / "HLS_output", ignore_errors=True)
    command = [
        "bambu", "top.cpp", f"--compiler={compiler()}", "--std=c++14", "--top-fname=top",
        "--generate-interface=INFER", "--generate-tb=bench.cpp", "--simulate",
        "--simulator=VERILATOR", "-O2", "--clock-period=10", "--device-name=xc7z020-1clg484-VVD",
        "-Ihls_src", "-I.", f"-I{BENCHES}", "-DM3VIT_BOARD_FILE",
    ]  # fmt: skip
    with (folder / "bambu.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True)  # fmt: skip
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _stop(process)
            return "", ""
    said = (folder / "bambu.log").read_text(errors="replace")
    bench = folder / "HLS_output" / "simulation" / "testbench.log"
    return said, bench.read_text(errors="replace") if bench.exists() else ""


def run_process(process, args) -> dict:
    """Vectors, synthesis and simulation of a process; a row of the table."""
    from processes import vectors_of
    from recorded import small_board

    from m3vit_pynq.abi.generate import board_header

    started = time.monotonic()
    board = small_board(args.out_par)
    folder = args.work.resolve() / f"{process.name}-{args.out_par}"
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / "hls_src"
    copy_sources(ROOT / "hls_src", sources, BENCHES)
    (folder / "board_file.h").write_text(board_header(board))
    vectors = vectors_of(process, board, args.work.resolve() / f"board{args.out_par}")
    write_top(process, sources, folder)
    write_bench(process, vectors, sources, folder)
    said, bench = _simulated(folder, args.timeout)

    bad = re.search(r"^bad (\d+)", bench, re.M)
    cycles = re.search(r"Total cycles\s*: (\d+) cycles", said)
    runs = re.search(r"Number of executions\s*: (\d+)", said)
    differs = re.search(r"ERROR:.*(?:mismatch|abort).*", bench)
    result = {
        "process": process.name, "out_par": args.out_par, "vectors": len(vectors),
        "mismatches": None, "cycles": None,
        "state": "refused", "reason": "", "seconds": 0, "date": date.today().isoformat(),
        "sources": digest(ROOT / "hls_src", process.header),
    }  # fmt: skip
    if not said:
        result.update(state="too long", reason=f"no result in {args.timeout:.0f} s")
    elif bad and runs and int(runs[1]) == len(vectors) and not differs:
        result.update(
            state="equal" if bad[1] == "0" else "different", mismatches=int(bad[1]),
            cycles=int(cycles[1]) if cycles else None,
        )  # fmt: skip
    elif bad or differs:
        result.update(state="different", mismatches=int(bad[1]) if bad else None,
                      reason=differs[0][:200] if differs else "not all vectors ran")  # fmt: skip
    else:
        errors = re.findall(r"^error -> .*|.* error: .*", said, re.M)
        result["reason"] = (errors[0] if errors else said[-200:]).strip()[:200]
    result["seconds"] = round(time.monotonic() - started)
    return result
