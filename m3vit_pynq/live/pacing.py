# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""When the next picture may be sent: rate cap, acknowledgements, silence.

A browser that cannot keep up, or a tab that was closed, must not make pictures
pile up on the way: the notebook server keeps every message for a tab that may
come back. So at most `WINDOW` pictures are under way, and when no answer comes
only a small question is sent now and then, until somebody answers.
"""

from __future__ import annotations

#: Pictures under way: one being drawn in the browser, one on the way there.
WINDOW = 2
#: Seconds without an answer after which questions are sent instead of pictures.
PATIENCE = 2.0
#: Seconds between questions: at first, and at most (it doubles each time).
ASK_FIRST, ASK_MOST = 2.0, 30.0
#: While a cell runs, answers are not read. Pictures go on at this rate, up to so many.
BUSY_RATE, BUSY_MOST = 4.0, 240


class Pacer:
    """Decides when to send; pure arithmetic on times that are handed in.

    Parameters
    ----------
    rate : float
        Pictures per second at most.
    acknowledged : bool
        Whether pictures are answered. Without, the rate is the only limit.
    """

    def __init__(self, rate: float = 20.0, acknowledged: bool = True) -> None:
        if not rate > 0:
            raise ValueError(f"rate is above 0 pictures per second, not {rate}")
        self.rate = rate
        self.acknowledged = acknowledged
        self._under_way: dict[int, float] = {}
        self._last_sent = float("-inf")
        self._last_asked = float("-inf")
        self._pause = ASK_FIRST
        self._unread = 0

    def ready_in(self, now: float, busy: bool = False) -> float:
        """Seconds until a picture may be sent; infinite while answers are awaited.

        Parameters
        ----------
        busy : bool
            Whether the kernel runs a cell and cannot read answers.
        """
        rate = self.rate
        if self.acknowledged and len(self._under_way) >= WINDOW:
            if not busy or self._unread >= BUSY_MOST:
                return float("inf")
            rate = min(rate, BUSY_RATE)
        return max(0.0, self._last_sent + 1.0 / rate - now)

    def sent(self, serial: int, now: float, busy: bool = False) -> None:
        """A picture was sent."""
        self._last_sent = now
        if not self.acknowledged:
            return
        if len(self._under_way) >= WINDOW and busy:
            self._unread += 1
            self._under_way.pop(min(self._under_way))
        self._under_way[serial] = now

    def answered(self, serial: int) -> float | None:
        """A picture is on a screen; those before it are settled as well.

        Returns
        -------
        float or None
            When it was sent, if it was awaited.
        """
        sent = self._under_way.get(serial)
        self._under_way = {s: t for s, t in self._under_way.items() if s > serial}
        self._unread, self._pause = 0, ASK_FIRST
        self._last_asked = float("-inf")
        return sent

    def reset(self) -> None:
        """Somebody new looks: nothing is awaited."""
        self._under_way.clear()
        self._unread, self._pause = 0, ASK_FIRST
        self._last_asked = float("-inf")

    @property
    def waiting(self) -> bool:
        """Whether pictures are held back because no answer has come."""
        return self.acknowledged and len(self._under_way) >= WINDOW

    def ask_in(self, now: float) -> float:
        """Seconds until a question is due; infinite while none is needed."""
        if not self.waiting:
            return float("inf")
        silence = max(self._under_way.values()) + PATIENCE
        return max(0.0, max(silence, self._last_asked + self._pause) - now)

    def asked(self, now: float) -> None:
        """A question was sent."""
        if self._last_asked > float("-inf"):
            self._pause = min(2 * self._pause, ASK_MOST)
        self._last_asked = now
