"""The cells of the shared table: what each means, and which process writes it. `terraster.state.table` has the table and its rules.

The module is longer than 400 lines because `fingerprint` is about all cells, so they are in one place.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence

from ..wire.grpc import STATUSES

__all__ = [
    "BUCKETS",
    "BUCKET_OF",
    "CLASS_CELL",
    "FINE",
    "ALPN",
    "CHANGES",
    "HANDSHAKE_FAILURES",
    "HTTP2_FAULTS",
    "MASTERS",
    "QUICK",
    "RESPONSE_CLASSES",
    "STATUS_CELL",
    "STATUS_LABELS",
    "VERSION",
    "WAITS",
    "BackendCells",
    "Header",
    "LocationCells",
    "MasterCells",
    "Seat",
    "SeatBackend",
    "SeatBucket",
    "SeatClient",
    "SeatListener",
    "SeatLocation",
    "SeatPlugin",
    "bucket_of",
    "fingerprint",
    "responses",
]

VERSION = 11

MASTERS = 4
"""Masters that a table has room for. Two are there during an upgrade or an adoption; the others are for those that die meanwhile."""


class Header:
    """The description of the table. Written once, by the master that made it."""

    MAGIC = 0
    VERSION = 1
    FINGERPRINT = 2  # see `fingerprint`
    BACKENDS = 3  # capacities, fixed for the life of the table
    LOCATIONS = 4
    SEATS = 5
    MASTERS = 6
    ZERO = 7  # always 0
    SECRET = 8  # … 2 cells: a key for hashes of what clients send, the same for all processes
    CELLS = 64


class MasterCells:
    """Cells of a master. Writer: that master; its successor writes the cells of a master that has ended."""

    GENERATION = 0  # the newest generation that the master applied
    HEARTBEAT = 1  # time.monotonic_ns() of the master's last turn
    RELOADS = 2  # reloads that were applied
    RELOAD_FAILURES = 3
    LAST_RELOAD_OK = 4  # 1 or 0
    LAST_RELOAD_TIME = 5  # time.time_ns() of the last reload that was applied
    WORKERS = 6  # configured number of proxy workers
    WORKER_RESTARTS = 7  # proxy and admin workers replaced because they died
    STARTED = 8  # time.time_ns()
    RETIRING = 9  # odd while rows move to the master's seat; see `Table.consistent`
    USED = 10  # 1: a master has this place, or has left counters in it
    BACKENDS = 11  # slots that were ever leased, by this master or before: those from this one on were never touched
    LOCATIONS = 12
    STOPPING = 13  # one of the values below
    SHARED = (
        14  # 1: another master has the same listening sockets (an upgrade), so a stop of this one loses nothing that waits there
    )
    CELLS = 64

    # STOPPING
    RUNNING, DELAY, DRAIN = 0, 1, 2  # DELAY: still accepts for `drain_delay`

    COUNTERS = (RELOADS, RELOAD_FAILURES, WORKER_RESTARTS)


CHANGES = 16
"""The cell of a master that counts how often it changed `BackendCells.ADMIT` or `BackendCells.STATE` of a backend. It is none of
`MasterCells`, so that tables of versions without it are taken over: only the children of a master read it."""

assert MasterCells.LOCATIONS < MasterCells.STOPPING < MasterCells.SHARED < CHANGES < MasterCells.CELLS


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
    EJECTED_UNTIL = (
        12  # time.time_ns() when its ejection ends, 0 = it is not ejected; this and the next three are for a later master
    )
    EJECTED_TIMES = 13  # ejections in a row
    CIRCUIT_SINCE = 14  # time.time_ns() when its circuit came to its state
    ADDRESS = 15  # checksum of the address that these facts are about
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
    HELD = 2  # of a plugin: time.monotonic_ns() until which no worker calls it, because workers died in it
    DEATHS = 3  # of a plugin: workers that died in it
    CELLS = 4


HTTP2_FAULTS: tuple[str, ...] = (
    "resets",
    "refused",
    "continuations",
    "oversized",
    "settings",
    "pings",
    "priorities",
    "empty_data",
    "window_updates",
    "ignored",
    "protocol",
)
"""The kinds of faults that end an HTTP/2 connection, in the order of their cells: a bound that the client exceeded, or (last) another rule."""


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
    BEGAN = 8  # when the process started, as the kernel counts it: with PID it names one process for ever
    ACCEPT_ERRORS = 9  # errors of accept(2)
    CLIENTS_CLOSED = 10  # idle client connections ended for want of descriptors
    SHORT_AT = 11  # time.monotonic_ns() when descriptors were short last, 0 = never
    FULL_SINCE = 12  # time.monotonic_ns() since when clients wait because it is full, 0 = it is not
    FULL_WHY = 13  # of FULL_SINCE: one of the values below
    SPANS_DROPPED = 14  # spans of requests that no receiver got
    SPANS_EXPORTED = 15  # spans that the receiver took
    ACCESS_LINES_LOST = 16  # lines of access logs that were lost
    PROGRAM_LINES_LOST = 17  # lines of the program's log that were lost
    LINE_LOST_AT = 18  # time.time_ns() when the last line was found to be lost, 0 = never
    LINE_LOST_WHY = 19  # its errno, 0 = the reader was too slow
    HTTP2_CONNECTIONS = 20  # of ACCEPTED: those that began to speak HTTP/2
    HOOK = 21  # mark of the hook of a plugin that it is in (`terraster.plugins.marks`), 0 = none
    WAITING_HOOKS = 22  # … MOST_WAITING_HOOKS cells: marks of hooks that waited a moment ago, of one plugin each
    TRACE_EXPORTERS_ENDED = 31  # processes that export spans, and ended by themselves
    OLD = 32  # … MOST_OLD cells: old generation << 24 | number of client connections that use it, oldest first; 0: unused
    HTTP2_FAULTS = 64  # … len(HTTP2_FAULTS) cells
    LAG_TIME = 80  # of a proxy worker: sum of the times by which the timer of its sweep fired late, nanoseconds
    LAG_BUCKET = 81  # … len(WAITS) + 1 cells, not cumulative: these times
    LAG_LONGEST = 90  # the longest of them within the last minute, nanoseconds
    CELLS = 96

    MOST_OLD = 32
    MOST_WAITING_HOOKS = 4

    COUNTERS = (
        ACCEPTED,
        ACCEPT_ERRORS,
        CLIENTS_CLOSED,
        ACCESS_LINES_LOST,
        PROGRAM_LINES_LOST,
        HTTP2_CONNECTIONS,
        SPANS_DROPPED,
        SPANS_EXPORTED,
        TRACE_EXPORTERS_ENDED,
        *range(HTTP2_FAULTS, HTTP2_FAULTS + 16),
    )

    PROXY, ADMIN, MASTER = 1, 2, 3

    # FULL_WHY
    CONNECTIONS_LIMIT, NO_DESCRIPTORS = 1, 2


class SeatBackend:
    """Cells of one backend slot in one seat. Writer: the process in the seat."""

    ACTIVE = 0  # requests in flight (a gauge: not kept when the seat is retired)
    REQUESTS = 1  # attempts begun
    FAILURES = 2  # attempts that failed through the backend's fault
    LATENCY = 3  # sum of the times from the request sent to the response head, nanoseconds
    EWMA = 4  # moving average of these times, nanoseconds (a gauge)
    IDLE = 5  # pooled idle connections (a gauge)
    CONNECTS = 6  # connections opened, or tried to
    CONNECT_ERRORS = 8  # of FAILURES: no connection was made
    BAD_STATUSES = 9  # of the response heads: those whose status counts as bad in outlier detection
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
    TUNNELS = 23  # of ACTIVE: WebSockets and other tunnels (a gauge)
    BUCKET = 24  # … len(BUCKETS) + 1 cells, not cumulative: response heads by the time that LATENCY adds up; see `responses`
    CONNECT_TIME = 40  # sum of the times in which connections were made, without those of TLS handshakes, nanoseconds
    CONNECT_BUCKET = 41  # … len(WAITS) + 1 cells, not cumulative: connections made, by these times
    CELLS = 56

    CLASSES = (NO_RESPONSE, STATUS_1XX, STATUS_2XX, STATUS_3XX, STATUS_4XX, STATUS_5XX, STATUS_OTHER)
    TIMES = tuple(range(BUCKET, 50))  # the histograms
    COUNTERS = (REQUESTS, FAILURES, LATENCY, CONNECTS, CONNECT_ERRORS, BAD_STATUSES, RETRIES, *CLASSES, *TIMES)
    GAUGES = (ACTIVE, EWMA, IDLE, TRIALS, OPEN, KEEPALIVE, SHARE, WANTED, TUNNELS)


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
"""Upper bounds of the histograms of durations and of times to answer, in seconds. The cell after the last one is +Inf."""

FINE = 500_000
"""Nanoseconds of which the bounds of `BUCKETS` below `QUICK` are multiples."""

QUICK = 100_000_000
"""Nanoseconds below which `BUCKET_OF` knows the bucket."""

BUCKET_OF: tuple[int, ...] = tuple(bisect_left(BUCKETS, (at + 0.5) * FINE / 1e9) for at in range(QUICK // FINE))
"""``BUCKET_OF[nanoseconds // FINE]`` is the bucket of a duration below `QUICK`: that of `bucket_of` in half the time, for the request path. One
of exactly a bound is counted in the bucket above."""

WAITS: tuple[float, ...] = (0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0)
"""Upper bounds of the histograms of times to connect and in the queue, in seconds. The cell after the last one is +Inf."""


def bucket_of(seconds: float) -> int:
    """The histogram bucket of a duration: an offset to add to `SeatLocation.BUCKET`."""
    return bisect_left(BUCKETS, seconds)


def responses(q: memoryview, row: int) -> int:
    """Response heads received of a backend, in one seat. row: index of the backend's first cell there"""
    return sum(q[row + SeatBackend.BUCKET : row + SeatBackend.BUCKET + len(BUCKETS) + 1])


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
    SLOW_CLIENTS = 107  # requests ended because their client was slower than `min_rate`
    GRPC = 112  # … len(STATUSES) of `terraster.wire.grpc` cells: calls by the number of their outcome
    QUEUE_TIME = 132  # sum of the times for which requests waited for a backend with room or for a connection, nanoseconds
    QUEUE_BUCKET = 133  # … len(WAITS) + 1 cells, not cumulative: these requests by these times
    FILTERS = 144  # … counters of filters, in the order of their kinds (`terraster.filters.contract.cells`)
    CELLS = 224

    GAUGES = (QUEUED, QUEUE_HEAD)


class SeatBucket:
    """Cells of one set of buckets in one seat: `WAYS` keys side by side, then an origin for each, then what each has spent. Writer: the
    process in the seat. They are kept when the seat is retired; `terraster.state.buckets` has the rules."""

    KEY = 0  # … WAYS cells: a number of 64 bits that names policy and client; 0: unused
    ORIGIN = 8  # … WAYS cells: time.monotonic_ns() + ZERO of the first request that is in SPENT; 0: there was none
    SPENT = 16  # … WAYS cells: nanoseconds that the requests of this seat have spent since
    CELLS = 24

    WAYS = 8
    SETS = 8192  # at most; fewer where the table has to be small
    ZERO = 1 << 62


class SeatClient:
    """Cells of one set of clients in one seat: `WAYS` keys side by side, then the number of requests that each has under way. Writer: the
    process in the seat. They are zeroed when the seat is retired; `terraster.state.clients` has the rules."""

    KEY = 0  # … WAYS cells: a number of 64 bits that names policy and client; 0: unused
    ACTIVE = 8  # … WAYS cells (a gauge); 0: the way is free, whatever its key
    CELLS = 16

    WAYS = 8
    SETS = 4096  # at most; fewer where the table has to be small


HANDSHAKE_FAILURES: tuple[str, ...] = (
    "unrecognized_name",
    "no_application_protocol",
    "version",
    "no_common_parameters",
    "certificate",
    "client_refused",
    "plain_http",
    "protocol",
    "timeout",
    "client_gone",
    "overload",
)
"""The kinds of TLS handshakes that failed, in the order of their cells."""


ALPN: tuple[str, ...] = ("none", "h2", "http/1.1", "other")
"""The protocols that clients and Terraster agree on by ALPN, in the order of their cells."""


class SeatListener:
    """Cells of a TLS listener in one seat. Its slot is one of a location, leased under the listener's address. Writer: the process in the
    seat."""

    OK = 0  # … 16 cells, four for each of `ALPN`: TLS 1.2, resumed; TLS 1.3, resumed
    FAILED = 16  # … len(HANDSHAKE_FAILURES) cells

    VERSIONS = ("TLSv1.2", "TLSv1.3")

    @staticmethod
    def ok(version: str, resumed: bool, alpn: str) -> int:
        """The cell that counts a handshake which succeeded. alpn: one of `ALPN`"""
        return SeatListener.OK + 4 * ALPN.index(alpn) + 2 * SeatListener.VERSIONS.index(version) + resumed


class SeatPlugin:
    """Cells of a plugin in one seat. Its slot is one of a location, leased under the plugin's name. Writer: the process in the seat."""

    CALLS = 0  # calls of hooks
    NANOSECONDS = 1  # that they took
    ANSWERS = 2  # requests and responses that the plugin answered itself
    EXCEPTIONS = 3  # calls that raised, or returned what cannot be used
    TIMEOUTS = 4  # calls that took too long
    SKIPPED = 5  # calls that were not made, because the plugin was in quarantine or could not be set up
    QUARANTINES = 6  # how often it was put into quarantine
    OWN = 16  # … MOST_OWN cells: counters of its own
    QUARANTINED = SeatLocation.QUEUED  # 1: it is in quarantine, or could not be set up (a gauge)
    NOT_SET_UP = SeatLocation.QUEUE_HEAD  # 1: its newest version could not be loaded or set up (a gauge)

    MOST_OWN = 32


assert len(STATUS_LABELS) <= SeatLocation.BYTES_IN
assert SeatPlugin.OWN + SeatPlugin.MOST_OWN <= SeatLocation.BYTES_IN
assert Seat.WAITING_HOOKS == Seat.HOOK + 1  # the guard of plugins has them as one
assert Seat.OLD + Seat.MOST_OLD <= Seat.HTTP2_FAULTS and Seat.HTTP2_FAULTS + len(HTTP2_FAULTS) <= Seat.CELLS
assert Seat.HTTP2_FAULTS + 16 <= Seat.LAG_TIME and Seat.LAG_BUCKET + len(WAITS) + 1 <= Seat.LAG_LONGEST
assert SeatListener.FAILED + len(HANDSHAKE_FAILURES) <= SeatLocation.BYTES_IN  # no gauge, and no bucket, of a location
assert SeatLocation.BUCKET + len(BUCKETS) + 1 <= SeatLocation.QUEUED
assert (
    SeatLocation.GRPC + len(STATUSES) <= SeatLocation.QUEUE_TIME
    and SeatLocation.QUEUE_BUCKET + len(WAITS) + 1 <= SeatLocation.FILTERS
)
assert SeatBackend.BUCKET + len(BUCKETS) + 1 <= SeatBackend.CONNECT_TIME
assert SeatBackend.CONNECT_BUCKET + len(WAITS) + 1 == SeatBackend.TIMES[-1] + 1 <= SeatBackend.CELLS


def fingerprint(counters: Sequence[str] = ()) -> int:
    """A number that changes with the meaning of any cell of this module: names, numbers, labels and bounds.

    counters: the names of the counters of filters, in the order of their cells
    """
    families = (
        Header,
        MasterCells,
        BackendCells,
        LocationCells,
        Seat,
        SeatBackend,
        SeatLocation,
        SeatListener,
        SeatPlugin,
        SeatBucket,
        SeatClient,
    )
    meaning = [
        (one.__name__, sorted((name, str(value)) for name, value in vars(one).items() if name.isupper())) for one in families
    ]
    labels = (STATUS_LABELS, RESPONSE_CLASSES, HTTP2_FAULTS, ALPN, HANDSHAKE_FAILURES, BUCKETS, WAITS, STATUSES)
    words = (VERSION, MASTERS, meaning, *labels, *counters)
    return zlib.crc32(repr(words).encode())
