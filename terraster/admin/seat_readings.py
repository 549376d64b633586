"""Readings of the seats of the shared table: what each process says of itself, and what all have lost.

`terraster.admin.readings` reads what they count for backends and locations.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..state.alive import lives
from ..state.cells import HTTP2_FAULTS, WAITS, Seat
from ..state.table import Table

__all__ = [
    "FULL",
    "SILENT",
    "Losses",
    "LostLines",
    "SeatReading",
    "http2",
    "losses",
    "lost_lines",
    "other_masters",
    "seats",
    "spans",
]

FULL = 1.0
"""Seconds for which clients must have waited for a worker before it counts as full."""

SILENT = 3.0
"""Seconds without a heartbeat after which a process does not respond. A heartbeat is due every second."""


@dataclass(frozen=True, slots=True)
class SeatReading:
    """One taken seat.

    master:         pid of the master of its process, if that is another one than this process has; else 0
    heartbeat:      seconds since the last heartbeat of its process
    clients_closed: idle client connections ended for want of descriptors
    short:          seconds since descriptors were short; -1 = never
    full:           seconds since clients wait because it is full; 0 = it is not
    full_why:       the reason: one of `Seat.CONNECTIONS_LIMIT`, `Seat.NO_DESCRIPTORS`
    lag:            the longest time by which a timer of its event loop was late within the last minute, seconds
    lag_sum:        sum of these times, seconds
    lag_buckets:    their number per bucket of `WAITS`, then of +Inf; not cumulative
    old:            (generation, number of client connections that still use it), oldest first
    """

    seat: int
    role: str
    pid: int
    master: int
    generation: int
    oldest: int
    heartbeat: float
    connections: int
    accepted: int
    draining: bool
    accept_errors: int
    clients_closed: int
    short: float
    full: float
    full_why: int
    lag: float
    lag_sum: float
    lag_buckets: tuple[int, ...]
    old: tuple[tuple[int, int], ...] = ()

    @property
    def process(self) -> str:
        """The name of its process, as metrics have it. Two admin workers, of two masters, have two names."""
        return f"{self.role}-{self.seat}" if self.role == "proxy" or self.master else self.role

    @property
    def responds(self) -> bool:
        """True if its heartbeat is not late by more than a busy machine explains."""
        return self.heartbeat < SILENT

    @property
    def serves(self) -> bool:
        """True if it is a proxy worker that has started, responds and accepts connections."""
        return self.role == "proxy" and self.generation > 0 and self.responds and not self.draining

    @property
    def is_full(self) -> bool:
        """True if clients wait in vain for it to accept their connections."""
        return self.full >= FULL


def seats(table: Table) -> list[SeatReading]:
    """Every taken seat, in order."""
    readings = []
    now = time.monotonic_ns()
    masters = {
        seat: table.q[table.seat(table.master_seat(other)) + Seat.PID]
        for other in table.masters()[1:]
        for seat in table.seats_of(other)
    }
    for seat in table.taken_seats():
        at = table.seat(seat)
        cells = table.q[at : at + Seat.CELLS].tolist()
        readings.append(
            SeatReading(
                seat,
                "admin" if cells[Seat.ROLE] == Seat.ADMIN else "proxy",
                cells[Seat.PID],
                masters.get(seat, 0),
                cells[Seat.GENERATION],
                cells[Seat.OLDEST],
                max(0.0, (now - cells[Seat.HEARTBEAT]) / 1e9),
                cells[Seat.CONNECTIONS],
                cells[Seat.ACCEPTED],
                bool(cells[Seat.DRAINING]),
                cells[Seat.ACCEPT_ERRORS],
                cells[Seat.CLIENTS_CLOSED],
                max(0.0, (now - cells[Seat.SHORT_AT]) / 1e9) if cells[Seat.SHORT_AT] else -1.0,
                max(0.0, (now - cells[Seat.FULL_SINCE]) / 1e9) if cells[Seat.FULL_SINCE] else 0.0,
                cells[Seat.FULL_WHY],
                cells[Seat.LAG_LONGEST] / 1e9,
                cells[Seat.LAG_TIME] / 1e9,
                tuple(cells[Seat.LAG_BUCKET : Seat.LAG_BUCKET + len(WAITS) + 1]),
                tuple((cell >> 24, cell & 0xFFFFFF) for cell in cells[Seat.OLD : Seat.OLD + Seat.MOST_OLD] if cell),
            )
        )
    return readings


def other_masters(table: Table) -> int:
    """The number of other masters that live and have a place in the table."""
    seats = [table.seat(table.master_seat(master)) for master in table.masters()[1:]]
    return sum(lives(table.q[at + Seat.PID], table.q[at + Seat.BEGAN]) for at in seats)


@dataclass(frozen=True, slots=True)
class Losses:
    """Sums over all processes, living and dead, for want of room.

    accept_errors:  client connections that could not be accepted
    clients_closed: idle client connections ended for want of descriptors
    """

    accept_errors: int
    clients_closed: int


def losses(table: Table) -> Losses:
    """The sums over all seats."""
    return Losses(*_sums(table, (Seat.ACCEPT_ERRORS, Seat.CLIENTS_CLOSED)))


def _sums(table: Table, cells: Sequence[int]) -> list[int]:
    """Each of these cells of `Seat`, summed over all seats."""
    q = table.q

    def read() -> list[int]:
        rows = [table.seat(seat) for seat in table.counting_seats()]
        return [sum(q[row + cell] for row in rows) for cell in cells]

    return table.consistent(read)


def http2(table: Table) -> tuple[int, dict[str, int]]:
    """The client connections that spoke HTTP/2, and those of them that ended for a fault, by its kind: sums over all processes, living and
    dead."""
    cells = (Seat.HTTP2_CONNECTIONS, *range(Seat.HTTP2_FAULTS, Seat.HTTP2_FAULTS + len(HTTP2_FAULTS)))
    connections, *faults = _sums(table, cells)
    return connections, dict(zip(HTTP2_FAULTS, faults, strict=True))


def spans(table: Table) -> tuple[int, int, int]:
    """Spans that a receiver took, spans that none got, and processes that export them and ended by themselves: sums over all processes, living
    and dead."""
    exported, dropped, ended = _sums(table, (Seat.SPANS_EXPORTED, Seat.SPANS_DROPPED, Seat.TRACE_EXPORTERS_ENDED))
    return exported, dropped, ended


@dataclass(frozen=True, slots=True)
class LostLines:
    """Log lines that were lost since the start.

    access:  of access logs. program: of the program's log
    last:    time of the last loss, seconds since 1970; 0 = none was lost
    number:  its errno; 0 = the reader was too slow
    """

    access: int
    program: int
    last: float
    number: int

    @property
    def why(self) -> str:
        """The reason of the last loss."""
        return os.strerror(self.number) if self.number else "the reader is too slow"


def lost_lines(table: Table) -> LostLines:
    """The log lines that all processes lost, dead workers and the master included."""
    q = table.q

    def read() -> list[list[int]]:
        starts = [table.seat(seat) for seat in table.counting_seats()]
        return [q[at : at + Seat.CELLS].tolist() for at in starts]

    rows = table.consistent(read)
    last = max(rows, key=lambda row: row[Seat.LINE_LOST_AT])
    access, program = (sum(row[cell] for row in rows) for cell in (Seat.ACCESS_LINES_LOST, Seat.PROGRAM_LINES_LOST))
    return LostLines(access, program, last[Seat.LINE_LOST_AT] / 1e9, last[Seat.LINE_LOST_WHY])
