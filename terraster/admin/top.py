"""The places with most to do now: requests per second, errors and quantiles of locations and backends, between two readings of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..config.snapshot import Snapshot
from ..policy.minutes import quantile
from ..state.cells import BUCKETS, STATUS_LABELS
from ..state.table import Table
from . import readings

__all__ = ["SORTS", "Counts", "busiest", "sample"]

SORTS = ("requests", "errors", "p50", "p95", "p99", "active", "open")
"""The columns that rows can be sorted by."""

_ERRORS = tuple(at for at, label in enumerate(STATUS_LABELS) if label.startswith("5"))
_COLUMNS = {"requests": "requests_per_second", "errors": "errors_per_second"}


class Counts(NamedTuple):
    """Counts since the start. times: requests in each bucket of `BUCKETS` and beyond, () if nothing was counted; active, open: now"""

    requests: int
    errors: int
    times: Sequence[int]
    active: int = 0
    open: int = 0


def sample(table: Table, snapshot: Snapshot, pause: Callable[[], object] | None = None) -> dict[str, Counts]:
    """The counts of all locations and backends by id. Errors of a location are its 5xx, of a backend also attempts without a response."""
    found = {
        row.location.id: Counts(row.requests, sum([row.cells[at] for at in _ERRORS]), tuple(row.buckets))
        for row in readings.locations(table, snapshot, pause)
    }
    for one in readings.backends(table, snapshot, pause):
        counts = Counts(one.requests, one.status_5xx + one.no_response, tuple(one.response_buckets), one.active, one.open)
        found[one.backend.id] = counts
        whole = found.get(one.location.id)
        if whole is not None:
            found[one.location.id] = whole._replace(active=whole.active + one.active, open=whole.open + one.open)
    return found


def busiest(
    snapshot: Snapshot, before: Mapping[str, Counts], after: Mapping[str, Counts], seconds: float, sort: str, limit: int
) -> dict[str, Any]:
    """``seconds total rows more`` of the locations with the most of ``sort``, each followed by its backends; at most ``limit`` rows, and
    ``more``: those that are left out. Rows: ``service_name path url`` (None: the location) ``requests_per_second errors_per_second p50 p95
    p99`` (seconds; None: no requests) ``active open``."""
    grown = {name: _grown(before.get(name), counts, seconds) for name, counts in after.items()}
    column = _COLUMNS.get(sort, sort)
    places = [(service, one) for service in snapshot.services for one in service.locations if one.id in grown]
    places.sort(key=lambda place: (-(grown[place[1].id][column] or 0), place[1].id))
    rows: list[dict[str, Any]] = []
    count = 0
    for service, location in places:
        backends = [one for one in location.backends if one.id in grown]
        count += 1 + len(backends)
        if len(rows) >= limit:
            continue
        known = {"service_name": service.name, "path": location.place}
        rows.append({**known, "url": None, **grown[location.id]})
        backends.sort(key=lambda one: (-(grown[one.id][column] or 0), one.id))
        rows += [{**known, "url": one.url, **grown[one.id]} for one in backends]
    names = ("requests_per_second", "errors_per_second", "active", "open")
    total = {name: sum(grown[one.id][name] for _, one in places) for name in names}
    return {"seconds": seconds, "total": total, "rows": rows[:limit], "more": max(0, count - limit)}


def _grown(before: Counts | None, after: Counts, seconds: float) -> dict[str, Any]:
    """The row of what was counted between two readings; a place that is new counts from its begin."""
    old = before or Counts(0, 0, ())
    times = [now - was for now, was in zip(after.times, old.times or (0,) * len(after.times), strict=False)]
    counted = any(one > 0 for one in times)
    return {
        "requests_per_second": max(0, after.requests - old.requests) / seconds,
        "errors_per_second": max(0, after.errors - old.errors) / seconds,
        **{
            name: quantile(BUCKETS, times, share) if counted else None
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "active": after.active,
        "open": after.open,
    }
