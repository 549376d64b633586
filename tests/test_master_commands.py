"""What operators do to single backends: found by what people write, kept, brought into effect, ended, explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.cli import phrases
from terraster.config.snapshot import Backend, Location, Service, Snapshot, backend_id, location_id
from terraster.errors import StartError
from terraster.master.agenda import Agenda
from terraster.master.backends.states import BackendStates
from terraster.master.operator.account import Accounts
from terraster.master.operator.action import Entry
from terraster.master.operator.commands import OperatorCommands
from terraster.master.operator.find import Unfound, find
from terraster.master.operator.orders import Orders
from terraster.master.operator.overrides import Overrides
from terraster.master.participant import Proposal
from terraster.state.leases import Leases
from terraster.state.table import Table

from .harness.waiting import wait_until

SERVICES = {
    "shop": {"/": ["http://10.0.0.1:80", "http://10.0.0.2:80"], "/api": ["http://10.0.0.1:80/v1"]},
    "blog": {"/": ["http://blog.test:8080", "https://blog.test:8443"], "/old": []},
}
ONE, TWO = "shop/ http://10.0.0.1:80", "shop/ http://10.0.0.2:80"


def snapshot(services: dict[str, dict[str, list[str]]]) -> Snapshot:
    made = []
    for name, places in services.items():
        locations = []
        for path, urls in places.items():
            backends = []
            for url in urls:
                scheme, _, rest = url.partition("://")
                host, _, port = rest.partition("/")[0].partition(":")
                backends.append(Backend(backend_id(name, path, url), url, scheme, host, int(port), weight=2))  # type: ignore[arg-type]
            locations.append(Location(location_id(name, path), path, backends=tuple(backends)))
        made.append(Service(name, ("*",), (":80",), tuple(locations)))
    return Snapshot(1, (), tuple(made))


class FakeReloader:
    """Applies the overlay and commits; or refuses, when told to."""

    def __init__(self, master: Master) -> None:
        self.master = master
        self.problems: list[str] = []
        self.asked: list[str] = []

    def refresh(self, why: str) -> Any:
        master = self.master
        self.asked.append(why)
        if not self.problems:
            master.run(replace(master.running.loaded, generation=master.running.snapshot.generation + 1))
        return SimpleNamespace(ok=not self.problems, problems=self.problems, generation=master.running.snapshot.generation)


class Master:
    """As much of a master as operators' commands need, with a real table, real states and real overrides."""

    def __init__(self, path: Path, expand: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot) -> None:
        self.log = logging.getLogger("commands")
        self.upgrade = SimpleNamespace(is_under_way=False)
        self.running = SimpleNamespace()
        self.table = Table(64, 16, 4)
        self.leases = Leases(self.table)
        self.agenda = Agenda(self.log)  # type: ignore[arg-type]
        self.agenda.start()
        self.states = BackendStates(self.table, self.log, self.agenda)  # type: ignore[arg-type]
        self.overrides = Overrides(str(path), self.log, lambda: time.time())  # type: ignore[arg-type]
        self.overrides.load()
        self.overrides.expire()
        self.reloader = FakeReloader(self)
        self.prober: Any = SimpleNamespace(detail=dict, recent=lambda name: [])
        self.outliers: Any = SimpleNamespace(
            recent=lambda name: (
                [{"when": 1.0, "kind": "connect", "status": 0, "text": "connection refused", "seat": 1}] if name == ONE else []
            )
        )
        self.expand = expand
        refresh = self.reloader.refresh
        running: Any = self.running
        log: Any = self.log
        self.orders = Orders(running, self.overrides, self.states, self.agenda, log, refresh, lambda: self.upgrade.is_under_way)
        self.accounts = Accounts(running, self.overrides, self.states, self.prober, self.outliers, self.table)
        self.commands = OperatorCommands(running, self.overrides, self.orders, self.accounts, log, refresh)
        self.run(snapshot(SERVICES))

    def run(self, loaded: Snapshot) -> None:
        self.running.loaded = loaded
        self.running.snapshot = self.leases.assign(self.expand(self.overrides.apply(loaded)))
        self.leases.commit(self.running.snapshot)
        self.states.commit(Proposal(self.running.snapshot))
        for service in self.running.snapshot.services:
            for location in service.locations:
                for backend in location.backends:
                    self.states.probed(backend.id, True, time.time(), "200 OK")
        self.orders.apply()

    def state(self, name: str) -> str:
        return self.states.one(name)["state"]

    def state_until(self, name: str) -> float:
        found: float = self.states.one(name)["until"]
        return found

    def weights(self) -> list[int]:
        return [backend.weight for backend in self.running.snapshot.services[0].locations[0].backends]


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    made = Master(tmp_path)
    yield made
    made.agenda.stop()
    made.orders.stop()


UNIX = Backend("app/ unix:/run/app", "unix:/run/app", "http", "localhost", 80, address="unix:/run/app")
WITH_BASE = replace(
    UNIX, id="app/ http+unix://%2Frun%2Fv1/v1", url="http+unix://%2Frun%2Fv1/v1", base_path="/v1", address="unix:/run/v1"
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("unix:/run/app", UNIX),
        ("/run/app", UNIX),
        ("unix:/run/v1", WITH_BASE),
        ("/run/v1", WITH_BASE),
        ("http+unix://%2Frun%2Fv1/v1/", WITH_BASE),
        *((text, None) for text in ("localhost", "localhost:80", "/", "unix:/run", "/run/APP", "v1")),
    ],
)
def test_found_by_the_path_of_a_socket(asked: str, found: Backend | None) -> None:
    services = (Service("app", ("*",), (), (Location("app/", "/", backends=(UNIX, WITH_BASE)),)),)
    if found is None:
        with pytest.raises(Unfound, match="app has no backend"):
            find(Snapshot(1, (), services), "app", "", asked)
    else:
        assert find(Snapshot(1, (), services), "app", "", asked)[2] is found


ARMS = tuple(
    Location(f"s/#{arm}", "/", arm=arm, backends=tuple(Backend(f"s/#{arm} {url}", url, "http", url[7:15], 80) for url in urls))
    for arm, urls in {"a": ["http://10.0.0.1:80", "http://10.0.0.2:80"], "b": ["http://10.0.0.2:80"]}.items()
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("s/#b", "", "10.0.0.2:80"), "s/#b http://10.0.0.2:80"),
        (("s", "/#a", "10.0.0.2:80"), "s/#a http://10.0.0.2:80"),
        (("s/", "", "10.0.0.1:80"), "s/#a http://10.0.0.1:80"),
        (("s", "/", "10.0.0.1:80"), "s/#a http://10.0.0.1:80"),
        (("s/", "", "10.0.0.2:80"), "10.0.0.2:80 is in several locations of s/: s/#a http://10.0.0.2:80, s/#b http://10.0.0.2:80"),
        (("s/#c", "", "10.0.0.2:80"), "service s has no location /#c with backends; there are s/#a, s/#b"),
    ],
)
def test_found_in_an_arm_of_a_split(asked: tuple[str, str, str], found: str) -> None:
    known = Snapshot(1, (), (Service("s", ("*",), (), (Location("s/", "/"), *ARMS)),))
    if " is in " in found or " has no " in found:
        with pytest.raises(Unfound) as error:
            find(known, *asked)
        assert str(error.value) == found
    else:
        assert find(known, *asked)[2].id == found


CALLED = (
    Backend("db/ http://10.0.0.1:80", "http://10.0.0.1:80", "http", "10.0.0.1", 80, name="db1.zone1"),
    Backend("db/ http://10.0.0.2:80", "http://10.0.0.2:80", "http", "10.0.0.2", 80, name="db2.zone1"),
    Backend("db/ http://db1.zone1:81", "http://db1.zone1:81", "http", "db1.zone1", 81),
)


@pytest.mark.parametrize(("asked", "found"), [("db1.zone1", 0), ("db2.zone1", 1), ("10.0.0.2", 1), ("db1.zone1:81", 2)])
def test_found_by_name_before_host(asked: str, found: int) -> None:
    services = (Service("db", ("*",), (), (Location("db/", "/", backends=CALLED),)),)
    assert find(Snapshot(1, (), services), "db", "", asked)[2] is CALLED[found]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("db3.zone1", "db has no backend db3.zone1; did you mean db2.zone1, db1.zone1"),
        (
            "",
            "which backend? There are db/ db1.zone1 (http://10.0.0.1:80), db/ db2.zone1 (http://10.0.0.2:80), db/ http://db1.zone1:81",
        ),
    ],
)
def test_unfound_where_backends_have_names(asked: str, problem: str) -> None:
    services = (Service("db", ("*",), (), (Location("db/", "/", backends=CALLED),)),)
    with pytest.raises(Unfound) as error:
        find(Snapshot(1, (), services), "db", "", asked)
    assert problem in str(error.value)


FOUND = [
    (("shop", "/", "http://10.0.0.1:80"), ONE),
    (("shop/", "", "http://10.0.0.1:80/"), ONE),
    (("shop", "", "10.0.0.2:80"), TWO),
    (("shop", "", "10.0.0.2"), TWO),
    (("shop/api", "", "10.0.0.1:80"), "shop/api http://10.0.0.1:80/v1"),
    (("shop", "/api/", "http://10.0.0.1:80/v1"), "shop/api http://10.0.0.1:80/v1"),
    (("blog", "", "https://BLOG.test:8443"), "blog/ https://blog.test:8443"),
    (("", "", "blog.test:8080"), "blog/ http://blog.test:8080"),
]


@pytest.mark.parametrize(("asked", "name"), FOUND, ids=[" ".join(asked) for asked, _ in FOUND])
def test_found(asked: tuple[str, str, str], name: str) -> None:
    assert find(snapshot(SERVICES), *asked)[2].id == name


UNFOUND = [
    (("shpo", "", "10.0.0.1"), "no service is called shpo; did you mean shop?"),
    (("xxxxxxxx", "", "10.0.0.1"), "no service is called xxxxxxxx; there are shop, blog"),
    (("shop", "/apy", "10.0.0.1"), "service shop has no location /apy with backends; there are shop/, shop/api"),
    (("blog/old", "", "x"), "service blog has no location /old with backends; there are blog/"),
    (
        ("shop", "", "http://10.0.0.3:80"),
        "shop has no backend http://10.0.0.3:80; did you mean http://10.0.0.2:80, http://10.0.0.1:80",
    ),
    (("shop", "/", "zzz"), "shop/ has no backend zzz; there are http://10.0.0.1:80, http://10.0.0.2:80"),
    (
        ("shop", "", "10.0.0.1:80"),
        "10.0.0.1:80 is in several locations of shop: shop/ http://10.0.0.1:80, shop/api http://10.0.0.1:80/v1",
    ),
    (("blog", "", "blog.test"), "blog.test is not clear: blog/ http://blog.test:8080, blog/ https://blog.test:8443"),
    (("shop", "/", ""), "which backend? There are shop/ http://10.0.0.1:80, shop/ http://10.0.0.2:80"),
    (("", "", "zzz"), "no service has a backend zzz"),
]


@pytest.mark.parametrize(("asked", "problem"), UNFOUND, ids=[" ".join(asked) for asked, _ in UNFOUND])
def test_unfound_and_what_is_near(asked: tuple[str, str, str], problem: str) -> None:
    with pytest.raises(Unfound) as error:
        find(snapshot(SERVICES), *asked)
    assert problem in str(error.value)


def test_drain_and_enable(master: Master) -> None:
    answer = master.commands.backend("drain", "shop", "/", "10.0.0.1", reason="disk\nswap\x1b[2J", by="alice")
    assert answer["ok"] and answer["changed"] and answer["notes"] == []
    assert (answer["backend"]["state"], answer["backend"]["by"], answer["backend"]["until"]) == ("draining", "alice", None)
    assert answer["backend"]["order"]["reason"] == "disk swap [2J"
    assert master.state(ONE) == "draining" and master.reloader.asked == []
    last = master.commands.backend("maintain", "shop", "/", "10.0.0.2", seconds=600, by="alice")
    assert last["notes"] == ["no backend of shop/ takes new work now"]
    assert 595 < last["backend"]["until"] - time.time() <= 600
    again = master.commands.backend("enable", "shop", "/", "10.0.0.1", by="bob")
    assert again["changed"] and master.state(ONE) == "up" and again["backend"]["order"] is None
    assert master.commands.backend("enable", "shop", "/", "10.0.0.1")["notes"] == ["nothing was overridden"]


def test_weight(master: Master) -> None:
    answer = master.commands.backend("weight", "shop", "/", "10.0.0.1", weight=7, by="alice")
    assert (answer["backend"]["weight"], answer["backend"]["configured_weight"]) == (7, 2)
    assert master.weights() == [7, 2] and master.running.snapshot.generation == 2
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    enabled = master.commands.backend("enable", "shop", "/", "10.0.0.1")
    assert enabled["notes"] == ["its weight is still 7 instead of the file's 2; `weight … file` ends that"]
    assert master.commands.backend("weight", "shop", "/", "10.0.0.1")["backend"]["weight"] == 2
    assert master.weights() == [2, 2] and len(master.reloader.asked) == 2
    assert master.commands.backend("weight", "shop", "/", "10.0.0.1")["changed"] is False


def test_a_weight_that_cannot_be_brought_into_effect_is_taken_back(master: Master) -> None:
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    before = master.overrides.entries[ONE]
    master.reloader.problems = ["Terraster is stopping"]
    answer = master.commands.backend("weight", "shop", "/", "10.0.0.1", weight=7)
    assert answer == {"ok": False, "problems": ["Terraster is stopping; nothing was changed"], "candidates": []}
    assert master.overrides.entries == {ONE: before} and master.weights() == [2, 2]


def test_what_cannot_be_kept_is_refused(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, action: object) -> Entry:
        raise StartError("cannot write overlay.json: No space left on device")

    monkeypatch.setattr(master.overrides, "record", full)
    answer = master.commands.backend("drain", "shop", "/", "10.0.0.1")
    assert answer["problems"] == ["cannot write overlay.json: No space left on device; nothing was changed"]
    assert master.state(ONE) == "up"


NONSENSE = [
    ({"action": "eat"}, "there is no action 'eat'"),
    ({"seconds": -1.0}, "the time must be"),
    ({"seconds": float("nan")}, "the time must be"),
    ({"action": "weight", "weight": -1}, "a weight is a whole number"),
    ({"action": "weight", "weight": 1_000_001}, "a weight is a whole number"),
    ({"service": "shpo"}, "did you mean shop?"),
]


@pytest.mark.parametrize(("arguments", "problem"), NONSENSE, ids=[problem for _, problem in NONSENSE])
def test_nonsense(master: Master, arguments: dict[str, Any], problem: str) -> None:
    answer = master.commands.backend(**{"action": "drain", "service": "shop", "path": "/", "url": "10.0.0.1", **arguments})
    assert not answer["ok"] and problem in answer["problems"][0] and master.overrides.entries == {}


def test_it_ends_by_itself(master: Master) -> None:
    from gevent import sleep

    master.orders.start()
    master.commands.backend("maintain", "shop", "/", "10.0.0.1", seconds=0.2)
    master.commands.backend("weight", "shop", "/", "10.0.0.2", weight=9, seconds=0.2)
    assert master.state(ONE) == "maintenance" and master.weights() == [2, 9]
    wait_until(lambda: master.state(ONE) == "up" and master.weights() == [2, 2], pause=sleep)
    (found,) = master.accounts.why("10.0.0.1", "shop", "/")["backends"]
    assert [action["what"] for action in found["history"]] == ["expired", "maintenance"]
    assert found["endpoints"][0]["last_failures"] == [
        {"when": 1.0, "kind": "connect", "status": None, "text": "connection refused", "seat": 1}
    ]


def test_a_restart_finds_what_was_asked_for(master: Master, tmp_path: Path) -> None:
    master.commands.backend("drain", "shop", "/", "10.0.0.1", by="alice")
    master.commands.backend("weight", "shop", "/", "10.0.0.2", weight=9)
    master.commands.backend("maintain", "blog", "", "blog.test:8080", seconds=0.001)
    time.sleep(0.002)
    next_one = Master(tmp_path)
    assert next_one.state(ONE) == "draining" and next_one.weights() == [2, 9]
    assert next_one.state("blog/ http://blog.test:8080") == "up"
    assert next_one.states.one(ONE)["by"] == "alice"


def ends(master: Master) -> None:
    """Wait until the drain of the first backend is over."""
    from gevent import sleep

    wait_until(lambda: master.state(ONE) == "up", deadline=15, pause=sleep)


def test_an_end_is_a_moment_of_the_clock_on_the_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sets the clock while an order is under way: an hour ahead, and it is over; an hour back, and it lasts an hour longer."""
    from gevent import idle, sleep

    ahead = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    master = Master(tmp_path)
    master.orders.start()
    try:
        assert master.commands.backend("drain", "shop", "/", "10.0.0.1", seconds=1800.0)["ok"]
        idle()  # the runner has looked at the clock, and waits
        ahead[0] = 3600.0
        ends(master)
        assert master.commands.backend("drain", "shop", "/", "10.0.0.1", seconds=60.0)["ok"]
        ahead[0] = 0.0
        sleep(1.5)
        assert master.state(ONE) == "draining"
        assert master.state_until(ONE) - time.time() > 3500
        ahead[0] = 7200.0
        ends(master)
    finally:
        master.agenda.stop()
        master.orders.stop()


def test_a_backend_that_goes_and_comes_back_finds_its_order(master: Master) -> None:
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    master.run(snapshot({"blog": SERVICES["blog"]}))
    assert [orphan["id"] for orphan in master.orders.detail()["orphans"]] == [ONE]
    master.run(snapshot(SERVICES))
    assert master.state(ONE) == "draining" and master.orders.detail()["orphans"] == []
    assert master.orders.detail()["backends"][ONE]["order"]["what"] == "drain"
    master.commands.backend("enable", "shop", "/", "10.0.0.1")
    assert master.state(ONE) == "up"


def test_a_backend_that_is_gone_is_not_meant_where_configured_ones_may_be(master: Master) -> None:
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    places = {path: ["http://10.0.0.1:80/a", "https://10.0.0.1:80/b"] for path in ("/api", "/new")}
    master.run(snapshot({"shop": places}))
    answer = master.commands.backend("enable", "shop", "", "10.0.0.1:80")
    assert not answer["ok"] and len(answer["candidates"]) == 4
    assert master.commands.backend("enable", "shop", "/", "10.0.0.1:80")["backend"]["id"] == ONE


@pytest.mark.parametrize(
    ("rest", "service", "path", "url"),
    [
        ({"blog": SERVICES["blog"]}, "shop", "/", "http://10.0.0.1:80"),
        ({"blog": SERVICES["blog"]}, "shop", "", "10.0.0.1:80"),
        ({**SERVICES, "shop": {"/": ["http://10.0.0.2:80"]}}, "shop/", "", "http://10.0.0.1:80/"),
    ],
)
def test_what_is_kept_of_a_backend_that_is_gone_can_be_taken_back(
    master: Master, rest: dict[str, dict[str, list[str]]], service: str, path: str, url: str
) -> None:
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    master.commands.backend("weight", "shop", "/", "10.0.0.1", weight=7)
    master.run(snapshot(rest))
    assert not master.commands.backend("drain", service, path, url)["ok"], "there is nothing to drain"
    assert not master.commands.backend("enable", service, path, "http://10.0.0.9:80")["ok"]
    answer = master.commands.backend("enable", service, path, url, by="bob")
    assert answer["ok"] and answer["changed"] and answer["backend"]["id"] == ONE
    assert answer["notes"] == ["its weight is still 7, should it come back; `weight … file` ends that"]
    assert phrases.changed(answer["backend"], 0.0) == ["shop/ http://10.0.0.1:80 is no longer configured, weight 7"]
    again = master.commands.backend("enable", service, path, url)
    assert again["ok"] and not again["changed"] and again["notes"][0] == "nothing was overridden"
    assert master.commands.backend("weight", service, path, url)["changed"]
    assert master.orders.detail()["orphans"] == []
    master.run(snapshot(SERVICES))
    assert master.state(ONE) == "up" and master.weights() == [2, 2]


def test_an_order_holds_for_all_addresses_of_a_name(tmp_path: Path) -> None:
    addresses = ["10.9.9.1", "10.9.9.2"]

    def expand(given: Snapshot) -> Snapshot:
        def endpoints(backend: Backend) -> tuple[Backend, ...]:
            if backend.host != "blog.test":
                return (backend,)
            return tuple(replace(backend, id=f"{backend.id}@{one}", address=one) for one in addresses)

        services = []
        for service in given.services:
            locations = [
                replace(location, backends=tuple(one for backend in location.backends for one in endpoints(backend)))
                for location in service.locations
            ]
            services.append(replace(service, locations=tuple(locations)))
        return replace(given, services=tuple(services))

    master, name = Master(tmp_path, expand), "blog/ http://blog.test:8080"
    assert master.commands.backend("drain", "blog", "", "blog.test:8080")["backend"]["id"] == name
    assert [master.state(f"{name}@{one}") for one in addresses] == ["draining", "draining"]
    addresses[0] = "10.9.9.3"
    master.run(snapshot(SERVICES))
    assert [master.state(f"{name}@{one}") for one in addresses] == ["draining", "draining"]
    assert set(master.orders.detail()["backends"]) == {f"{name}@{one}" for one in addresses}
    (found,) = master.accounts.why("blog.test:8080")["backends"]
    assert [endpoint["address"] for endpoint in found["endpoints"]] == addresses
    master.commands.backend("enable", "blog", "", "blog.test:8080")
    assert [master.state(f"{name}@{one}") for one in addresses] == ["up", "up"]


def test_of_several_endpoints_the_best_is_told_of(tmp_path: Path) -> None:
    """The first is ejected; what matters is that the others work, or what an operator wants of all."""

    def expand(given: Snapshot) -> Snapshot:
        (service, *rest) = given.services
        (location, *others) = service.locations
        several = tuple(replace(location.backends[0], id=f"{ONE}@{one}", address=one) for one in ("10.9.9.1", "10.9.9.2"))
        return replace(given, services=(replace(service, locations=(replace(location, backends=several), *others)), *rest))

    master = Master(tmp_path, expand)

    def headline() -> tuple[str, str]:
        (found,) = master.accounts.why("10.0.0.1", "shop", "/")["backends"]
        return found["state"], found["reason"]

    master.states.eject(f"{ONE}@10.9.9.1", time.time() + 60, "3 attempts in a row failed")
    assert headline() == ("up", "200 OK")
    master.states.probed(f"{ONE}@10.9.9.2", False, time.time(), "status 500")
    assert headline() == ("ejected", "3 attempts in a row failed")
    answer = master.commands.backend("drain", "shop", "/", "10.0.0.1", seconds=600, reason="a new disk", by="ann")
    assert headline() == ("draining", "a new disk")
    assert answer["backend"]["by"] == "ann" and answer["backend"]["until"] == answer["backend"]["order"]["until"]
    master.states.readmit(f"{ONE}@10.9.9.1", "x")
    assert headline() == ("draining", "a new disk")


def endpoints(*given: str) -> Callable[[Snapshot], Snapshot]:
    """The first backend of shop/ as a name with these endpoints: "ADDRESS" or "ADDRESS ENDING", where the id has an ending."""

    def expand(loaded: Snapshot) -> Snapshot:
        (service, *rest) = loaded.services
        (location, *others) = service.locations
        several = []
        for address, ending in (one.split() for one in given):
            ending = ending.strip("-")
            id_ = f"{ONE}@{ending}" if ending else ONE
            several.append(replace(location.backends[0], id=id_, address=address, endpoint=ending))
        made = replace(location, backends=(*several, *location.backends[1:]))
        return replace(loaded, services=(replace(service, locations=(made, *others)), *rest))

    return expand


FIRST, SECOND = f"{ONE}@10.9.9.1", f"{ONE}@10.9.9.2"


def test_one_endpoint_of_a_name_is_drained_and_enabled(tmp_path: Path) -> None:
    master = Master(tmp_path, endpoints("10.9.9.1 10.9.9.1", "10.9.9.2 10.9.9.2"))
    answer = master.commands.backend("drain", "shop", "/", "10.0.0.1@10.9.9.1", by="ann", reason="a new disk")
    assert answer["ok"] and answer["backend"]["url"] == "http://10.0.0.1:80@10.9.9.1" and answer["backend"]["by"] == "ann"
    assert (master.state(FIRST), master.state(SECOND)) == ("draining", "up")
    (found,) = master.accounts.why(answer["backend"]["url"], "shop", "/")["backends"]
    assert (found["state"], found["reason"], len(found["endpoints"]), len(found["history"])) == ("draining", "a new disk", 1, 1)
    (whole,) = master.accounts.why("10.0.0.1", "shop", "/")["backends"]
    assert whole["state"] == "up" and [one["state"] for one in whole["endpoints"]] == ["draining", "up"]
    told = master.orders.detail()["backends"]
    assert told[FIRST]["order"]["by"] == "ann" and SECOND not in told
    answer = master.commands.backend("enable", "shop", "/", "http://10.0.0.1:80")
    assert not answer["changed"] and "http://10.0.0.1:80@10.9.9.1 is draining" in answer["notes"][1]
    assert master.commands.backend("enable", "shop", "/", "http://10.0.0.1:80@10.9.9.1")["changed"]
    assert master.state(FIRST) == "up"


def test_an_order_for_one_endpoint_goes_before_the_one_for_all(tmp_path: Path) -> None:
    master = Master(tmp_path, endpoints("10.9.9.1 10.9.9.1", "10.9.9.2 10.9.9.2"))
    master.commands.backend("drain", "shop", "/", "10.0.0.1")
    master.commands.backend("maintain", "shop", "/", "10.0.0.1@10.9.9.2")
    assert (master.state(FIRST), master.state(SECOND)) == ("draining", "maintenance")
    answer = master.commands.backend("enable", "shop", "/", "10.0.0.1@10.9.9.2")
    assert answer["notes"][0].startswith("the order for all endpoints of http://10.0.0.1:80 still holds")
    assert master.state(SECOND) == "draining"


def test_an_order_for_an_endpoint_follows_its_address(tmp_path: Path) -> None:
    """The id of an endpoint depends on what the name had before; the order is for the address, alone or among others."""
    master = Master(tmp_path, endpoints("10.9.9.1 -", "10.9.9.2 10.9.9.2"))
    assert master.commands.backend("drain", "shop", "/", "10.0.0.1@10.9.9.1")["ok"]
    assert (master.state(ONE), master.state(SECOND)) == ("draining", "up")
    again = Master(tmp_path, endpoints("10.9.9.1 10.9.9.1", "10.9.9.2 10.9.9.2"))
    assert (again.state(FIRST), again.state(SECOND)) == ("draining", "up")
    gone = Master(tmp_path, endpoints("10.9.9.2 -"))
    assert gone.state(ONE) == "up"
    (orphan,) = gone.orders.detail()["orphans"]
    assert orphan["backend"] == "http://10.0.0.1:80@10.9.9.1"
    assert gone.commands.backend("enable", "shop", "/", "http://10.0.0.1:80@10.9.9.1")["changed"]
    back = Master(tmp_path, endpoints("10.9.9.1 -"))
    assert back.state(ONE) == "up"


@pytest.mark.parametrize(
    ("action", "url", "problem"),
    [
        (
            "drain",
            "10.0.0.1@10.9.9.9",
            "has no endpoint 10.9.9.9; there are http://10.0.0.1:80@10.9.9.1, http://10.0.0.1:80@10.9.9.2",
        ),
        ("drain", "10.0.0.2@10.9.9.1", "http://10.0.0.2:80 has no endpoints"),
        ("drain", "10.0.0.7@10.9.9.1", "has no backend 10.0.0.7"),
        ("weight", "10.0.0.1@10.9.9.1", "a weight is for all endpoints"),
    ],
)
def test_what_is_no_endpoint(tmp_path: Path, action: str, url: str, problem: str) -> None:
    master = Master(tmp_path, endpoints("10.9.9.1 10.9.9.1", "10.9.9.2 10.9.9.2"))
    answer = master.commands.backend(action, "shop", "/", url, weight=3 if action == "weight" else None)
    assert not answer["ok"] and problem in answer["problems"][0] and master.overrides.entries == {}


def test_the_other_master_of_an_upgrade_is_not_overwritten(master: Master, tmp_path: Path) -> None:
    other = Master(tmp_path)
    other.commands.backend("drain", "shop", "/", "10.0.0.1")
    master.commands.backend("drain", "shop", "/", "10.0.0.2")
    assert master.state(ONE) == master.state(TWO) == "draining"


def test_why_without_a_service(master: Master) -> None:
    assert [one["id"] for one in master.accounts.why("10.0.0.1")["backends"]] == [ONE, "shop/api http://10.0.0.1:80/v1"]
    assert "no service has a backend zzz" in master.accounts.why("zzz")["problems"][0]


def test_an_order_with_an_end_gives_the_one_below_it_back(master: Master) -> None:
    from gevent import sleep

    master.orders.start()
    master.commands.backend("drain", "shop", "/", "10.0.0.1", by="alice")
    master.commands.backend("weight", "shop", "/", "10.0.0.1", weight=7)
    master.commands.backend("weight", "shop", "/", "10.0.0.1", weight=0, seconds=0.2)
    answer = master.commands.backend("maintain", "shop", "/", "10.0.0.1", seconds=0.2)["backend"]
    assert (answer["state"], [action["by"] for action in answer["order_after"]]) == ("maintenance", ["alice"])
    assert (answer["weight"], [action["weight"] for action in answer["weight_after"]]) == (0, [7])
    wait_until(lambda: master.state(ONE) == "draining" and master.weights() == [7, 2], pause=sleep)
    (found,) = master.accounts.why("10.0.0.1", "shop", "/")["backends"]
    assert (found["by"], found["order_after"], found["weight_after"]) == ("alice", [], [])


def test_both_masters_of_an_upgrade_follow_what_either_is_told(master: Master, tmp_path: Path) -> None:
    from gevent import sleep

    other = Master(tmp_path)
    other.upgrade.is_under_way = master.upgrade.is_under_way = True
    try:
        for one in (master, other):
            one.orders.start()
        other.commands.backend("maintain", "shop", "/", "10.0.0.1")
        master.commands.backend("weight", "shop", "/", "10.0.0.2", weight=9)
        wait_until(lambda: master.state(ONE) == "maintenance" and other.weights() == [2, 9], pause=sleep)
    finally:
        other.agenda.stop()
        other.orders.stop()


def test_what_the_other_master_was_told_last_holds_when_an_upgrade_is_over(master: Master, tmp_path: Path) -> None:
    other = Master(tmp_path)
    other.upgrade.is_under_way = master.upgrade.is_under_way = True
    other.commands.backend("drain", "shop", "/", "10.0.0.1")
    other.run(snapshot({"blog": SERVICES["blog"]}))
    assert other.orders.detail()["orphans"] == [], "the old master has it still"
    master.upgrade.is_under_way = False
    master.orders.alone()
    assert master.state(ONE) == "draining"
    other.upgrade.is_under_way = False
    other.orders.alone()
    assert [orphan["id"] for orphan in other.orders.detail()["orphans"]] == [ONE]


def test_a_change_wants_a_service(master: Master) -> None:
    answer = master.commands.backend("drain", "", "", "10.0.0.2:80")
    assert answer == {"ok": False, "problems": [f"10.0.0.2:80 of which service? There are {TWO}"], "candidates": [TWO]}
    assert "no service has a backend zzz" in master.commands.backend("drain", "", "", "zzz")["problems"][0]
    assert master.overrides.entries == {}


def test_a_program_may_leave_out_the_service_of_a_backend_that_is_in_one_place(master: Master) -> None:
    assert master.commands.backend("drain", "", "", "10.0.0.2:80", sole=True)["backend"]["id"] == TWO
    for url in ("zzz", "10.0.0.2:80@10.9.9.9", "@", ""):
        assert not master.commands.backend("drain", "", "", url, sole=True)["ok"]
    assert list(master.overrides.entries) == [TWO]
