"""HTTP/2 towards clients that read nothing, give no window, or are slow at the end: what a connection may hold, and when it ends."""

from __future__ import annotations

import contextlib
import signal
import time
from contextlib import ExitStack
from typing import Any

import pytest
from hpack import Encoder, NeverIndexedHeaderTuple

from ..harness.backends import Peer, ok
from ..harness.client import Connection, get
from ..harness.http2_backend import Asked, Http2Backend, Http2Peer
from ..harness.http2_client import CONTINUATION, HEADERS, SETTINGS, Answer, Http2, frame
from ..harness.terraster_process import Terraster, rss, service
from ..harness.waiting import wait_until

fills = pytest.mark.nightly  # fills the buffers of the kernel, which takes long on a busy machine

_WINDOW = 4


@fills
def test_answers_without_a_body_wait_for_a_client_that_does_not_read(terraster) -> None:
    """They need no window, so only the socket can say that the client takes none. Then its requests are not read either."""
    served = terraster({"name": "r", "host": "*", "http_redirect": True}, http2={"max_streams": 1000, "head_octets": "8M"})
    before = _asked(served)  # of requests without a service, which tests before may have made
    with Http2(Connection(("127.0.0.1", served.port), receive_buffer=65536), auto=False) as client:
        client.send(frame(SETTINGS, 1))
        _ask_for_heads(client, 6000)
        time.sleep(1)
        assert 100 < _asked(served) - before < 4000


@fills
def test_no_window_of_the_connection_for_a_while_ends_requests(terraster, backend) -> None:
    """Also of those that waited for the socket before they waited for the window."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    peer.send(b"x" * 1_000_000)

    served = terraster(backend(script), http2=True, timeouts={"read": 2})
    with Http2(served.connect(), settings={_WINDOW: 1 << 30}, auto=False) as client:
        client.send(frame(SETTINGS, 1))
        client.grow(0, 16 << 20)
        numbers = [client.open(f"/{number}") for number in range(3)]
        time.sleep(0.7)  # the socket is full, and all three wait for it
        client.until(lambda: all(client.answers[number].reset is not None for number in numbers), 15)
        assert client.connection is not None and not client.ended


@fills
def test_answers_that_the_client_reads_late_outlast_a_drain(fresh) -> None:
    """The requests are over, but the last octets of their answers wait for the client, for as long as HTTP/1.1 would wait."""
    served = fresh(
        {"name": "r", "host": "*", "http_redirect": True},
        http2={"max_streams": 1000, "head_octets": "8M"},
        timeouts={"keepalive": 1},
    )
    with Http2(Connection(("127.0.0.1", served.port), receive_buffer=65536), auto=False) as client:
        client.send(frame(SETTINGS, 1))
        _ask_for_heads(client, 2000)
        wait_until(lambda: _asked(served) > 100, "many are answered")
        served.signal(signal.SIGTERM)
        time.sleep(4.5)
        last = client.goaway().last
        assert last > 100
        assert all(client.answers[number].ended for number in range(1, last + 1, 2))


def test_a_request_is_read_while_downloads_fill_the_socket(terraster, backend) -> None:
    """Only what was under way comes before its answer, and not all that the client gave window for."""
    large = bytes(24 << 20)
    served = terraster(backend(answer=lambda request: ok(large if request.target == "/large" else b"small")), http2=True)
    with Http2(Connection(("127.0.0.1", served.port), receive_buffer=400_000), settings={_WINDOW: 8 << 20}) as client:
        client.grow(0, 16 << 20)
        downloads = [client.answers[client.open("/large", fields=[("priority", "u=7")])] for _ in range(4)]
        client.until(lambda: all(len(one.body) > 1000 for one in downloads))
        for _ in range(3):
            before = sum(len(one.body) for one in downloads)
            assert client.get("/small", fields=[("priority", "u=0")]).body == b"small"
            assert sum(len(one.body) for one in downloads) - before < 8 << 20


def test_large_heads_that_wait_for_a_window_are_bounded(terraster) -> None:
    """A twentieth of 100 connections with heads of 64 kB and without windows, which may cost a worker 64 MiB."""
    fixed = {"path": "/", "respond": {"body": "hello"}}
    served = terraster({"name": "r", "host": "*", "locations": [fixed]}, http2={"header_list_size": "100K"})
    (worker,) = served.workers()
    with ExitStack() as stack:
        _hold_heads(stack.enter_context(Http2(served.connect(), settings={_WINDOW: 0})))
        before = rss(worker)
        clients = [stack.enter_context(Http2(served.connect(), settings={_WINDOW: 0})) for _ in range(5)]
        held = [_hold_heads(client) for client in clients]
        assert rss(worker) - before < (64 << 20) / 20
    assert all(0 < count <= 8 for count in held)


@pytest.mark.parametrize("framed", [False, True], ids=["h1", "h2"])
def test_a_short_answer_that_waits_for_a_window_keeps_no_backend(terraster, backend, stack, framed) -> None:
    """The backend takes one request at a time. It has answered, and the next one is asked while the client of the first gives no window."""

    def script(peer: Http2Peer, asked: Asked) -> None:  # in one piece
        peer.codec.send_headers(asked.stream, [(":status", "200"), ("content-length", "5")])
        peer.codec.send_data(asked.stream, b"hello", end_stream=True)

    if framed:
        one: Any = stack.enter_context(Http2Backend(script))
    else:
        one = backend(answer=ok(b"hello"))
    entry = {"url": one.url, "http2": framed, "health_check": "off", "max_connections": 1}
    served = terraster(service(entry), http2=True)
    with Http2(served.connect(), settings={_WINDOW: 0}) as client:
        number = client.open("/first")
        answer = client.answers[number]
        client.until(lambda: answer.fields)
        assert get(served.address, "/second").body == b"hello"
        assert not answer.body
        client.grow(number, 5)
        assert client.answer(number).body == b"hello"


def _hold_heads(client: Http2) -> int:
    """Ask 20 times with 64 kB. Returns how many requests were begun; the others were refused."""
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]
    fields += [(f"x-{number}", chr(97 + number) * 8000) for number in range(8)]
    block = bytes(Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields], huffman=False))
    first, *others = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    for number in range(1, 41, 2):
        client.answers[number] = Answer()
        rest = [frame(CONTINUATION, 4 * (piece is others[-1]), number, piece) for piece in others]
        client.send(frame(HEADERS, 1, number, first) + b"".join(rest))
    client.until(lambda: all(one.fields or one.reset is not None for one in client.answers.values()))
    assert {one.reset for one in client.answers.values()} == {None, 7}  # REFUSED_STREAM
    return sum(one.reset is None for one in client.answers.values())


def _ask_for_heads(client: Http2, count: int) -> None:
    """Ask for answers of 3 kB without a body, until the sockets are full. The frames are padded, so that one read has few of them."""
    fields = [(":method", "HEAD"), (":scheme", "http"), (":authority", "localhost"), (":path", "/" + "x" * 3000)]
    blocks = [client.block(fields), client.block(fields)]  # the second one refers to the table
    client.connection.sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        for at in range(count):
            client.answers[client.next] = Answer()
            client.send(frame(HEADERS, 13, client.next, bytes((200,)) + blocks[at > 0] + bytes(200)))
            client.next += 2


def _asked(served: Terraster) -> float:
    return sum(value for name, value in served.metrics().items() if name.startswith("terraster_requests_total"))
