# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Numbers about a program, from its instructions alone.

* `requirements` : what a board must have to run it
* `workload` : multiply-accumulates, bytes and parameters of each instruction
* `costs` : a frame of a task, given how many experts its tokens choose
"""
