"""Idle connections that serve one client each. Connections, clients and the clock are not real."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.config.snapshot import ConnectionPool
from terraster.net import private_pool
from terraster.net.private_pool import PrivatePool
from terraster.net.stream import Stream
from terraster.net.upstream import Upstream as RealUpstream
from terraster.state.table import Table
from terraster.state.view import SeatView


class House:
    """A pool and a client."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        timer = SimpleNamespace(active=False, start=lambda _: None, stop=lambda: None, close=lambda: None)
        reactor: Any = SimpleNamespace(clock=lambda: self.now, loop=SimpleNamespace(timer=lambda *_: timer))
        view = SeatView(Table(4, 4, 2))
        view.sit(1)
        monkeypatch.setattr(private_pool, "proxy_header", lambda *_: b"PROXY")
        self.pool = PrivatePool(reactor, ConnectionPool(), view, 0, "v1")
        self.client = SimpleNamespace(private=None, stream=SimpleNamespace(closed=False))
        self.exchange: Any = SimpleNamespace(connection=self.client)

    def upstream(self) -> Any:
        return Upstream(self.client)


class Upstream(RealUpstream):
    """The facts of a connection to a backend."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.plain = self.stream = Stream.__new__(Stream)
        self.stream.ready = self.stream.buffers = False
        self.since = inf
        self.header = b"PROXY"
        self.phase = ""
        self.doubtful = self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    return House(monkeypatch)


def test_a_client_gets_its_own_connection_again(house: House) -> None:
    one = house.upstream()
    house.pool.keep(one)
    assert house.pool.take(house.exchange, False) is one
    assert house.pool.take(house.exchange, False) is None and not house.client.private


def test_while_connections_are_used_once_only_none_is_used_again(house: House) -> None:
    """Also one that is kept already."""
    one = house.upstream()
    house.pool.keep(one)
    house.pool._fresh_until = house.now + 10.0
    assert house.pool.take(house.exchange, False) is None
    house.now += 11.0
    assert house.pool.take(house.exchange, False) is one


def test_when_reuse_breaks_three_times_in_a_row_all_are_closed_and_none_is_kept_for_a_while(house: House) -> None:
    one, two, three = (house.upstream() for _ in range(3))
    house.pool.keep(one)
    assert [house.pool.reuse_failed() for _ in range(3)] == [1, 2, 3]
    assert one.closed and not house.pool.idle and not house.client.private
    house.pool.keep(two)
    assert two.closed and house.pool.take(house.exchange, False) is None
    house.now += 11.0
    house.pool.keep(three)
    assert house.pool.take(house.exchange, False) is three


def test_of_a_hedged_request_one_connection_is_kept(house: House) -> None:
    one, two = house.upstream(), house.upstream()
    house.pool.keep(one)
    house.pool.keep(two)
    assert one.closed and house.client.private == {house.pool: two}
    assert list(house.pool.idle) == [two]
