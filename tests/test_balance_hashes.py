"""Hashes: what belongs to whom, what moves when somebody goes, and how much anyone may have at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terraster.balance.contract import Balancer, Member
from terraster.balance.keys import cookies, key_of
from terraster.balance.registry import make
from terraster.balance.ring import MOST, POINTS, Ring
from terraster.config.snapshot import Location
from terraster.errors import ConfigError
from terraster.exchange import Exchange
from terraster.state.cells import BackendCells
from terraster.wire.http1 import parse_request
from tests.harness.balancing import World, backend


def ask(client: str = "192.0.2.1", target: str = "/", fields: Sequence[str] = ()) -> Exchange:
    """A request as the proxy hands it to a balancer."""
    lines = [f"GET {target} HTTP/1.1", "Host: a", *fields, "", ""]
    head = parse_request("\r\n".join(lines).encode(), 65536, 100)
    exchange = Exchange(0.0, 0.0, client, client, "http", head)
    path, _, query = target.partition("?")
    exchange.path, exchange.query = path.encode(), query.encode()
    return exchange


def clients(count: int) -> list[Exchange]:
    return [ask(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}") for number in range(count)]


def held(balancer: Balancer, exchange: Exchange, tried: Sequence[Member] = ()) -> int | None:
    """The backend of a request that is done at once."""
    member = balancer.pick(exchange, tried, 0.0)
    if member is None:
        return None
    balancer.done(member, False, 0.0)
    return member.slot


# ---------------------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("hash_on", "exchange", "key"),
    [
        ("client-ip", ask("192.0.2.7"), b"192.0.2.7"),
        ("client-ip", ask("unix"), b"unix"),
        ("client-ip", ask("2001:db8:1:2:3:4:5:6"), bytes.fromhex("20010db800010002")),
        ("client-ip", ask("fe80::1%eth0"), bytes.fromhex("fe80000000000000")),
        ("client-ip", ask("::ffff:192.0.2.7"), b"192.0.2.7"),
        ("client-ip", ask("half:an:address"), b"half:an:address"),
        ("path", ask(target="/a/b?c"), b"/a/b"),
        ("header:X-User", ask(fields=["x-user: ann", "X-User: bob"]), b"ann"),
        ("header:X-User", ask("192.0.2.7"), b"192.0.2.7"),
        ("header:X-User", ask("192.0.2.7", fields=["X-User:"]), b"192.0.2.7"),
        ("cookie:sid", ask(fields=["Cookie: a=1; sid=2; sid=3"]), b"2"),
        ("cookie:sid", ask("192.0.2.7", fields=["Cookie: asid=2; side=1"]), b"192.0.2.7"),
        ("query:u", ask(target="/?uu=1&u=%41&u=3"), b"%41"),
        ("query:u", ask("192.0.2.7", "/?u&v=1"), b"192.0.2.7"),
    ],
)
def test_keys(hash_on: str, exchange: Exchange, key: bytes) -> None:
    assert key_of(hash_on)(exchange) == key


@pytest.mark.parametrize("hash_on", ["", "header:", "cookie", "moon", "client-ip:x"])
def test_a_key_that_is_none(hash_on: str) -> None:
    with pytest.raises(ConfigError, match="hashed by nothing known"):
        make(Location("s/", "/", "consistent-hash", hash_on=hash_on), [])


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ([], []),
        (["Cookie: s=1"], [b"1"]),
        (["Cookie: s=1;s=2 ; t=s=3"], [b"1", b"2"]),
        (["cookie: t=0", "COOKIE: s=a=b=="], [b"a=b=="]),
        (['Cookie: s="q"; s=""; s="'], [b"q", b"", b'"']),
        (["Cookie: s", "Cookie: ;=;; s=;", "Cookies: s=4"], [b""]),
    ],
)
def test_cookies(fields: list[str], values: list[bytes]) -> None:
    assert list(cookies(ask(fields=fields), b"s")) == values


# ---------------------------------------------------------------------------------------------------------------------------- ring


@given(st.lists(st.integers(1, 20), min_size=2, max_size=10), st.data())
@settings(max_examples=30)
def test_one_that_goes_moves_only_its_own(weights: list[int], data: st.DataObject) -> None:
    members = [(f"b{place}", weight) for place, weight in enumerate(weights)]
    gone = data.draw(st.integers(0, len(weights) - 1))
    before, after = Ring(members), Ring(members[:gone] + members[gone + 1 :])
    for number in range(300):
        key = b"%d" % number
        owner = before.members[before.owners[before.place(key)]]
        if owner != members[gone]:
            assert after.members[after.owners[after.place(key)]] == owner


@pytest.mark.parametrize("weights", [[1] * 10, [5, 3, 1, 1]])
def test_keys_are_shared_out_by_weight(weights: list[int]) -> None:
    ring = Ring([(f"b{place}", weight) for place, weight in enumerate(weights)])
    had = Counter(ring.owners[ring.place(b"%d" % number)] for number in range(20_000))
    for place, weight in enumerate(weights):
        assert had[place] / 20_000 == pytest.approx(weight / sum(weights), rel=0.25)


def test_everybody_comes_once_after_any_place() -> None:
    ring = Ring([(f"b{place}", weight) for place, weight in enumerate([3, 0, 1, 1])])
    for place in range(len(ring.owners)):
        assert sorted([ring.owners[place], *ring.after(place)]) == [0, 2, 3]


def test_a_ring_stays_small_whatever_the_weights() -> None:
    members = [("heavy", 1_000_000), ("b", 1000), ("c", 1)]
    ring = Ring(members)
    assert len(ring.owners) <= MOST and set(ring.owners) == {0, 1, 2}
    less = Ring([("heavy", 2_000_000), ("b", 1000), ("c", 1)])  # halved once more: hardly anything moves
    keys = [b"%d" % number for number in range(2000)]
    moved = sum(ring.owners[ring.place(key)] != less.owners[less.place(key)] for key in keys)
    assert moved < 20
    assert len(Ring([("a", 1)]).owners) == POINTS


def test_a_ring_is_the_same_in_another_process() -> None:
    code = "from terraster.balance.ring import Ring; r = Ring([('a', 1), ('b', 2)]); print([r.owners[r.place(b'%d' % n)] for n in range(50)])"
    ring = Ring([("a", 1), ("b", 2)])
    environ = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([ring.owners[ring.place(b"%d" % number)] for number in range(50)])


# ---------------------------------------------------------------------------------------------------------------------- balancers


@pytest.mark.parametrize("policy", ["ip-hash", "consistent-hash"])
def test_a_client_stays_in_every_worker(policy: str) -> None:
    world = World([1] * 5, policy, workers=3)
    for exchange in clients(200):
        assert len({held(balancer, exchange) for balancer in world.balancers}) == 1


def test_a_whole_network_of_ipv6_is_one_client() -> None:
    (balancer,) = World([1] * 10, "ip-hash", workers=1).balancers
    assert len({held(balancer, ask(f"2001:db8:0:7::{host:x}")) for host in range(1, 200)}) == 1
    assert len({held(balancer, ask(f"2001:db8:0:{net:x}::1")) for net in range(200)}) == 10


@pytest.mark.parametrize("policy", ["ip-hash", "consistent-hash"])
def test_one_of_ten_down_moves_a_tenth_and_comes_back(policy: str) -> None:
    world = World([1] * 10, policy, workers=1)
    (balancer,) = world.balancers
    asked = clients(3000)
    before = [held(balancer, exchange) for exchange in asked]
    world.admit(4, BackendCells.NONE)
    during = [held(balancer, exchange) for exchange in asked]
    moved = [(one, other) for one, other in zip(before, during, strict=True) if one != other]
    assert {one for one, _ in moved} == {4}
    assert 0.06 < len(moved) / len(asked) < 0.14
    assert len({other for _, other in moved}) == 9  # not all to one
    world.admit(4, BackendCells.RAMPING, ramp=1)  # its keys are its own: no slow start
    assert [held(balancer, exchange) for exchange in asked] == before


def test_the_tried_and_the_full_go_on_round_the_ring() -> None:
    world = World([1] * 4, "ip-hash", workers=1)
    (balancer,) = world.balancers
    tried: list[Member] = []
    for _ in range(4):
        member = balancer.pick(ask(), tried, 0.0)
        assert member is not None
        tried.append(member)
    assert len(set(tried)) == 4
    assert balancer.pick(ask(), tried, 0.0) is None
    limited = Location("s/", "/", "ip-hash", backends=tuple(backend(place, max_connections=1) for place in range(3)))
    (balancer,) = World([1] * 3, limited, workers=1).balancers
    assert sorted(member.slot for _ in range(3) if (member := balancer.pick(ask(), (), 0.0))) == [0, 1, 2]
    assert balancer.pick(ask(), (), 0.0) is None


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.floats(1.0, 3.0), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_nobody_has_more_than_the_factor_allows(weights: list[int], factor: float, requests: int) -> None:
    world = World(weights, Location("s/", "/", "consistent-hash", hash_on="path", hash_balance_factor=factor))
    for number in range(requests):
        member = world.balancers[number % 2].pick(ask(target="/hot"), (), 0.0)
        assert member is not None
        limit = ceil(factor * sum(world.active()) * member.weight / sum(weights) - 1e-9)
        assert member.active() <= limit


def test_without_a_factor_one_key_is_one_backend() -> None:
    (balancer,) = World([1] * 4, Location("s/", "/", "consistent-hash", hash_on="path"), workers=1).balancers
    assert len({member.slot for _ in range(20) if (member := balancer.pick(ask(target="/hot"), (), 0.0))}) == 1


def test_the_bound_gives_way_to_the_last_one_there_is() -> None:
    (balancer,) = World(
        [1, 1], Location("s/", "/", "consistent-hash", hash_on="path", hash_balance_factor=1.0), workers=1
    ).balancers
    first = balancer.pick(ask(), (), 0.0)
    assert first is not None
    assert all(balancer.pick(ask(), (first,), 0.0) is not None for _ in range(3))


def test_a_reload_shares_the_ring_where_it_is_the_same() -> None:
    location = Location("s/", "/", "consistent-hash", hash_on="path")
    world = World([1, 2], location, workers=1)
    (old,) = world.balancers
    old.prepare()
    for weights, shared in ([1, 2], True), ([2, 1], False):
        new = World(weights, location, workers=1).balancers[0]
        new.resume_from(old)
        new.prepare()
        assert (new._ring is old._ring) is shared  # type: ignore[attr-defined]


def test_a_ring_for_each_tier() -> None:
    backends = tuple(replace(backend(place), priority=int(place > 2)) for place in range(6))
    world = World([1] * 6, Location("s/", "/", "consistent-hash", hash_on="path", backends=backends), workers=1)
    (balancer,) = world.balancers
    asked = [ask(target=f"/{number}") for number in range(100)]
    assert {held(balancer, exchange) for exchange in asked} == {0, 1, 2}
    for place in range(3):
        world.admit(place, BackendCells.NONE)
    assert {held(balancer, exchange) for exchange in asked} == {3, 4, 5}
