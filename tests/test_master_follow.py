"""One change among many services: what did not change is not looked at, and what comes of it is what a fresh start would come to."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from gevent.event import Event

from terraster.config.snapshot import Backend, HealthCheck, Location, Service, Snapshot, backend_id, location_id
from terraster.master.agenda import Agenda
from terraster.master.backends import prober
from terraster.master.backends.probe import Aim
from terraster.master.backends.prober import Prober
from terraster.master.backends.states import BackendStates
from terraster.master.participant import Proposal
from terraster.state.leases import Leases
from terraster.state.table import Table

from .harness.ward import Lines


def service(number: int, *ports: int, interval: float = 10.0) -> Service:
    name = f"s{number}"
    backends = tuple(
        Backend(
            backend_id(name, "/", str(port)),
            f"http://127.0.0.1:{port}",
            "http",
            "127.0.0.1",
            port,
            health=HealthCheck(type="none", interval=interval),
        )
        for port in ports
    )
    return Service(name, (name,), (), (Location(location_id(name, "/"), "/", backends=backends),))


class Party:
    def __init__(self) -> None:
        self.table = Table(256, 64, 4)
        self.log = Lines()
        self.leases = Leases(self.table)
        self.agenda = Agenda(self.log)  # type: ignore[arg-type]
        self.states = BackendStates(self.table, self.log, self.agenda)
        self.prober = Prober(self.table, self.log, self.states, self.agenda, lambda *_all: None)

    def apply(self, generation: int, services: list[Service]) -> Snapshot:
        leased = self.leases.assign(Snapshot(generation, (), tuple(services)))
        self.leases.commit(leased)
        new = Proposal(leased)
        self.prober.prepare(new)
        self.states.commit(new)
        self.prober.commit(new)
        return leased


STEPS = {
    "a backend more": [service(0, 1, 2), service(1, 1, 2), service(2, 5)],
    "a backend less": [service(0, 1), service(1, 2), service(2, 5)],
    "another check": [service(0, 1, interval=1.0), service(1, 1, 2), service(2, 5)],
    "a service less": [service(1, 1, 2), service(2, 5)],
    "a service more": [service(0, 1), service(1, 1, 2), service(2, 5), service(3, 7)],
    "nothing left": [],
}


@pytest.mark.parametrize("step", STEPS)
def test_a_change_leads_to_what_a_start_leads_to(step: str) -> None:
    party, fresh = Party(), Party()
    before = [service(0, 1), service(1, 1, 2), service(2, 5)]
    party.apply(1, before)
    after = [next((old for old in before if old == one), one) for one in STEPS[step]]
    leased, expected = party.apply(2, after), fresh.apply(2, after)
    ids = {backend.id for one in leased.services for backend in one.locations[0].backends}
    for states in (party.states, fresh.states):
        assert states.detail().keys() == ids
        assert {one["state"] for one in states.detail().values()} <= {"up"}
        assert states.trouble() == {}
    assert party.prober.detail().keys() == fresh.prober.detail().keys() == ids
    assert party.prober.trouble() == {}
    aims = {Aim.of(backend) for one in expected.services for backend in one.locations[0].backends}
    assert party.prober.targets() == fresh.prober.targets() == aims
    assert set(party.leases.backend_slots()) >= {backend.slot for one in leased.services for backend in one.locations[0].backends}
    for one in leased.services:
        for backend in one.locations[0].backends:
            assert party.states.at(backend.slot) == (backend.id, one.locations[0])


def test_services_in_which_nothing_changed_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    party = Party()
    services = [service(number, 1, 2) for number in range(50)]
    party.apply(1, services)
    seen: list[str] = []
    of = Aim.of

    def counted(backend: Backend, strict: bool) -> Aim:
        seen.append(backend.id)
        return of(backend, strict)

    monkeypatch.setattr(prober.Aim, "of", counted)
    changed = replace(services[7], hosts=("other",))
    party.apply(2, [*services[:7], changed, *services[8:]])
    assert seen == ["s7/ 1", "s7/ 2"]


def test_who_is_in_a_hurry_does_not_wait_for_a_silent_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    party = Party()
    monkeypatch.setattr(party.prober, "_probing", Silent())
    silent = service(0, 9)
    backend = replace(silent.locations[0].backends[0], health=HealthCheck(type="tcp", timeout=30.0))
    silent = replace(silent, locations=(replace(silent.locations[0], backends=(backend,)),))
    party.agenda.start()
    began = time.monotonic()
    try:
        party.prober.prepare(Proposal(Snapshot(1, (), (silent,)), patience=0.1))
    finally:
        party.agenda.stop()
        party.prober.stop()
    assert time.monotonic() - began < 3


class Silent:
    """Probes that never end."""

    def probe(self, aim: Aim) -> None:
        Event().wait()
