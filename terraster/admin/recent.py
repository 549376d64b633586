"""Attempts and server errors of each backend within the last minute. Counters only grow, so this needs earlier looks at them.

The admin worker takes a look every few seconds and keeps those of the last minute. A look reads three cells of every slot that was ever
leased, with strided slices: 17 ms for 20,000 slots and three seats. All other slots stay untouched, because memory that nobody
touched costs nothing. A new admin worker knows nothing of the time before its first look.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..policy.server_errors import Count
from ..state.cells import BackendCells, SeatBackend
from ..state.table import Table
from .readings import backend_slots, proxy_seats

__all__ = ["LOOK", "WINDOW", "Recent", "RecentCounts", "sums"]

LOOK = 10.0  # seconds between two looks
WINDOW = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class RecentCounts:
    """``seconds``: the time that is counted. ``by_slot``: slots whose backend had attempts within it."""

    seconds: float
    by_slot: dict[int, Count]


class _Look:
    """The counters of the first slots at one moment. leases: by them a new backend in an old slot is recognised. before: the look of before,
    with which it shares what has not changed."""

    __slots__ = ("attempts", "errors", "leases", "when")

    def __init__(self, table: Table, slots: int, when: float, before: _Look | None) -> None:
        self.when = when
        q = table.q
        first = table.backend(0)
        self.leases = array("Q", q[first + BackendCells.LEASE : first + slots * BackendCells.CELLS : BackendCells.CELLS].tolist())
        self.attempts, self.errors = table.consistent(
            lambda: (sums(table, slots, SeatBackend.REQUESTS), sums(table, slots, SeatBackend.STATUS_5XX))
        )
        for name in ("leases", "attempts", "errors") if before is not None else ():
            if getattr(self, name) == getattr(before, name):
                setattr(self, name, getattr(before, name))


class Recent:
    """The looks at one table. clock: time.monotonic"""

    def __init__(self, table: Table, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._looks: deque[_Look] = deque()
        self.look()

    def look(self) -> None:
        """Take a look, and drop those that are too old."""
        look = self._look()
        while len(self._looks) > 1 and look.when - self._looks[1].when >= WINDOW:
            self._looks.popleft()
        self._looks.append(look)

    def counts(self) -> RecentCounts:
        """The attempts since the oldest look. The counters of a backend that is new since then began at zero."""
        old, new = self._looks[0], self._look()
        known = len(old.leases)
        found = {}
        for slot, attempts in enumerate(new.attempts):
            same = slot < known and new.leases[slot] == old.leases[slot]
            before = old.attempts[slot] if same else 0
            if attempts > before:
                found[slot] = Count(attempts - before, new.errors[slot] - (old.errors[slot] if same else 0))
        return RecentCounts(new.when - old.when, found)

    def _look(self) -> _Look:
        return _Look(self._table, backend_slots(self._table), self._clock(), self._looks[-1] if self._looks else None)


def sums(table: Table, slots: int, cell: int) -> array[int]:
    """A cell of the first slots, each summed over the seats that count requests."""
    rows = []
    for seat in proxy_seats(table):
        rows.append(table.column(table.seat_backend(seat, 0) + cell, slots, SeatBackend.CELLS))
    return array("Q", map(sum, zip(*rows, strict=True)))
