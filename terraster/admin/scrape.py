"""The large families of a scrape: those with a sample for each location or backend, as text, in pieces.

A family is read block by block (`terraster.admin.series`) and written with one template for some hundred lines. So 10,000 services with two
backends each, 1.5 million lines, take well under a second; with an object for each sample they took twelve. One
piece is in memory at a time, of some hundred KiB at most. bench/scrape.py measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress
from typing import Any

from ..filters.contract import Counted
from ..state.cells import (
    BUCKETS,
    RESPONSE_CLASSES,
    STATUS_LABELS,
    WAITS,
    BackendCells,
    LocationCells,
    SeatBackend,
    SeatLocation,
)
from ..wire.grpc import STATUSES
from .columns import numbers
from .series import Block, Series, label

__all__ = ["OF_BACKEND", "OF_LOCATION", "OF_MASTER", "Scrape"]

LINES = 1024
"""Lines of a piece: 110 KiB in most families. The C library gives larger pieces to the kernel each time, and they take twice as long."""

_BOUNDS = (*(repr(bound) for bound in BUCKETS), "+Inf")
_BOUNDS_OF_WAITS = (*(repr(bound) for bound in WAITS), "+Inf")

_RARE = ("1xx", "other")  # classes of responses without a sample while nothing was counted: most backends never send one

OF_BACKEND = {
    "terraster_backend_active_requests": SeatBackend.ACTIVE,
    "terraster_backend_idle_connections": SeatBackend.IDLE,
    "terraster_backend_open_connections": SeatBackend.OPEN,
    "terraster_backend_requests_total": SeatBackend.REQUESTS,
    "terraster_backend_failures_total": SeatBackend.FAILURES,
    "terraster_backend_connect_errors_total": SeatBackend.CONNECT_ERRORS,
    "terraster_backend_bad_statuses_total": SeatBackend.BAD_STATUSES,
    "terraster_backend_retries_total": SeatBackend.RETRIES,
    "terraster_backend_connections_opened_total": SeatBackend.CONNECTS,
}
"""Metrics of backends that are the sum of a cell over the seats."""

OF_MASTER = {
    "terraster_backend_weight": BackendCells.WEIGHT,
    "terraster_backend_ejections_total": BackendCells.EJECTIONS,
    "terraster_backend_circuit_state": BackendCells.CIRCUIT,
    "terraster_backend_circuit_openings_total": BackendCells.OPENINGS,
    "terraster_backend_probes_total": BackendCells.PROBES,
    "terraster_backend_probe_failures_total": BackendCells.PROBE_FAILURES,
}
"""Metrics of backends that are a cell of the master."""

OF_LOCATION = {
    "terraster_location_queue_depth": SeatLocation.QUEUED,
    "terraster_location_queue_refused_total": SeatLocation.QUEUE_REFUSED,
    "terraster_location_queue_timeouts_total": SeatLocation.QUEUE_TIMEOUTS,
    "terraster_location_retries_total": SeatLocation.RETRIES,
    "terraster_location_hedges_total": SeatLocation.HEDGES,
    "terraster_location_retry_budget_refusals_total": SeatLocation.BUDGET_REFUSALS,
    "terraster_location_slow_clients_total": SeatLocation.SLOW_CLIENTS,
}
"""Metrics of locations with backends that are the sum of a cell over the seats."""

Pieces = Iterator[bytes]


class Scrape:
    """One scrape. Its families are read when they are written.

    pause: called after every piece
    """

    __slots__ = ("_series", "_counted", "_pause", "_used", "_filters")

    def __init__(self, series: Series, counted: Sequence[Counted], pause: Callable[[], object]) -> None:
        self._series = series
        self._counted = counted
        self._pause = pause
        self._used: dict[Block, list[bool]] = {}
        self._filters: dict[Block, dict[int, int]] = {}

    def families(self) -> dict[str, Pieces]:
        """The samples of each metric, by its name."""
        found = {
            "terraster_requests_total": self._each(
                SeatLocation.STATUS, [(b'terraster_requests_total{code="%b",' % word.encode(), b"} %d") for word in STATUS_LABELS]
            ),
            "terraster_grpc_responses_total": self._each(
                SeatLocation.GRPC, [(b"terraster_grpc_responses_total{", b',status="%b"} %%d' % word.encode()) for word in STATUSES]
            ),
            "terraster_bytes_total": self._bytes(),
            "terraster_location_panic": self._panic(),
            "terraster_backend_up": self._up(),
            "terraster_backend_state": self._states(),
            "terraster_backend_state_change_timestamp_seconds": self._since(),
            "terraster_backend_info": self._info(),
            "terraster_backend_responses_total": self._responses(),
        }
        locations, backends = self._series.locations, self._series.backends
        for name, blocks, bounds, bucket, total in (
            ("terraster_request_duration_seconds", locations, _BOUNDS, SeatLocation.BUCKET, SeatLocation.DURATION),
            ("terraster_location_queue_seconds", locations, _BOUNDS_OF_WAITS, SeatLocation.QUEUE_BUCKET, SeatLocation.QUEUE_TIME),
            ("terraster_backend_response_seconds", backends, _BOUNDS, SeatBackend.BUCKET, SeatBackend.LATENCY),
            (
                "terraster_backend_connect_seconds",
                backends,
                _BOUNDS_OF_WAITS,
                SeatBackend.CONNECT_BUCKET,
                SeatBackend.CONNECT_TIME,
            ),
        ):
            found[name] = self._histogram(name, blocks, bounds, bucket, total)
        for name, cell in OF_LOCATION.items():
            found[name] = self._of_location(name, cell)
        for name, cell in OF_BACKEND.items():
            found[name] = self._of_backend(name, cell)
        for name, cell in OF_MASTER.items():
            found[name] = self._of_master(name, cell)
        for one in self._counted:
            found[one.metric] = self._of_filter(one)
        return found

    # Locations

    def _each(self, first: int, lines: Sequence[tuple[bytes, bytes]]) -> Pieces:
        """A counter with a label of many values, each of which has a cell. A value of which nothing was counted has no sample.

        lines: for each value what comes before and after the other labels of a line"""
        cells = range(first, first + len(lines))
        for block in self._series.locations:
            columns = block.sums(cells)
            living = block.living()
            for (head, tail), column in zip(lines, columns, strict=True):
                if column:
                    values = numbers(column, len(block))
                    yield from self._lines(head, tail, *_chosen(_both(values, living), block.labels, values))

    def _bytes(self) -> Pieces:
        for block in self._series.locations:
            columns = block.sums((SeatLocation.BYTES_IN, SeatLocation.BYTES_OUT))
            living = _both(self._in_use(block), block.living())
            for direction, column in zip((b"in", b"out"), columns, strict=True):
                labels, values = _chosen(living, block.labels, numbers(column, len(block)))
                yield from self._lines(b'terraster_bytes_total{direction="%b",' % direction, b"} %d", labels, values)

    def _of_location(self, name: str, cell: int) -> Pieces:
        head = b"%b{" % name.encode()
        for block in self._series.locations:
            (column,) = block.sums((cell,))
            living = _both(_both(self._in_use(block), block.chosen), block.living())
            yield from self._lines(head, b"} %d", *_chosen(living, block.labels, numbers(column, len(block))))

    def _panic(self) -> Pieces:
        for block in self._series.locations:
            if any(block.chosen):
                column = block.owned(LocationCells.PANIC)
                living = _both(block.chosen, block.living())
                labels, values = _chosen(living, block.labels, numbers(column, len(block)))
                yield from self._lines(b"terraster_location_panic{", b"} %d", labels, [value != 0 for value in values])

    def _of_filter(self, one: Counted) -> Pieces:
        """Only where it has counted: most locations have none of most kinds."""
        head = b"%b{" % one.metric.encode()
        for block in self._series.locations:
            if block not in self._filters:
                cells = [counter.cell for counter in self._counted]
                columns = zip(cells, block.sums(cells), strict=True)
                self._filters[block] = {cell: column for cell, column in columns if column}
            if column := self._filters[block].get(one.cell, 0):
                values = numbers(column, len(block))
                labels, values = _chosen(_both(values, block.living()), block.labels, values)
                if one.counter.per == 1:
                    yield from self._lines(head, b"} %d", labels, values)
                else:
                    yield from self._lines(head, b"} %a", labels, [one.counter.shown(value) for value in values])

    def _in_use(self, block: Block) -> list[bool]:
        """True for each location of which anything was counted."""
        if block not in self._used:
            self._used[block] = block.used()
        return self._used[block]

    # Backends

    def _of_backend(self, name: str, cell: int) -> Pieces:
        head = b"%b{" % name.encode()
        for block in self._series.backends:
            (column,) = block.sums((cell,))
            yield from self._lines(head, b"} %d", *_chosen(block.living(), block.labels, numbers(column, len(block))))

    def _of_master(self, name: str, cell: int) -> Pieces:
        head = b"%b{" % name.encode()
        for block in self._series.backends:
            column = block.owned(cell)
            yield from self._lines(head, b"} %d", *_chosen(block.living(), block.labels, numbers(column, len(block))))

    def _up(self) -> Pieces:
        for block in self._series.backends:
            labels, states = self._state(block)
            yield from self._lines(b"terraster_backend_up{", b"} %d", labels, [state == BackendCells.UP for state in states])

    def _states(self) -> Pieces:
        rows = []
        for state in range(len(BackendCells.STATES)):
            tails = [b',state="%b"} %d' % (word.encode(), at == state) for at, word in enumerate(BackendCells.STATES)]
            rows.append(_row([b"terraster_backend_state{"] * len(tails), tails))
        step = LINES // len(rows)
        for block in self._series.backends:
            labels, states = self._state(block)
            for at in range(0, len(labels), step):
                pairs = zip(labels[at : at + step], states[at : at + step], strict=True)
                yield b"".join([one.join(rows[state]) for one, state in pairs]) % ()
                self._pause()

    @staticmethod
    def _state(block: Block) -> tuple[Sequence[bytes], Sequence[int]]:
        column = block.owned(BackendCells.STATE)
        labels, states = _chosen(block.living(), block.labels, numbers(column, len(block)))
        return labels, states

    def _since(self) -> Pieces:
        head = b"terraster_backend_state_change_timestamp_seconds{"
        for block in self._series.backends:
            column = block.owned(BackendCells.SINCE)
            labels, values = _chosen(block.living(), block.labels, numbers(column, len(block)))
            yield from self._lines(head, b"} %a", labels, [value / 1e9 for value in values])

    def _info(self) -> Pieces:
        for block in self._series.backends:
            named = [name != "" for name in block.names]
            if any(named):
                labels, names = _chosen(_both(named, block.living()), block.labels, block.names)
                full = [_named(*pair) for pair in zip(labels, names, strict=True)]
                yield from self._lines(b"terraster_backend_info{", b"} %d", full, [1] * len(full))

    def _responses(self) -> Pieces:
        """A backend has these series from its first attempt on."""
        for block in self._series.backends:
            tried, *columns = block.sums((SeatBackend.REQUESTS, *SeatBackend.CLASSES))
            living = _both(numbers(tried, len(block)), block.living())
            for word, column in zip(RESPONSE_CLASSES, columns, strict=True):
                if word not in _RARE:
                    having, values = living, numbers(column, len(block))
                elif column:
                    values = numbers(column, len(block))
                    having = _both(living, values)
                else:
                    continue
                head = b'terraster_backend_responses_total{code="%b",' % word.encode()
                yield from self._lines(head, b"} %d", *_chosen(having, block.labels, values))

    # Both

    def _histogram(self, name: str, blocks: Iterable[Block], bounds: Sequence[str], bucket: int, total: int) -> Pieces:
        """A series of which nothing was counted has no samples."""
        family = name.encode()
        heads = [
            *(b'%b_bucket{le="%b",' % (family, bound.encode()) for bound in bounds),
            b"%b_count{" % family,
            b"%b_sum{" % family,
        ]
        row = _row(heads, [*([b"} %d"] * len(bounds)), b"} %d", b"} %a"])
        cells = (*range(bucket, bucket + len(bounds)), total)
        step = LINES // len(heads)
        for block in blocks:
            *counts, seconds = block.sums(cells)
            columns = [numbers(column, len(block)) for column in accumulate(counts)]
            having = _both(columns[-1], block.living())
            times = [value / 1e9 for value in numbers(seconds, len(block))]
            labels, *values = _chosen(having, block.labels, *columns, columns[-1], times)
            for at in range(0, len(labels), step):
                template = b"".join([one.join(row) for one in labels[at : at + step]])
                part = [column[at : at + step] for column in values]
                yield template % tuple(chain.from_iterable(zip(*part, strict=True)))
                self._pause()

    def _lines(self, head: bytes, tail: bytes, labels: Sequence[bytes], values: Sequence[float]) -> Pieces:
        """One line for each series. tail: what comes between its labels and the value, and the format of the value"""
        for at in range(0, len(labels), LINES):
            between = b"%b\n%b" % (tail, head)
            template = b"%b%b%b\n" % (head, between.join(labels[at : at + LINES]), tail)
            yield template % tuple(values[at : at + LINES])
        self._pause()


def _row(heads: Sequence[bytes], tails: Sequence[bytes]) -> list[bytes]:
    """The octets between the labels, in the template of one series with several lines: labels.join(…) makes it."""
    ends = [b"%b\n" % tail for tail in tails]
    return [heads[0], *(b"%b%b" % pair for pair in zip(ends, heads[1:], strict=False)), ends[-1]]


def _named(labels: bytes, name: str) -> bytes:
    """Labels with that of a name. All labels of a line are sorted, except those of the family, which come first."""
    before, service, after = labels.rpartition(b',service="')
    return b"%b,%b%b%b" % (before, label("name", name), service, after)


def _both(flags: Sequence[object], others: Sequence[object] | None) -> list[bool]:
    """True where both are true. None: all are."""
    if others is None:
        return [bool(flag) for flag in flags]
    return [bool(flag and other) for flag, other in zip(flags, others, strict=True)]


def _chosen(flags: Sequence[bool] | None, labels: Sequence[bytes], *columns: Sequence[Any]) -> Any:
    """The labels and the columns of the series whose flag is true. None: all are."""
    if flags is None or all(flags):
        return labels, *columns
    return [list(compress(one, flags)) for one in (labels, *columns)]
