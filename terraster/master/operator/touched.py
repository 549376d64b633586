"""The backends that a change would touch, and what they have to do now: for dry runs. Master only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gevent

from terraster.config.diff import Change
from terraster.config.snapshot import Backend, Location, Service, Snapshot
from terraster.state.cells import SeatBackend
from terraster.state.table import Table

__all__ = ["Place", "of_change", "touched"]

Place = tuple[str, str, Backend]
"""The name of a service, the place of a location there, and a backend of it."""

_SAMPLE = 1.0  # seconds over which requests are counted
_MOST = 1000  # backends of a reload that are looked at


def touched(table: Table, found: Sequence[Place]) -> list[dict[str, Any]]:
    """``service location url active open requests_per_second`` of each backend. Takes a second if there are some."""
    before = [table.backend_sum(backend.slot, SeatBackend.REQUESTS) for _, _, backend in found]
    if found:
        gevent.sleep(_SAMPLE)
    return [
        {
            "service": service,
            "location": location,
            "url": backend.url,
            "active": table.backend_sum(backend.slot, SeatBackend.ACTIVE),
            "open": table.backend_sum(backend.slot, SeatBackend.OPEN),
            "requests_per_second": max(0, table.backend_sum(backend.slot, SeatBackend.REQUESTS) - count) / _SAMPLE,
        }
        for (service, location, backend), count in zip(found, before, strict=True)
    ]


def of_change(running: Snapshot, change: Change) -> list[Place]:
    """The backends that run and that a change removes or changes, those of changed locations included; the first 1000."""
    after = {service.name: service for service in change.services}
    gone, changed = set(change.removed), set(change.changed)
    found: list[Place] = []
    for service in running.services:
        if service.name in gone:
            found += _all(service)
        elif service.name in changed:
            found += _differing(service, after[service.name])
        if len(found) >= _MOST:
            break
    return found[:_MOST]


def _all(service: Service) -> list[Place]:
    return [(service.name, location.place, backend) for location in service.locations for backend in location.backends]


def _differing(old: Service, new: Service) -> Iterator[Place]:
    """The backends of a service that changed: all of them, if a setting of the service itself did."""
    if replace(old, locations=()) != replace(new, locations=()):
        yield from _all(old)
        return
    after = {location.place: location for location in new.locations}
    for location in old.locations:
        other = after.get(location.place)
        kept = _kept(location, other) if other is not None else {}
        yield from ((old.name, location.place, one) for one in location.backends if kept.get(one.id) != one)


def _kept(old: Location, new: Location) -> dict[str, Backend]:
    """The backends of the new location by id; none if the location itself differs."""
    if replace(old, backends=(), departed=()) != replace(new, backends=(), departed=()):
        return {}
    return {one.id: one for one in new.backends}
