"""Operators decide in place of health checks: forced up, forced down, checks paused. It lasts its time, over reloads and restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from terraster.config.snapshot import HealthCheck
from terraster.master.backends.prober import Prober
from terraster.master.operator.action import CHECKS, FORCED_DOWN, FORCED_UP, PAUSED_UP, Action, Entry, parsed, written
from terraster.master.operator.etags import etag
from terraster.master.participant import Proposal
from terraster.policy.state import Facts, Order, evaluate
from terraster.state.cells import BackendCells

from .harness.waiting import wait_until
from .harness.ward import Ward
from .test_master_commands import ONE, TWO, Master

URL = "http://10.0.0.1:80"


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    made = Master(tmp_path)
    yield made
    made.agenda.stop()
    made.orders.stop()


def do(master: Master, action: str, **more: Any) -> dict[str, Any]:
    answer = master.commands.backend(action, "shop", "/", URL, by="ann", **more)
    assert answer["ok"], answer
    return answer


@pytest.mark.parametrize(
    ("facts", "what", "state", "admit", "why"),
    [
        ({"up": False, "reason": "refused"}, "forced up", "up", BackendCells.ALL, "forced up: ticket 7"),
        ({"up": True}, "forced down", "down", BackendCells.NONE, "forced down: ticket 7"),
        ({}, "paused up", "up", BackendCells.ALL, "health checks are paused: ticket 7"),
        ({"up": True}, "paused down", "down", BackendCells.NONE, "health checks are paused: ticket 7"),
        ({"up": False, "unresolved": "no such name"}, "forced up", "down", BackendCells.NONE, "no such name"),
        ({"up": False, "ejected": "5 failed"}, "forced up", "ejected", BackendCells.NONE, "5 failed"),
        ({"up": False, "order": Order("drain", 0.0, "disk")}, "forced up", "draining", BackendCells.NONE, "disk"),
        ({"up": False, "order": Order("maintenance", 0.0, "disk")}, "forced up", "maintenance", BackendCells.NONE, "disk"),
    ],
)
def test_it_stands_above_the_checks_alone(facts: dict[str, Any], what: str, state: str, admit: int, why: str) -> None:
    found = evaluate(Facts(**facts, forced=Order(what, 0.0, "ticket 7", "ann")))
    assert (BackendCells.STATES[found.state], found.admit, found.why) == (state, admit, why)


def test_forced_down_and_up_and_back(master: Master) -> None:
    answer = do(master, "force-down", reason="it lies")
    assert (answer["changed"], answer["backend"]["state"], answer["backend"]["reason"]) == (True, "down", "forced down: it lies")
    assert (answer["backend"]["by"], answer["backend"]["forced"]["what"]) == ("ann", "forced down")
    assert master.state(ONE) == "down" and master.state(TWO) == "up"
    master.states.probed(ONE, False, time.time(), "status 500")
    answer = do(master, "force-up", seconds=60.0)
    assert answer["backend"]["state"] == "up" and answer["backend"]["until"] == answer["backend"]["forced"]["until"] > time.time()
    assert master.states.trouble() == {ONE: master.states.one(ONE)}
    assert [one["what"] for one in answer["backend"]["forced_after"]] == ["forced down"]
    answer = do(master, "resume-checks")
    assert (answer["backend"]["state"], answer["backend"]["reason"], answer["backend"]["forced"]) == ("down", "status 500", None)
    answer = do(master, "resume-checks")
    assert (answer["changed"], answer["notes"][0]) == (False, "nothing was overridden")


def test_a_dry_run_changes_nothing(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terraster.master.operator.touched.gevent", SimpleNamespace(sleep=lambda seconds: None))
    answer = do(master, "force-down", dry_run=True)
    assert answer["changed"] and [one["url"] for one in answer["touches"]] == [URL] and master.state(ONE) == "up"
    assert not do(master, "enable", dry_run=True)["changed"] and master.overrides.entries == {}


def test_a_pause_keeps_the_verdict(master: Master) -> None:
    assert do(master, "pause-checks")["backend"]["forced"]["what"] == "paused up"
    master.states.probed(ONE, False, time.time(), "status 500")
    assert master.state(ONE) == "up" and master.states.is_paused(ONE) and not master.states.is_paused(TWO)
    do(master, "resume-checks")
    assert master.state(ONE) == "down"
    assert do(master, "pause-checks")["backend"]["forced"]["what"] == "paused down"


def test_it_ends_by_itself_and_outlives_a_reload_and_a_restart(master: Master, tmp_path: Path) -> None:
    do(master, "force-down", seconds=60.0, reason="it lies")
    master.run(replace(master.running.loaded, generation=7))
    assert master.state(ONE) == "down"
    again = Master(tmp_path)
    try:
        assert again.state(ONE) == "down" and again.states.one(ONE)["why"] == "forced down: it lies"
        assert again.overrides.next_end() == again.overrides.entries[ONE].forced.until  # type: ignore[union-attr]
        again.orders.start()
        do(again, "force-down", seconds=0.01)
        wait_until(lambda: again.state(ONE) == "up", pause=gevent.sleep)
        assert [one.what for one in again.overrides.entries[ONE].history[-1:]] == ["expired"]
    finally:
        again.agenda.stop()
        again.orders.stop()


def test_the_etag_of_its_location_changes(master: Master) -> None:
    place = master.running.loaded.services[0].locations[0]
    before = etag(place, master.overrides.entries)
    do(master, "force-down")
    assert etag(place, master.overrides.entries) != before


def test_it_is_kept_as_it_was() -> None:
    forced = Entry().after(Action(FORCED_DOWN, 5.0)).after(Action(FORCED_UP, 6.0, "ann", "x", 9.0))
    assert parsed(written({"a": forced})) == ({"a": forced}, {})
    assert forced.ended(9.0).forced == Action(FORCED_DOWN, 5.0) and forced.after(Action(CHECKS, 7.0)).forced is None
    odd = written({"a": replace(forced, forced=Action("drain", 5.0))})
    assert parsed(odd)[1] == {"a": "an entry has not the form of an entry"}


def test_a_panic_does_not_use_what_is_forced_down() -> None:
    ward = Ward(1, 1, 1, panic_threshold=0.5)
    ward.states.forced(ward.id(0), Order("forced down"))
    ward.states.probed(ward.id(1), False, ward.wall(), "status 500")
    ward.states.probed(ward.id(2), False, ward.wall(), "status 500")
    assert ward.panic and ward.admits() == "naa"
    ward.states.forced(ward.id(0), None)
    assert ward.admits()[0] == "a"


def test_no_probes_are_made_while_they_are_paused() -> None:
    ward = Ward(1, 1, probe=False)
    (service,) = ward.snapshot.services
    place = service.locations[0]
    same = tuple(replace(one, host="127.0.0.1", health=HealthCheck(interval=0.01)) for one in place.backends)
    ward.snapshot = replace(ward.snapshot, services=(replace(service, locations=(replace(place, backends=same),)),))
    prober = Prober(ward.table, ward.log, ward.states, ward.agenda, lambda name, begun, ok: None)
    prober.commit(Proposal(ward.snapshot))
    made: list[object] = []
    prober._probing = SimpleNamespace(
        probe=lambda aim: made.append(aim) or SimpleNamespace(ok=True, reason="status 200", seconds=0.0, status=200, answer="")
    )  # type: ignore[assignment]
    (target,) = set(prober._of.values())
    ward.states.forced(ward.id(0), Order(PAUSED_UP))
    prober._probe(target)
    assert len(made) == 1, "the other backend that shares the probe is not paused"
    ward.states.forced(ward.id(1), Order(PAUSED_UP))
    prober._probe(target)
    assert len(made) == 1
    ward.states.forced(ward.id(0), None)
    prober._probe(target)
    assert len(made) == 2
    prober.stop()
