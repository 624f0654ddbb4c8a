# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a notebook's kernel handles what its pages say about a widget.

Each page of JupyterLab 4.4 and later names a thread of the kernel (a "subshell")
with its messages. ipykernel 7.4 overrules it: messages about a widget go to the
subshell of the request during which the kernel last *sent* something about it.
The pictures of a live view are sent by a thread that belongs to no request, and
count as part of whichever request came last. That may be one of a page's
short-lived subshells, for instance while the page is loaded again: once that
subshell is gone, every click and every answer of every page would be lost.
"""

from __future__ import annotations

import ipywidgets


def let_pages_choose(widget: ipywidgets.Widget) -> None:
    """Have messages about a widget, and all in it, handled where the page wants it.

    Does nothing in kernels that do not overrule their pages.

    Parameters
    ----------
    widget : ipywidgets.Widget
        With its connection to the pages open.
    """
    for child in getattr(widget, "children", ()):
        let_pages_choose(child)
    comm = getattr(widget, "comm", None)
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = None
