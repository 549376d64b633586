"""Streams: passed on as they come, and never faster than the slower side reads."""

from __future__ import annotations

import threading

import pytest

from ..harness.backends import Peer
from ..harness.terraster_process import rss
from ..harness.waiting import wait_until

MEGABYTE = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.parametrize("chunked", [True, False])
def test_server_sent_events_arrive_as_they_are_sent(terraster, backend, chunked: bool) -> None:
    """Each event is sent only after the one before it was seen at the client."""
    seen = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n" % framing)
        for number in range(20):
            event = b"data: %d\n\n" % number
            peer.send(b"%x\r\n%b\r\n" % (len(event), event) if chunked else event)
            assert seen.acquire(timeout=10), f"event {number} did not arrive by itself"
        if chunked:
            peer.send(b"0\r\n\r\n")

    with terraster(backend(script)).connect() as client:
        client.send(GET).receive_until(b"\r\n\r\n")
        for number in range(20):
            client.receive_until(b"data: %d\n\n" % number)
            seen.release()


def _one_gigabyte(peer: Peer, sent: list[int]) -> None:
    """Offer a gigabyte with a length, counting what the other side takes."""
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * MEGABYTE))
    block = b"x" * 65536
    peer.sock.settimeout(2)
    try:
        while sent[0] < 1024 * MEGABYTE:
            sent[0] += peer.sock.send(block)
    except TimeoutError:
        sent.append(-1)  # the other side stopped taking: what back-pressure is
    peer.sock.settimeout(30)
    peer.rest()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_slow_client_stops_the_backend(terraster, backend, chunked: bool) -> None:
    """A gigabyte is offered, the client reads nothing: the worker keeps under a megabyte of it."""
    sent = [0]

    def script(peer: Peer) -> None:
        if not chunked:
            _one_gigabyte(peer, sent)
            return
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        peer.sock.settimeout(2)
        try:
            while sent[0] < 1024 * MEGABYTE:
                sent[0] += peer.sock.send(block)
        except TimeoutError:
            sent.append(-1)
        peer.sock.settimeout(30)
        peer.rest()

    proxy = terraster(backend(script))
    (worker,) = proxy.workers()
    with proxy.connect() as client:
        client.send(b"GET /warm HTTP/1.0\r\nHost: nobody.test\r\n\r\n")
    before = rss(worker)
    with proxy.connect(receive_buffer=65536) as client:
        client.send(GET)
        client.receive_until(b"\r\n\r\n")
        wait_until(lambda: len(sent) > 1, "the backend was never stopped", 20)
        grown = rss(worker) - before
        assert grown < MEGABYTE, f"{grown} octets more for {sent[0]} octets offered"
        assert sent[0] < 64 * MEGABYTE


def test_a_slow_backend_stops_the_client(terraster, backend) -> None:
    """The same the other way round: an upload that nobody reads."""
    stopped = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        assert stopped.wait(30)

    proxy = terraster(backend(script))
    (worker,) = proxy.workers()
    before = rss(worker)
    with proxy.connect() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (1024 * MEGABYTE))
        client.sock.settimeout(2)
        sent, block = 0, b"x" * 65536
        try:
            while sent < 1024 * MEGABYTE:
                sent += client.sock.send(block)
        except TimeoutError:
            pass
        grown = rss(worker) - before
        stopped.set()
    assert sent < 64 * MEGABYTE
    assert grown < MEGABYTE, f"{grown} octets more for {sent} octets offered"


def test_a_slow_reader_does_not_hold_up_others(terraster, backend) -> None:
    sent = [0]

    def script(peer: Peer) -> None:
        request = peer.head()
        if request is not None and request.target == "/big":
            peer.body(request)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * MEGABYTE))
            while True:
                sent[0] += peer.sock.send(b"x" * 65536)
        elif request is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick")

    proxy = terraster(backend(script))
    with proxy.connect(receive_buffer=4096) as slow:
        slow.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n").receive_until(b"\r\n\r\n")
        with proxy.connect(deadline=5) as quick:
            for _ in range(20):
                assert quick.send(b"GET /small HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"quick"


def test_a_slow_client_gets_everything(terraster, backend) -> None:
    size = 3 * MEGABYTE

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size)

    with terraster(backend(script)).connect(receive_buffer=4096) as client:
        client.send(GET).receive_until(b"\r\n\r\n")
        left = size
        while left:
            piece = client.receive(min(left, 9000))
            assert piece and piece == b"y" * len(piece)
            left -= len(piece)
        assert client.is_open()
