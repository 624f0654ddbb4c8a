# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures and tables for the notebooks: what happens inside the accelerator.

* `display` : an array or a figure in a notebook; `theme` : how they look
* `table` : tables that a notebook renders
* `registers` : the register file, and every access of a frame
* `program`, `opcodes` : the instructions in words, and the program as a map
* `bank` : sections of device memory, and what instructions touch of the workspace
* `work` : products and bytes by kind of layer
* `pathways` : which experts the tokens took, and how two tasks differ
* `timeline` : a frame cycle by cycle: engine, weights, waiting
* `pingpong` : the weight memories chunk by chunk, down to single experts
* `costs` : cycles and bytes by kind of layer, stages of a frame, boards

`timeline`, `pingpong` and the cycles of `costs` draw records of cycles, which
`m3vit_pynq.bench.cycles` counts from traces of the HLS sources.

Each drawing function has a function beside it that computes what is drawn, so
the numbers are to be had without the picture. Figures are Matplotlib's; a
`m3vit_pynq.pictures` without Matplotlib has the numbers and tables only.
"""

from m3vit_pynq.pictures.bank import Touch, bank_table, touches, workspace_picture
from m3vit_pynq.pictures.costs import (
    board_table,
    cost_bars,
    costs_by_kind,
    kind_of,
    stage_bars,
    stage_lanes,
)
from m3vit_pynq.pictures.display import show
from m3vit_pynq.pictures.opcodes import describe
from m3vit_pynq.pictures.pathways import (
    Comparison,
    compare,
    comparison_picture,
    expert_loads,
    expert_map,
    expert_picture,
    load_picture,
)
from m3vit_pynq.pictures.pingpong import Wait, pingpong_timeline, waits
from m3vit_pynq.pictures.program import (
    part_with_experts,
    program_map,
    program_rows,
    program_table,
)
from m3vit_pynq.pictures.registers import (
    Access,
    frames_of,
    recorded,
    register_table,
    traffic_table,
)
from m3vit_pynq.pictures.table import Table
from m3vit_pynq.pictures.timeline import Span, frame_timeline, hidden_share, spans
from m3vit_pynq.pictures.work import work_bars, work_by_kind, work_by_layer, work_table

__all__ = [
    "Access",
    "Comparison",
    "Span",
    "Table",
    "Touch",
    "Wait",
    "bank_table",
    "board_table",
    "compare",
    "comparison_picture",
    "cost_bars",
    "costs_by_kind",
    "describe",
    "expert_loads",
    "expert_map",
    "expert_picture",
    "frame_timeline",
    "frames_of",
    "hidden_share",
    "kind_of",
    "load_picture",
    "part_with_experts",
    "pingpong_timeline",
    "program_map",
    "program_rows",
    "program_table",
    "recorded",
    "register_table",
    "show",
    "spans",
    "stage_bars",
    "stage_lanes",
    "touches",
    "traffic_table",
    "waits",
    "work_bars",
    "work_by_kind",
    "work_by_layer",
    "work_table",
    "workspace_picture",
]
