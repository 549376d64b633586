"""Connections on both sides: kept, pipelined, pooled, closed when somebody says so."""

from __future__ import annotations

import pytest

from ..harness.backends import Peer, Request, always, ok
from ..harness.client import exchange
from ..harness.waiting import wait_until


def echo_target(request: Request) -> bytes:
    return ok(request.target.encode())


def test_many_requests_on_one_connection_use_one_upstream_connection(terraster, backend) -> None:
    origin = backend(answer=echo_target)
    with terraster(origin).connect() as client:
        for number in range(20):
            answer = client.send(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number).response()
            assert (answer.status, answer.body) == (200, b"/%d" % number)
            assert answer.get("connection") is None
    assert len(origin.peers) == 1


def test_clients_share_pooled_upstream_connections(terraster, backend) -> None:
    origin = backend(answer=echo_target)
    proxy = terraster(origin)
    for number in range(10):
        with proxy.connect() as client:
            assert client.send(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number).response().body == b"/%d" % number
    assert len(origin.peers) == 1


def test_pipelined_requests_are_answered_in_order(terraster, backend) -> None:
    origin = backend(answer=echo_target)
    with terraster(origin).connect() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number for number in range(10)))
        assert [client.response().body for _ in range(10)] == [b"/%d" % number for number in range(10)]


def test_pipelined_behind_bodies(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(request.body))
    with terraster(origin).connect() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none"
            b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nfour"
        )
        assert [client.response("POST").body for _ in range(4)] == [b"one", b"two", b"", b"four"]


def test_a_request_in_single_octets(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(request.body))
    with terraster(origin).connect() as client:
        request = b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        assert client.send_slowly(request, 1, 0.001).response("POST").body == b"abc"
    assert origin.requests[0].body == b"abc"


def test_connection_close_from_the_client(terraster, backend) -> None:
    origin = backend(answer=ok())
    with terraster(origin).connect() as client:
        answer = client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").response()
        assert answer.get("connection") == "close"
        assert client.is_closed()


def test_connection_close_from_the_backend_is_not_the_clients_affair(terraster, backend) -> None:
    origin = backend(answer=ok(fields=b"Connection: close\r\n"))
    with terraster(origin).connect() as client:
        for _ in range(3):
            answer = client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
            assert answer.get("connection") is None
    assert len(origin.peers) == 3


@pytest.mark.parametrize(
    ("asks", "stays"), [(b"", False), (b"Connection: keep-alive\r\n", True), (b"Connection: close\r\n", False)]
)
def test_http10_clients(terraster, backend, asks: bytes, stays: bool) -> None:
    origin = backend(answer=echo_target)
    with terraster(origin).connect() as client:
        answer = client.send(b"GET /1 HTTP/1.0\r\nHost: a.test\r\n%b\r\n" % asks).response()
        assert (answer.status, answer.body) == (200, b"/1")
        assert answer.get("connection") == ("keep-alive" if stays else "close")
        if stays:
            answer = client.send(b"GET /2 HTTP/1.0\r\nHost: a.test\r\n\r\n").response()
            assert answer.body == b"/2"
        assert client.is_closed()
    assert origin.requests[0].version == b"1.1"


def test_http10_without_host_reaches_the_service_for_all_hosts(terraster, backend) -> None:
    origin = backend(answer=echo_target)
    assert exchange(terraster(origin).address, b"GET /x HTTP/1.0\r\n\r\n").body == b"/x"


def test_http10_client_gets_no_chunks(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
    with terraster(origin).connect() as client:
        answer = client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"abcde"
    assert b"transfer-encoding" not in head.lower()


def test_an_empty_line_between_requests_is_overlooked(terraster, backend) -> None:
    origin = backend(answer=echo_target)
    with terraster(origin).connect() as client:
        client.send(b"GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
        assert client.send(b"\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"/2"


def test_octets_behind_a_response_end_the_upstream_connection(terraster, backend) -> None:
    """What a backend sends beyond its response must never be taken for the next one."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ok(b"mine") + ok(b"stolen"))
        peer.rest()

    origin = backend(script)
    with terraster(origin).connect() as client:
        for _ in range(3):
            assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"mine"


def test_late_octets_behind_a_response_end_the_upstream_connection(terraster, backend) -> None:
    """The same, when they come while the connection rests in the pool."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(ok(b"mine"))
        peer.sock.settimeout(0.05)
        try:
            peer.rest()
        except TimeoutError:
            peer.send(ok(b"stolen"))
        peer.sock.settimeout(10)
        peer.rest()

    origin = backend(script)
    with terraster(origin).connect() as client:
        for count in range(1, 4):
            assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == b"mine"
            assert origin.wait_peer(count - 1).ended.wait(5)
        assert len(origin.peers) == 3


def test_response_before_the_request_body_has_come(terraster, backend) -> None:
    """A backend that refuses early: the client hears it though its body is still on the way."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(ok(b"too big", status=b"413 Content Too Large", fields=b"Connection: close\r\n"))
        peer.rest()

    origin = backend(script)
    with terraster(origin).connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        answer = client.response("POST")
        assert (answer.status, answer.body) == (413, b"too big")
        assert client.is_closed()


def test_two_services_do_not_share_a_pool(terraster, backend) -> None:
    from ..harness.terraster_process import service

    one, two = backend(always(ok(b"one"))), backend(always(ok(b"two")))
    proxy = terraster(service(one.url, name="one", host="one.test"), service(two.url, name="two", host="two.test"))
    with proxy.connect() as client:
        for name in ("one", "two", "one", "two"):
            answer = client.send(f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode()).response()
            assert answer.body == name.encode()
    wait_until(lambda: len(one.requests) == len(two.requests) == 2)
