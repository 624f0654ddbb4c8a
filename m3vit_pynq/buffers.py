# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Device buffers: allocate with a clear error, refuse what is not one.

``buffer + 1`` is still a ``PynqBuffer``, but lives in ordinary memory with a
meaningless ``device_address``; the accelerator would write to whatever is
there. Views (``buffer[0]``, ``reshape``) are right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pynq import allocate as pynq_allocate
from pynq.buffer import PynqBuffer

from m3vit_pynq.abi.boards import LINE
from m3vit_pynq.errors import DeviceBufferError, DeviceMemoryError


def allocate(
    shape: int | Sequence[int], dtype: np.dtype | type | str, device: object, purpose: str
) -> PynqBuffer:
    """A cacheable device buffer.

    Raises
    ------
    DeviceMemoryError
        If device memory is exhausted.
    """
    shape = tuple(shape) if not isinstance(shape, int) else (shape,)
    try:
        return pynq_allocate(shape, dtype, target=device, cacheable=1)
    except (MemoryError, RuntimeError, OSError) as error:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        raise DeviceMemoryError(
            f"no device memory for {purpose} ({size} bytes): {error}. Close other overlays and "
            "notebooks, free buffers, or boot with a larger CMA (kernel parameter cma=512M)"
        ) from error


def owner_of(buffer: PynqBuffer) -> PynqBuffer:
    """The buffer that was allocated, for a buffer or any view of it."""
    while isinstance(buffer.base, PynqBuffer):
        buffer = buffer.base
    return buffer


def _in_host_memory(buffer: PynqBuffer) -> bool:
    """Whether numpy itself allocated the memory, as for results of arithmetic."""
    array: object = buffer
    while isinstance(array, np.ndarray):
        if array.flags.owndata:
            return True
        array = array.base
    return False


def is_live(buffer: PynqBuffer) -> bool:
    """Whether a buffer, or the one it is a view of, has not been freed."""
    owner = owner_of(buffer)
    if getattr(owner, "return_to", None) is not None:
        return bool(owner.pointer)
    return not getattr(owner, "freed", False)


def check(buffer: object, name: str, device: object, dtype: np.dtype | type | None = None) -> None:
    """Refuse anything but contiguous, live memory of `device`.

    Raises
    ------
    DeviceBufferError
        Naming the buffer and the reason.
    """
    if not isinstance(buffer, PynqBuffer):
        raise DeviceBufferError(
            f"{name}: {type(buffer).__name__} is not a device buffer; use pynq.allocate"
        )
    owner = owner_of(buffer)
    if _in_host_memory(buffer):
        raise DeviceBufferError(
            f"{name}: an arithmetic result or copy lives outside device memory; "
            "write into the buffer instead: buffer[:] = ..."
        )
    if not is_live(buffer):
        raise DeviceBufferError(f"{name}: the buffer has been freed")
    if owner.device is not device:
        raise DeviceBufferError(f"{name}: the buffer belongs to another device")
    if not buffer.flags.c_contiguous:
        raise DeviceBufferError(f"{name}: the buffer is not contiguous (strides {buffer.strides})")
    if dtype is not None and buffer.dtype != dtype:
        raise DeviceBufferError(f"{name}: dtype is {buffer.dtype}, not {np.dtype(dtype)}")
    if device_address(buffer) != int(buffer.device_address):
        raise DeviceBufferError(f"{name}: its device address does not match its memory")
    if device_address(buffer) % LINE:
        raise DeviceBufferError(
            f"{name}: the address is not a multiple of {LINE} bytes, which the AXI ports need"
        )


def device_address(buffer: PynqBuffer) -> int:
    """Device address from the owner's, independent of how the view was made."""
    owner = owner_of(buffer)
    return int(owner.device_address) + buffer.ctypes.data - owner.ctypes.data


def free(*buffers: PynqBuffer | None) -> None:
    """Return buffers; None and buffers already freed are skipped."""
    for buffer in buffers:
        if buffer is not None and is_live(buffer):
            buffer.freebuffer()
