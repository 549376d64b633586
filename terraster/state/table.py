"""The shared table: one anonymous shared `mmap`, made by the master before its first fork, seen by every process.

    header      one block of HEADER_CELLS cells                                   writer: the master
    backend b   BACKEND_CELLS cells per slot: health, weight, since …             writer: the master
    location l  LOCATION_CELLS cells per slot: the lease                          writer: the master
    seat s      SEAT_CELLS cells: pid, generation, heartbeat, connections …       writer: the process in seat s
     × backend  SEAT_BACKEND_CELLS cells per slot: active, requests, failures …   writer: the process in seat s
     × location SEAT_LOCATION_CELLS cells per slot: statuses, bytes, durations    writer: the process in seat s

Rules
- Every cell has exactly one writer. Readers add up the seats (`Table.backend_sum`, `Table.location_sum`). When four processes
  incremented one cell, 814,740 of 2,000,000 counts survived. With a row for each process all of them did.
- One fact is one 8-byte cell, read and written whole through a ``memoryview`` of format ``Q``: 19 ns a read. Anything wider goes
  through the generation number.
- Seat 0 belongs to the master. It keeps the counters of dead workers (`Table.retire`), so that totals never decrease. A seat with
  pid 0 is empty, and only the master writes an empty seat.
- While rows move from a dead worker's seat to seat 0, the cell `Header.RETIRING` is odd. Readers add up seats through
  `Table.consistent`, which reads again if the cell is odd or has changed. So no count is seen twice, and none is missed.
- Hot code does not call methods here. It takes ``table.q`` and indices computed beforehand (`Table.seat_backend`,
  `Table.seat_location`).

Untouched memory costs nothing: the map is reserved, not committed. The pages of a retired seat go back to the kernel.
"""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = [
    "BUCKETS",
    "CLASS_CELL",
    "RESPONSE_CLASSES",
    "STATUS_CELL",
    "STATUS_LABELS",
    "BackendCells",
    "Header",
    "LocationCells",
    "Seat",
    "SeatBackend",
    "SeatLocation",
    "Table",
    "bucket_of",
]

MAGIC = 0x5445525241535452  # "TERRASTR"
VERSION = 5

_AT_ONCE = 64  # rows that move between two changes of `Header.RETIRING`: about 0.2 ms
_PATIENCE = 2000  # attempts of a reader, 0.5 ms apart, before it assumes that the master died in the middle of a move
_T = TypeVar("_T")

MAP_NORESERVE = 0x4000  # Linux; the standard library has the name since Python 3.13


class Header:
    """Cells of the header. Writer: the master."""

    MAGIC = 0
    VERSION = 1
    GENERATION = 2  # the newest generation that the master applied
    BACKENDS = 3  # capacities, fixed for the life of the table
    LOCATIONS = 4
    SEATS = 5
    HEARTBEAT = 6  # time.monotonic_ns() of the master's last turn
    RELOADS = 7  # reloads that were applied
    RELOAD_FAILURES = 8
    LAST_RELOAD_OK = 9  # 1 or 0
    LAST_RELOAD_TIME = 10  # time.time_ns() of the last reload that was applied
    WORKERS = 11  # configured number of proxy workers
    WORKER_RESTARTS = 12  # proxy and admin workers replaced because they died
    STARTED = 13  # time.time_ns()
    RETIRING = 14  # odd while rows move to seat 0; see `Table.consistent`
    ZERO = 15  # always 0
    STOPPING = 16  # one of the values below
    SHARED = (
        17  # 1: another master has the same listening sockets (an upgrade), so what waits there is not lost when this one stops
    )
    CELLS = 64

    # STOPPING
    RUNNING, DELAY, DRAIN = 0, 1, 2  # DELAY: still accepts for `drain_delay`


class BackendCells:
    """Cells of a backend slot. Writer: the master."""

    ADMIT = 0  # which new work it gets: one of the values below, decided from everything that is known about it
    SINCE = 1  # time.time_ns() of the last change of STATE
    WEIGHT = 2
    PROBES = 3  # probes made
    PROBE_FAILURES = 4
    LEASE = 5  # serial number of the lease: a new one means a new backend in this slot
    STATE = 6  # the reason for ADMIT: one of the states below
    RAMP = 7  # slow start: its part of its full share of work, 0 … 1000
    TRIAL_LIMIT = 8  # half-open circuit: the most that SeatBackend.TRIALS may add up to
    CIRCUIT = 9  # index into CIRCUITS
    EJECTIONS = 10  # how often outlier detection ejected it
    OPENINGS = 11  # how often its circuit opened
    CELLS = 16

    COUNTERS = (PROBES, PROBE_FAILURES, EJECTIONS, OPENINGS)

    # ADMIT
    NONE, ALL, TRIAL, RAMPING = 0, 1, 2, 3
    ADMITS = ("none", "all", "trial", "ramping")

    # STATE
    DOWN, UP, DRAINING, MAINTENANCE, EJECTED = 0, 1, 2, 3, 4
    STATES = ("down", "up", "draining", "maintenance", "ejected")
    BEST = ("up", "draining", "maintenance", "ejected", "down")  # best first: the state shown for a URL with several endpoints

    # CIRCUIT
    CIRCUITS = ("closed", "open", "half-open")


class LocationCells:
    """Cells of a location slot. Writer: the master."""

    LEASE = 0  # serial number of the lease: a new one means a new location in this slot
    PANIC = 1  # 1: too few backends are healthy, so all are used (`panic_threshold`)
    CELLS = 4


class Seat:
    """Cells of a seat. Writer: the process that sits in it (the master while it is empty)."""

    PID = 0
    GENERATION = 1  # the generation this process runs
    OLDEST = 2  # the oldest generation that an open request of this process still uses
    HEARTBEAT = 3  # time.monotonic_ns()
    CONNECTIONS = 4  # open client connections
    ACCEPTED = 5  # client connections ever accepted
    ROLE = 6  # Seat.PROXY or Seat.ADMIN
    DRAINING = 7  # 1: it no longer accepts connections
    ACCESS_LINES_LOST = 16  # lines of access logs that were lost
    PROGRAM_LINES_LOST = 17  # lines of the program's log that were lost
    LINE_LOST_AT = 18  # time.time_ns() when the last line was found to be lost, 0 = never
    LINE_LOST_WHY = 19  # its errno, 0 = the reader was too slow
    CELLS = 64

    COUNTERS = (ACCEPTED, ACCESS_LINES_LOST, PROGRAM_LINES_LOST)

    PROXY, ADMIN = 1, 2


class SeatBackend:
    """Cells of one backend slot in one seat. Writer: the process in the seat."""

    ACTIVE = 0  # requests in flight (a gauge: not kept when the seat is retired)
    REQUESTS = 1  # attempts begun
    FAILURES = 2  # attempts that failed through the backend's fault
    LATENCY = 3  # sum of the times from the request sent to the response head, nanoseconds
    EWMA = 4  # moving average of these times, nanoseconds (a gauge)
    IDLE = 5  # pooled idle connections (a gauge)
    CONNECTS = 6  # connections opened, or tried to
    RESPONSES = 7  # response heads received: LATENCY / RESPONSES is the mean
    CONNECT_ERRORS = 8  # of FAILURES: no connection was made
    BAD_STATUSES = 9  # of RESPONSES: those whose status counts as bad in outlier detection
    TRIALS = 10  # requests let through while the circuit was half-open (a gauge: meaningless once its writer has died)
    OPEN = 11  # open connections, busy or idle (a gauge)
    KEEPALIVE = 12  # milliseconds after which the backend closes an idle connection, 0 = unknown (a gauge)
    SHARE = 13  # `adaptive`: the backend's part of its full share of work, 1 … 1000; 0 = not measured (a gauge)
    WANTED = 14  # requests of this worker that wait for a connection; another worker may have an idle one (a gauge)
    RETRIES = 15  # of REQUESTS: second and later attempts, hedges included
    NO_RESPONSE = 16  # of FAILURES: no response head came
    STATUS_1XX = 17  # final responses by class of their status; 1xx: a 101
    STATUS_2XX = 18
    STATUS_3XX = 19
    STATUS_4XX = 20
    STATUS_5XX = 21
    STATUS_OTHER = 22
    CELLS = 24

    CLASSES = (NO_RESPONSE, STATUS_1XX, STATUS_2XX, STATUS_3XX, STATUS_4XX, STATUS_5XX, STATUS_OTHER)
    COUNTERS = (REQUESTS, FAILURES, LATENCY, CONNECTS, RESPONSES, CONNECT_ERRORS, BAD_STATUSES, RETRIES, *CLASSES)
    GAUGES = (ACTIVE, EWMA, IDLE, TRIALS, OPEN, KEEPALIVE, SHARE, WANTED)


STATUS_LABELS: tuple[str, ...] = tuple(
    str(code)
    for code in (
        (100, 101, 102, 103)
        + tuple(range(200, 209))
        + (226,)
        + (300, 301, 302, 303, 304, 305, 307, 308)
        + tuple(range(400, 419))
        + (421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499)
        + tuple(range(500, 509))
        + (510, 511)
    )
) + ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
"""The `code` labels in the order of their cells: one for every registered status, and one per class for all others."""


def _status_cells() -> tuple[int, ...]:
    known = {label: cell for cell, label in enumerate(STATUS_LABELS)}
    return tuple(known.get(str(code), known.get(f"{code // 100}xx", known["other"])) for code in range(1000))


STATUS_CELL: tuple[int, ...] = _status_cells()
"""``STATUS_CELL[status]`` is the cell that counts a status, for every status from 0 to 999."""

RESPONSE_CLASSES: tuple[str, ...] = ("none", "1xx", "2xx", "3xx", "4xx", "5xx", "other")
"""The names of `SeatBackend.CLASSES`, in the same order."""

CLASS_CELL: tuple[int, ...] = tuple(SeatBackend.CLASSES[min(max(1, code // 100), 6)] for code in range(1000))
"""``CLASS_CELL[status]`` is the cell of `SeatBackend` that counts a final response, for every status from 100 to 999."""

BUCKETS: tuple[float, ...] = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the duration histogram in seconds. The cell after the last one is +Inf."""


def bucket_of(seconds: float) -> int:
    """The histogram bucket of a duration: an offset to add to `SeatLocation.BUCKET`."""
    return bisect_left(BUCKETS, seconds)


class SeatLocation:
    """Cells of one location slot in one seat. Writer: the process in the seat."""

    STATUS = 0  # … len(STATUS_LABELS) cells
    BYTES_IN = 80  # octets read from clients: heads and bodies
    BYTES_OUT = 81  # octets written to clients
    DURATION = 82  # sum of nanoseconds
    BUCKET = 83  # … len(BUCKETS) + 1 cells, not cumulative
    QUEUED = 100  # requests that wait for a backend with room (a gauge)
    QUEUE_HEAD = 101  # time.monotonic_ns() when the longest waiting request of this worker began to wait, 0 = none waits (a gauge)
    QUEUE_REFUSED = 102  # requests refused because the queue was full
    QUEUE_TIMEOUTS = 103  # requests that waited until `queue.timeout` and got no backend
    RETRIES = 104  # second and later attempts
    HEDGES = 105  # of RETRIES: attempts begun while an earlier attempt was still unanswered
    BUDGET_REFUSALS = 106  # retries and hedges that the budget did not allow
    FILTERS = 112  # … counters of filters, in the order of their kinds (`terraster.filters.contract.cells`)
    CELLS = 128

    GAUGES = (QUEUED, QUEUE_HEAD)


assert len(STATUS_LABELS) <= SeatLocation.BYTES_IN
assert SeatLocation.BUCKET + len(BUCKETS) + 1 <= SeatLocation.CELLS


class Table:
    """The map and its arithmetic. The master makes it once, before the first fork; children inherit it.

    backends, locations, seats: capacities in slots; seat 0 belongs to the master
    unrouted: one more location slot, never leased; it counts the requests that match no location
    never:    index of a cell that is always 0
    """

    __slots__ = (
        "q",
        "backends",
        "locations",
        "seats",
        "unrouted",
        "never",
        "_map",
        "_backend_base",
        "_location_base",
        "_seat_base",
        "_seat_cells",
        "_location_offset",
        "_stuck",
    )

    def __init__(self, backends: int, locations: int, seats: int) -> None:
        self.backends = backends
        self.locations = locations
        self.unrouted = locations
        self.never = Header.ZERO
        self.seats = seats
        self._stuck = -1
        self._backend_base = Header.CELLS
        page = mmap.PAGESIZE // 8
        self._location_base = self._backend_base + backends * BackendCells.CELLS
        base = self._location_base + locations * LocationCells.CELLS
        self._seat_base = -(-base // page) * page
        self._location_offset = Seat.CELLS + backends * SeatBackend.CELLS
        cells = self._location_offset + (locations + 1) * SeatLocation.CELLS
        self._seat_cells = -(-cells // page) * page
        size = (self._seat_base + self._seat_cells * seats) * 8
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self.q: memoryview = memoryview(self._map).cast("Q")
        self.q[Header.VERSION] = VERSION
        self.q[Header.BACKENDS] = backends
        self.q[Header.LOCATIONS] = locations
        self.q[Header.SEATS] = seats
        self.q[Header.MAGIC] = MAGIC

    def backend(self, slot: int) -> int:
        """Index of a backend slot's first cell (add a `BackendCells` constant)."""
        if not 0 <= slot < self.backends:
            raise IndexError(slot)
        return self._backend_base + slot * BackendCells.CELLS

    def location(self, slot: int) -> int:
        """Index of a location slot's first cell (add a `LocationCells` constant). IndexError for `unrouted`: it is never leased."""
        if not 0 <= slot < self.locations:
            raise IndexError(slot)
        return self._location_base + slot * LocationCells.CELLS

    def seat(self, seat: int) -> int:
        """Index of a seat's first cell (add a `Seat` constant)."""
        if not 0 <= seat < self.seats:
            raise IndexError(seat)
        return self._seat_base + seat * self._seat_cells

    def seat_backend(self, seat: int, slot: int) -> int:
        """Index of a backend's first cell in a seat (add a `SeatBackend` constant)."""
        if not 0 <= slot < self.backends:
            raise IndexError(slot)
        return self.seat(seat) + Seat.CELLS + slot * SeatBackend.CELLS

    def seat_location(self, seat: int, slot: int) -> int:
        """Index of a location's first cell in a seat (add a `SeatLocation` constant)."""
        if not 0 <= slot <= self.unrouted:
            raise IndexError(slot)
        return self.seat(seat) + self._location_offset + slot * SeatLocation.CELLS

    def taken_seats(self) -> list[int]:
        """The seats that have a process."""
        return [seat for seat in range(1, self.seats) if self.q[self.seat(seat) + Seat.PID]]

    def consistent(self, read: Callable[[], _T]) -> _T:
        """The result of ``read()``, called again if the master moved counters between seats meanwhile. Any process may call this.

        ``read`` should be short (a few rows) and should call `taken_seats` itself.
        """
        q = self.q
        for _ in range(_PATIENCE):
            before = q[Header.RETIRING]
            if before & 1 and before != self._stuck:
                time.sleep(0.0005)
                continue
            value = read()
            if q[Header.RETIRING] == before:
                return value
        self._stuck = q[Header.RETIRING]  # do not wait for this move again
        return read()

    def backend_sum(self, slot: int, cell: int) -> int:
        """The sum of a `SeatBackend` cell over all living and retired processes."""
        q = self.q
        return self.consistent(lambda: sum(q[self.seat_backend(seat, slot) + cell] for seat in (0, *self.taken_seats())))

    def backend_counters(self, slot: int) -> list[int]:
        """All counters of a backend, each summed over living and retired processes: `SeatBackend.COUNTERS`, then
        `BackendCells.COUNTERS`."""
        q, at = self.q, self.backend(slot)

        def read() -> list[int]:
            rows = [self.seat_backend(seat, slot) for seat in (0, *self.taken_seats())]
            return [sum(q[row + cell] for row in rows) for cell in SeatBackend.COUNTERS]

        of_seats = self.consistent(read)
        return [*of_seats, *(q[at + cell] for cell in BackendCells.COUNTERS)]

    def location_sum(self, slot: int, cell: int) -> int:
        """The sum of a `SeatLocation` cell over all living and retired processes."""
        q = self.q
        return self.consistent(lambda: sum(q[self.seat_location(seat, slot) + cell] for seat in (0, *self.taken_seats())))

    def location_row(self, slot: int) -> list[int]:
        """All `SeatLocation` cells of a location, each summed over living and retired processes."""
        q = self.q
        rows = self.consistent(lambda: [q[at : at + SeatLocation.CELLS].tolist() for at in self._rows(slot)])
        return [sum(column) for column in zip(*rows, strict=True)]

    def _rows(self, slot: int) -> list[int]:
        return [self.seat_location(seat, slot) for seat in (0, *self.taken_seats())]

    def retire(self, seat: int, backend_slots: Sequence[int], location_slots: Sequence[int]) -> None:
        """Empty a dead worker's seat and add its counters to seat 0. Only the master calls this, after it reaped the worker.

        backend_slots, location_slots: all slots in use; every other cell of the seat is zero

        A reader that uses `consistent` sees each row either before or after its move.
        """
        moves = self._used(self.seat_backend(seat, 0), self.seat_backend(0, 0), SeatBackend.CELLS, backend_slots)
        backends = len(moves)
        slots = (*location_slots, self.unrouted)
        moves += self._used(self.seat_location(seat, 0), self.seat_location(0, 0), SeatLocation.CELLS, slots)
        q = self.q
        for start in range(0, len(moves), _AT_ONCE):
            q[Header.RETIRING] += 1
            for number, (gone, kept, cells) in enumerate(moves[start : start + _AT_ONCE], start):
                for cell, value in enumerate(q[gone : gone + cells].tolist()):
                    if value and cell not in (SeatBackend.GAUGES if number < backends else SeatLocation.GAUGES):
                        q[kept + cell] += value
                self._zero(gone, cells)
            q[Header.RETIRING] += 1
        q[Header.RETIRING] += 1
        master, gone = self.seat(0), self.seat(seat)
        for cell in Seat.COUNTERS:
            q[master + cell] += q[gone + cell]
        if q[gone + Seat.LINE_LOST_AT] > q[master + Seat.LINE_LOST_AT]:
            q[master + Seat.LINE_LOST_AT] = q[gone + Seat.LINE_LOST_AT]
            q[master + Seat.LINE_LOST_WHY] = q[gone + Seat.LINE_LOST_WHY]
        self._zero(gone, Seat.CELLS)
        q[Header.RETIRING] += 1
        self._map.madvise(mmap.MADV_REMOVE, self.seat(seat) * 8, self._seat_cells * 8)

    def _used(self, gone: int, kept: int, cells: int, slots: Sequence[int]) -> list[tuple[int, int, int]]:
        """(index of a dead row, index of the row that keeps its counts, cells) for every row that is not all zero: 10,000 in 5 ms."""
        size, nothing, octets = cells * 8, bytes(cells * 8), self._map
        found = []
        for slot in slots:
            at = (gone + slot * cells) * 8
            if octets[at : at + size] != nothing:
                found.append((gone + slot * cells, kept + slot * cells, cells))
        return found

    def _zero(self, at: int, cells: int) -> None:
        self.q[at : at + cells] = memoryview(bytes(cells * 8)).cast("Q")

    def forget_backend(self, seat: int, slot: int) -> None:
        """Zero a backend's cells in one seat. The seat's writer calls this when the slot has a new lease."""
        self._zero(self.seat_backend(seat, slot), SeatBackend.CELLS)

    def forget_location(self, seat: int, slot: int) -> None:
        """Zero a location's cells in one seat. The seat's writer calls this when the slot has a new lease."""
        self._zero(self.seat_location(seat, slot), SeatLocation.CELLS)
