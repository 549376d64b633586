"""`Acceptor`: how often the kernel is asked for connections."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from terraster.config.snapshot import Listener
from terraster.net.reactor import Reactor
from terraster.worker.accept import Acceptor

from .harness.waiting import wait_until


class Listening:
    """A listening socket that counts how often it is asked in vain. tells: it says how many wait. turns: those of the loop that asked."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._sock.setblocking(False)
        self.in_vain = 0
        self.tells = True
        self.turns: set[int] = set()

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if size and not self.tells:
            return bytes(size)
        return self._sock.getsockopt(level, option, size) if size else self._sock.getsockopt(level, option)

    def _accept(self) -> Any:
        self.turns.add(gevent.get_hub().loop.iteration)
        try:
            return self._sock._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            self.in_vain += 1
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def run(test: Callable[[Listening, list[Any]], None], acceptors: int = 1) -> None:
    """With a socket that is accepted from, by this many acceptors, and those accepted."""
    listening, made = Listening(), []
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    reactor = Reactor()
    started = [
        Acceptor(
            reactor, Listener(address), listening, lambda *one: made.append(one[0]), lambda: 1000, lambda: 1000, lambda error: False
        )
        for _ in range(acceptors)
    ]
    for acceptor in started:
        acceptor.start()
    try:
        gevent.spawn(test, listening, made).get(timeout=20)
    finally:
        for acceptor in started:
            acceptor.close()
        for one in made:
            one.close()


@pytest.mark.parametrize("acceptors", [1, 3])
def test_nobody_asks_in_vain_for_one_client_after_the_other(acceptors: int) -> None:
    """Also not those that wake up for the client of another."""

    def test(listening: Listening, made: list[Any]) -> None:
        for number in range(20):
            with socket.create_connection(listening.getsockname()):
                wait_until(lambda many=number: len(made) > many, pause=gevent.sleep)  # type: ignore[misc]
                gevent.sleep(0.002)
        assert listening.in_vain <= 2

    run(test, acceptors)


@pytest.mark.parametrize("tells", [True, False])
def test_many_at_once_are_all_accepted(tells: bool) -> None:
    def test(listening: Listening, made: list[Any]) -> None:
        listening.tells = tells
        clients = [socket.create_connection(listening.getsockname()) for _ in range(100)]
        wait_until(lambda: len(made) == 100, pause=gevent.sleep)
        for client in clients:
            client.close()
        assert len(listening.turns) <= 9  # 16 in each, but one in the first if the number is not known
        assert listening.in_vain <= 1

    run(test)
