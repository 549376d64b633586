"""Plugins in which workers died: a hook that calls `os._exit`, or crashes the interpreter, ends its worker, and the next one too.

A worker notes which hook it is in (`terraster.plugins.marks`). The master reads that when the worker has died, and after `DEATHS` of them
within `WINDOW` no worker calls the plugin for `HOLD` seconds. After that one death suffices, and the time doubles. Another version of the
code, and another master, begin anew.
"""

from __future__ import annotations

import time
from typing import Any

from terraster.config.snapshot import Plugin, Snapshot
from terraster.plugins.marks import marked
from terraster.state.cells import LocationCells, Seat, SeatPlugin
from terraster.state.table import Table

from .participant import Participant, Proposal

__all__ = ["DEATHS", "HOLD", "PluginDeaths", "kept_versions"]

DEATHS = 3
WINDOW = 600.0
HOLD = 300.0

_DOUBLINGS = 4


class _Record:
    """The deaths of workers in one version of a plugin. times: of the last ones. holds: quarantines. until: the end of the last one"""

    __slots__ = ("holds", "plugin", "times", "until")

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.times: list[float] = []
        self.holds = 0
        self.until = 0.0


class PluginDeaths(Participant):
    """Reads what dead workers were in, and puts plugins into quarantine in all workers."""

    name = "plugin_deaths"

    def __init__(self, table: Table, log: Any) -> None:
        self._table = table
        self._log = log
        self._records: dict[str, _Record] = {}

    def commit(self, new: Proposal) -> None:
        before, self._records = self._records, {}
        for plugin in new.snapshot.plugins:
            record = before.get(plugin.name)
            if record is None or record.plugin.digest != plugin.digest or record.plugin.file != plugin.file:
                record = _Record(plugin)
                self._table.q[self._table.location(plugin.slot) + LocationCells.HELD] = 0
                if plugin.name not in before:
                    self._table.q[self._table.location(plugin.slot) + LocationCells.DEATHS] = 0
            record.plugin = plugin
            self._records[plugin.name] = record

    def died(self, seat: int, now: float) -> str:
        """A worker died that was not told to leave. Its seat has not been emptied. Returns the hook that it was in, as words for a log line,
        "" if it was in none. now: time.monotonic()"""
        slots = {record.plugin.slot: record for record in self._records.values()}
        places: dict[str, str] = {}
        for cell in _marks(self._table, seat):
            slot, place = marked(cell)
            if slot in slots:
                places.setdefault(slots[slot].plugin.name, place)
        for name in places:
            self._count(self._records[name], places[name], now)
        return ", or ".join(f"{place} of the plugin {name}" for name, place in places.items())

    def _count(self, record: _Record, place: str, now: float) -> None:
        plugin = record.plugin
        at = self._table.location(plugin.slot)
        self._table.q[at + LocationCells.DEATHS] += 1
        if now < record.until:
            return  # this worker had not heard of it
        record.times = [*(one for one in record.times if now - one < WINDOW), now]
        again = record.holds and now - record.until < WINDOW
        if not again:
            record.holds = 0
        if len(record.times) < DEATHS and not again:
            return
        seconds = HOLD * float(2 ** min(record.holds, _DOUBLINGS))
        many = len(record.times)
        record.until = now + seconds
        record.holds += 1
        record.times = []
        self._table.q[at + LocationCells.HELD] = int(record.until * 1e9)
        self._log.error(
            "plugin %s: in quarantine in all workers for %g s: %d worker%s died in it within %g s, the last one in %s",
            plugin.name,
            seconds,
            many,
            "s" * (many != 1),
            WINDOW,
            place,
        )


def _marks(table: Table, seat: int) -> list[int]:
    """The mark of the hook that ran; if none did, those of the hooks that waited, and one of which may just have gone on."""
    q, at = table.q, table.seat(seat)
    if q[at + Seat.HOOK]:
        return [q[at + Seat.HOOK]]
    waiting = at + Seat.WAITING_HOOKS
    return [cell for cell in q[waiting : waiting + Seat.MOST_WAITING_HOOKS].tolist() if cell]


def kept_versions(snapshot: Snapshot, table: Table) -> list[str]:
    """The plugins whose newest version is not what runs, and why, a line each. Called when the children have applied the snapshot."""
    found = []
    now = time.monotonic_ns()
    for plugin in snapshot.plugins:
        if plugin.kept:
            found.append(f"the plugin {plugin.name} keeps its old version: {plugin.kept}")
        elif table.q[table.location(plugin.slot) + LocationCells.HELD] > now:
            found.append(f"the plugin {plugin.name} is in quarantine in all workers, because workers died in it: {plugin.file}")
        elif many := (cells := table.location_row(plugin.slot))[SeatPlugin.NOT_SET_UP]:
            stays = "is not called" if cells[SeatPlugin.QUARANTINED] else "keeps its old version"
            workers = f"{many} worker{'s' * (many != 1)}"
            found.append(
                f"the plugin {plugin.name} {stays}: {workers} could not load it, or set it up; the log says why: {plugin.file}"
            )
    return found
