"""Readings of plugins, from their slots in the shared table: for the status, metrics and `terrasterctl plugins`."""

from __future__ import annotations

from typing import Any

from ..config.snapshot import Plugin, Service, Snapshot
from ..state.cells import LocationCells, SeatPlugin
from ..state.table import Table

__all__ = ["rows"]


def rows(table: Table, snapshot: Snapshot) -> list[dict[str, Any]]:
    """A row for each plugin in use, in order of their names. Counters are of all workers since the plugin is in use."""
    used = _services(snapshot) if snapshot.plugins else {}
    return [_row(table, plugin, used.get(plugin.name, [])) for plugin in snapshot.plugins if plugin.slot >= 0]


def _row(table: Table, plugin: Plugin, services: list[str]) -> dict[str, Any]:
    cells = table.location_row(plugin.slot)
    calls = cells[SeatPlugin.CALLS]
    quarantined = cells[SeatPlugin.QUARANTINED]
    return {
        "name": plugin.name,
        "state": "quarantined" if quarantined else "kept" if plugin.kept else "active",
        "origin": plugin.origin,
        "file": plugin.file,
        "version": plugin.digest[:12] if plugin.origin == "file" else plugin.digest.partition(" ")[2],
        "problem": plugin.kept,
        "hooks": list(plugin.hooks),
        "priority": plugin.priority,
        "services": services,
        "calls": calls,
        "seconds": cells[SeatPlugin.NANOSECONDS] / 1e9,
        "mean_seconds": cells[SeatPlugin.NANOSECONDS] / 1e9 / calls if calls else None,
        "answers": cells[SeatPlugin.ANSWERS],
        "exceptions": cells[SeatPlugin.EXCEPTIONS],
        "timeouts": cells[SeatPlugin.TIMEOUTS],
        "skipped": cells[SeatPlugin.SKIPPED],
        "quarantines": cells[SeatPlugin.QUARANTINES],
        "quarantined_workers": quarantined,
        "deaths": table.q[table.location(plugin.slot) + LocationCells.DEATHS],
        "counters": {name: cells[SeatPlugin.OWN + number] for number, (name, _) in enumerate(plugin.counters)},
    }


def _services(snapshot: Snapshot) -> dict[str, list[str]]:
    """The services that use each plugin."""
    found: dict[str, list[str]] = {}
    for service in snapshot.services:
        for name in sorted(_names(service)):
            found.setdefault(name, []).append(service.name)
    return found


def _names(service: Service) -> set[str]:
    filters = [service.filters, *[one.filters for one in service.locations if one.filters is not service.filters]]
    return {settings.entry for some in filters for kind, settings in some if kind == "plugin"}
