# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The emulated board: a `pynq` device with an engine in the place of the fabric.

* `kernel` : which engine, and how it answers to the registers
* `fast` : the engine written for this computer; its C++ is in ``native/``
* `hostlib` : the accelerator's HLS sources compiled for this computer
* `memory` : device memory with an allocator of limited size
* `registerfile` : the AXI4-Lite registers of the accelerator
* `interrupts` : the interrupt controller and its UIO device
* `fabric` : runs the engine when its start bit is set
* `device` : all of it as a `pynq.Device`
"""
