"""The counts of objectives: from the counters of the table, in a file that outlives the process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terraster.admin import slos
from terraster.admin.historian import Historian
from terraster.config.slo import Slo
from terraster.config.snapshot import Snapshot
from terraster.state.cells import SeatLocation
from terraster.wire.grpc import STATUSES

from .test_admin_history import NOON
from .test_admin_readings import House

SLO = Slo(99.0, ((95.0, 0.25),))


class Told:
    """A log that keeps its errors."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, form: str, *words: Any) -> None:
        self.lines.append(form % words)


class Ledger:
    """A house with objectives, and the process that counts by them."""

    def __init__(self, folder: Path, house: House | None = None, slo: Slo | None = SLO) -> None:
        self.now = float(NOON)
        self.folder = folder
        self.house = house or House()
        self.log = Told()
        self.running = self.snapshot(slo)
        self.historian = Historian(self.house.table, lambda: self.running, self.log, lambda: self.now)
        self.historian.turn()

    def snapshot(self, slo: Slo | None) -> Snapshot:
        """The house with an objective at the first location of the first service."""
        first, *others = self.house.snapshot.services
        place, *places = first.locations
        services = (replace(first, locations=(replace(place, slo=slo), *places)), *others)
        return replace(self.house.snapshot, services=services, state_dir=str(self.folder))

    def minute(self, *answers: tuple[int, float, int]) -> None:
        """A minute in which the first location answers. answers: status, seconds, how often"""
        for status, seconds, times in answers:
            self.house.answer(1, 0, status, seconds, times)
        self.now += 60
        self.historian.turn()

    def states(self) -> list[tuple[float, float]]:
        """Requests and bad ones of each objective."""
        return [(row.state.requests, row.state.bad) for row in self.historian.slos.rows()]

    @property
    def file(self) -> Path:
        return self.folder / "history" / "objectives"


def test_server_errors_and_slow_requests_are_counted(tmp_path: Path) -> None:
    house = House()
    house.answer(1, 0, 503, 9.0, 1000)  # before the process began
    ledger = Ledger(tmp_path, house)
    assert ledger.states() == [(0, 0), (0, 0)]
    ledger.minute((200, 0.01, 50), (404, 0.2, 20), (499, 20.0, 5), (429, 0.01, 5), (500, 0.01, 3), (504, 0.6, 2))
    house.answer(1, 1, 500, 9.0, 7)  # another location
    ledger.minute((200, 0.01, 15))
    assert ledger.states() == [(100, 5), (100, 7)]
    (one, other) = ledger.historian.slos.rows()
    assert (one.service, one.location, one.state.left) == ("shop", "/", pytest.approx(1 - 0.05 / 0.01))
    assert other.state.objective.words == "latency 95 % in 250ms"


def test_failed_calls_of_grpc_are_server_errors(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    calls = SeatLocation.GRPC
    at = ledger.house.table.seat_location(1, 0) + calls
    for status, times in (("OK", 5), ("UNAVAILABLE", 2), ("INTERNAL", 1), ("NOT_FOUND", 1), ("CANCELLED", 1)):
        ledger.house.q[at + STATUSES.index(status)] += times
    ledger.minute((200, 0.01, 9), (503, 0.01, 1))
    assert ledger.states()[0] == (10, 3)


def test_the_counts_outlive_the_process_and_its_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((200, 0.01, 90), (500, 1.0, 10))
    assert ledger.file.stat().st_mode & 0o777 == 0o600
    ledger.historian.leave()
    again = Ledger(tmp_path)
    again.now = ledger.now
    assert again.states() == [(100, 10), (100, 10)] and again.log.lines == []
    again.minute((200, 0.01, 100))
    assert again.states() == [(200, 10), (200, 10)]


def test_a_process_that_does_not_write_shows_what_the_other_has_written(tmp_path: Path) -> None:
    one = Ledger(tmp_path)
    other = Ledger(tmp_path, one.house)
    one.minute((500, 0.01, 4))
    other.now = one.now
    other.historian.turn()
    assert not other.historian.writes() and other.states() == one.states() == [(4, 4), (4, 0)]
    one.minute((500, 0.01, 1))
    other.historian.turn()
    assert other.states()[0] == (5, 5)
    one.historian.leave()
    other.historian.turn()
    assert other.historian.writes()
    other.minute((500, 0.01, 1))
    assert other.states()[0] == (6, 6)


@pytest.mark.parametrize("octets", [b"", b"TSo1 and no more", os.urandom(5000)])
def test_a_damaged_file_is_put_aside_and_told(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "objectives").write_bytes(octets)
    ledger = Ledger(tmp_path)
    (line,) = ledger.log.lines
    assert line.startswith(f"the counts of objectives begin anew: {ledger.file} cannot be used: ")
    assert line.endswith(f"; it is kept as {ledger.file}.damaged")
    assert (tmp_path / "history" / "objectives.damaged").read_bytes() == octets and not ledger.file.exists()
    ledger.minute((200, 0.01, 5))
    assert ledger.states()[0] == (5, 0) and ledger.file.exists()


def test_a_full_disk_loses_no_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((500, 0.01, 1))
    whole = ledger.file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            ledger.minute((500, 0.01, 2))
    assert ledger.file.read_bytes() == whole and not Path(f"{ledger.file}.new").exists()
    ledger.minute()
    again = Ledger(tmp_path / "other")
    again.historian.leave()
    os.replace(ledger.file, tmp_path / "other" / "history" / "objectives")
    again.historian.slos.load()
    again.now = ledger.now
    assert again.states()[0] == (3, 3)


def test_another_percentage_keeps_the_counts_and_another_bound_begins_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((500, 1.0, 10))
    ledger.running = ledger.snapshot(Slo(99.9, ((99.0, 0.25), (99.9, 0.5))))
    assert ledger.states() == [(10, 10), (10, 10), (0, 0)]
    ledger.running = ledger.snapshot(None)
    assert ledger.states() == []
    ledger.minute((500, 1.0, 5))
    ledger.running = ledger.snapshot(SLO)
    assert ledger.states() == [(10, 10), (10, 10)]


def test_counts_of_objectives_that_are_gone_are_let_go(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, slo=Slo(99.9, ((50.0, 0.01),)))
    ledger.minute((200, 0.1, 10))
    ledger.running = ledger.snapshot(Slo(99.9))
    ledger.now += 20 * 86400
    ledger.minute((200, 0.1, 10))
    ledger.running = ledger.snapshot(Slo(99.9, ((50.0, 0.01),)))
    assert ledger.states() == [(20, 0), (10, 10)]
    ledger.running = ledger.snapshot(Slo(99.9))
    ledger.now += 11 * 86400
    ledger.minute((200, 0.1, 10))
    ledger.running = ledger.snapshot(Slo(99.9, ((50.0, 0.01),)))
    assert ledger.states()[1] == (0, 0)


def test_only_so_many_objectives_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slos, "MOST", 2)
    ledger = Ledger(tmp_path, slo=Slo(99.9, ((50.0, 0.01), (90.0, 0.1), (99.0, 1.0))))
    assert (len(ledger.states()), ledger.historian.slos.beyond) == (2, 2)
    ledger.running = ledger.snapshot(SLO)
    assert ledger.historian.slos.beyond == 0


def test_a_burn_begins_and_ends_with_the_minutes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((500, 0.01, 20), (200, 0.01, 80))
    assert ledger.historian.slos.rows()[0].state.burning is not None
    ledger.now += 60 * 60 * 80
    assert ledger.historian.slos.rows()[0].state.burning is None, "without any request, too"
