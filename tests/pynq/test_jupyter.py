# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts inside a real Jupyter kernel, whose event loop runs already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import m3vit_pynq

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

SETUP = """
import numpy as np
from m3vit_pynq import M3ViTOverlay
from m3vit_pynq.abi import ABI_VERSION, MAGIC
from m3vit_pynq.emulator.device import EmulatedDevice

def kernel(board):
    def run(arguments, memories):
        return {"id_magic": MAGIC, "id_abi": ABI_VERSION, "id_shape": board.shape_word,
                "cap_half_lines": board.half_lines, "run_error": 0}
    return run

overlay = M3ViTOverlay(device=EmulatedDevice("zcu104", kernel=kernel))
ip = overlay.m3vit_accel_0
"""
PYNQ_WAIT = """
import asyncio
ip.write(0x4, 1)
ip.write(0x8, 1)
for _ in range(3):
    ip.write(0x0, 1)
    status = 0
    while not status & 2:
        await asyncio.wait_for(ip.interrupt.wait(), 10)
        status = ip.read(0x0)
    ip.write(0xC, 1)
print("awaited")
"""
BLOCKING_WAIT = """
polls = ip.port.polls
ip.identify()
print("waited", ip.port.polls - polls)
"""


def test_interrupts_in_a_notebook():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(s) for s in (SETUP, PYNQ_WAIT, BLOCKING_WAIT)]
    root = str(Path(m3vit_pynq.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(
        env={**os.environ, "PYTHONPATH": path}
    )
    texts = ["".join(o.get("text", "") for o in cell.outputs) for cell in notebook.cells]
    assert texts[1].strip() == "awaited"
    assert texts[2].strip() == "waited 1"  # one look at the status, after the interrupt
