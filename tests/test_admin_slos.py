"""The counts of objectives: from the counters of the table, in a file that outlives the process."""

from __future__ import annotations

import os
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from terraster.admin import slos
from terraster.admin.exposition import exposition
from terraster.admin.historian import Historian
from terraster.admin.problems import of_objectives
from terraster.admin.slo_metrics import SLO_METRICS, SloCollector
from terraster.admin.slo_rows import rows
from terraster.api.deps import Deps
from terraster.api.models.slo import SloPage
from terraster.api.operations.slo import operations
from terraster.api.problem import Refused
from terraster.cli.slo import shown
from terraster.config.slo import Slo
from terraster.config.snapshot import Snapshot
from terraster.policy.series import Series
from terraster.state.cells import SeatLocation
from terraster.wire.grpc import STATUSES

from .harness.program import find
from .harness.shapes import unlawful
from .test_admin_history import NOON
from .test_admin_metrics import samples
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


# How the counts are shown.


def burning(folder: Path) -> Ledger:
    """A day in which nothing was bad but the last hour: 15 of 1,000 requests a minute had a server error."""
    ledger = Ledger(folder, slo=Slo(99.9, ((95.0, 0.25),)))
    series = {}
    for wanted, bad in zip(("server errors", "slower than 0.25"), (15, 0), strict=True):
        series["shop/", wanted] = one = Series()
        for minute in range(24 * 60):
            one.add(NOON - 86400 + 60 * minute, 1000, bad if minute >= 23 * 60 else 0)
    ledger.historian.slos.write([(key, *one.octets()) for key, one in series.items()])
    ledger.historian.slos.load()
    return ledger


def test_a_burn_in_plain_words(tmp_path: Path) -> None:
    """Of 1,440,000 requests 1,440 may be bad, and 900 were: 37.5 % are left, which last 30 days * 0.375 / 15 = 18 hours."""
    one, other = rows(burning(tmp_path).historian.slos.rows())
    assert (one["service"], one["location"], one["requests"], one["bad"]) == ("shop", "/", 1_440_000, 900)
    assert (one["budget_left"], one["budget_spent"]) == (0.375, 0.625) and one["burn_rates"]["1h"] == 15
    assert one["burning"] == {
        "severity": "page",
        "short": "5m",
        "long": "1h",
        "factor": 14.4,
        "rate": 15.0,
        "gone_in": 64800,
        "text": "SLO availability 99.9 %: burns its budget 15.0 times as fast as it may (in the last 1h 1.5 % of the requests had a server "
        "error); budget left 38 %, at this rate gone in 18 hours",
    }
    assert other["burning"] is None and other["budget_left"] == 1.0
    assert not unlawful("slo", {"ok": True, "now": NOON, "objectives": [one, other]})


def test_a_spent_budget_in_plain_words(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((200, 9.0, 50), (500, 9.0, 50))
    one, other = rows(ledger.historian.slos.rows())
    assert one["burning"]["text"] == (
        "SLO availability 99 %: burns its budget 50.0 times as fast as it may (in the last 1h 50 % of the requests had a server error); "
        "the budget of 30d is spent"
    )
    assert other["burning"]["text"].startswith(
        "SLO latency 95 % in 250ms: burns its budget 20.0 times as fast as it may (in the last 1h "
    )
    assert (one["budget_left"], one["budget_spent"], one["burning"]["gone_in"]) == (0.0, 50.0, 0)


def test_only_a_fast_burn_is_a_problem_and_the_fastest_comes_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.minute((200, 9.0, 50), (500, 9.0, 50))
    fast, slow = rows(ledger.historian.slos.rows())
    assert [one["text"] for one in of_objectives([slow, fast], 0)] == [fast["burning"]["text"], slow["burning"]["text"]]
    (found,) = of_objectives([fast, {**slow, "burning": {**slow["burning"], "severity": "ticket"}}], 0)
    assert (found["kind"], found["service"], found["location"]) == ("slo-burning", "shop", "/")
    assert of_objectives([{**fast, "burning": None}], 0) == []
    (found,) = of_objectives([], 7)
    assert (found["kind"], found["text"]) == (
        "slo-not-counted",
        "there are more objectives (`slo`) than are counted: 7 are left out",
    )


def test_the_metrics(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(SloCollector(burning(tmp_path).historian.slos.rows))
    text = b"".join(exposition(registry)).decode()
    found = samples(text)
    place = "location=/,objective=availability"
    expected = {
        f"terraster_slo_objective_ratio{{{place},service=shop}}": 0.999,
        "terraster_slo_objective_ratio{location=/,objective=latency-95,service=shop}": 0.95,
        f"terraster_slo_burn_rate{{{place},service=shop,window=5m}}": 15,
        f"terraster_slo_burn_rate{{{place},service=shop,window=6h}}": 2.5,
        f"terraster_slo_burn_rate{{{place},service=shop,window=3d}}": 0.625,
        f"terraster_slo_error_budget_remaining_ratio{{{place},service=shop}}": 0.375,
        f"terraster_slo_burning{{{place},service=shop,severity=page}}": 1,
        f"terraster_slo_burning{{{place},service=shop,severity=ticket}}": 0,
        "terraster_slo_burning{location=/,objective=latency-95,service=shop,severity=page}": 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected) and len(found) == 2 * (1 + 7 + 1 + 2)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for one in SLO_METRICS:
        assert (families[one.name].type, families[one.name].documentation) == (one.type, one.help)
        assert all(set(sample.labels) == set(one.labels) for sample in families[one.name].samples)
    if promtool := find("promtool"):
        result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_operation_of_the_api(tmp_path: Path) -> None:
    ledger = burning(tmp_path)

    def ask(**query: str) -> Any:
        deps = Deps(**{one.name: MagicMock() for one in fields(Deps)} | {"snapshot": lambda: ledger.running})
        deps = replace(deps, objectives=lambda: rows(ledger.historian.slos.rows()))
        (operation,) = operations(deps)
        answer = operation.handle(MagicMock(query=operation.query.model_validate(query)))
        assert answer.pieces is not None
        return SloPage.model_validate_json(b"".join(answer.pieces))

    whole = ask()
    assert [(one.service_name, one.path, one.objective) for one in whole.items] == [
        ("shop", "/", "availability"),
        ("shop", "/", "latency-95"),
    ]
    first = ask(limit="1")
    assert first.items == whole.items[:1] and ask(limit="1", cursor=first.next).items == whole.items[1:]
    assert ask(service_name="blog").items == ask(service_name="shop", path="/old").items == []
    with pytest.raises(Refused, match="there is no service shp"):
        ask(service_name="shp")


def test_the_text_of_terrasterctl(tmp_path: Path) -> None:
    found = rows(burning(tmp_path).historian.slos.rows())
    long = {**found[1], "service": "a-service-with-a-long-name-of-its-own", "budget_left": 0.004, "burn_rates": {"1h": 1999.9}}
    text = shown([long, *found[::-1]], colour=False, width=80)
    assert text.splitlines() == [
        "LOCATION            OBJECTIVE           BUDGET  BURN 1h   6h   3d  STATE",
        "shop/               availability 99.9%     38%     15.0  2.5  0.6  PAGE",
        "a-serv...-its-own/  latency 95% 250ms     0.4%     2000    -    -  ok",
        "shop/               latency 95% 250ms     100%      0.0  0.0  0.0  ok",
        "  shop/:",
        "    SLO availability 99.9 %: burns its budget 15.0 times as fast as it may (in",
        "      the last 1h 1.5 % of the requests had a server error); budget left 38 %,",
        "      at this rate gone in 18 hours",
    ]
    assert "\x1b[31m" in shown(found, colour=True, width=80)
    spent = shown([{**found[1], "budget_left": 0.0}], colour=False, width=80)
    assert spent.splitlines()[1].endswith("  0%      0.0  0.0  0.0  spent"), "a budget that is gone is not well"
    assert shown([], colour=False, width=80) == "no location has objectives (`slo`)\n"
