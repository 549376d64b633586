"""Readings: the values of the shared table at one moment, added up over the seats and joined with the configuration.

Status and metrics read the table only through this module, `terraster.admin.seat_readings` and, for metrics with a sample for each location or
backend, `terraster.admin.columns`.
Reading takes no lock: each cell is whole, but two cells may be a few microseconds apart.

A row is read with one slice: 0.6 µs for a backend's 16 cells, 2 µs for a location's 100. 10,000 services with two backends each take about
0.3 s. A caller that reads many rows therefore passes a ``pause`` (`terraster.net.yielding.yield_to_loop`), which is called after every few
hundred rows. At rest it reads no row: columns of all slots tell which are worth it, and a forked process that walks through a configuration
gets a copy of its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from ..config.snapshot import Backend, Location, Service, Snapshot
from ..state.cells import (
    BUCKETS,
    RESPONSE_CLASSES,
    STATUS_LABELS,
    BackendCells,
    LocationCells,
    MasterCells,
    Seat,
    SeatBackend,
    SeatLocation,
)
from ..state.table import Table

__all__ = [
    "BackendReading",
    "LocationReading",
    "answered",
    "backend_slots",
    "backends",
    "header",
    "location_slots",
    "locations",
    "requests",
    "unrouted",
]

ROWS_PER_TURN = 200

Pause = Callable[[], object]

_CLASSES = ("no_response", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other")
_BUCKETS = range(SeatLocation.BUCKET, SeatLocation.BUCKET + len(BUCKETS) + 1)
_FIRST, _END = SeatBackend.TIMES[0], SeatBackend.TIMES[-1] + 1
"""Where the histograms are among a backend's cells, which end with them."""


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
    times:     the cells of `SeatBackend.TIMES`, empty while nothing was counted
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
    tunnels: int
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
    times: tuple[int, ...]

    def classes(self) -> Iterator[tuple[str, int]]:
        """(class, responses) for each of `RESPONSE_CLASSES`."""
        return ((name, getattr(self, field)) for name, field in zip(RESPONSE_CLASSES, _CLASSES, strict=True))

    @property
    def responses(self) -> int:
        """Response heads received."""
        return sum(self.response_buckets)

    @property
    def response_buckets(self) -> Sequence[int]:
        """Responses per bucket of `BUCKETS`, then of +Inf; not cumulative."""
        return self._cells(SeatBackend.BUCKET, len(BUCKETS) + 1)

    def _cells(self, first: int, count: int) -> Sequence[int]:
        at = first - _FIRST
        return self.times[at : at + count]

    @property
    def latency(self) -> float:
        return self.latency_sum / self.responses if self.responses else -1.0


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
                columns = list(zip(*_seat_rows(table, taken, backend.slot, 0, _FIRST), strict=True))
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
                    sums[SeatBackend.TUNNELS],
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
                    _times(table, taken, backend.slot) if sums[SeatBackend.REQUESTS] or sums[SeatBackend.CONNECTS] else (),
                )


def _cells(table: Table, starts: list[int], count: int) -> list[list[int]]:
    """So many cells from each of these on. Rows that no process has touched stay so: 10,000 services have 27 MiB of rows in each seat."""
    return [[0] * count if table.is_untouched(at, count) else table.q[at : at + count].tolist() for at in starts]


def _mean(values: tuple[int, ...], unit: float) -> float:
    """The mean of the seats' measurements; -1 if no seat has one."""
    measured = [value for value in values if value]
    return sum(measured) / len(measured) / unit if measured else -1.0


def _seat_rows(table: Table, seats: list[int], slot: int, first: int, end: int) -> list[list[int]]:
    """A backend's cells from ``first`` to before ``end`` in each of these seats."""
    starts = [table.seat_backend(seat, slot) + first for seat in seats]
    return table.consistent(lambda: _cells(table, starts, end - first))


def _times(table: Table, seats: list[int], slot: int) -> tuple[int, ...]:
    """See `BackendReading.times`."""
    used = [row for row in _seat_rows(table, seats, slot, _FIRST, _END) if any(row)]
    return tuple(map(sum, zip(*used, strict=True))) if used else ()


def locations(
    table: Table, snapshot: Snapshot, pause: Pause | None = None, slots: Container[int] | None = None
) -> Iterator[LocationReading]:
    """Every location that has a slot, in the order of the configuration. slots: only those with one of these"""
    taken, rows = proxy_seats(table), 0
    for service in snapshot.services:
        for location in service.locations:
            if location.slot < 0 or (slots is not None and location.slot not in slots):
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
    cells = table.consistent(lambda: _cells(table, starts, SeatLocation.CELLS))
    used = [row for row in cells if any(row)]
    return [sum(column) for column in zip(*used, strict=True)] if len(used) > 1 else (used or cells)[0]


def backend_slots(table: Table) -> int:
    """The number of the first slots of backends, among which are all that were ever leased. It never falls."""
    return table.q[table.master + MasterCells.BACKENDS]


def location_slots(table: Table) -> int:
    """The same of locations."""
    return table.q[table.master + MasterCells.LOCATIONS]


def requests(table: Table, seat: int) -> int:
    """The number of requests that one seat has answered, those that matched no location included.

    Strided slices read 10,000 locations in 10 ms.
    """
    nowhere = table.seat_location(seat, table.unrouted)
    return sum(answered(table, seat)) + sum(table.q[nowhere + bucket] for bucket in _BUCKETS)


def answered(table: Table, seat: int) -> list[int]:
    """The number of requests that one seat has answered, by slot of the location."""
    first, count = table.seat_location(seat, 0), location_slots(table)
    return list(map(sum, zip(*(table.column(first + bucket, count, SeatLocation.CELLS) for bucket in _BUCKETS), strict=True)))


def proxy_seats(table: Table) -> list[int]:
    """The seats that count requests: those of living proxy workers, and those of masters, which keep the counts of dead ones."""
    q = table.q
    return [seat for seat in table.counting_seats() if q[table.seat(seat) + Seat.ROLE] != Seat.ADMIN]


def header(table: Table) -> list[int]:
    """The cells of the master (see `terraster.state.cells.MasterCells`); its counters include those of the masters before it."""
    return table.master_cells()
