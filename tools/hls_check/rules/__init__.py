# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rules, each a function of a source (or of a folder) that yields faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..context import Context
from ..faults import Fault
from .bus import conditional_bus
from .dataflow import canonical, stream_depths
from .headers import uncompiled, vendor_headers
from .interfaces import interfaces
from .language import divisions, language
from .loops import inner_loops, loop_forms
from .names import keywords, pragma_forms, pragma_scopes
from .ports import carried, flushed, ports, recurrences
from .widths import aggregates, widths

#: Rules about one source with its headers.
UNIT_RULES: tuple[Callable[[Context], Iterator[Fault]], ...] = (
    pragma_scopes,
    pragma_forms,
    keywords,
    inner_loops,
    loop_forms,
    ports,
    carried,
    recurrences,
    flushed,
    conditional_bus,
    canonical,
    stream_depths,
    language,
    divisions,
    widths,
    aggregates,
    interfaces,
    uncompiled,
)
#: Rules about the folder's text.
FOLDER_RULES: tuple[Callable[[Path], Iterator[Fault]], ...] = (vendor_headers,)
