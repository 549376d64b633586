"""Names of backends: what endpoints answers become, when they are looked up, and what is told of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from terraster.config.snapshot import Backend, Location, Service, Snapshot, backend_id
from terraster.master.agenda import Agenda
from terraster.master.discovery import names as module
from terraster.master.discovery.endpoints import _spot, endings
from terraster.master.discovery.names import Names
from terraster.master.discovery.resolver import Endpoint, Resolution, Unresolved
from terraster.master.participant import Proposal

from .harness.waiting import wait_until


class Book:
    """A resolver that answers from a dict: addresses or `Endpoint` values; a text is why it fails; an Event is waited for first."""

    def __init__(self, entries: dict[str, Any], ttl: float = 60.0) -> None:
        self.entries = entries
        self.ttl = ttl
        self.asked: list[str] = []
        self.nameservers: tuple[str, ...] = ()
        self.came = Event()

    def addresses(self, name: str, before: Iterable[Endpoint] = ()) -> Resolution:
        self.asked.append(name)
        self.came.set()
        self.came.clear()
        entry = self.entries.get(name, "there is no such name")
        while isinstance(entry, Event):
            entry.wait()
            entry = self.entries[name]
        if isinstance(entry, str):
            raise Unresolved(entry)
        if isinstance(entry, Exception):
            raise entry
        return Resolution(tuple(sorted(one if isinstance(one, Endpoint) else Endpoint(one) for one in entry)), self.ttl)

    services = addresses

    def abandon(self) -> None:
        pass

    def wait_asked(self, name: str, count: int) -> None:
        with gevent.Timeout(10):
            while self.asked.count(name) < count:
                self.came.wait()
        gevent.idle()  # the answer comes in the same turn


class Party:
    """Names over a book. ``changes``: how often new answers were put into effect."""

    def __init__(self, entries: dict[str, Any], ttl: float = 60.0) -> None:
        self.book = Book(entries, ttl)
        self.changes = 0
        self.works = True
        self.happened = Event()
        self.servers: list[tuple[str, ...]] = []
        self.snapshot = Snapshot(1, (), ())
        self.run = self.snapshot
        log = logging.getLogger("names")
        self.agenda = Agenda(log)  # type: ignore[arg-type]
        self.names = Names(log, self.agenda, self._changed, self._make)  # type: ignore[arg-type]
        self.agenda.start()

    def _make(self, nameservers: tuple[str, ...]) -> Book:
        self.servers.append(nameservers)
        if nameservers:
            self.book = Book(self.book.entries, self.book.ttl)
            self.book.nameservers = nameservers
        return self.book

    def _changed(self) -> bool:
        self.changes += 1
        self.run = self.names.expand(self.snapshot)
        self.names.commit(Proposal(self.snapshot))
        self.happened.set()
        return self.works

    def commit(self, snapshot: Snapshot) -> Snapshot:
        self.snapshot = snapshot
        new = Proposal(snapshot)
        self.names.prepare(new)
        self.run = new.snapshot
        self.names.commit(new)
        return self.run

    def wait_changes(self, count: int) -> None:
        with gevent.Timeout(10):
            while self.changes < count:
                self.happened.wait()
                self.happened.clear()


@pytest.fixture
def party() -> Iterator[Callable[..., Party]]:
    made: list[Party] = []

    def make(entries: dict[str, Any], ttl: float = 60.0) -> Party:
        made.append(Party(entries, ttl))
        return made[-1]

    yield make
    for one in made:
        one.agenda.stop()
        one.names.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lives of hundredths of a second."""
    monkeypatch.setattr(module, "LEAST_LIFE", 0.02)
    monkeypatch.setattr(module, "LEAST_LIFE_OF_FAILURE", 0.02)
    monkeypatch.setattr(module, "MOST_LIFE_OF_FAILURE", 0.1)
    monkeypatch.setattr(module, "_GATHER", 0.05)
    monkeypatch.setattr(module, "_AGAIN", 0.1)


def backend(host: str, service: str = "shop", **keys: Any) -> Backend:
    url = f"http://{host}:8080"
    return Backend(id=backend_id(service, "/", url), url=url, scheme="http", host=host, port=8080, **keys)


def snapshot(**services: list[Backend]) -> Snapshot:
    return Snapshot(
        1, (), tuple(Service(name, ("*",), (), (Location(f"{name}/", "/", backends=tuple(b)),)) for name, b in services.items())
    )


def backends(snapshot: Snapshot) -> list[Backend]:
    return [backend for service in snapshot.services for location in service.locations for backend in location.backends]


def shown(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    return [(one.id, one.host, one.port, one.address, one.weight, one.priority) for one in backends(snapshot)]


SRV = [Endpoint("10.0.0.1", "a.test", 81, 3, 10), Endpoint("10.0.0.2", "b.test", 82, 1, 20)]
TWICE = [Endpoint("10.0.0.1", "a.test", 81), Endpoint("10.0.0.2", "a.test", 81)]
ID = "shop/ http://api.test:8080"

EXPANSIONS = [
    # what the backend says more, what the name stands for, id host port address weight priority of the endpoints
    ({}, ["10.0.0.1"], [(ID, "api.test", 8080, "10.0.0.1", 1, 0)]),
    (
        {"weight": 2, "priority": 1},
        ["10.0.0.2", "fd00::1"],
        [
            (f"{ID}@10.0.0.2", "api.test", 8080, "10.0.0.2", 2, 1),
            (f"{ID}@fd00::1", "api.test", 8080, "fd00::1", 2, 1),
        ],
    ),
    ({}, "there is no such name", [(ID, "api.test", 8080, "", 1, 0)]),
    ({"srv": True, "weight": 2}, SRV[:1], [(ID, "a.test", 81, "10.0.0.1", 6, 10)]),
    (
        {"srv": True, "weight": 2, "priority": 5},
        SRV,
        [(f"{ID}@a.test:81", "a.test", 81, "10.0.0.1", 6, 15), (f"{ID}@b.test:82", "b.test", 82, "10.0.0.2", 2, 25)],
    ),
    (
        {"srv": True, "weight": 0},
        TWICE,
        [
            (f"{ID}@a.test:81/10.0.0.1", "a.test", 81, "10.0.0.1", 0, 0),
            (f"{ID}@a.test:81/10.0.0.2", "a.test", 81, "10.0.0.2", 0, 0),
        ],
    ),
]


@pytest.mark.parametrize(("keys", "entry", "expected"), EXPANSIONS)
def test_expansions(party, keys: dict[str, Any], entry: Any, expected: list[Any]) -> None:
    run = party({"api.test": entry}).commit(snapshot(shop=[backend("api.test", **keys)]))
    assert shown(run) == expected
    assert [one.label for one in backends(run)] == [
        one.url + (f" ({one.id.rpartition('@')[2]})" if "@" in one.id else "") for one in backends(run)
    ]


def test_what_has_no_names_is_left_alone(party) -> None:
    one = party({})
    plain = snapshot(shop=[backend("10.0.0.1"), backend("::1"), backend("localhost", address="unix:/run/app.sock")])
    assert one.commit(plain) is plain
    assert one.book.asked == []


def test_each_name_is_asked_once_whoever_uses_it(party) -> None:
    one = party({"api.test": ["10.0.0.1"], "db.test": ["10.0.0.2"]})
    run = one.commit(snapshot(**{f"s{n}": [backend("api.test", f"s{n}"), backend("db.test", f"s{n}")] for n in range(50)}))
    assert Counter(one.book.asked) == {"api.test": 1, "db.test": 1}
    assert all(one.address for one in backends(run))
    one.commit(snapshot(other=[backend("api.test")]))
    assert one.book.asked.count("api.test") == 1


@pytest.mark.usefixtures("quick")
def test_what_does_not_change_stays_the_very_object(party) -> None:
    one = party({"api.test": ["10.0.0.1"], "db.test": ["10.0.0.2"], "gone.test": "SERVFAIL"}, ttl=0.0)
    first = one.commit(snapshot(a=[backend("api.test")], b=[backend("db.test")], c=[backend("gone.test")], d=[backend("10.0.0.9")]))
    assert all(left is right for left, right in zip(first.services, one.names.expand(one.snapshot).services, strict=True))
    one.names.commit(Proposal(one.snapshot))
    one.book.entries["db.test"] = ["10.0.0.3"]
    one.wait_changes(1)
    same = [left is right for left, right in zip(first.services, one.run.services, strict=True)]
    assert same == [True, False, True, True]


def test_ten_thousand_services_with_few_names_are_cheap(party) -> None:
    one = party({"api.test": ["10.0.0.1"], "db.test": ["10.0.0.2", "10.0.0.3"]})
    many = snapshot(**{f"s{n}": [backend("api.test", f"s{n}"), backend("db.test", f"s{n}")] for n in range(10_000)})
    one.commit(many)
    began = time.process_time()
    run = one.commit(many)
    assert time.process_time() - began < 0.5  # some 30 ms; the reload around it takes longer
    assert len(backends(run)) == 30_000


@pytest.mark.usefixtures("quick")
def test_changes_that_come_together_are_one(party) -> None:
    entries = {f"n{number}.test": ["10.0.0.1"] for number in range(20)}
    one = party(entries, ttl=0.0)
    one.commit(snapshot(shop=[backend(name) for name in entries]))
    entries.update({name: ["10.0.0.2"] for name in entries})
    one.wait_changes(1)
    for name in entries:
        one.book.wait_asked(name, one.book.asked.count(name) + 2)
    assert {b.address for b in backends(one.run)} == {"10.0.0.2"}
    assert one.changes <= 2  # the first may have caught some of them only


@pytest.mark.usefixtures("quick")
def test_another_order_is_no_change(party) -> None:
    one = party({"api.test": ["10.0.0.1", "10.0.0.2"]}, ttl=0.0)
    one.commit(snapshot(shop=[backend("api.test")]))
    one.book.entries["api.test"] = ["10.0.0.2", "10.0.0.1"]
    one.book.wait_asked("api.test", one.book.asked.count("api.test") + 3)
    gevent.sleep(0.1)
    assert one.changes == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failure", ["name server 10.0.0.53 answers SERVFAIL", RuntimeError("a defect")])
def test_failures_keep_the_last_answer_and_are_told_once(party, caplog, failure: object) -> None:
    caplog.set_level("INFO")
    one = party({"api.test": ["10.0.0.1"]}, ttl=0.0)
    one.commit(snapshot(shop=[backend("api.test")]))
    one.book.entries["api.test"] = failure
    one.book.wait_asked("api.test", one.book.asked.count("api.test") + 4)
    assert [b.address for b in backends(one.names.expand(one.snapshot))] == ["10.0.0.1"]
    assert one.names.detail()["api.test"]["failure"]
    one.book.entries["api.test"] = ["10.0.0.1"]
    one.book.wait_asked("api.test", one.book.asked.count("api.test") + 2)
    assert one.names.detail()["api.test"]["failure"] == "" and one.changes == 0
    told = [record.message for record in caplog.records if "resolve" in record.message]
    assert len(told) == 2
    assert told[0].startswith("the name api.test does not resolve: ") and told[0].endswith("; the last answer stays: 10.0.0.1")
    assert told[1] == "the name api.test resolves again, to what it did before"


def test_failures_are_tried_again_less_and_less_often(party) -> None:
    one = party({})
    name = module._Name(("api.test", False))
    assert [one.names._failed(name, "SERVFAIL") for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    name.failures = 5000
    assert one.names._failed(name, "SERVFAIL") == 30
    answer = Resolution((Endpoint("10.0.0.1"),), 0.0)
    assert one.names._answered(name, answer) == 1.0
    assert one.names._answered(name, Resolution(answer.endpoints, 86400.0)) == 300.0
    assert one.names._answered(name, Resolution(answer.endpoints, 42.0)) == 42.0
    assert one.names._failed(name, "SERVFAIL") == 1


@pytest.mark.usefixtures("quick")
def test_a_name_that_resolves_late_is_told_of(party, caplog) -> None:
    one = party({"api.test": "there is no such name"})
    run = one.commit(snapshot(shop=[backend("api.test"), backend("10.0.0.9")]))
    reports: list[tuple[str, bool, str]] = []
    one.names.report(lambda *report: reports.append(report))
    assert reports == [(backends(run)[0].id, False, "the name does not resolve: there is no such name")]
    assert "the name api.test does not resolve: there is no such name; its backends are down until it does" in caplog.text
    one.book.entries["api.test"] = ["10.0.0.1"]
    one.wait_changes(1)
    reports.clear()
    one.names.report(lambda *report: reports.append(report))
    one.names.report(lambda *report: reports.append(report))
    assert reports == [(ID, True, "")]


def test_nobody_waits_for_long(party, monkeypatch, caplog) -> None:
    monkeypatch.setattr(module, "FIRST_ROUND", 0.2)
    never = Event()
    one = party({"api.test": never, "db.test": ["10.0.0.1"]})
    began = time.monotonic()
    run = one.commit(snapshot(shop=[backend("api.test"), backend("db.test")]))
    assert 0.15 < time.monotonic() - began < 2
    assert [b.address for b in backends(run)] == ["", "10.0.0.1"]
    assert "the name api.test does not resolve within 0.2 s" in caplog.text
    one.book.entries["api.test"] = ["10.0.0.2"]
    never.set()
    one.wait_changes(1)
    assert [b.address for b in backends(one.run)] == ["10.0.0.2", "10.0.0.1"]


def test_nobody_waits_for_names_at_the_end(party) -> None:
    one = party({"api.test": Event()})
    ending = Event()
    gevent.spawn_later(0.05, ending.set)
    began = time.monotonic()
    one.names.prepare(Proposal(snapshot(shop=[backend("api.test")]), ending=ending))
    assert time.monotonic() - began < 1


@pytest.mark.usefixtures("quick")
def test_names_nobody_wants_are_not_asked_for(party) -> None:
    one = party({"api.test": ["10.0.0.1"], "old.test": ["10.0.0.2"], "never.test": ["10.0.0.3"]}, ttl=0.0)
    one.commit(snapshot(shop=[backend("api.test"), backend("old.test")]))
    one.names.prepare(Proposal(snapshot(shop=[backend("never.test")])))
    one.names.rollback()
    one.commit(snapshot(shop=[backend("api.test")]))
    counts = Counter(one.book.asked)
    one.book.wait_asked("api.test", counts["api.test"] + 3)
    assert one.book.asked.count("old.test") <= counts["old.test"] + 1
    assert one.book.asked.count("never.test") <= counts["never.test"] + 1
    assert list(one.names.detail()) == ["api.test"]


def test_other_name_servers_are_asked_at_once(party) -> None:
    one = party({"api.test": ["10.0.0.1"]})
    first = snapshot(shop=[backend("api.test")])
    one.commit(first)
    old = one.book
    one.commit(Snapshot(2, (), first.services, nameservers=("10.0.0.53",)))
    assert one.servers == [(), ("10.0.0.53",)]
    one.book.wait_asked("api.test", 1)
    assert one.book is not old and old.asked == ["api.test"]


@pytest.mark.usefixtures("quick")
def test_a_name_is_not_asked_for_twice_as_often_after_that(party) -> None:
    one = party({"api.test": ["10.0.0.1"]}, ttl=0.0)
    first = snapshot(shop=[backend("api.test")])
    for number in range(20):
        one.commit(Snapshot(2, (), first.services, nameservers=(f"10.0.0.{number}",)))
    began = time.monotonic()
    one.book.wait_asked("api.test", 10)
    assert time.monotonic() - began >= 8 * 0.02


@pytest.mark.usefixtures("quick")
def test_what_could_not_be_put_into_effect_is_tried_again(party) -> None:
    one = party({"api.test": ["10.0.0.1"]}, ttl=0.0)
    one.commit(snapshot(shop=[backend("api.test")]))
    one.works = False
    one.book.entries["api.test"] = ["10.0.0.2"]
    one.wait_changes(2)
    one.works = True
    one.wait_changes(3)
    gevent.sleep(0.2)
    assert one.changes == 3


PLACES = st.builds(
    Endpoint,
    st.ip_addresses(v=4).map(str),
    st.sampled_from(["a.test", "b.test"]),
    st.integers(1, 3),
    st.integers(1, 256),
    st.integers(0, 65535),
)


@given(st.lists(PLACES, min_size=1, max_size=8, unique_by=lambda one: (one.address, one.target, one.port)), st.booleans())
def test_ids_are_never_shared(places: list[Endpoint], srv: bool) -> None:
    if not srv:
        places = [Endpoint(address) for address in {one.address for one in places}]
    one = Party({"api.test": places})
    try:
        made = backends(one.commit(snapshot(shop=[backend("api.test", srv=srv)])))
    finally:
        one.agenda.stop()
        one.names.stop()
    assert len({b.id for b in made}) == len({b.label for b in made}) == len(places)
    assert (made[0].id == ID) == (len(places) == 1)
    assert all(b.id == ID or b.id == f"{ID}@{b.endpoint}" for b in made)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a", "ab", "b"], {"a": "", "b": "@b"}),
        (["a", "b"], {"b": ""}),
        (["ab", "a", "ac"], {"a": "@a", "c": "@c"}),
        (["a", "ab", "bc", "abc"], {"a": "@a", "b": "@b", "c": "@c"}),
    ],
)
def test_who_stays_keeps_its_id(answers: list[str], expected: dict[str, str]) -> None:
    name = module._Name(("api.test", False))
    one = Party({})
    try:
        for answer in answers:
            one.names._answered(name, Resolution(tuple(Endpoint(address) for address in answer), 60.0))
    finally:
        one.agenda.stop()
        one.names.stop()
    ids = {e.address: f"@{place}" if place else "" for e, place in zip(name.endpoints, name.places, strict=True)}
    assert ids == {address: expected[address] for address in answers[-1]}


@given(st.lists(st.lists(PLACES, min_size=1, max_size=5, unique_by=_spot), min_size=2, max_size=5), st.booleans())
def test_ids_are_never_shared_and_never_taken_away(answers: list[list[Endpoint]], srv: bool) -> None:
    known: dict[Endpoint, str] = {}
    for answer in answers:
        endpoints = tuple(sorted(answer if srv else {Endpoint(one.address) for one in answer}))
        places = dict(zip(endpoints, endings(endpoints, known), strict=True))
        assert len(set(places.values())) == len(endpoints)
        before = {_spot(one): place for one, place in known.items()}
        assert all(before.get(_spot(one), place) == place for one, place in places.items())
        known = places


def test_of_a_huge_answer_the_first_are_used(party: Callable[..., Party], caplog: pytest.LogCaptureFixture) -> None:
    places = [
        Endpoint(f"10.0.{number // 200}.{number % 200}", "t.test", 80, 1, priority=5 if number < 100 else 3)
        for number in range(200)
    ]
    made = backends(party({"api.test": places}).commit(snapshot(shop=[backend("api.test", srv=True)])))
    assert len(made) == module.MOST_ENDPOINTS
    assert {one.priority for one in made} == {3}
    assert caplog.messages == ["the name api.test (SRV) has 200 endpoints: the first 64 are used"]


@pytest.mark.usefixtures("quick")
def test_names_that_resolve_do_not_wait_behind_those_that_do_not(
    party: Callable[..., Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONCURRENT", 2)
    monkeypatch.setattr(module, "FIRST_ROUND", 0.1)
    silent = Event()
    one = party({"good.test": ["10.0.0.1"], **{f"dead{number}.test": "no answer" for number in range(8)}}, ttl=0.02)
    one.commit(snapshot(shop=[backend(host) for host in one.book.entries]))
    one.book.entries.update({f"dead{number}.test": silent for number in range(8)})
    wait_until(lambda: silent.linkcount() == 2, "not all places of the failing are taken", pause=gevent.sleep)
    one.book.wait_asked("good.test", one.book.asked.count("good.test") + 5)


@pytest.mark.usefixtures("quick")
def test_the_reason_is_that_of_the_last_look_up(party: Callable[..., Party]) -> None:
    one = party({"api.test": "there is no such name"})
    one.commit(snapshot(shop=[backend("api.test")]))
    told: list[tuple[str, bool, str]] = []
    happened = Event()

    def resolved(name: str, ok: bool, reason: str) -> None:
        told.append((name, ok, reason))
        happened.set()

    one.names.report(resolved)
    happened.clear()
    one.book.entries["api.test"] = "name server 10.0.0.53 answers SERVFAIL"
    assert happened.wait(10)
    assert [reason for _name, _ok, reason in told] == [
        f"{module.UNRESOLVED}: there is no such name",
        f"{module.UNRESOLVED}: name server 10.0.0.53 answers SERVFAIL",
    ]
