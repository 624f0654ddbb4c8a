# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Exceptions of the package. Every message says what to do next."""

from __future__ import annotations

from m3vit_pynq.abi.errors import EXPLANATION, ErrorCode


class M3ViTError(Exception):
    """Base of all exceptions of this package."""


class PackageError(M3ViTError):
    """A ``.m3vit`` file is damaged, hostile or of another version.

    Parameters
    ----------
    field : str
        The entry of the file that is wrong.
    problem : str
        What is wrong with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class CheckpointError(M3ViTError, ValueError):
    """A float checkpoint is damaged, incomplete or does not fit its configuration."""


class CapacityError(M3ViTError):
    """A program needs more than a board has.

    Parameters
    ----------
    resource : str
        Which capacity, as named in `m3vit_pynq.abi.boards.Board`.
    needed, available : int
        The two numbers.
    where : str
        The layer or board the message should name.
    """

    def __init__(self, resource: str, needed: int, available: int, where: str) -> None:
        super().__init__(f"{where}: needs {resource} = {needed}, only {available} available")
        self.resource = resource
        self.needed = needed
        self.available = available


class BitstreamError(M3ViTError):
    """The loaded bitstream is missing, not this accelerator, or of another ABI."""


class DeviceBufferError(M3ViTError):
    """A buffer handed to the driver is not usable by the accelerator."""


class DeviceMemoryError(M3ViTError, MemoryError):
    """Device memory is exhausted; buffers of the failed step were returned."""


class AcceleratorError(M3ViTError):
    """The accelerator refused a program and is idle again.

    Parameters
    ----------
    code : int
        Value of the ``error`` register.
    pc : int
        Index of the failing instruction.
    detail : str, optional
        The disassembled instruction, when it is known.
    """

    def __init__(self, code: int, pc: int, detail: str = "") -> None:
        try:
            name, text = ErrorCode(code).name, EXPLANATION[ErrorCode(code)]
        except ValueError:
            name, text = f"code {code}", "unknown to this driver"
        tail = f" [{detail}]" if detail else ""
        super().__init__(f"accelerator error {name} at instruction {pc}: {text}{tail}")
        self.code = code
        self.pc = pc


class AcceleratorTimeout(M3ViTError):
    """The accelerator did not finish in time; the message holds a diagnosis."""


class SourceError(M3ViTError):
    """A frame source (camera, clip, stills) cannot be opened or read."""


class FrameError(M3ViTError):
    """A frame has a shape or dtype that cannot be an image."""
