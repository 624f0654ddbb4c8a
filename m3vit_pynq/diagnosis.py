# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Words for what the accelerator did: a hang, a refused instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m3vit_pynq.abi import registers as reg

if TYPE_CHECKING:
    from m3vit_pynq.package import Package
    from m3vit_pynq.register_port import RegisterPort

_STATUS_BITS = (
    ("start", reg.AP_START), ("done", reg.AP_DONE), ("idle", reg.AP_IDLE), ("ready", reg.AP_READY),
)  # fmt: skip


def clock_mhz(device: object) -> float | None:
    """Frequency of PL clock 0, read back, or None where it cannot be read."""
    if hasattr(device, "clock_mhz"):
        return float(device.clock_mhz)
    from pynq import Clocks

    try:
        return float(Clocks.fclk0_mhz)
    except (AttributeError, OSError, RuntimeError, ValueError):
        return None


def describe_hang(port: RegisterPort, device: object, task: int, seconds: float) -> str:
    """Why a run may not have ended: registers, clock, and what to try.

    Reading the status clears its done bit; this is for runs that are given up.
    """
    status, pending = port.status(), port.read(reg.ISR)
    pc = port.read(reg.OFFSETS["run_pc"])
    bits = ", ".join(name for name, bit in _STATUS_BITS if status & bit) or "no bit set"
    megahertz = clock_mhz(device)
    reason = getattr(device, "failure", "")
    return (
        f"no result after {seconds:.2f} s: task {task}, last run_pc {pc}, CTRL = 0x{status:x} "
        f"({bits}), ISR = 0x{pending:x}, clock "
        + (f"{megahertz:.1f} MHz. " if megahertz else "unknown. ")
        + (f"The emulation says: {reason}. " if reason else "")
        + "An AXI transfer may hang, the clock may be off, or the timeout may be too short for "
        "this model. Load the bitstream again with overlay.recover()"
    )


def describe_instruction(package: Package | None, pc: int) -> str:
    """Layer and operands of an instruction, or nothing where they are not known."""
    if package is None:
        return ""
    try:
        instruction = package.decoded.instructions[pc]
    except (IndexError, ValueError, AttributeError):
        return ""
    operands = " ".join(f"{name}={value}" for name, value in instruction.operands.items())
    layers = package.metadata.get("layers") or ()
    layer = f"{layers[pc]}: " if pc < len(layers) else ""
    return f"{layer}{instruction.opcode.name} {operands}".rstrip()
