# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a live view is doing, in a word and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

STOPPED = "stopped"
OPENING = "opening"
RUNNING = "running"
FROZEN = "frozen"
WAITING = "waiting"
ENDED = "ended"
FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """State of a session.

    Attributes
    ----------
    state : str
        One of the words above. ``waiting``: for a camera to come back;
        ``ended``: a clip is over; ``failed``: somebody has to do something.
    text : str
        A sentence for the person who looks; empty if there is nothing to say.
    """

    state: str = STOPPED
    text: str = ""
