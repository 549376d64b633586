"""What is read out of the shared table, and the small house that the other admin tests look at too."""

from __future__ import annotations

import os
import time

from terraster.admin import processes, readings
from terraster.config.snapshot import Backend, Listener, Location, Service, Snapshot, backend_id, location_id
from terraster.state.cells import (
    STATUS_CELL,
    BackendCells,
    LocationCells,
    MasterCells,
    Seat,
    SeatBackend,
    SeatLocation,
    bucket_of,
)
from terraster.state.table import Table

NOW = 1_700_000_000.0


class House:
    """A table and a configuration, with hands to put facts into them. Seats 1 and 2: proxies, seat 3: the admin worker."""

    def __init__(self, services: dict[str, dict[str, list[str]]] | None = None) -> None:
        services = services or {
            "shop": {"/": ["http://10.0.0.1:80", "http://10.0.0.2:80"], "/old": []},
            "blog": {"/": ["http://10.0.0.3:80"]},
        }
        self.slots = 0
        self.paths = 0
        made = tuple(self._service(name, places) for name, places in services.items())
        self.snapshot = Snapshot(4, (Listener(":8080"),), made, workers=2)
        self.table = Table(self.slots + 1, self.paths + 1, 6)
        self.q = self.table.q
        self.q[self.table.master + MasterCells.BACKENDS] = self.slots
        self.q[self.table.master + MasterCells.LOCATIONS] = self.paths
        self.q[self.table.master + MasterCells.GENERATION] = 4
        self.q[self.table.master + MasterCells.WORKERS] = 2
        self.q[self.table.master + MasterCells.RELOADS] = 3
        self.q[self.table.master + MasterCells.LAST_RELOAD_OK] = 1
        self.q[self.table.master + MasterCells.LAST_RELOAD_TIME] = int(NOW * 1e9)
        self.q[self.table.master + MasterCells.STARTED] = int((NOW - 60) * 1e9)
        self.q[self.table.master + MasterCells.HEARTBEAT] = time.monotonic_ns()
        for seat, role in ((1, Seat.PROXY), (2, Seat.PROXY), (3, Seat.ADMIN)):
            self.sit(seat, role)

    def _service(self, name: str, places: dict[str, list[str]]) -> Service:
        locations = []
        for path, urls in places.items():
            backends = []
            for url in urls:
                backends.append(Backend(backend_id(name, path, url), url, "http", "10.0.0.1", 80, slot=self.slots))
                self.slots += 1
            locations.append(
                Location(
                    location_id(name, path),
                    path,
                    redirect="" if urls else "https://new.example",
                    backends=tuple(backends),
                    slot=self.paths,
                )
            )
            self.paths += 1
        return Service(name, ("*",), (":8080",), tuple(locations))

    def sit(self, seat: int, role: int, **cells: int) -> None:
        """Put a process (this one) into a seat."""
        at = self.table.seat(seat)
        self.q[at + Seat.PID] = os.getpid()
        self.q[at + Seat.ROLE] = role
        self.q[at + Seat.GENERATION] = self.q[at + Seat.OLDEST] = 4
        self.q[at + Seat.HEARTBEAT] = time.monotonic_ns()
        for name, value in cells.items():
            self.q[at + getattr(Seat, name)] = value

    def answer(self, seat: int, slot: int, status: int, seconds: float = 0.01, times: int = 1, octets: int = 0) -> None:
        """Count answers of a location, as the process in ``seat`` would."""
        at = self.table.seat_location(seat, slot)
        self.q[at + STATUS_CELL[status]] += times
        self.q[at + SeatLocation.BUCKET + bucket_of(seconds)] += times
        self.q[at + SeatLocation.DURATION] += int(seconds * 1e9) * times
        self.q[at + SeatLocation.BYTES_OUT] += octets * times

    def waited(self, seat: int, slot: int, **cells: int) -> None:
        """Set cells of a location in a seat."""
        at = self.table.seat_location(seat, slot)
        for name, value in cells.items():
            self.q[at + getattr(SeatLocation, name)] = value

    def panics(self, slot: int) -> None:
        """Too few backends of a location are well."""
        self.q[self.table.location(slot) + LocationCells.PANIC] = 1

    def used(self, seat: int, slot: int, **cells: int) -> None:
        """Set cells of a backend in a seat."""
        at = self.table.seat_backend(seat, slot)
        for name, value in cells.items():
            self.q[at + getattr(SeatBackend, name)] = value

    def known(self, slot: int, **cells: int) -> None:
        """Set what the master knows of a backend."""
        at = self.table.backend(slot)
        for name, value in cells.items():
            self.q[at + getattr(BackendCells, name)] = value


def test_seats_are_added_up_and_the_dead_are_not_forgotten():
    house = House()
    house.used(1, 0, ACTIVE=2, REQUESTS=10, FAILURES=1, LATENCY=40_000_000, BUCKET=4)
    house.used(2, 0, ACTIVE=1, REQUESTS=5, LATENCY=10_000_000, BUCKET=1)
    house.used(0, 0, REQUESTS=100)
    house.used(3, 0, REQUESTS=77)  # an admin worker counts nothing: what stands in its seat is nobody's
    house.known(0, STATE=1, SINCE=int(NOW * 1e9), WEIGHT=3, PROBES=9, PROBE_FAILURES=2)
    one, other, _ = readings.backends(house.table, house.snapshot)
    assert (one.active, one.requests, one.failures, one.latency) == (3, 115, 1, 0.01)
    assert (one.up, one.since, one.weight, one.probes, one.probe_failures) == (True, NOW, 3, 9, 2)
    assert (other.up, other.requests, other.latency) == (False, 0, -1.0)


def test_what_seats_have_measured_is_averaged_or_the_most_of_them():
    house = House()
    house.used(1, 0, EWMA=20_000_000, KEEPALIVE=900, SHARE=200, OPEN=3, RETRIES=1, CONNECT_ERRORS=2, BAD_STATUSES=3)
    house.used(2, 0, EWMA=40_000_000, KEEPALIVE=1000, SHARE=400, OPEN=1)
    house.known(0, STATE=3, CIRCUIT=1, EJECTIONS=4, OPENINGS=5)
    one, other, _ = readings.backends(house.table, house.snapshot)
    assert (one.recent, one.keepalive, one.share, one.open) == (0.03, 1.0, 0.3, 4)
    assert (one.state, one.up, one.circuit, one.ejections, one.openings) == ("maintenance", False, 1, 4, 5)
    assert (one.retries, one.connect_errors, one.bad_statuses) == (1, 2, 3)
    assert (other.state, other.recent, other.keepalive, other.share) == ("down", -1.0, -1.0, -1.0)


def test_locations():
    house = House()
    house.answer(1, 0, 200, 0.01, 3, 100)
    house.answer(2, 0, 200, 0.01, 1, 100)
    house.answer(0, 0, 502, 20.0)
    house.answer(2, 2, 404)
    rows = list(readings.locations(house.table, house.snapshot))
    assert [(row.service.name, row.location.path, row.requests) for row in rows] == [
        ("shop", "/", 5),
        ("shop", "/old", 0),
        ("blog", "/", 1),
    ]
    assert dict(rows[0].codes()) == {"200": 4, "502": 1}
    assert (rows[0].bytes_out, round(rows[0].duration_sum, 6)) == (400, 20.04)
    assert sum(rows[0].buckets) == 5
    assert readings.requests(house.table, 1) == 3
    assert readings.requests(house.table, 2) == 2


def test_what_has_no_slot_is_left_out():
    house = House()
    bare = Service("new", ("*",), (":8080",), (Location("new/", "/", backends=(Backend("x", "http://x:1", "http", "x", 1),)),))
    snapshot = Snapshot(5, (), (bare,))
    assert list(readings.backends(house.table, snapshot)) == list(readings.locations(house.table, snapshot)) == []


def test_long_readings_pause():
    house = House({f"s{n}": {"/": [f"http://10.0.0.1:{n}"]} for n in range(1000)})
    pauses: list[int] = []
    assert len(list(readings.backends(house.table, house.snapshot, lambda: pauses.append(1)))) == 1000
    assert len(pauses) == 1000 // readings.ROWS_PER_TURN


def test_processes():
    own = processes.process(os.getpid())
    assert own is not None and own.cpu > 0 and own.resident > 1 << 20 and own.descriptors > 2
    assert abs(own.started - time.time()) < 86400
    assert processes.process(2**22 + 1) is None
