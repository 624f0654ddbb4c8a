# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The contract between software and accelerator, each fact defined once.

* `isa` : opcodes, instruction fields, program header, weight image layout
* `registers` : the AXI4-Lite register map
* `boards` : parallelism and capacity of each bitstream
* `errors` : error codes of the accelerator

The C++ header ``hls_src/generated/abi.h``, the register tables in ``docs`` and
the ``.hwh`` files are generated from these modules.
"""

#: Version of registers, instruction encoding and integer semantics together.
#: A driver refuses a bitstream with another one, and a bitstream a program.
ABI_VERSION = 2

#: Identification value of the accelerator, ASCII "M3VT" (most significant first).
MAGIC = 0x4D335654
