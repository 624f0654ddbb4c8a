# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board: a `pynq` device whose fabric is the compiled HLS.

* `hostlib` : the accelerator compiled for this computer
* `memory` : device memory with an allocator of limited size
* `registerfile` : the AXI4-Lite registers of the accelerator
* `interrupts` : the interrupt controller and its UIO device
* `fabric` : runs the accelerator when its start bit is set
* `device` : all of it as a `pynq.Device`
"""
