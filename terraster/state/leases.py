"""Leases: which backend or location owns which slot of the shared table.

Health and counters must survive a reload. They live in the table under stable ids, and an id keeps its slot. A backend that stays
keeps its health and counters. A backend that returns before its slot is leased to another one finds them again.

    leased ──dropped in generation G──▶ resting ──every living process runs G or later──▶ free ──▶ leased again, with a new serial

- A slot rests while any process may still write its cells for the old backend. The rest ends when every taken seat reports a current
  generation and an oldest generation in use of at least G. Requests in flight finish on the plan they began with, and count there.
- A new lease has a new serial number in the cell `BackendCells.LEASE` or `LocationCells.LEASE`. Each child has cells for the slot in its
  own seat. When the child receives a plan, it compares serials. If a serial changed, the child calls `Table.forget_backend` or
  `Table.forget_location`.

Only the master uses this module. After `assign` comes `commit` (the configuration is applied) or `undo` (it is not), never another
`assign`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Set
from dataclasses import replace

from terraster.config.snapshot import Backend, Departed, Listener, Location, Service, Snapshot
from terraster.errors import StartError

from .cells import MASTERS, BackendCells, LocationCells, MasterCells, Seat
from .known import Known
from .layout import size
from .table import Table

__all__ = ["BACKENDS", "LOCATIONS", "Leases", "capacities"]

BACKENDS, LOCATIONS = 65_536, 32_768
"""Slots of a table, unless the first configuration wants a quarter of them, or the address space is limited."""


def capacities(backends: int, locations: int, workers: int, room: int | None = None) -> tuple[int, int, int]:
    """The size of the table for a first configuration. It leaves room for whatever reloads may add, because unused room costs nothing but
    addresses.

    room: octets of address space that the table may take (a quarter of RLIMIT_AS, say), None: any number. Where it is scarce the table
          is smaller, down to twice what the first configuration needs.

    Returns (backends, locations, seats), the arguments of `Table`.
    """
    seats = 1 + MASTERS * max(64, 4 * workers)
    most = max(BACKENDS, 4 * backends), max(LOCATIONS, 4 * locations)
    least = max(512, 2 * backends), max(256, 2 * locations)
    while room is not None and most > least and size(*most, seats) > room:
        most = max(most[0] // 2, least[0]), max(most[1] // 2, least[1])
    return *most, seats


class _Book:
    """The owner of each slot, for one kind of slot. ``resting`` maps an id to (slot, first generation without that id)."""

    __slots__ = ("what", "capacity", "held", "resting", "free", "untouched", "fresh", "closed")

    def __init__(self, what: str, capacity: int) -> None:
        self.what = what
        self.capacity = capacity
        self.held: dict[str, int] = {}
        self.resting: dict[str, tuple[int, int]] = {}
        self.free: list[int] = []
        self.untouched = 0  # the first slot that was never leased
        self.closed = ""  # see `Leases.closed`
        self.fresh: dict[str, int] = {}  # leased since the last commit

    def slot(self, name: str) -> int | None:
        """The slot of an id, or None if the id never had one or has lost it."""
        if name in self.held:
            return self.held[name]
        if name in self.resting:
            return self.resting[name][0]
        return self.fresh.get(name)

    def take(self, name: str) -> int:
        if self.closed:
            raise StartError(f"{self.what} {name!r} cannot be added now: {self.closed}")
        if self.free:
            slot = self.free.pop()
        elif self.untouched < self.capacity:
            slot = self.untouched
            self.untouched += 1
        else:
            raise StartError(
                f"no room for {self.what} {name!r}: the shared table holds {self.capacity} {self.what}s, a size fixed when Terraster "
                f"started; every slot is taken or was until a moment ago; restart Terraster"
            )
        self.fresh[name] = slot
        return slot

    def reclaim(self, oldest: int, pinned: Set[str] = frozenset()) -> None:
        """Free the slots that no process can still use: every living process runs ``oldest`` or a later generation. Pinned ids keep
        theirs."""
        for name in [name for name, (_slot, dropped) in self.resting.items() if dropped <= oldest and name not in pinned]:
            self.free.append(self.resting.pop(name)[0])

    def commit(self, gone: set[str], come: set[str], generation: int) -> None:
        """``gone``: ids that are no longer configured. ``come``: ids that are configured now, old ones included."""
        for name in gone:
            self.resting[name] = (self.held.pop(name), generation)
        for name in come & self.resting.keys():
            self.held[name] = self.resting.pop(name)[0]
        self.held.update(self.fresh)
        self.fresh.clear()

    def undo(self) -> None:
        self.free.extend(self.fresh.values())
        self.fresh.clear()

    def release(self) -> list[int]:
        """Let adopted slots rest as others do, and free those that nobody knows. Returns the slots that are free now."""
        self.resting = {name: (slot, 0 if dropped == sys.maxsize else dropped) for name, (slot, dropped) in self.resting.items()}
        known = {*self.slots(), *self.free}
        found = [slot for slot in range(self.untouched) if slot not in known]
        self.free.extend(found)
        return found

    def slots(self) -> list[int]:
        return [*self.held.values(), *(slot for slot, _dropped in self.resting.values()), *self.fresh.values()]


class Leases:
    """The leases of one table. Only the master calls these methods."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._backends = _Book("backend", table.backends)
        self._locations = _Book("location", table.locations)
        self._serial = 0
        self._settled = 0  # every process runs this generation or a later one
        self._pinned: set[str] = set()  # ids of removed endpoints whose slots are still read
        self._folded: list[str] = []
        self.closed = ""  # why no slot can be leased that was not leased before, "" = they can
        self._before: Known = {}  # what was adopted, by location id
        self._kept: dict[str, tuple[Service, Service]] = {}  # name → (as configured, as leased), of the committed snapshot
        self._made: dict[str, tuple[Service, Service]] = {}
        self._listeners: set[str] = set()  # ids of TLS listeners and of plugins of the committed snapshot

    def assign(self, snapshot: Snapshot) -> Snapshot:
        """The same snapshot with a slot in every backend and location. Raises StartError if the table is full; then nothing is leased.

        A new lease shows in the table at once, because a plan is compiled before `commit`. It has a new serial, and every other cell
        is 0, which means down.
        """
        oldest = self._oldest()
        self._backends.closed = self._locations.closed = self.closed
        self._settled = oldest
        self._folded = []
        self._backends.reclaim(oldest, self._pinned)
        self._locations.reclaim(oldest)
        self._made = {}
        try:
            services = tuple(self._service(service) for service in snapshot.services)
            listeners = tuple(self._listener(listener) for listener in snapshot.listeners)
            plugins = tuple(replace(plugin, slot=self._location_slot(plugin.id)) for plugin in snapshot.plugins)
        except StartError:
            self.undo()
            raise
        self._before = {}
        q, master = self._table.q, self._table.master
        q[master + MasterCells.BACKENDS] = self._backends.untouched
        q[master + MasterCells.LOCATIONS] = self._locations.untouched
        return replace(snapshot, services=services, listeners=listeners, plugins=plugins)

    def adopt(self, known: Known) -> None:
        """Go on from the slots that other processes of the same table use. Called before the first `assign`. Their ids keep their slots, and
        so their counters; no other id gets one of these slots before `release`."""
        self._before = known
        for name, (slot, backends, departed) in known.items():
            self._locations.resting[name] = (slot, sys.maxsize)
            self._backends.resting.update({backend: (at, sys.maxsize) for backend, _url, at in backends})
            self._backends.resting.update({backend: (at, sys.maxsize) for _url, _sums, slots in departed for backend, at in slots})
        self._mark()

    def release(self) -> None:
        """The other processes of this table have ended: what was theirs alone is free again."""
        self._mark()
        self.closed = ""
        for book, forget in ((self._backends, self._table.forget_backend), (self._locations, self._table.forget_location)):
            for slot in book.release():
                forget(0, slot)

    def outlived(self) -> None:
        """Another master of this table has ended, and its workers may still count in slots that it leased. Nothing is leased that was not
        leased before, until `release`."""
        self._mark()
        shared = len(self._table.masters()) > 1
        self.closed = (
            "workers of another master, which has ended, still use the shared table; try again when they have left"
            if shared
            else ""
        )

    def _mark(self) -> None:
        """Lease no slot that another master of this table leased."""
        q, table = self._table.q, self._table
        for book, cell in ((self._backends, MasterCells.BACKENDS), (self._locations, MasterCells.LOCATIONS)):
            marks = [q[table.master_of(master) + cell] for master in table.masters()]
            book.untouched = max(book.untouched, *marks, *(slot + 1 for slot in book.slots()))

    def commit(self, snapshot: Snapshot) -> None:
        """Make the snapshot that `assign` returned the running one. Ids that it lacks go to rest.

        Only services that are new objects are looked into.
        """
        kept, made = self._kept, self._made
        old = _ids(leased for name, (_, leased) in kept.items() if name not in made or made[name][1] is not leased)
        new = _ids(leased for name, (_, leased) in made.items() if name not in kept or kept[name][1] is not leased)
        self._pinned -= _departed(leased for name, (_, leased) in kept.items() if name not in made or made[name][1] is not leased)
        self._pinned |= _departed(leased for name, (_, leased) in made.items() if name not in kept or kept[name][1] is not leased)
        for name in self._folded:  # its counts are in a sum now, so a backend that returns under this name starts at 0
            self._backends.resting[f"{name} (departed)"] = (self._backends.resting.pop(name)[0], snapshot.generation)
        listeners = {listener.id for listener in snapshot.listeners if listener.tls} | {plugin.id for plugin in snapshot.plugins}
        old[1].update(self._listeners)
        new[1].update(listeners)
        self._listeners = listeners
        for book, before, after in zip((self._backends, self._locations), old, new, strict=True):
            book.commit(before - after, after, snapshot.generation)
        self._kept, self._made = made, {}

    def undo(self) -> None:
        """Discard the snapshot of the last `assign`. No child has received it, so its new slots are free at once."""
        self._backends.undo()
        self._locations.undo()

    def backend_slots(self) -> list[int]:
        """Slots whose cells may be nonzero (for `Table.retire`)."""
        return self._backends.slots()

    def location_slots(self) -> list[int]:
        """Slots whose cells may be nonzero (for `Table.retire`)."""
        return self._locations.slots()

    def _service(self, service: Service) -> Service:
        """The service with its slots. A service that is the same object as in the last snapshot gives the same leased object again,
        which keeps `config.diff` quick."""
        configured, leased = self._kept.get(service.name, (None, None))
        if leased is None or configured is not service:
            old = {location.id: location for location in leased.locations} if leased is not None else {}
            locations = tuple(
                self._location(location, old.get(location.id) or _location_before(location, self._before))
                for location in service.locations
            )
            leased = replace(service, locations=locations)
        self._made[service.name] = (service, leased)
        return leased

    def _listener(self, listener: Listener) -> Listener:
        return replace(listener, slot=self._location_slot(listener.id)) if listener.tls else listener

    def _location_slot(self, name: str) -> int:
        slot = self._locations.slot(name)
        if slot is None:
            slot = self._locations.take(name)
            self._serial += 1
            self._table.q[self._table.location(slot) + LocationCells.LEASE] = self._serial
            self._table.forget_location(0, slot)
        return slot

    def _location(self, location: Location, old: Location | None) -> Location:
        slot = self._location_slot(location.id)
        backends = tuple(replace(backend, slot=self._backend_slot(backend.id)) for backend in location.backends)
        return replace(location, slot=slot, backends=backends, departed=self._left(location, old) if old is not None else ())

    def _left(self, location: Location, old: Location) -> tuple[Departed, ...]:
        """Counters of endpoints that DNS no longer returns for URLs of this location. They keep the totals of a URL from decreasing.

        A slot is given back when no process can count in it any longer.
        """
        here = {backend.id for backend in location.backends}
        before = {one.url: one for one in old.departed}
        departed = []
        for url in dict.fromkeys(backend.url for backend in location.backends):
            known = before.get(url, Departed(url))
            left = [*known.slots, *((backend.id, backend.slot) for backend in old.backends if backend.url == url)]
            sums, slots = known.sums, []
            for name, slot in dict(left).items():
                if name in here:
                    continue
                _slot, dropped = self._backends.resting.get(name, (slot, sys.maxsize))
                if dropped <= self._settled and name in self._backends.resting:
                    counted = self._table.backend_counters(slot)
                    sums = tuple(map(sum, zip(sums, counted, strict=True))) if sums else tuple(counted)
                    self._folded.append(name)
                else:
                    slots.append((name, slot))
            if sums or slots:
                departed.append(Departed(url, sums, tuple(slots)))
        return tuple(departed)

    def _backend_slot(self, name: str) -> int:
        slot = self._backends.slot(name)
        if slot is None:
            slot = self._backends.take(name)
            self._serial += 1
            at = self._table.backend(slot)
            self._table.q[at : at + BackendCells.CELLS] = memoryview(bytes(BackendCells.CELLS * 8)).cast("Q")
            self._table.q[at + BackendCells.LEASE] = self._serial
            self._table.forget_backend(0, slot)
        return slot

    def _oldest(self) -> int:
        """The oldest generation that any process may still use. A child that does not serve yet reports 0. The generations of another master
        are not comparable: while it, or a worker of it, is there, nothing is given back."""
        q, table = self._table.q, self._table
        if len(table.masters()) > 1:
            return 0
        seats = [table.seat(seat) for seat in table.taken_seats()]
        return min((q[at + cell] for at in seats for cell in (Seat.GENERATION, Seat.OLDEST)), default=sys.maxsize)


def _location_before(location: Location, known: Known) -> Location | None:
    """A location as the process knew it that the leases were adopted from, None if it did not."""
    if location.id not in known:
        return None
    slot, backends, departed = known[location.id]
    return replace(
        location,
        slot=slot,
        backends=tuple(Backend(id=name, url=url, scheme="http", host="", port=0, slot=at) for name, url, at in backends),
        departed=tuple(Departed(url, tuple(sums), tuple((name, at) for name, at in slots)) for url, sums, slots in departed),
    )


def _departed(services: Iterable[Service]) -> set[str]:
    return {
        name for service in services for location in service.locations for one in location.departed for name, _slot in one.slots
    }


def _ids(services: Iterable[Service]) -> tuple[set[str], set[str]]:
    """The ids of all backends and of all locations of these services."""
    backends: set[str] = set()
    locations: set[str] = set()
    for service in services:
        for location in service.locations:
            locations.add(location.id)
            backends.update(backend.id for backend in location.backends)
    return backends, locations
