"""The services that may have a problem, found by columns of the shared table.

Every few seconds the problems are compared with those of before (`terraster.admin.chronicle`). Rows of all services would take half a second
of CPU and 60 MiB with 10,000 of them, and nearly all of them are healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.snapshot import Service, Snapshot
from ..state.cells import BackendCells, LocationCells, SeatLocation
from ..state.table import Table
from .readings import backend_slots, location_slots, proxy_seats
from .recent import RecentCounts

__all__ = ["suspects"]


def suspects(table: Table, snapshot: Snapshot, recent: RecentCounts, master: Mapping[str, Any]) -> tuple[Service, ...]:
    """The services of which `terraster.admin.problems.problems` may say something, and perhaps others, in their order.

    recent: what backends answered lately. master: the master's answer to the question "status".
    """
    orders = master.get("orders", {})
    names = {*master.get("failing", ()), *orders.get("backends", ())}
    held = orders.get("services", {})
    backends = _backends(table) | {slot for slot, count in recent.by_slot.items() if count.errors}
    locations = _locations(table)
    if not (names or held or backends or locations):
        return ()
    return tuple(
        [
            service
            for service in snapshot.services
            if (held and service.name in held)
            or any(
                location.slot in locations
                or any(backend.slot in backends or (names and backend.id in names) for backend in location.backends)
                for location in service.locations
            )
        ]
    )


def _backends(table: Table) -> set[int]:
    """The slots of backends that are not up, or take no new work."""
    count = backend_slots(table)
    states, weights = (
        table.column(table.backend(0) + cell, count, BackendCells.CELLS) for cell in (BackendCells.STATE, BackendCells.WEIGHT)
    )
    found = enumerate(zip(states, weights, strict=True))
    return {slot for slot, (state, weight) in found if state != BackendCells.UP or not weight}


def _locations(table: Table) -> set[int]:
    """The slots of locations that panic, or where requests wait."""
    count = location_slots(table)
    columns = [table.column(table.location(0) + LocationCells.PANIC, count, LocationCells.CELLS)]
    columns += [
        table.column(table.seat_location(seat, 0) + SeatLocation.QUEUED, count, SeatLocation.CELLS) for seat in proxy_seats(table)
    ]
    return {slot for column in columns for slot, value in enumerate(column) if value}
