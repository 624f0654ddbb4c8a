# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks of ``networks.h``, instrumented and compiled like the accelerator."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

from m3vit_pynq.emulator.hostbuild import source_directory
from m3vit_pynq.emulator.trace.build import compile_traced
from m3vit_pynq.emulator.trace.instrument import instrument
from m3vit_pynq.emulator.trace.library import configure
from m3vit_pynq.emulator.trace.machine import Machine

FOLDER = Path(__file__).with_name("networks")
NAMES = (
    "slow_consumer", "shallow_stream", "paths_that_join", "stalled_pipeline", "flushed_pipeline",
    "pingpong", "one_reader", "two_on_one_port", "two_on_two_ports", "one_writer",
    "flushed_alone", "rare_producer",
)  # fmt: skip

#: Masters 0 and 1 share a port; a beat a cycle; 40 + 60 cycles to DRAM and back.
MACHINE = Machine(4, 1.0, 0.25, 40, 60, (0, 0, 1))


class Networks:
    """Compiled once; pipelines have a depth of 2 unless it is said."""

    def __init__(self, folder: Path) -> None:
        traced = instrument(FOLDER)
        port = source_directory() / "host" / "plain_port.h"
        traced.files["host/plain_port.h"] = port.read_text(encoding="utf-8")
        path = folder / "networks.so"
        compile_traced(traced, Path("networks.cpp"), path, flags=("-Werror",))
        self.loops = traced.loops
        self._library = ctypes.CDLL(str(path))
        self._library.run_network.restype = ctypes.c_char_p
        self._library.run_chain.restype = ctypes.c_char_p

    def run(
        self, name: str, *numbers: int, machine: Machine = MACHINE, limit: int = 1 << 20,
        **depths: int,
    ):  # fmt: skip
        """Run a network; `depths` by the labels of loops."""
        unknown = set(depths) - {loop.split()[1] for loop in self.loops}
        assert not unknown
        configure(
            self._library, machine, [depths.get(loop.split()[1], 2) for loop in self.loops], limit
        )
        given = (*numbers, 0, 0)[:3]
        return json.loads(self._library.run_network(NAMES.index(name), *given))

    def chain(self, count: int, stages: list[tuple[int, int, bool, int]]):
        """A chain of loops: (interval, depth, flushed, depth of the stream behind it)."""
        configure(self._library, MACHINE, [depth for _, depth, _, _ in stages])
        shape = [n for interval, _, flushed, room in stages for n in (interval, flushed, room)]
        numbers = (ctypes.c_int * len(shape))(*shape)
        return json.loads(self._library.run_chain(len(stages), count, numbers))
