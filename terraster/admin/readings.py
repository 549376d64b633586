"""Readings: the values of the shared table at one moment, added up over the seats and joined with the configuration.

Metrics, status and (later) the API read the table only through this module, so that a word means the same in all of them. Reading takes
no lock: each cell is whole, but two cells may be a few microseconds apart.

A row is read with one slice: 0.6 µs for a backend's 16 cells, 2 µs for a location's 100. 10,000 services with two backends each take about
0.3 s. A caller that reads many rows therefore passes a ``pause`` (`terraster.net.yielding.yield_to_loop`), which is called after every few
hundred rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..config.snapshot import Backend, Location, Service, Snapshot
from ..state.table import (
    BUCKETS,
    RESPONSE_CLASSES,
    STATUS_LABELS,
    BackendCells,
    LocationCells,
    Seat,
    SeatBackend,
    SeatLocation,
    Table,
)

__all__ = [
    "FULL",
    "SILENT",
    "BackendReading",
    "LocationReading",
    "Losses",
    "ProcessReading",
    "SeatReading",
    "backends",
    "by_url",
    "header",
    "locations",
    "losses",
    "process",
    "requests",
    "seats",
    "unrouted",
]

ROWS_PER_TURN = 200

FULL = 1.0
"""Seconds for which clients must have waited for a worker before it counts as full."""

SILENT = 3.0
"""Seconds without a heartbeat after which a process does not respond. A heartbeat is due every second."""

Pause = Callable[[], object]

_CLASSES = ("no_response", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other")
_COUNTERS = (  # in the order of `Table.backend_counters`
    "requests",
    "failures",
    "latency_sum",
    "connects",
    "responses",
    "connect_errors",
    "bad_statuses",
    "retries",
    *_CLASSES,
    "probes",
    "probe_failures",
    "ejections",
    "openings",
)
_ADDED = (
    "weight",
    "probes",
    "probe_failures",
    "active",
    "idle",
    "requests",
    "failures",
    "connects",
    "responses",
    "latency_sum",
    "ejections",
    "openings",
    "connect_errors",
    "bad_statuses",
    "retries",
    "open",
    *_CLASSES,
)


@dataclass(frozen=True, slots=True)
class BackendReading:
    """One backend. Counters are sums over all workers, living and dead.

    since:     time of the last change of state, seconds since 1970; 0 = never changed
    state:     one of `BackendCells.STATES`
    admit:     the new work that the backend gets, one of `BackendCells.ADMITS`
    circuit:   index into `BackendCells.CIRCUITS`
    latency:   mean time from the request sent to the response head, seconds; -1 = not measured
    recent:    moving average of the same time, if the algorithm keeps one, seconds; -1 = not measured
    keepalive: seconds after which the backend closes an idle connection; -1 = unknown
    share:     part of its full share of work that the backend gets, 0 … 1; -1 = unknown
    """

    service: Service
    location: Location
    backend: Backend
    up: bool
    since: float
    weight: int
    probes: int
    probe_failures: int
    active: int
    idle: int
    requests: int
    failures: int
    connects: int
    responses: int
    latency_sum: float
    state: str
    admit: str
    circuit: int
    ejections: int
    openings: int
    connect_errors: int
    bad_statuses: int
    retries: int
    open: int
    no_response: int
    status_1xx: int
    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    status_other: int
    recent: float
    keepalive: float
    share: float

    def classes(self) -> Iterator[tuple[str, int]]:
        """(class, responses) for each of `RESPONSE_CLASSES`."""
        return ((name, getattr(self, field)) for name, field in zip(RESPONSE_CLASSES, _CLASSES, strict=True))

    @property
    def latency(self) -> float:
        return self.latency_sum / self.responses if self.responses else -1.0


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


@dataclass(frozen=True, slots=True)
class LocationReading:
    """One location.

    cells: the cells of `SeatLocation`, each summed over all workers, living and dead
    panic: True if too few of its backends are healthy, so that all are used
    """

    service: Service
    location: Location
    cells: list[int]
    panic: bool = False

    def codes(self) -> Iterator[tuple[str, int]]:
        """(status label, requests) for every status of at least one response."""
        for label, count in zip(STATUS_LABELS, self.cells, strict=False):
            if count:
                yield label, count

    @property
    def requests(self) -> int:
        return sum(self.cells[: len(STATUS_LABELS)])

    @property
    def buckets(self) -> list[int]:
        """Requests per bucket of `BUCKETS`, then of +Inf; not cumulative."""
        return self.cells[SeatLocation.BUCKET : SeatLocation.BUCKET + len(BUCKETS) + 1]

    @property
    def duration_sum(self) -> float:
        """Sum of the durations of all requests, seconds."""
        return self.cells[SeatLocation.DURATION] / 1e9

    @property
    def bytes_in(self) -> int:
        return self.cells[SeatLocation.BYTES_IN]

    @property
    def bytes_out(self) -> int:
        return self.cells[SeatLocation.BYTES_OUT]

    @property
    def queued(self) -> int:
        """Requests that wait for a backend with room."""
        return self.cells[SeatLocation.QUEUED]


@dataclass(frozen=True, slots=True)
class SeatReading:
    """One taken seat.

    heartbeat:      seconds since the last heartbeat of its process
    clients_closed: idle client connections ended for want of descriptors
    short:          seconds since descriptors were short; -1 = never
    full:           seconds since clients wait because it is full; 0 = it is not
    full_why:       the reason: one of `Seat.CONNECTIONS_LIMIT`, `Seat.NO_DESCRIPTORS`
    old:            (generation, number of client connections that still use it), oldest first
    """

    seat: int
    role: str
    pid: int
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
    old: tuple[tuple[int, int], ...] = ()

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


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """The kernel's figures for one process.

    cpu:         user and system CPU time, seconds
    resident:    resident memory, octets
    descriptors: open file descriptors
    limit:       the most that it may have open
    started:     seconds since 1970
    """

    cpu: float
    resident: int
    descriptors: int
    limit: int
    started: float


def backends(table: Table, snapshot: Snapshot, pause: Pause | None = None) -> Iterator[BackendReading]:
    """Every backend that has a slot, in the order of the configuration."""
    taken, rows = proxy_seats(table), 0
    for service in snapshot.services:
        for location in service.locations:
            for backend in location.backends:
                if backend.slot < 0:
                    continue
                rows += 1
                if pause is not None and rows % ROWS_PER_TURN == 0:
                    pause()
                own = table.master_counts(backend.slot)
                columns = list(zip(*_seat_rows(table, taken, backend.slot), strict=True))
                sums = [sum(column) for column in columns]
                yield BackendReading(
                    service,
                    location,
                    backend,
                    own[BackendCells.STATE] == BackendCells.UP,
                    own[BackendCells.SINCE] / 1e9,
                    own[BackendCells.WEIGHT],
                    own[BackendCells.PROBES],
                    own[BackendCells.PROBE_FAILURES],
                    sums[SeatBackend.ACTIVE],
                    sums[SeatBackend.IDLE],
                    sums[SeatBackend.REQUESTS],
                    sums[SeatBackend.FAILURES],
                    sums[SeatBackend.CONNECTS],
                    sums[SeatBackend.RESPONSES],
                    sums[SeatBackend.LATENCY] / 1e9,
                    BackendCells.STATES[own[BackendCells.STATE]],
                    BackendCells.ADMITS[own[BackendCells.ADMIT]],
                    own[BackendCells.CIRCUIT],
                    own[BackendCells.EJECTIONS],
                    own[BackendCells.OPENINGS],
                    sums[SeatBackend.CONNECT_ERRORS],
                    sums[SeatBackend.BAD_STATUSES],
                    sums[SeatBackend.RETRIES],
                    sums[SeatBackend.OPEN],
                    sums[SeatBackend.NO_RESPONSE],
                    sums[SeatBackend.STATUS_1XX],
                    sums[SeatBackend.STATUS_2XX],
                    sums[SeatBackend.STATUS_3XX],
                    sums[SeatBackend.STATUS_4XX],
                    sums[SeatBackend.STATUS_5XX],
                    sums[SeatBackend.STATUS_OTHER],
                    _mean(columns[SeatBackend.EWMA], 1e9),
                    max(columns[SeatBackend.KEEPALIVE]) / 1e3 or -1.0,
                    _mean(columns[SeatBackend.SHARE], 1e3),
                )


def by_url(table: Table, rows: Iterable[BackendReading]) -> list[BackendReading]:
    """One row for each URL of a location. A URL whose name has several addresses gets their sums and the best of their states.

    The sums include the counts of addresses that DNS no longer returns.
    """
    found: dict[tuple[str, str], BackendReading] = {}
    for row in rows:
        key = row.location.id, row.backend.url
        known = found.get(key)
        found[key] = _with_departed(table, row) if known is None else _together(known, row)
    return list(found.values())


def _with_departed(table: Table, row: BackendReading) -> BackendReading:
    for one in row.location.departed:
        if one.url == row.backend.url:
            for counted in (one.sums, *(table.backend_counters(slot) for _name, slot in one.slots)):
                row = replace(row, **{name: getattr(row, name) + value for name, value in _counted(counted)})
    return row


def _counted(counters: Sequence[int]) -> Iterator[tuple[str, float]]:
    """(field of a reading, value) for the result of `Table.backend_counters`."""
    return ((name, value / 1e9 if name == "latency_sum" else value) for name, value in zip(_COUNTERS, counters, strict=False))


def _together(one: BackendReading, other: BackendReading) -> BackendReading:
    return replace(
        one,
        **{name: getattr(one, name) + getattr(other, name) for name in _ADDED},
        up=one.up or other.up,
        since=max(one.since, other.since),
        state=min(one.state, other.state, key=BackendCells.BEST.index),
        circuit=max(one.circuit, other.circuit),
    )


def _mean(values: tuple[int, ...], unit: float) -> float:
    """The mean of the seats' measurements; -1 if no seat has one."""
    measured = [value for value in values if value]
    return sum(measured) / len(measured) / unit if measured else -1.0


def _seat_rows(table: Table, seats: list[int], slot: int) -> list[list[int]]:
    """A backend's cells in each of these seats."""
    starts = [table.seat_backend(seat, slot) for seat in seats]
    return table.consistent(lambda: [table.q[at : at + SeatBackend.CELLS].tolist() for at in starts])


def locations(table: Table, snapshot: Snapshot, pause: Pause | None = None) -> Iterator[LocationReading]:
    """Every location that has a slot, in the order of the configuration."""
    taken, rows = proxy_seats(table), 0
    for service in snapshot.services:
        for location in service.locations:
            if location.slot < 0:
                continue
            rows += 1
            if pause is not None and rows % ROWS_PER_TURN == 0:
                pause()
            panic = bool(table.q[table.location(location.slot) + LocationCells.PANIC])
            yield LocationReading(service, location, _row(table, taken, location.slot), panic)


def unrouted(table: Table) -> LocationReading:
    """The requests that matched no location, as a location "" of a service ""."""
    nowhere = Location("", "", slot=table.unrouted)
    return LocationReading(Service("", (), (), (nowhere,)), nowhere, _row(table, proxy_seats(table), table.unrouted))


def _row(table: Table, seats: list[int], slot: int) -> list[int]:
    """A location's cells, summed over these seats."""
    starts = [table.seat_location(seat, slot) for seat in seats]
    cells = table.consistent(lambda: [table.q[at : at + SeatLocation.CELLS].tolist() for at in starts])
    used = [row for row in cells if any(row)]
    return [sum(column) for column in zip(*used, strict=True)] if len(used) > 1 else (used or cells)[0]


def requests(table: Table, snapshot: Snapshot, seat: int) -> int:
    """The number of requests that one seat has answered, those that matched no location included.

    Strided slices read 10,000 locations in 10 ms.
    """
    last = max((location.slot for service in snapshot.services for location in service.locations), default=-1)
    first, end = table.seat_location(seat, 0), table.seat_location(seat, last + 1)
    nowhere = table.seat_location(seat, table.unrouted)
    buckets = range(SeatLocation.BUCKET, SeatLocation.BUCKET + len(BUCKETS) + 1)
    return sum(sum(table.q[first + bucket : end : SeatLocation.CELLS]) + table.q[nowhere + bucket] for bucket in buckets)


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
    q = table.q

    def read() -> list[int]:
        rows = [table.seat(seat) for seat in table.counting_seats()]
        return [sum(q[row + cell] for row in rows) for cell in (Seat.ACCEPT_ERRORS, Seat.CLIENTS_CLOSED)]

    return Losses(*table.consistent(read))


def seats(table: Table) -> list[SeatReading]:
    """Every taken seat, in order."""
    readings = []
    now = time.monotonic_ns()
    for seat in table.taken_seats():
        at = table.seat(seat)
        cells = table.q[at : at + Seat.CELLS].tolist()
        readings.append(
            SeatReading(
                seat,
                "admin" if cells[Seat.ROLE] == Seat.ADMIN else "proxy",
                cells[Seat.PID],
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
                tuple((cell >> 24, cell & 0xFFFFFF) for cell in cells[Seat.OLD : Seat.OLD + Seat.MOST_OLD] if cell),
            )
        )
    return readings


def process(pid: int) -> ProcessReading | None:
    """The figures of a process from /proc; None if the process has gone or may not be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            words = stream.read().rpartition(b")")[2].split()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        limit = _limit(pid)
    except OSError:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return ProcessReading(
        (int(words[11]) + int(words[12])) / ticks,
        int(words[21]) * os.sysconf("SC_PAGESIZE"),
        descriptors,
        limit,
        _boot_time() + int(words[19]) / ticks,
    )


def _limit(pid: int) -> int:
    """The soft limit of open files of a process; 0 = unlimited. Raises OSError."""
    with open(f"/proc/{pid}/limits", "rb") as stream:
        for line in stream:
            if line.startswith(b"Max open files "):
                word = line.split()[3]
                return int(word) if word.isdigit() else 0
    return 0


def _boot_time() -> float:
    with open("/proc/stat", "rb") as stream:
        for line in stream:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0


def proxy_seats(table: Table) -> list[int]:
    """The seats that count requests: those of living proxy workers, and those of masters, which keep the counts of dead ones."""
    q = table.q
    return [seat for seat in table.counting_seats() if q[table.seat(seat) + Seat.ROLE] != Seat.ADMIN]


def header(table: Table) -> list[int]:
    """The cells of the master (see `terraster.state.table.MasterCells`); its counters include those of the masters before it."""
    return table.master_cells()
