"""Parked connections over TLS: a client of the standard library, with a worker's data plane on fake sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from terraster.net.parked import PARK

from .harness.authority import Authority
from .playbook.stage import Stage, config
from .playbook.world import Connection

CA = Authority()
ASK = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
SOON = PARK + 0.4


class Client:
    """A client that has been served once. ended: True once it got a close_notify"""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.wire = Connection("client")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ended = False
        self._tls = ssl.create_default_context(cadata=CA.root.decode()).wrap_bio(self._in, self._out, server_hostname="a.test")
        stage.accept(self.wire, "10.9.9.9", 40_000, "127.0.0.1:80")
        self._pump(self._tls.do_handshake)
        assert self.ask().endswith(b"here")

    def _pump(self, act: Callable[[], Any]) -> Any:
        """Do it, with as many round trips as it takes."""
        for _ in range(10):
            with suppress(ssl.SSLWantReadError):
                return act()
            self.wire.deliver(self._out.read())
            self.settle()
        raise AssertionError("nothing comes")

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass, and take what has come."""
        if seconds:
            self.stage.hub.advance(seconds)
        else:
            self.stage.hub.settle()
        self._in.write(bytes(self.wire.sent))
        self.wire.sent.clear()

    def records(self, data: bytes) -> bytes:
        """The records of this data."""
        self._tls.write(data)
        return self._out.read()

    def read(self) -> bytes:
        """What has come."""
        said = b""
        with suppress(ssl.SSLWantReadError):
            while not self.ended:
                piece = self._tls.read(65536)
                self.ended = not piece
                said += piece
        return said

    def ask(self, data: bytes = ASK) -> bytes:
        """The answer to a request."""
        self.wire.deliver(self.records(data))
        self.settle()
        return self.read()

    @property
    def carried(self) -> bool:
        """True if a greenlet carries the connection."""
        return bool(self.stage.hub.greenlets)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> str:
    chain, key = CA.issue("a.test").write(tmp_path_factory.mktemp("certificate"))
    return f"{{cert_file: {chain}, key_file: {key}}}"


@pytest.fixture
def client(tls: str) -> Iterator[Client]:
    location = "respond: {status: 200, body: here}"
    stage = Stage(config(location=location, service=f"tls: {tls}", top="timeouts: {keepalive: 4s}"))
    try:
        client = Client(stage)
        client.settle(SOON)
        assert not client.carried and len(stage.clients) == 1
        yield client
        assert not stage.defects
    finally:
        stage.hub.end()


def test_the_next_request_is_answered_and_those_that_came_with_it(client: Client) -> None:
    assert client.ask(ASK + ASK).count(b"here") == 2
    client.settle(SOON)
    assert not client.carried
    assert client.ask().endswith(b"here")


def test_a_request_in_single_octets_of_records(client: Client) -> None:
    for octet in client.records(ASK):
        client.wire.deliver(bytes([octet]))
        client.settle()
    assert client.read().endswith(b"here")


def test_the_end_leaves_with_the_last_answer(client: Client) -> None:
    before = client.wire.sends
    assert client.ask(ASK[:-2] + b"Connection: close\r\n\r\n").endswith(b"here")
    assert client.ended and client.wire.sends == before + 1


def test_a_part_of_a_record_is_waited_for_without_a_greenlet_and_prolongs_nothing(client: Client) -> None:
    record = client.records(ASK)
    client.wire.deliver(record[:20])
    client.settle()
    assert client.carried
    client.settle(SOON)
    assert not client.carried and not client.wire.ended
    client.wire.deliver(record[20:30])
    client.settle(4.0 - 2 * SOON - 0.5)
    assert not client.wire.ended
    client.settle(1.0)
    client.read()
    assert client.ended and client.wire.ended == "FIN" and not client.stage.clients


def test_it_is_not_lost_either(client: Client) -> None:
    record = client.records(ASK)
    client.wire.deliver(record[:20])
    client.settle(SOON)
    assert not client.carried
    client.wire.deliver(record[20:])
    client.settle()
    assert client.read().endswith(b"here")


def test_the_moment_that_a_drain_leaves_is_not_prolonged_by_parts_of_a_record(client: Client) -> None:
    record = client.records(ASK)
    client.stage.drain()
    for at in range(17):
        if not client.wire.ended:
            client.wire.deliver(record[at : at + 1])
        client.settle(0.17)
    client.read()
    assert client.ended and client.wire.ended == "FIN" and not client.stage.clients


def test_a_request_within_this_moment_is_answered(client: Client) -> None:
    client.stage.drain()
    client.settle(1.5)
    assert client.ask().endswith(b"here")
    client.settle(0.1)
    client.read()
    assert client.ended


def test_the_end_is_said_when_the_time_is_over(client: Client) -> None:
    client.settle(4.0)
    client.read()
    assert client.ended and client.wire.ended == "FIN" and not client.stage.clients


@pytest.mark.parametrize("end", ("finish", "leave", "break_off"))
def test_a_client_that_goes_is_over(client: Client, end: str) -> None:
    getattr(client.wire, end)()
    client.settle(0.1)
    assert not client.stage.clients and not client.carried
