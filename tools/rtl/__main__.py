# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Put processes of ``hls_src`` through Bambu and Verilator, and write docs/rtl.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .bambu import MISSING, found, run_process, version
from .sources import digest
from .table import Results

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run what is asked for; status 1 if a process differs, 2 without the tool."""
    parser = argparse.ArgumentParser(prog="python -m tools.rtl", description=__doc__)
    parser.add_argument("processes", nargs="*", help="names; all of them if none is given")
    parser.add_argument("--list", action="store_true", help="names of the processes")
    parser.add_argument("--out-par", type=int, choices=(2, 4), default=2,
                        help="outputs per cycle of the small board")  # fmt: skip
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "rtl",
                        help="folder for copies, benches and logs")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one process")
    parser.add_argument("--write", action="store_true", help="into docs/rtl.md and rtl.json")
    args = parser.parse_args()

    sys.path.insert(0, str(ROOT / "tests" / "rtl"))
    from processes import PROCESSES

    if args.list:
        print("\n".join(p.name for p in PROCESSES))  # noqa: T201
        return 0
    if not found():
        print(MISSING, file=sys.stderr)  # noqa: T201
        return 2
    names = args.processes or [p.name for p in PROCESSES]
    known = {p.name: p for p in PROCESSES}
    for name in names:
        if name not in known:
            parser.error(f"no process {name!r}; --list names them")
    digests = {p.name: digest(ROOT / "hls_src", p.header) for p in PROCESSES}
    results = Results(ROOT / "docs" / "rtl.json", version(), digests)
    wrong = 0
    for name in names:
        result = run_process(known[name], args)
        wrong += result["state"] not in ("equal", "refused", "too long")
        print(f"{name}: {result['state']}, {result['vectors']} vectors, "  # noqa: T201
              f"{result['mismatches']} mismatches, {result['cycles']} cycles, "
              f"{result['seconds']} s {result['reason']}", flush=True)  # fmt: skip
        results.add(result)
        if args.write:
            results.write(ROOT / "docs" / "rtl.md")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
