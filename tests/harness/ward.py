"""Backends without processes: a real table, real leases, `BackendStates` and `Outliers` on it, and a clock that a test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from terraster.config.snapshot import Backend as Configured
from terraster.config.snapshot import Location, Service, Snapshot, backend_id, location_id
from terraster.master.agenda import Agenda
from terraster.master.backends.outliers import Outliers
from terraster.master.backends.states import BackendStates
from terraster.master.participant import Proposal
from terraster.state.cells import BackendCells, LocationCells, Seat, SeatBackend
from terraster.state.leases import Leases
from terraster.state.table import Table

EPOCH = 1_000_000.0  # time.time() at the beginning


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.strict = True  # whether a defect fails the test

    def _take(self, level: str, text: str, *values: Any) -> None:
        self.lines.append(f"{level} {text % values}")

    def info(self, text: str, *values: Any) -> None:
        self._take("info", text, *values)

    def error(self, text: str, *values: Any) -> None:
        self._take("error", text, *values)

    def warning(self, text: str, *values: Any) -> None:
        self._take("warning", text, *values)

    def exception(self, text: str, *values: Any) -> None:
        if self.strict:
            raise AssertionError(text % values)
        self._take("error", text, *values)

    def take(self) -> list[str]:
        """What was told since the last time."""
        lines, self.lines = self.lines, []
        return lines


class Ward:
    """One location "shop/" with backends ``b0`` … ``bN`` of these weights, and two workers (seats 1 and 2)."""

    def __init__(self, *weights: int, **location: Any) -> None:
        self.now = 100.0  # of the monotonic clock
        self.log = Lines()
        self.table = Table(64, 16, 4)
        self.q = self.table.q
        for seat in (1, 2):
            self.q[self.table.seat(seat) + Seat.PID] = 1000 + seat
            self.q[self.table.seat(seat) + Seat.OLDEST] = self.q[self.table.seat(seat) + Seat.GENERATION] = 1
        self.leases = Leases(self.table)
        self.agenda = Agenda(self.log, lambda: self.now)  # type: ignore[arg-type]
        self.states = BackendStates(self.table, self.log, self.agenda, self.wall)
        self.outliers = Outliers(self.table, self.states, self.log, self.agenda, self.wall)
        self.snapshot = Snapshot(0, (), ())
        self.configure(*weights, **location)

    def wall(self) -> float:
        return EPOCH + self.now

    def configure(self, *weights: int, names: tuple[str, ...] = (), probe: bool = True, **location: Any) -> None:
        """A start, or a reload. probe: all that are new are up at once."""
        names = names or tuple(f"b{number}" for number in range(len(weights)))
        backends = tuple(
            Configured(backend_id("shop", "/", name), f"http://{name}", "http", name, 80, weight=weight)
            for name, weight in zip(names, weights, strict=True)
        )
        place = Location(location_id("shop", "/"), "/", backends=backends, **location)
        known = {backend.id for backend in self.backends()}
        configured = Snapshot(self.snapshot.generation + 1, (), (Service("shop", ("*",), (), (place,)),))
        self.snapshot = self.leases.assign(configured)
        self.leases.commit(self.snapshot)
        self.commit()
        for backend in self.backends():
            if probe and backend.id not in known:
                self.states.probed(backend.id, True, self.wall(), "status 200")

    def again(self, **location: Any) -> None:
        """A reload that changes the location alone."""
        (service,) = self.snapshot.services
        service = replace(service, locations=(replace(service.locations[0], **location),))
        self.snapshot = replace(self.snapshot, generation=self.snapshot.generation + 1, services=(service,))
        self.commit()

    def commit(self) -> None:
        for one in (self.states, self.outliers):
            one.commit(Proposal(self.snapshot))

    def backends(self) -> list[Configured]:
        return [one for service in self.snapshot.services for place in service.locations for one in place.backends]

    def pass_(self, seconds: float) -> None:
        """Let time go by, and what is due happen."""
        self.now += seconds
        self.agenda.turn()

    def id(self, number: int) -> str:
        return self.backends()[number].id

    def cell(self, number: int, cell: int) -> int:
        return self.q[self.table.backend(self.backends()[number].slot) + cell]

    def state(self, number: int) -> str:
        return BackendCells.STATES[self.cell(number, BackendCells.STATE)]

    def letters(self) -> str:
        """One letter each: u d D m e."""
        letters = {"up": "u", "down": "d", "draining": "D", "maintenance": "m", "ejected": "e"}
        return "".join(letters[self.state(number)] for number in range(len(self.backends())))

    def admits(self) -> str:
        """One letter each: n(one) a(ll) t(rial) r(amping)."""
        return "".join("natr"[self.cell(number, BackendCells.ADMIT)] for number in range(len(self.backends())))

    @property
    def panic(self) -> bool:
        slot = self.snapshot.services[0].locations[0].slot
        return bool(self.q[self.table.location(slot) + LocationCells.PANIC])

    def count(self, number: int, seat: int = 1, **cells: int) -> None:
        """Add to cells of a backend in a seat: ``requests=1``; ``bucket`` are responses that took no time."""
        at = self.table.seat_backend(seat, self.backends()[number].slot)
        for name, value in cells.items():
            self.q[at + getattr(SeatBackend, name.upper())] += value

    def good(self, number: int, count: int = 1, seat: int = 1) -> None:
        """Good responses, which nobody reports."""
        self.count(number, seat, requests=count, bucket=count)

    def bad(self, number: int, kind: str = "failure", status: int = 0, count: int = 1, seat: int = 1, text: str = "reset") -> None:
        """Bad attempts, a message each, a hundredth of a second apart."""
        for _ in range(count):
            self.now += 0.01
            self.count(number, seat, requests=1, **({"bucket": 1, "bad_statuses": 1} if kind == "status" else {"failures": 1}))
            self.say(number, kind, status, seat=seat, text=text)

    def say(self, number: int, kind: str, status: int = 0, seat: int = 1, text: str = "reset", serial: int | None = None) -> None:
        """A report alone."""
        self.outliers.receive([self.report(number, kind, status, text, serial)], seat)

    def report(self, number: int, kind: str, status: int = 0, text: str = "reset", serial: int | None = None) -> Any:
        lease = self.cell(number, BackendCells.LEASE) if serial is None else serial
        return self.backends()[number].slot, lease, kind, status, text, self.wall()
