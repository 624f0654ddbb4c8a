# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The register file as a table, and every access that a frame takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3vit_pynq.abi import registers as reg
from m3vit_pynq.pictures.table import Table
from m3vit_pynq.register_port import RegisterPort

if TYPE_CHECKING:
    from m3vit_pynq.driver import M3ViTDriver

_CONTROL = {reg.CTRL: "CTRL", reg.GIER: "GIER", reg.IER: "IER", reg.ISR: "ISR"}

#: What a register is for, in the words of a reader; others have the words of the map.
_PURPOSE = {
    ("write", "CTRL"): "start",
    ("write", "ISR"): "acknowledge the interrupt",
    ("write", "GIER"): "interrupts on or off",
    ("write", "IER"): "interrupt when done",
}


@dataclass(frozen=True)
class Access:
    """One access to a register.

    Attributes
    ----------
    kind : str
        ``"write"``, ``"read"``, or ``"poll"`` for a look at CTRL.
    """

    kind: str
    offset: int
    value: int

    @property
    def name(self) -> str:
        """Name of the register; a word of an address with its bits."""
        return register_name(self.offset)


def register_name(offset: int) -> str:
    """Name of the register at an offset, as in ``docs/registers.md``."""
    if offset in _CONTROL:
        return _CONTROL[offset]
    for argument in reg.ARGUMENTS:
        if argument.kind != "pointer" and argument.offset == offset:
            return argument.name
        if argument.kind == "pointer" and offset == argument.offset:
            return f"{argument.name}[31:0]"
        if argument.kind == "pointer" and offset == argument.offset_high:
            return f"{argument.name}[63:32]"
    return f"reserved {offset:#x}"


class _RecordingPort(RegisterPort):
    """A port that remembers what went through it."""

    def __init__(self, mmio: object, log: list[Access]) -> None:
        super().__init__(mmio)
        self._log_of_accesses = log

    def status(self) -> int:
        value = super().status()
        self._log_of_accesses.append(Access("poll", reg.CTRL, value))
        return value

    def read(self, offset: int) -> int:
        value = super().read(offset)
        self._log_of_accesses.append(Access("read", offset, value))
        return value

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        self._log_of_accesses.append(Access("write", offset, int(value)))


@contextmanager
def recorded(driver: M3ViTDriver) -> Iterator[list[Access]]:
    """Record every access that a driver makes to its registers.

    The driver starts without knowing what the registers hold, as after a
    download, so its first frame writes all of them.

    Yields
    ------
    list of Access
        Grows while the block runs.

    Raises
    ------
    RuntimeError
        If a run is in progress.

    Examples
    --------
    >>> with pictures.recorded(overlay.driver) as accesses:
    ...     overlay.run(image)
    """
    if driver.busy:
        raise RuntimeError("a run is in progress; wait for it, or close the stream, first")
    log: list[Access] = []
    usual = driver.port
    driver.port = _RecordingPort(driver.mmio, log)
    try:
        yield log
    finally:
        driver.port = usual
        usual.forget()


def frames_of(accesses: Sequence[Access]) -> list[list[Access]]:
    """Accesses frame by frame: each frame ends where its error code is read."""
    frames, current = [], []
    for access in accesses:
        current.append(access)
        if access.kind == "read" and access.offset == reg.OFFSETS["run_error"]:
            frames.append(current)
            current = []
    return frames


def register_table(driver: M3ViTDriver) -> Table:
    """Every register that is neither an address nor CTRL, with its value now.

    CTRL is left out: reading it clears its *done* and *ready* bits.
    """
    rows = []
    for argument in reg.ARGUMENTS:
        if argument.kind != "pointer":
            value = driver.port.read(argument.offset)
            direction = "to the accelerator" if argument.kind == "in" else "from it"
            rows.append(
                (f"0x{argument.offset:02x}", argument.name, f"0x{value:08x}", f"{value:,}",
                 direction, argument.doc)
            )  # fmt: skip
    return Table.of(("offset", "register", "value", "in decimal", "goes", "meaning"), rows)


def traffic_table(accesses: Sequence[Access]) -> Table:
    """Accesses in the order in which they happened; polls of CTRL have no number."""
    rows, number = [], 0
    for access in accesses:
        number += access.kind != "poll"
        rows.append(
            (
                "" if access.kind == "poll" else number, access.kind, f"0x{access.offset:02x}",
                access.name, f"0x{access.value:08x}", _purpose(access),
            )
        )  # fmt: skip
    return Table.of(("", "access", "offset", "register", "value", "meaning"), rows)


def _purpose(access: Access) -> str:
    if access.kind == "poll":
        idle = access.value & reg.AP_IDLE and not access.value & reg.AP_START
        return "is it done? yes" if access.value & reg.AP_DONE or idle else "is it done? no"
    if (access.kind, access.name) in _PURPOSE:
        return _PURPOSE[access.kind, access.name]
    name = access.name.partition("[")[0]
    return next((a.doc for a in reg.ARGUMENTS if a.name == name), "")
