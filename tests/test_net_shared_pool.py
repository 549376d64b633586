"""The HTTP/2 connections to one backend, of which requests ask the pool for one. Connections and waits are not real."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from terraster.config.snapshot import Backend, ConnectionPool
from terraster.net.http2 import shared_pool
from terraster.net.http2.shared_pool import SharedPool
from terraster.net.origin import Origin
from terraster.state.cells import SeatBackend
from terraster.state.table import Table
from terraster.state.view import SeatView


class Connection:
    """The facts of a connection. room: requests that it takes"""

    def __init__(self, pool: SharedPool, room: int, settled: bool) -> None:
        self.pool = pool
        self.requests: set[object] = set()
        self.room = room
        self.codec = SimpleNamespace(settled=settled, allowed=room)
        self.since = inf
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.pool.gone(self)  # type: ignore[arg-type]


class Waits:
    """The waits of requests, in place of `terraster.net.reactor.Wakeup`."""

    def __init__(self) -> None:
        self.hub = getcurrent()
        self.woken: list[object] = []

    def __call__(self, reactor: object) -> Any:
        wait = SimpleNamespace(wait=lambda seconds: self.hub.switch())
        wait.wake = lambda: self.woken.append(wait)
        return wait


def reactor() -> Any:
    timer = SimpleNamespace(active=False, start=lambda _: None, stop=lambda: None, close=lambda: None)
    return SimpleNamespace(clock=lambda: 100.0, loop=SimpleNamespace(timer=lambda *_: timer))


def view() -> SeatView:
    one = SeatView(Table(4, 4, 2))
    one.sit(1)
    return one


class House:
    """A pool whose connections are made at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, max_open: int) -> None:
        self.waits = Waits()
        monkeypatch.setattr(shared_pool, "Wakeup", self.waits)
        self.made: list[Connection] = []
        self.room = 8
        self.settled = True
        self.view = view()
        self.pool = SharedPool(reactor(), ConnectionPool(max_open=max_open), self.view, 0, self._connect)  # type: ignore[arg-type]

    def _connect(self, timeout: float, write: float, allowed: int) -> Connection:
        self.made.append(Connection(self.pool, self.room, self.settled))
        return self.made[-1]

    def ask(self, fresh: bool = False) -> tuple[greenlet, list[Any]]:
        """A request that asks for a connection, and what it has got."""
        got: list[Any] = []
        asking = greenlet(lambda: got.append(self.pool.session(False, fresh, 5.0, 0.0)))
        asking.switch()
        return asking, got

    def open(self) -> int:
        """Connections that count as open."""
        return int(self.view.q[self.view.backends + SeatBackend.OPEN])


@pytest.mark.parametrize("fresh, room", [(True, 8), (False, 0)], ids=["fresh", "no room"])
def test_at_the_limit_an_idle_connection_that_a_request_cannot_use_makes_room(monkeypatch, fresh, room) -> None:
    """Else the request would wait for what no other request will ever give back."""
    house = House(monkeypatch, max_open=1)
    house.ask()
    house.made[0].room = room
    house.pool.rests(house.made[0])  # type: ignore[arg-type]
    _, got = house.ask(fresh=fresh)
    assert got == house.made[1:] and len(got) == 1
    assert house.made[0].closed and house.open() == 1


def test_an_idle_connection_with_room_is_used(monkeypatch) -> None:
    house = House(monkeypatch, max_open=1)
    house.ask()
    house.pool.rests(house.made[0])  # type: ignore[arg-type]
    assert house.ask()[1] == house.made
    assert not house.made[0].closed and house.open() == 1


def test_a_connection_whose_backend_allows_no_streams_is_not_kept(monkeypatch) -> None:
    house = House(monkeypatch, max_open=0)
    house.room = 0
    for _ in range(3):
        house.ask()
        house.pool.rests(house.made[-1])  # type: ignore[arg-type]
    assert [one.closed for one in house.made] == [True] * 3
    assert (house.open(), len(house.pool.idle)) == (0, 0)


def test_all_who_wait_for_the_settings_of_a_connection_hear_of_its_end(monkeypatch) -> None:
    """The first of them may be about to leave, and would tell no other."""
    house = House(monkeypatch, max_open=0)
    house.settled, house.room = False, 0
    house.ask()
    waiting = [house.ask() for _ in range(3)]
    assert not any(got for _, got in waiting)
    house.waits.woken.clear()
    house.pool.gone(house.made[0])  # type: ignore[arg-type]
    assert len(set(map(id, house.waits.woken))) == 3
    assert house.open() == 0


def test_connections_for_upgrades_obey_the_limits_of_a_reload() -> None:
    backend = Backend("b", "http://127.0.0.1:1", "http", "127.0.0.1", 1, http2=True)
    origin = Origin(reactor(), backend, 0, ConnectionPool(max_open=5), view(), None)  # type: ignore[arg-type]
    assert origin.for_upgrades().pool.limits.max_open == 5
    origin.pool.limit(ConnectionPool(max_open=1))
    assert origin.for_upgrades().pool.limits.max_open == 1
