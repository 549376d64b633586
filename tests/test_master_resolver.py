"""Look-ups: what hosts file and resolv.conf say, what name servers say and fail to say, and how long it may be used."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terraster.master.discovery import resolv_conf, resolver
from terraster.master.discovery.resolver import Endpoint, Resolution, Resolver, Unresolved

from .harness.name_server import (
    BARE,
    CUT,
    GARBAGE,
    NO_EDNS,
    NOT_THE_ANSWER,
    NXDOMAIN,
    SERVFAIL,
    SILENCE,
    TRUNCATED,
    NameServer,
)
from .harness.ports import free_port
from .harness.waiting import wait_until


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer(ttl=7) as server:
        yield server


@pytest.fixture
def make(tmp_path: Path, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Resolver]:
    """Make a resolver with a hosts file and a resolv.conf of its own, whose servers listen on the scripted one's port."""
    monkeypatch.setattr(resolver, "_PORT", names.port)
    monkeypatch.setattr(resolver, "_RESOLUTION_DELAY", 10.0)  # the scripted server may be slow on a busy machine

    def made(hosts: str = "", system: str = "nameserver 127.0.0.1", nameservers: tuple[str, ...] = ()) -> Resolver:
        (tmp_path / "hosts").write_text(hosts)
        (tmp_path / "resolv.conf").write_text(system)
        return Resolver(nameservers, resolv_conf=str(tmp_path / "resolv.conf"), hosts=str(tmp_path / "hosts"))

    return made


def addresses(answer: Resolution) -> list[str]:
    return [one.address for one in answer.endpoints]


ANSWERS = [
    (["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"]),
    (["10.0.0.10", "10.0.0.9", "10.0.0.9"], ["10.0.0.10", "10.0.0.9"]),
    (["fd00::1"], ["fd00::1"]),  # no A: whether there is a way is not for us to know better
    (["127.0.0.1", "::1"], ["127.0.0.1"]),
    (["::1"], ["::1"]),
]


@pytest.mark.parametrize(("records", "expected"), ANSWERS)
def test_addresses(make, names, records: list[Any], expected: list[str]) -> None:
    names["api.test"] = records
    answer = make().addresses("api.test")
    assert (addresses(answer), answer.ttl) == (expected, 7.0)
    assert {kind for _name, kind, _way in names.asked} == {"A", "AAAA"}


def test_aaaa_counts_where_there_is_a_way(make, names, monkeypatch) -> None:
    names["api.test"] = ["10.0.0.1", "fd00::1", "fd00::2"]
    monkeypatch.setattr(resolver, "_is_reachable", lambda address: address == "fd00::2")
    assert addresses(make().addresses("api.test")) == ["10.0.0.1", "fd00::2"]


def test_a_chain_of_names(make, names) -> None:
    names["api.test"] = "other.test"
    names["other.test"] = ["10.0.0.1"]
    assert addresses(make().addresses("api.test")) == ["10.0.0.1"]
    names["other.test"] = "api.test"
    with pytest.raises(Unresolved, match="no end"):
        make().addresses("api.test")


HOSTS = "10.0.0.1 api.test API2.test # a remark\n\n#10.9.9.9 not.test\nfd00::1\tsix.test\n127.0.0.1 localhost\n::1 localhost\nx.y bad.test\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api.test", ["10.0.0.1"]),
        ("api2.test", ["10.0.0.1"]),
        ("api2.test.", ["10.0.0.1"]),
        ("six.test", ["fd00::1"]),
        ("localhost", ["127.0.0.1"]),
        ("any.localhost", ["127.0.0.1"]),
    ],
)
def test_the_hosts_file_comes_first(make, names, name: str, expected: list[str]) -> None:
    assert addresses(make(HOSTS).addresses(name)) == expected
    assert names.asked == []


def test_the_hosts_file_may_change(make, names, tmp_path) -> None:
    looking = make("10.0.0.1 api.test\n")
    assert addresses(looking.addresses("api.test")) == ["10.0.0.1"]
    (tmp_path / "hosts").write_text("10.0.0.2 api.test # longer\n")
    assert addresses(looking.addresses("api.test")) == ["10.0.0.2"]
    (tmp_path / "hosts").unlink()
    names["api.test"] = ["10.0.0.3"]
    assert addresses(looking.addresses("api.test")) == ["10.0.0.3"]


SEARCHES = [
    ("api", "search a.test b.test", ["api.a.test", "api.b.test", "api"]),
    ("api.c", "search a.test b.test", ["api.c", "api.c.a.test", "api.c.b.test"]),
    ("api.c", "search a.test\noptions timeout:1 ndots:2", ["api.c.a.test", "api.c"]),
    ("api.c.", "search a.test\noptions ndots:5", ["api.c"]),
    ("api", "search x.test\ndomain a.test", ["api.a.test", "api"]),
    ("api", "options ndots:x", ["api"]),
]


@pytest.mark.parametrize(("name", "system", "asked"), SEARCHES)
def test_the_search_list(make, names, name: str, system: str, asked: list[str]) -> None:
    looking = make(system=f"nameserver 127.0.0.1\n{system}\n")
    with pytest.raises(Unresolved, match="there is no such name"):
        looking.addresses(name)
    assert [name for name, kind, _way in names.asked if kind == "A"] == asked
    names[asked[0]] = ["10.0.0.1"]
    assert addresses(looking.addresses(name)) == ["10.0.0.1"]


def test_name_servers_of_our_own_have_no_search_list(make, names) -> None:
    looking = make(system="nameserver 192.0.2.1\nsearch a.test", nameservers=(names.address,))
    names["api.a.test"] = ["10.0.0.1"]
    with pytest.raises(Unresolved):
        looking.addresses("api")
    assert {name for name, _kind, _way in names.asked} == {"api"}


FAILURES = [
    (SERVFAIL, "answers SERVFAIL"),
    (NXDOMAIN, "there is no such name"),
    (SILENCE, "no answer from name server 127.0.0.1"),
    (GARBAGE, "no answer from name server 127.0.0.1"),
    (CUT, "closed the connection"),
]


@pytest.mark.parametrize(("fault", "why"), FAILURES)
def test_failures(make, names, monkeypatch, fault: str, why: str) -> None:
    monkeypatch.setattr(resolver, "_ROUNDS", (0.5, 0.5))
    names["api.test"] = ["10.0.0.1"]
    names.fault = fault
    with pytest.raises(Unresolved, match=why):
        make().addresses("api.test")


@pytest.mark.parametrize("fault", [TRUNCATED, NOT_THE_ANSWER])
def test_what_looks_bad_and_is_not(make, names, fault: str) -> None:
    names["api.test"] = ["10.0.0.1"]
    names.fault = fault
    assert addresses(make().addresses("api.test")) == ["10.0.0.1"]
    assert ("tcp" in {way for _name, _kind, way in names.asked}) == (fault == TRUNCATED)


def test_nobody_listens(make) -> None:
    with pytest.raises(Unresolved, match="cannot be asked: connection refused"):
        make(nameservers=(f"127.0.0.1:{free_port()}",)).addresses("api.test")


def test_a_server_that_failed_is_asked_last(make, names) -> None:
    names["api.test"] = ["10.0.0.1"]
    with NameServer() as silent:
        silent.fault = SILENCE
        looking = make(nameservers=(silent.address, names.address))
        for _ in range(3):
            assert addresses(looking.addresses("api.test")) == ["10.0.0.1"]
        assert silent.count("api.test") == 1


def test_one_family_that_fails_does_not_take_its_addresses_away(make, names, monkeypatch) -> None:
    monkeypatch.setattr(resolver, "_is_reachable", lambda address: True)
    names["api.test"] = ["10.0.0.1", "fd00::1"]
    looking = make()
    before = looking.addresses("api.test")
    names["api.test"] = ["10.0.0.2", "fd00::2"]
    names.faults = {"AAAA": SERVFAIL}
    assert addresses(looking.addresses("api.test", before.endpoints)) == ["10.0.0.2", "fd00::1"]
    names.faults = {"A": SERVFAIL}
    assert addresses(looking.addresses("api.test", before.endpoints)) == ["10.0.0.1", "fd00::2"]
    names.faults = {"A": SERVFAIL, "AAAA": SERVFAIL}
    with pytest.raises(Unresolved, match="SERVFAIL"):
        looking.addresses("api.test", before.endpoints)
    names.faults = {}
    names["api.test"] = ["10.0.0.2"]
    assert addresses(looking.addresses("api.test", before.endpoints)) == ["10.0.0.2"]


def test_addresses_of_one_family_do_not_wait_for_the_other(make, names, monkeypatch) -> None:
    monkeypatch.setattr(resolver, "_RESOLUTION_DELAY", 0.05)
    monkeypatch.setattr(resolver, "_ROUNDS", (30.0, 30.0))
    names["api.test"] = ["10.0.0.1", "fd00::1"]
    names.faults = {"AAAA": SILENCE}
    with gevent.Timeout(15):
        answer = make().addresses("api.test", [Endpoint("10.9.9.9")])
    assert (addresses(answer), answer.ttl) == (["10.0.0.1"], 5.0)


def test_addresses_that_came_late_are_used_the_next_time(make, names, monkeypatch) -> None:
    monkeypatch.setattr(resolver, "_RESOLUTION_DELAY", 0.05)
    monkeypatch.setattr(resolver, "_ROUNDS", (0.5, 30.0))
    monkeypatch.setattr(resolver, "_is_reachable", lambda address: True)
    names["api.test"] = ["10.0.0.1", "fd00::1"]
    names.faults = {"AAAA": SILENCE}
    looking = make()
    assert addresses(looking.addresses("api.test")) == ["10.0.0.1"]
    names.faults = {}  # the second round is answered
    wait_until(lambda: looking._late, "no late answer", pause=gevent.sleep)
    names.faults = {"AAAA": SILENCE}
    answer = looking.addresses("api.test")
    assert (addresses(answer), answer.ttl) == (["10.0.0.1", "fd00::1"], 7.0)


def test_a_family_that_is_never_answered_is_not_asked_for_all_the_time(make, names, monkeypatch) -> None:
    monkeypatch.setattr(resolver, "_RESOLUTION_DELAY", 0.05)
    monkeypatch.setattr(resolver, "_ROUNDS", (0.2, 0.2))
    names["api.test"] = ["10.0.0.1"]
    names.faults = {"AAAA": SILENCE}
    looking = make()
    assert looking.addresses("api.test").ttl == 5.0
    wait_until(lambda: looking._late, "no end of the question", pause=gevent.sleep)
    assert looking.addresses("api.test").ttl == 7.0


def test_a_chain_that_leads_out_of_the_answer_is_followed(make, names) -> None:
    names.fault = BARE
    names["api.test"], names["b.test"], names["c.test"] = "b.test", "c.test", ["10.0.0.1"]
    assert addresses(make().addresses("api.test")) == ["10.0.0.1"]
    names["c.test"] = []
    with pytest.raises(Unresolved, match="it has no address"):
        make().addresses("api.test")
    names["c.test"] = "api.test"
    with pytest.raises(Unresolved, match="no end"):
        make().addresses("api.test")


@pytest.mark.parametrize(("count", "ways"), [(60, {"udp"}), (100, {"udp", "tcp"})])
def test_many_addresses(make, names, count: int, ways: set[str]) -> None:
    """What fits 1232 octets comes over UDP, more over TCP."""
    names["api.test"] = [f"10.0.0.{number}" for number in range(1, count + 1)]
    assert len(make().addresses("api.test").endpoints) == count
    assert {way for _name, _kind, way in names.asked} == ways


def test_a_server_without_edns_is_asked_without(make, names) -> None:
    names.fault = NO_EDNS
    names["api.test"] = ["10.0.0.1"]
    looking = make()
    assert addresses(looking.addresses("api.test")) == ["10.0.0.1"]
    assert names.count("api.test") == 2
    assert addresses(looking.addresses("api.test")) == ["10.0.0.1"]
    assert names.count("api.test") == 3  # remembered


def test_services(make, names) -> None:
    names["_http._tcp.test"] = [(10, 60, 8080, "a.test"), (10, 20, 8081, "b.test"), (20, 0, 8080, "c.test")]
    names["a.test"] = ["10.0.0.1", "10.0.0.2"]
    names["b.test"] = ["10.0.0.1"]
    answer = make().services("_http._tcp.test")
    assert answer.endpoints == (
        Endpoint("10.0.0.1", "a.test", 8080, 60, 10),
        Endpoint("10.0.0.1", "b.test", 8081, 20, 10),
        Endpoint("10.0.0.2", "a.test", 8080, 60, 10),
    )
    names.records.pop("b.test")  # one target that is gone is left out
    assert {one.target for one in make().services("_http._tcp.test", answer.endpoints).endpoints} == {"a.test"}


def test_a_target_that_fails_keeps_what_it_had(make, names) -> None:
    names["_http._tcp.test"] = [(10, 1, 8080, "a.test")]
    names["a.test"] = ["10.0.0.1"]
    before = make().services("_http._tcp.test")
    names.faults = {"A": SERVFAIL, "AAAA": SERVFAIL}
    assert make().services("_http._tcp.test", before.endpoints).endpoints == before.endpoints
    with pytest.raises(Unresolved, match="none of its SRV targets resolves: name server .* SERVFAIL"):
        make().services("_http._tcp.test")


def test_records_of_one_place_count_together(make, names) -> None:
    names["_http._tcp.test"] = [(10, 5, 80, "a.test"), (20, 7, 80, "a.test"), (20, 1, 81, "a.test")]
    names["a.test"] = ["10.0.0.1"]
    answer = make().services("_http._tcp.test")
    assert answer.endpoints == (Endpoint("10.0.0.1", "a.test", 80, 12, 10), Endpoint("10.0.0.1", "a.test", 81, 1, 20))


@pytest.mark.parametrize(
    ("records", "why"), [([], "no SRV record"), ([(0, 0, 0, ".")], "no such service")], ids=["empty", "not offered"]
)
def test_no_services(make, names, records: list[Any], why: str) -> None:
    names["_http._tcp.test"] = records
    with pytest.raises(Unresolved, match=why):
        make().services("_http._tcp.test")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", ".".join(["x" * 60] * 5)])
def test_what_is_no_name(make, name: str) -> None:
    with pytest.raises(Unresolved):
        make().addresses(name)


WEIGHTS = [([0], [1]), ([0, 0], [1, 1]), ([10, 30], [1, 3]), ([5, 3, 1, 1], [5, 3, 1, 1]), ([65535, 1], [256, 1])]


@pytest.mark.parametrize(("weights", "expected"), WEIGHTS)
def test_weights(weights: list[int], expected: list[int]) -> None:
    assert resolver._scaled(weights) == expected


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_weights_keep_their_order_and_stay_small(weights: list[int]) -> None:
    scaled = resolver._scaled(weights)
    assert all(1 <= one <= 256 for one in scaled)
    pairs = sorted(zip(weights, scaled, strict=True))
    assert [one for _weight, one in pairs] == sorted(scaled)


@given(st.binary(max_size=200))
def test_no_octets_are_an_answer_to_what_they_do_not_answer(data: bytes) -> None:
    assert resolver._read(data, resolver.dns.message.make_query("api.test", "A")) is None


@given(st.text(alphabet="nameserv\n search.options:dt1#;-\0é", max_size=200))
def test_no_file_is_too_strange(text: str) -> None:
    assert resolv_conf.parse_resolv_conf(text).servers
    resolv_conf.parse_hosts(text)


def test_waiting_is_cooperative_and_without_threads(names) -> None:
    """In a process made fit to be the master, with a name server that says nothing: the hub turns on, and nobody starts a thread."""
    names.fault = SILENCE
    program = """
import os, sys, threading
from terraster.master import patching
patching.patch()
import gevent
from terraster.master.discovery.resolver import Resolver, Unresolved
turns = 0
def turn():
    global turns
    while True:
        turns += 1
        gevent.sleep(0.01)
gevent.spawn(turn)
resolver = Resolver((sys.argv[1],))
asking = gevent.spawn(resolver.addresses, "api.test")
while turns < 20:
    gevent.sleep(0.01)
assert not asking.ready()
assert len(resolver._sockets) == 2, resolver._sockets
pid = os.fork()
if not pid:
    held = set(resolver._sockets)
    resolver.abandon()
    links = [os.readlink(f"/proc/self/fd/{fd}") if os.path.exists(f"/proc/self/fd/{fd}") else "" for fd in held]
    os._exit(1 if any(link.startswith("socket:") for link in links) else 0)
assert os.waitpid(pid, 0)[1] == 0
asking.kill()
assert not resolver._sockets
assert threading.active_count() == 1, threading.enumerate()
with open("/proc/self/status") as status:
    assert "Threads:\\t1\\n" in status.read()
"""
    subprocess.run([sys.executable, "-c", program, names.address], check=True, timeout=20)


def test_many_look_ups_share_a_server(make, names) -> None:
    for number in range(100):
        names[f"name{number}.test"] = [f"10.0.0.{number}"]
    looking = make()
    began = time.monotonic()
    found = gevent.joinall([gevent.spawn(looking.addresses, f"name{number}.test") for number in range(100)], timeout=10)
    assert [addresses(one.get()) for one in found] and time.monotonic() - began < 8
    assert not looking._sockets
    assert threading.active_count() < 20
