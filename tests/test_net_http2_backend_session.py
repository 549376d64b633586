"""A connection to a backend that stops reading, or is silent. The socket and the clock are not real."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from terraster.net.http2.backend_session import BackendSession

from .harness.http2 import goaway, settings


class Socket:
    """takes: for each call of `send_now`, True if the socket takes all that it is given."""

    def __init__(self) -> None:
        self.takes: list[bool] = []
        self.kept = 0
        self.closed = False
        self.received: list[bytes] = []

    def send_now(self, data: bytes) -> int:
        self.kept = 0 if not self.takes or self.takes.pop(0) else self.kept + len(data)
        return self.kept

    def recv_now(self) -> bytes | None:
        return self.received.pop() if self.received else None

    def on_writable(self, callback: object) -> None: ...

    def attend(self, callback: object) -> None: ...

    def close(self) -> None:
        self.closed = True


def session(socket: Socket) -> BackendSession:
    loop = SimpleNamespace(run_callback=lambda function, *args: None)
    reactor: Any = SimpleNamespace(loop=loop, horizon=100.0, clock=lambda: 100.0, streams=set())
    plain: Any = SimpleNamespace(reactor=reactor, closed=False, owner=None, writer=None, write_deadline=inf)
    pool: Any = SimpleNamespace(settled=lambda _: None, stir=lambda: None, gone=lambda _: None, left_out=lambda _: None)
    one = BackendSession(socket, plain, pool, 2.0, 100)  # type: ignore[arg-type]
    socket.received = [settings() + settings(ack=True)]
    one._readable()
    one.flush()
    return one


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after it took some"])
def test_a_backend_that_stops_reading_has_the_write_timeout(again) -> None:
    socket = Socket()
    one = session(socket)
    request = one.request(b"\x82", b"GET", True)
    socket.takes = [False]
    one.flush()
    if again:  # the octets that waited leave, and those behind them fill the socket again
        one.request(b"\x82", b"GET", True)
        socket.takes = [True, False]
        one._writable()
    assert one.blocked
    one.overdue(104.0)
    assert (request.gone, socket.closed) == (True, True)
    assert request.fault.reason == "connection_write_timeout"


def test_a_backend_that_reads_on_has_no_write_timeout() -> None:
    socket = Socket()
    one = session(socket)
    request = one.request(b"\x82", b"GET", True)
    socket.takes = [False]
    one.flush()
    one._writable()
    assert not one.blocked
    one.overdue(104.0)
    assert not (request.gone or socket.closed)


@pytest.mark.parametrize("answers", [False, True])
def test_an_answer_to_a_ping_counts_that_has_come_and_is_not_read_yet(answers) -> None:
    """As after a worker stood still: the clock is far ahead, and the sweep is first."""
    socket = Socket()
    one = session(socket)
    request = one.request(b"\x82", b"GET", True)
    one.overdue(111.0)
    one.flush()
    socket.received = [b"\0\0\x08\x06\x01\0\0\0\0is alive"] if answers else []
    one.overdue(130.0)
    assert (request.gone, socket.closed) == (not answers, not answers)


@pytest.mark.parametrize("last, unsent", [(0, True), (1, False)])
def test_a_goaway_that_came_before_a_failed_write_counts(last, unsent) -> None:
    """The request may be sent again if it is above the last one that the backend names."""
    socket = Socket()
    one = session(socket)
    request = one.request(b"\x82", b"POST", True)
    socket.received = [goaway(last)]
    one._over()
    assert (request.gone, request.fault.unsent, socket.closed) == (True, unsent, True)
