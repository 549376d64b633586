"""Calls of gRPC and WebSockets over HTTP/2, one after the other, while configurations, masters and workers change under them."""

from __future__ import annotations

import itertools
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from ..harness.backends import Backend, websocket_echo
from ..harness.grpc_server import GrpcServer
from ..harness.http2_client import DATA, GOAWAY, Http2, frame, masked
from ..harness.sizes import times
from ..harness.terraster_process import Terraster, service
from ..harness.waiting import DEADLINE, wait_until
from .test_grpc import Client, to
from .test_upgrades import upgraded


class Asker(threading.Thread):
    """Does one thing again and again until it is told to end.

    made: how often, failures included; failed: how each failure looked
    """

    def __init__(self, once: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.once = once
        self.made = 0
        self.failed: list[str] = []
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.wait(0.005):
            try:
                self.once()
            except (grpc.RpcError, OSError, AssertionError) as error:
                self.failed.append(repr(error))
            self.made += 1


class Calls(Client):
    """Calls of each kind over one channel."""

    def unary_call(self) -> None:
        assert self.unary("Echo", b"x" * 100) == b"x" * 100

    def server_stream(self) -> None:
        assert list(self.stream("Count", b"30")) == [b"%d" % number for number in range(30)]

    def client_stream(self) -> None:
        size = self.channel.stream_unary("/t.T/Size")
        assert size(iter([b"x" * 100] * 30), timeout=DEADLINE) == b"30 3000"

    def both_streams(self) -> None:
        chat = self.channel.stream_stream("/t.T/Chat")
        messages = [b"%d." % number for number in range(10)]
        assert list(chat(iter(messages), timeout=DEADLINE)) == [message[::-1] for message in messages]


class WebSockets:
    """Opens one WebSocket after another, over one connection as long as that takes more."""

    def __init__(self, proxy: Terraster) -> None:
        self.proxy = proxy
        self.client: Http2 | None = None

    def __enter__(self) -> WebSockets:
        return self

    def __exit__(self, *_: object) -> None:
        if self.client is not None:
            self.client.connection.close()

    def once(self) -> None:
        """A WebSocket from its begin to its end. If a GOAWAY says that it was not begun, it begins again on another connection."""
        while True:
            client = self.client = self.client or Http2(self.proxy.connect())
            fine = False
            try:
                fine = self._talk(client)
                if fine:
                    return
            finally:
                if not fine:
                    self.client = None
                    client.connection.close()

    @staticmethod
    def _talk(client: Http2) -> bool:
        """False if it was not begun."""
        if any(one.kind == GOAWAY for one in client.frames):
            return False
        number = client.websocket(host="chat.test")
        answer = client.answers[number]
        while not answer.fields:
            if any(one.kind == GOAWAY and one.last < number for one in client.frames):
                return False
            assert client.read() is not None, "the connection ended without a word"
        assert answer.status == 200
        for payload in (b"one", b"two" * 20):
            before = len(answer.body)
            client.send(frame(DATA, 0, number, masked(payload)))
            client.until(lambda: len(answer.body) >= before + 2 + len(payload))  # noqa: B023
            assert answer.body[before:] == bytes((0x82, len(payload))) + payload
        client.send(frame(DATA, 0, number, masked(struct.pack(">H", 1000), 8)))
        assert client.answer(number).ended
        return True


class Crowd:
    """All clients at once."""

    def __init__(self, proxy: Terraster, stack: ExitStack) -> None:
        self._stack = stack
        self.calls = []
        for _ in range(2):
            calls = stack.enter_context(Calls(proxy))
            self.calls += [Asker(once) for once in (calls.unary_call, calls.server_stream, calls.client_stream, calls.both_streams)]
        sockets = [stack.enter_context(WebSockets(proxy)) for _ in range(2)]
        self.askers = [*self.calls, *(Asker(one.once) for one in sockets)]

    @property
    def failed(self) -> list[str]:
        return [one for asker in self.askers for one in asker.failed]

    def all_ask(self) -> None:
        """Each has begun and ended once more."""
        before = [asker.made for asker in self.askers]
        wait_until(
            lambda: all(asker.made > seen + 1 for asker, seen in zip(self.askers, before, strict=True)),
            lambda: f"{before} {[asker.made for asker in self.askers]} {self.failed}",
        )

    def end(self) -> None:
        """All end what they do, and leave."""
        for asker in self.askers:
            asker.done.set()
        for asker in self.askers:
            asker.join(2 * DEADLINE)
            assert not asker.is_alive()
        self._stack.close()


@pytest.fixture
def servers(stack: ExitStack) -> list[GrpcServer]:
    return [stack.enter_context(GrpcServer(name)) for name in ("a", "b")]


@pytest.fixture
def chat(stack: ExitStack) -> dict[str, object]:
    return service(stack.enter_context(Backend(websocket_echo)).url, name="chat", host="chat.test")


@contextmanager
def crowd(proxy: Terraster) -> Iterator[Crowd]:
    with ExitStack() as stack:
        clients = Crowd(proxy, stack)
        try:
            clients.all_ask()
            yield clients
        finally:
            clients.end()


@pytest.mark.alone
@times(5, 30, 100)
def test_reloads_and_upgrades_cost_no_call_and_no_websocket(fresh, servers, chat, count: int) -> None:
    """Backends come and go with each reload; no call is made twice."""
    proxy = fresh(chat, to(*servers), http2=True, workers=2, access_log="off")
    sets = itertools.cycle([servers[:1], servers[1:], servers])
    with crowd(proxy) as clients:
        for some in itertools.islice(sets, count):
            proxy.reload(chat, to(*some))
            clients.all_ask()
        with ExitStack() as masters:
            for _ in range(1 if count < 100 else 5):
                masters.enter_context(upgraded(proxy))
                clients.all_ask()
            clients.end()
    assert not clients.failed
    assert sum(len(one.calls) for one in servers) == sum(asker.made for asker in clients.calls)


@pytest.mark.alone
@times(1, 8)
def test_a_killed_worker_costs_what_it_held(fresh, servers, chat, count: int) -> None:
    """At most one thing that each client did. The next one goes well."""
    proxy = fresh(chat, to(*servers), http2=True, workers=2, access_log="off")
    with crowd(proxy) as clients:
        for turn in range(1, count + 1):
            victim = max(
                (worker for worker in proxy.status()["workers"] if worker["role"] == "proxy"), key=lambda one: one["connections"]
            )
            os.kill(victim["pid"], signal.SIGKILL)
            wait_until(lambda: victim["pid"] not in proxy.workers() and len(proxy.workers()) == 2, "not replaced")  # noqa: B023
            clients.all_ask()
            assert all(len(asker.failed) <= turn for asker in clients.askers), clients.failed
            before = len(clients.failed)
            clients.all_ask()
            assert len(clients.failed) == before, clients.failed
