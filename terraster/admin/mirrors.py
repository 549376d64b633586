"""Mirrors for operators: what `terrasterctl mirror` shows of them, as plain JSON values.

Pure: readings of the shared table, the configuration and the answers of the workers go in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..config.called import served
from ..config.snapshot import Location, Snapshot
from ..filters.contract import Counted
from ..filters.mirror import Mirror, MirrorSettings
from .readings import LocationReading

__all__ = ["mirrors"]

_SECONDS = ("original_seconds", "copy_seconds")


def mirrors(
    snapshot: Snapshot,
    rows: Iterable[LocationReading],
    counted: Sequence[Counted],
    differences: Sequence[dict[str, Any]],
    service: str,
    now: float,
) -> dict[str, Any]:
    """``mirrors``: each location that has some, with ``entries``, ``counters`` and ``mean_seconds``. ``differences``: the newest ones first.

    service: of this one only, "": of all. differences: those of all workers (`terraster.phases.mirrors.Mirrors.differences`). now: seconds
    since 1970
    """
    cells = {one.counter.name: one.cell for one in counted if one.kind == Mirror.name}
    by_location = {row.location.id: row for row in rows}
    found = []
    for one in snapshot.services:
        if service not in ("", one.name):
            continue
        for location in served(one):
            if entries := _entries(location):
                counts = _counts(cells, by_location.get(location.id))
                found.append({"service": one.name, "location": location.label, "entries": entries, **counts})
    return {
        "ok": True,
        "now": now,
        "mirrors": found,
        "differences": sorted(differences, key=_when, reverse=True),
    }


def _entries(location: Location) -> list[dict[str, Any]]:
    return [
        {
            "name": settings.entry or None,
            "to": [url.text for url in settings.to or ()],
            "percent": settings.percent,
            "compare": list(settings.compare),
        }
        for _, settings in location.filters
        if isinstance(settings, MirrorSettings)
    ]


def _counts(cells: dict[str, int], row: LocationReading | None) -> dict[str, Any]:
    """``counters``: all but those of seconds. ``mean_seconds``: until compared answers began, None: nothing was compared."""
    counts = {name: row.cells[cell] if row is not None else 0 for name, cell in cells.items()}
    seconds = [counts.pop(name) / 1e9 for name in _SECONDS]
    many = counts["compared"]
    means = dict(zip(("original", "copy"), [one / many for one in seconds], strict=True)) if many else None
    return {"counters": counts, "mean_seconds": means}


def _when(difference: dict[str, Any]) -> float:
    when: float = difference["when"]
    return when
