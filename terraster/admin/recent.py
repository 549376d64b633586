"""Attempts and server errors of each backend within the last minute. Counters only grow, so this needs earlier looks at them.

The admin worker takes a look every few seconds and keeps those of the last minute. A look reads three cells of every slot that the
configuration uses, with strided slices: 17 ms for 20,000 slots and three seats. All other slots stay untouched, because memory that nobody
touched costs nothing. A new admin worker knows nothing of the time before its first look.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..config.snapshot import Snapshot
from ..policy.server_errors import Count
from ..state.cells import BackendCells, SeatBackend
from ..state.table import Table
from .readings import proxy_seats

__all__ = ["LOOK", "WINDOW", "Recent", "RecentCounts", "sums"]

LOOK = 10.0  # seconds between two looks
WINDOW = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class RecentCounts:
    """``seconds``: the time that is counted. ``by_slot``: slots whose backend had attempts within it."""

    seconds: float
    by_slot: dict[int, Count]


class _Look:
    """The counters of the first slots at one moment. leases: by them a new backend in an old slot is recognised."""

    __slots__ = ("attempts", "errors", "leases", "when")

    def __init__(self, table: Table, slots: int, when: float) -> None:
        self.when = when
        q = table.q
        first = table.backend(0)
        self.leases = array("Q", q[first + BackendCells.LEASE : first + slots * BackendCells.CELLS : BackendCells.CELLS].tolist())
        self.attempts, self.errors = table.consistent(
            lambda: (sums(table, slots, SeatBackend.REQUESTS), sums(table, slots, SeatBackend.STATUS_5XX))
        )


class Recent:
    """The looks at one table. snapshot: returns the running configuration; clock: time.monotonic"""

    def __init__(self, table: Table, snapshot: Callable[[], Snapshot], clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._snapshot = snapshot
        self._clock = clock
        self._slots = 0  # never falls: a backend that comes back to its slot must not look new
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
        for service in self._snapshot().services:
            for location in service.locations:
                for backend in location.backends:
                    self._slots = max(self._slots, backend.slot + 1)
        return _Look(self._table, self._slots, self._clock())


def sums(table: Table, slots: int, cell: int) -> array[int]:
    """A cell of the first slots, each summed over the seats that count requests."""
    rows = []
    for seat in proxy_seats(table):
        rows.append(table.column(table.seat_backend(seat, 0) + cell, slots, SeatBackend.CELLS))
    return array("Q", map(sum, zip(*rows, strict=True)))
