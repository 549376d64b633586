"""The timeline: events of masters, problems and operators' acts, each once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.admin import chronicle
from terraster.admin.auditor import Auditor
from terraster.admin.chronicle import Chronicle
from terraster.audit.log import AuditLog
from terraster.errors import TerrasterError
from terraster.master.events import Events


class Log:
    """A program's log that nobody reads."""

    def info(self, *_: Any) -> None: ...

    error = warning = info


class House:
    """``events``: the master's; ``now``: its clock"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "history").mkdir()
        self.now = 1_795_000_000.0
        self.writes = True
        self.problems: list[dict[str, Any]] = []
        self.auditor = Auditor(AuditLog(str(folder / "audit"), str), lambda: SimpleNamespace(audit_days=1), Log(), self.clock)
        self.master()
        self.chronicle = self.admin()

    def clock(self) -> float:
        return self.now

    def master(self) -> None:
        self.now += 10
        self.events = Events(100, self.clock)

    def admin(self) -> Chronicle:
        return Chronicle(
            lambda: SimpleNamespace(state_dir=str(self.folder)),
            self.ask,
            lambda: self.writes,
            self.auditor,
            lambda: self.problems,
            Log(),
        )

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        if self.events is None:
            raise TerrasterError("the master has gone")
        return self.events.after(**arguments)

    def happen(self, *texts: str) -> None:
        for text in texts:
            self.now += 1
            self.events.add("backend", text, "a/ b")

    def told(self, *kinds: str) -> list[str]:
        return [one["text"] for one in self.chronicle.timeline(0.0, 0.0, frozenset(kinds), 1000)][::-1]


@pytest.fixture
def house(tmp_path: Path, monkeypatch) -> House:
    monkeypatch.setattr(chronicle, "TURN", 0.0)
    monkeypatch.setattr(chronicle, "_COST", 0.0)
    return House(tmp_path)


def test_the_events_of_a_service_are_its_own_and_those_of_its_parts(house: House) -> None:
    targets = ("shop", "service shop", "shop/ http://a", "shop/api http://a@10.0.0.1:80", "shop/api", "shop http://a")
    for target in (*targets, "shopping/ http://a", "service shopping", "a/shop", ""):
        house.events.add("backend", target, target)
    found = house.chronicle.timeline(0.0, 0.0, frozenset(), 1000, "shop")
    assert sorted(one["target"] for one in found) == sorted(targets)


def test_an_act_on_a_service_is_found_behind_many_on_others(house: House) -> None:
    known = {"user": "ann", "action": "drain", "outcome": "done", "reason": "", "generation": 1}
    rows = [{**known, "when": 5000.0 - at, "target": "shop" if at == 3000 else "blog"} for at in range(4000)]
    asked: list[int] = []

    def page(_words: Any, _since: float, _until: float, limit: int, _cursor: int) -> tuple[list[dict[str, Any]], None]:
        asked.append(limit)
        return rows[:limit], None

    house.chronicle._auditor = SimpleNamespace(page=page)  # type: ignore[assignment]
    assert [one["when"] for one in house.chronicle.timeline(0.0, 0.0, frozenset(), 50, "shop")] == [2000.0]
    assert len(house.chronicle.timeline(0.0, 0.0, frozenset(("operator",)), 2000)) == 2000
    assert house.chronicle.timeline(0.0, 0.0, frozenset(("backend",)), 2000) == [] and len(asked) == 2


def test_events_are_told_once_before_and_after_they_are_on_the_disk(house: House) -> None:
    house.happen("one", "two")
    assert house.told() == ["one", "two"]
    house.chronicle.turn()
    house.happen("three")
    assert house.told() == ["one", "two", "three"]
    house.chronicle.turn()
    house.chronicle.turn()
    assert house.told() == ["one", "two", "three"]


def test_another_admin_worker_goes_on_where_the_one_before_was_killed(house: House) -> None:
    house.happen("one")
    house.chronicle.turn()
    house.happen("two")
    house.chronicle = house.admin()
    house.chronicle.turn()
    assert house.told() == ["one", "two"]


def test_the_past_of_another_master_stays(house: House) -> None:
    house.happen("one", "two")
    house.chronicle.turn()
    house.master()
    house.chronicle = house.admin()
    house.happen("three")
    house.chronicle.turn()
    house.happen("four")
    assert house.told() == ["one", "two", "three", "four"]


def test_a_process_that_does_not_write_still_tells(house: House) -> None:
    house.writes = False
    house.happen("one")
    house.chronicle.turn()
    assert house.told() == ["one"] and not list((house.folder / "history").iterdir())


def test_problems_begin_and_end(house: House) -> None:
    place = {"service": "shop", "location": "/", "backend": None}
    house.problems = [{"kind": "queue", "text": "1 waits", **place}]
    house.chronicle.turn()
    assert house.told() == [], "what was there before is not new"
    house.problems = [{"kind": "queue", "text": "2 wait", **place}, {"kind": "panic", "text": "2 of 5 are up", **place}]
    house.chronicle.turn()
    house.problems = [{"kind": "panic", "text": "2 of 5 are up", **place}, {"kind": "backend-down", "text": "x", **place}]
    house.chronicle.turn()
    assert house.told("problem") == ["panic began: 2 of 5 are up", "queue ended: 2 wait"]


def test_operators_are_in_it(house: House) -> None:
    house.happen("one")
    house.auditor.record({"user": "alice", "action": "backend.drain", "target": "a/ b", "reason": "disk", "outcome": "done"})
    assert house.told() == ["one", "alice: backend.drain: done: disk"] and house.told("operator") == house.told()[1:]


def test_secrets_and_escapes_are_not_in_it(house: House) -> None:
    house.happen("refused: password=hunter2 \x1b[31m")
    assert house.told() == ["refused: password=***  [31m"]


def test_a_backend_has_its_own(house: House) -> None:
    house.happen("one")
    house.events.add("backend", "an endpoint", "a/ b@10.0.0.1")
    house.events.add("backend", "of another one", "a/ bc")
    assert [one["text"] for one in house.chronicle.of("a/ b", 0.0)] == ["an endpoint", "one"]
