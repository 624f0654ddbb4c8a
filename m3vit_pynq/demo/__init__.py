# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The demo: frames through the accelerator, tasks alternating, pictures and figures out.

* `runner` : streams the frames and measures
* `report` : the figures as a table and as data
* `video`, `sheet` : the pictures
"""

from m3vit_pynq.demo.report import DemoReport
from m3vit_pynq.demo.runner import DemoSettings, run_demo, scene_warning

__all__ = ["DemoReport", "DemoSettings", "run_demo", "scene_warning"]
