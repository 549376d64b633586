"""The series of a configuration: which labels each has, and which slots of the shared table its values come from.

They are made once for each snapshot, at its first scrape. The octets of its labels are kept of each series, and its slots.

A slot may get another owner while a slow scraper reads. Each block therefore remembers the leases of its slots, and tells which of its series
still are what they were (`Block.living`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..config.snapshot import Backend, Departed, Location, Service, Snapshot
from ..state.cells import BackendCells, SeatBackend
from ..state.table import Table
from .columns import BackendRows, LocationRows, Rows, Run, numbers, packed

__all__ = ["Block", "Series", "label"]

ROWS = 512
"""Series of a block: as many as are read in a fraction of a millisecond."""

_GAP = 8  # slots of no series that are read along, because that costs less than another run

_SEAT_COUNTER = {cell: at for at, cell in enumerate(SeatBackend.COUNTERS)}  # where each is in `Departed.sums`
_OWN_COUNTER = {cell: at for at, cell in enumerate(BackendCells.COUNTERS, len(_SEAT_COUNTER))}

_BEST = [BackendCells.BEST.index(state) for state in BackendCells.STATES]


def _best(states: Iterable[int]) -> int:
    return min(states, key=_BEST.__getitem__)


_FOLDS: dict[int, Callable[[list[int]], int]] = {
    BackendCells.STATE: _best,
    BackendCells.SINCE: max,
    BackendCells.CIRCUIT: max,
}
"""How cells of a master for several endpoints become one; the others are added up."""


@dataclass(frozen=True, slots=True)
class Group:
    """A series of several endpoints: the addresses of one name.

    now:  where its endpoints are among the slots of its block
    ever: the same, with those that DNS no longer returns; they count for counters
    sums: `Departed.sums`
    """

    now: tuple[int, ...]
    ever: tuple[int, ...]
    sums: Sequence[int]


class Block:
    """Up to `ROWS` series that are read together.

    labels: of each series, as `label` makes them
    names:  the configured name of each series' backend
    chosen: True for each series of a location that has backends
    """

    __slots__ = ("labels", "names", "chosen", "_rows", "_runs", "_kept", "_groups", "_leases", "_slots")

    def __init__(self, rows: Rows, labels: list[bytes], slots: Sequence[int], *, leased: bool = True) -> None:
        """slots: of each series, ascending"""
        self.labels = labels
        self.names: list[str] = []
        self.chosen: list[bool] = []
        self._rows = rows
        self._slots = slots
        self._runs, self._kept = _runs(slots)
        self._groups: list[Group] = []
        self._leases = rows.leases(self._runs) if leased else -1

    def together(self, members: Iterable[tuple[Sequence[int], Departed]]) -> None:
        """Make this block one of groups. members: for each series the slots of its endpoints, and those that departed"""
        at = {slot: number for number, slot in enumerate(self._slots)}
        for now, departed in members:
            here = tuple(at[slot] for slot in now)
            self._groups.append(Group(here, (*here, *(at[slot] for _name, slot in departed.slots)), departed.sums))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def _plain(self) -> bool:
        """True if a column of the slots that are read is one of the series."""
        return self._kept is None and not self._groups

    def sums(self, cells: Sequence[int]) -> list[int]:
        """The column of each of these cells of the seats, with one number for each series."""
        columns = self._rows.sums(self._runs, cells)
        if self._plain:
            return columns
        found = []
        for cell, column in zip(cells, columns, strict=True):
            values = self._of_slots(column)
            counter = _SEAT_COUNTER.get(cell)
            found.append(packed(self._added(values, counter) if self._groups else values))
        return found

    def owned(self, cell: int) -> int:
        """The column of a cell of the master, with one number for each series."""
        column = self._rows.owned(self._runs, cell)
        if self._plain:
            return column
        values = self._of_slots(column)
        if self._groups:
            counter, fold = _OWN_COUNTER.get(cell), _FOLDS.get(cell, sum)
            if counter is None:
                values = [fold([values[at] for at in group.now]) for group in self._groups]
            else:
                values = self._added(values, counter)
        return packed(values)

    def _added(self, values: list[int], counter: int | None) -> list[int]:
        """counter: where it is in `Departed.sums`, None if it is a gauge"""
        if counter is None:
            return [sum([values[at] for at in group.now]) for group in self._groups]
        return [sum([values[at] for at in group.ever], group.sums[counter] if group.sums else 0) for group in self._groups]

    def _of_slots(self, column: int) -> list[int]:
        """One number for each of the block's slots, without those that were only read along."""
        values = numbers(column, sum(count for _first, count in self._runs))
        return values if self._kept is None else [values[at] for at in self._kept]

    def living(self) -> list[bool] | None:
        """True for each series whose slots have the same owners as when the block was made; None: all have."""
        if self._leases < 0:
            return None
        now = self._rows.leases(self._runs)
        if now == self._leases:
            return None
        count = sum(count for _first, count in self._runs)
        same = [one == other for one, other in zip(numbers(now, count), numbers(self._leases, count), strict=True)]
        if self._kept is not None:
            same = [same[at] for at in self._kept]
        return [all(same[at] for at in group.now) for group in self._groups] if self._groups else same

    def used(self) -> list[bool]:
        """True for each series of which anything was counted; only for blocks without groups."""
        return self._rows.used(self._slots)


def _runs(slots: Sequence[int]) -> tuple[list[Run], list[int] | None]:
    """The runs that cover these slots, and where the slots are among those of the runs; None: they are all of them."""
    runs: list[Run] = []
    kept, covered = [], 0
    for slot in slots:
        if runs and slot - sum(runs[-1]) <= _GAP:
            first, count = runs[-1]
            covered += slot - first + 1 - count
            runs[-1] = first, slot - first + 1
        else:
            runs.append((slot, 1))
            covered += 1
        kept.append(covered - 1)
    return runs, kept if covered > len(slots) else None


class Series:
    """The blocks of one snapshot."""

    __slots__ = ("snapshot", "locations", "backends")

    def __init__(self, table: Table, snapshot: Snapshot, pause: Callable[[], object]) -> None:
        """pause: called after every block"""
        self.snapshot = snapshot
        places: list[tuple[int, bytes, bool]] = []
        single: list[tuple[int, bytes, str]] = []
        several: list[tuple[bytes, str, list[int], Departed]] = []
        for number, service in enumerate(snapshot.services):
            for location in service.locations:
                where = _where(service, location)
                if location.slot >= 0:
                    places.append((location.slot, where, bool(location.backends)))
                for backend, slots, departed in _by_url(location):
                    labels = b"%b,%b" % (label("backend", backend.url), where)
                    if len(slots) == 1 and departed is None:
                        single.append((slots[0], labels, backend.name))
                    else:
                        several.append((labels, backend.name, slots, departed or Departed(backend.url)))
            if number % ROWS == 0:
                pause()
        self.locations = [*_location_blocks(LocationRows(table), places, pause), _unrouted(table)]
        self.backends = list(_backend_blocks(BackendRows(table), single, several, pause))


def _where(service: Service, location: Location) -> bytes:
    return b"%b,%b" % (label("location", location.place), label("service", service.name))


def label(name: str, value: str) -> bytes:
    """A label, as it is in a template of the text: escaped, and each % twice."""
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"').replace("%", "%%")
    return f'{name}="{escaped}"'.encode()


def _by_url(location: Location) -> Iterator[tuple[Backend, list[int], Departed | None]]:
    """Each URL of a location: its first endpoint, the slots of all its endpoints, and those that departed."""
    found: dict[str, tuple[Backend, list[int]]] = {}
    for backend in location.backends:
        if backend.slot >= 0:
            found.setdefault(backend.url, (backend, []))[1].append(backend.slot)
    departed = {one.url: one for one in location.departed}
    for url, (backend, slots) in found.items():
        yield backend, slots, departed.get(url)


def _location_blocks(rows: LocationRows, places: list[tuple[int, bytes, bool]], pause: Callable[[], object]) -> Iterator[Block]:
    places.sort()
    for start in range(0, len(places), ROWS):
        part = places[start : start + ROWS]
        block = Block(rows, [labels for _slot, labels, _proxied in part], [slot for slot, _labels, _proxied in part])
        block.chosen = [proxied for _slot, _labels, proxied in part]
        yield block
        pause()


def _unrouted(table: Table) -> Block:
    """The requests that matched no location, as a location "" of a service ""."""
    block = Block(LocationRows(table), [_where(Service("", (), (), ()), Location("", ""))], [table.unrouted], leased=False)
    block.chosen = [False]
    return block


def _backend_blocks(
    rows: BackendRows,
    single: list[tuple[int, bytes, str]],
    several: list[tuple[bytes, str, list[int], Departed]],
    pause: Callable[[], object],
) -> Iterator[Block]:
    single.sort()
    for start in range(0, len(single), ROWS):
        part = single[start : start + ROWS]
        block = Block(rows, [labels for _slot, labels, _name in part], [slot for slot, _labels, _name in part])
        block.names = [name for _slot, _labels, name in part]
        yield block
        pause()
    for start in range(0, len(several), ROWS // 4):
        some = several[start : start + ROWS // 4]
        slots = {slot for _labels, _name, now, gone in some for slot in (*now, *(at for _id, at in gone.slots))}
        block = Block(rows, [labels for labels, _name, _now, _gone in some], sorted(slots))
        block.names = [name for _labels, name, _now, _gone in some]
        block.together((now, gone) for _labels, _name, now, gone in some)
        yield block
        pause()
