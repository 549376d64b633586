"""The lag of a worker's event loop: how late the timer of the sweep fires, ten times a second.

As long as the loop is held, by a plugin or by one long piece of work, every request of the worker waits. The lag is that time, less what had
passed until the timer was due. Nothing wakes up for it: the sweep is there already. libev wakes up to 1 ms late for any timer.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf

from ..net.reactor import SWEEP
from ..state.cells import WAITS, Seat
from ..state.view import SeatView

__all__ = ["WINDOW", "Lag"]

WINDOW = 30.0
"""Seconds: the longest lag that is told is that of the last one to two of these."""


class Lag:
    """Counts lags in the cells of the process's own seat."""

    __slots__ = ("_view", "_due", "_longest", "_before", "_ends")

    def __init__(self, view: SeatView) -> None:
        self._view = view
        self._due = inf  # the first sweep only tells when the next ones are due: a worker's start does not count
        self._longest = self._before = 0
        self._ends = 0.0

    def swept(self, now: float) -> None:
        """The timer has fired. now: monotonic seconds"""
        late = now - self._due
        if late < 0.0:  # it keeps its beat from when the loop woke, which was a little earlier than we read the clock
            late, self._due = 0.0, now
        self._due = max(self._due + SWEEP, now)  # one that was due meanwhile fires at the next turn
        lag = int(late * 1e9)
        q, base = self._view.q, self._view.base
        q[base + Seat.LAG_TIME] += lag
        q[base + Seat.LAG_BUCKET + bisect_left(WAITS, late)] += 1
        if now >= self._ends:
            self._before, self._longest, self._ends = self._longest, 0, now + WINDOW
        self._longest = max(self._longest, lag)
        q[base + Seat.LAG_LONGEST] = max(self._longest, self._before)
