"""A client that leaves takes its upstream call with it: 499 in the log, nothing held against the backend."""

from __future__ import annotations

import threading

import pytest

from ..harness.backends import Peer, ok
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n"


def failures(proxy) -> float:
    """Failures that were counted against backends."""
    return sum(value for name, value in proxy.metrics().items() if name.startswith("terraster_backend_failures_total"))


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_while_the_backend_works(terraster, backend, how: str) -> None:
    left = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        assert peer.rest() == b""
        left.set()

    origin = backend(script)
    proxy = terraster(origin)
    client = proxy.connect()
    client.send(GET)
    origin.wait()
    getattr(client, how)()
    assert left.wait(10), "the upstream call went on"
    line = proxy.log()[0]
    assert (line["status"], line["uri"]) == (499, "/slow")
    assert failures(proxy) == 0
    client.close()


def test_while_the_body_comes(terraster, backend) -> None:
    left = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                peer.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        finally:
            left.set()

    proxy = terraster(backend(script))
    with proxy.connect() as client:
        client.send(GET).receive_exactly(1000)
    assert left.wait(10), "the upstream call went on"
    assert proxy.log()[0]["status"] in (200, 499)
    assert failures(proxy) == 0


def test_while_sending_its_own_body(terraster, backend) -> None:
    left = threading.Event()

    def script(peer: Peer) -> None:
        assert peer.request() is None, "half a body became a request"
        left.set()

    origin = backend(script)
    proxy = terraster(origin)
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf")
        origin.wait_peer()
    assert left.wait(10)
    assert proxy.log()[0]["status"] == 499
    assert failures(proxy) == 0


def test_within_a_head_nothing_is_forwarded(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin)
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a")
    with proxy.connect() as client:
        client.send(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
    assert [request.target for request in origin.requests] == ["/next"]


def test_half_close_is_honoured_where_it_is_configured(terraster, backend) -> None:
    """A client that only closed its sending half looks like one that left; a setting tells them apart."""
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        assert asked.wait(10)
        peer.send(ok(b"patience"))
        peer.rest()

    origin = backend(script)
    proxy = terraster(service(origin.url, ignore_client_abort=True))
    with proxy.connect() as client:
        client.send(GET)
        origin.wait()
        client.half_close()
        threading.Timer(0.3, asked.set).start()
        assert client.response().body == b"patience"
    assert proxy.log()[0]["status"] == 200


def test_pipelined_requests_of_a_client_that_left_are_not_forwarded(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.rest()

    origin = backend(script)
    proxy = terraster(origin)
    with proxy.connect() as client:
        client.send(GET + b"DELETE /everything HTTP/1.1\r\nHost: a.test\r\n\r\n")
        origin.wait()
    wait_until(lambda: origin.peers[0].ended.is_set())
    assert [request.method for request in origin.requests] == ["GET"]


@pytest.mark.parametrize("policy", ["response-time", "adaptive"])
def test_a_hung_backend_loses_its_share_all_the_same(terraster, backend, policy: str) -> None:
    """Its clients leave long before any time-out of ours, and nothing is held against it; but it has not answered."""
    asked = threading.Semaphore(0)

    def hangs(peer: Peer) -> None:
        peer.request()
        asked.release()
        peer.rest()

    good, hung = backend(answer=ok(b"good")), backend(hangs)
    proxy = terraster(service(good.url, hung.url, location={"lb_policy": policy}))
    seen = 0
    answered = 0
    while answered < 300:
        with proxy.connect() as client:
            client.sock.settimeout(0.3)
            try:
                client.send(GET)
                answered += client.sock.recv(1) != b""
            except TimeoutError:
                assert asked.acquire(timeout=10)
                seen += 1
                assert seen <= 30, f"after {answered} answers"
    assert failures(proxy) == 0
