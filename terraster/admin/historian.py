"""The history of a day: the admin worker looks at all counters once a minute, and writes how much they grew.

A look reads 10,000 locations in 0.3 s, with pauses; the disk is waited for in a thread. One admin worker writes; the one of another master, or
that which follows, takes over when it ends. So at most the last minute is lost by a kill, and no minute is counted twice.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from ..config.snapshot import Snapshot
from ..net.yielding import yield_to_loop
from ..policy.minutes import LEAST, Minute, Row, deltas, quantile
from ..state.cells import BUCKETS, STATUS_LABELS, BackendCells, SeatBackend, SeatLocation
from ..state.table import Table
from ..wire.grpc import STATUSES, to_http
from . import readings
from .history_files import DAY, HistoryFiles
from .recent import sums
from .slos import Grown, Slos

__all__ = ["Historian", "backend_day", "location_history"]

MINUTE = 60
_SHARES = (0.5, 0.95, 0.99)
_4XX, _5XX = ([at for at, label in enumerate(STATUS_LABELS) if label.startswith(first)] for first in "45")
_CALLS = slice(SeatLocation.GRPC, SeatLocation.GRPC + len(STATUSES))
_FAILED_CALLS = [SeatLocation.GRPC + number for number in range(len(STATUSES)) if to_http(number) >= 500]
_COUNTS = 5  # before the buckets
_BACKEND_CELLS = (SeatBackend.REQUESTS, SeatBackend.FAILURES, SeatBackend.STATUS_5XX)
_SHOWN = 30  # minutes with failures that "why" has
_MOST_LOCATIONS = 100
_SOON = 1.0  # seconds until the next attempt to become the one that writes
_AGAIN = 3600.0  # seconds after which a failure is told again


class Historian:
    """Writes the history of one table.

    running: the configuration in effect; log: the program's log; wall: time.time
    """

    def __init__(self, table: Table, running: Callable[[], Snapshot], log: Any, wall: Callable[[], float] = time.time) -> None:
        self._table = table
        self._running = running
        self._log = log
        self._wall = wall
        self._files = HistoryFiles(os.path.join(running().state_dir, "history"))
        self.slos = Slos(running, self._files.directory, wall)
        self._pool: ThreadPool | None = None
        self._locations: dict[str, array[int]] = {}
        self._backends: dict[str, tuple[int, tuple[int, ...]]] = {}  # lease and counters, by id
        self._looked = 0.0  # when, 0.0: this process does not write yet
        self._told = -_AGAIN
        self._left = False
        self._alone = BoundedSemaphore(1)  # a look yields; two at once would count a minute twice
        self.failure: dict[str, Any] | None = None  # ``text since`` of minutes that could not be written, None: the last one was

    def run(self) -> None:
        """Write from now on, a record at the end of each minute."""
        while True:
            try:
                self.turn()
                self.failure = None
            except OSError as error:
                text = f"the history cannot be written: {error.filename or self._files.directory}: {error.strerror}"
                self.failure = {"text": text, "since": self.failure["since"] if self.failure else self._wall()}
                if self._wall() - self._told >= _AGAIN:
                    self._told = self._wall()
                    self._log.error("%s", text)
            except Exception:
                self._log.exception("the history cannot be written now")
            if self._left:
                return
            gevent.sleep(MINUTE - self._wall() % MINUTE if self._looked else _SOON)

    def leave(self) -> None:
        """Write what is left, and let another process write from now on. Waits for a look that is under way."""
        self._left = True
        with self._alone:
            try:
                if self._looked:
                    self._turn()
            except OSError as error:
                self._log.error("the last minute of the history is lost: %s", error.strerror)
            finally:
                self._looked = 0.0
                self._do(self._files.leave)

    def writes(self) -> bool:
        """True if this process writes the history, and no other one."""
        return self._looked > 0

    def turn(self) -> None:
        """Write the traffic since the last look. Raises OSError; that traffic is lost then."""
        with self._alone:
            self._turn()

    def _turn(self) -> None:
        if not self._looked:
            if self._left or not self._do(self._files.take):
                self._do(self.slos.follow)
                return
            if told := self._do(self.slos.load):
                self._log.error("%s", told)
            self._look()
            self._looked = self._wall()
            return
        now = self._wall()
        middle = (now + self._looked) / 2
        minute = Minute(int(middle // MINUTE * MINUTE), min(MINUTE, max(0.0, now - self._looked)))
        minute.locations, minute.backends, grown = self._look()
        self._looked = now
        self.slos.count(minute.when, grown)
        try:
            if minute.locations or minute.backends:
                self._do(self._files.add, minute)
        finally:
            self._keep()

    def _keep(self) -> None:
        """Write the counts of objectives. Raises OSError; the next minute writes them again."""
        if parts := self.slos.parts():
            try:
                self._do(self.slos.write, parts)
            except OSError:
                self.slos.lost()
                raise

    def minutes(self, since: float, wanted: Callable[[str], bool]) -> list[Minute]:
        """The minutes from ``since`` on, the oldest first, with the rows of those ids for which ``wanted`` is true. Raises OSError."""
        found: list[Minute] = self._do(_read, self._files, max(since, self._wall() - DAY), wanted)
        return found

    def _look(self) -> tuple[dict[str, Row], dict[str, Row], list[Grown]]:
        snapshot = self._running()
        locations, grown = self._look_at_locations(snapshot)
        return locations, self._look_at_backends(snapshot), grown

    def _look_at_locations(self, snapshot: Snapshot) -> tuple[dict[str, Row], list[Grown]]:
        """The rows of a minute, and the growth of those locations that have objectives."""
        found: dict[str, Row] = {}
        with_objectives: list[Grown] = []
        seen: dict[str, array[int]] = {}
        used: set[int] = set()
        for seat in readings.proxy_seats(self._table):
            used.update(slot for slot, count in enumerate(readings.answered(self._table, seat)) if count)
        for row in readings.locations(self._table, snapshot, yield_to_loop, used) if used else ():
            requests = row.requests
            if not requests:
                continue
            name = row.location.id
            before = self._locations.get(name)
            if before is not None and before[0] == requests:
                seen[name] = before
                continue
            cells = row.cells
            statuses = (requests, sum(cells[at] for at in _4XX), sum(cells[at] for at in _5XX))
            calls = sum(cells[_CALLS])
            failed_calls = sum([cells[at] for at in _FAILED_CALLS]) if calls else 0
            now = seen[name] = array("Q", (*statuses, calls, failed_calls, *row.buckets))
            grown = deltas(before, now)
            buckets = grown[_COUNTS:]
            times = (round(quantile(BUCKETS, buckets, share) / LEAST) for share in _SHARES)
            found[name] = (*grown[:3], *times)
            if row.location.slo is not None:
                with_objectives.append(Grown(row.location, grown[0], grown[2], grown[3], grown[4], buckets))
        self._locations = seen
        return found, with_objectives

    def _look_at_backends(self, snapshot: Snapshot) -> dict[str, Row]:
        last = readings.backend_slots(self._table)
        columns = self._table.consistent(lambda: [sums(self._table, last, cell) for cell in _BACKEND_CELLS])
        found: dict[str, Row] = {}
        seen: dict[str, tuple[int, tuple[int, ...]]] = {}
        used = {slot for slot, count in enumerate(columns[0]) if count}
        backends = (backend for service in snapshot.services for location in service.locations for backend in location.backends)
        for backend in backends if used else ():
            slot = backend.slot
            if slot not in used:
                continue
            name = backend.id
            now = tuple(column[slot] for column in columns)
            lease = self._table.q[self._table.backend(slot) + BackendCells.LEASE]
            known = self._backends.get(name)
            before = known[1] if known is not None and known[0] == lease else None
            seen[name] = lease, now
            grown = deltas(before, now)
            if any(grown):
                found[name] = tuple(grown)
        self._backends = seen
        return found

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._pool is None:
            self._pool = ThreadPool(1)
        value, error = self._pool.apply(_done, (function, arguments))
        if error is not None:
            raise error
        return value


def _done(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, OSError | None]:
    """In the thread, which would print an exception."""
    try:
        return function(*arguments), None
    except OSError as error:
        return None, error


def _read(files: HistoryFiles, since: float, wanted: Callable[[str], bool]) -> list[Minute]:
    return list(files.minutes(since, wanted))


def location_history(historian: Historian, ids: list[str], since: float) -> dict[str, list[list[float]]]:
    """For each location that had traffic, a row for each minute that it had some: ``when requests 4xx 5xx p50 p95 p99``, times in seconds.
    Raises OSError."""
    found: dict[str, list[list[float]]] = {}
    for minute in historian.minutes(since, frozenset(ids[:_MOST_LOCATIONS]).__contains__):
        for name, row in minute.locations.items():
            found.setdefault(name, []).append([minute.when, *row[:3], *(round(time * LEAST, 4) for time in row[3:])])
    return found


def backend_day(historian: Historian, name: str, since: float) -> dict[str, Any]:
    """A backend's day, its endpoints together: ``attempts failures errors`` (5xx), and ``minutes[]`` that had failures or errors, the newest
    first, each with ``when`` and these three. Raises OSError."""

    def wanted(one: str) -> bool:
        return one == name or one.startswith(f"{name}@")

    rows = [
        (minute.when, *(sum(column) for column in zip(*minute.backends.values(), strict=True)))
        for minute in historian.minutes(since, wanted)
        if minute.backends
    ]
    keys = ("attempts", "failures", "errors")
    bad = [row for row in rows if row[2] or row[3]][-_SHOWN:][::-1]
    return {
        **{key: sum(row[at] for row in rows) for at, key in enumerate(keys, 1)},
        "minutes": [dict(zip(("when", *keys), row, strict=True)) for row in bad],
    }
