"""What a client may send: sizes of heads and bodies, numbers of fields and connections."""

from __future__ import annotations

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import exchange
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


def test_a_body_too_large_is_refused_by_its_length(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, limits={"body_size": 1000})
    with proxy.connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n").response("POST")
        assert answer.status == 413
        assert client.is_closed()
    assert origin.peers == []
    assert exchange(proxy.address, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000).status == 200


def test_a_body_too_large_is_refused_before_100_continue(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, limits={"body_size": 1000})
    request = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
    answer = exchange(proxy.address, request)
    assert (answer.status, answer.interim) == (413, [])
    assert origin.peers == []


@pytest.mark.parametrize("sizes", [[1001], [500, 501], [1] * 1001])
def test_chunks_are_counted(terraster, backend, sizes: list[int]) -> None:
    def script(peer: Peer) -> None:
        assert peer.request() is None, "a whole request came"

    proxy = terraster(backend(script), limits={"body_size": 1000})
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes) + b"0\r\n\r\n")
        answer = client.response("POST")
        assert answer.status == 413
        assert client.is_closed()


def test_chunks_up_to_the_limit(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(b"%d" % len(request.body)))
    proxy = terraster(origin, limits={"body_size": 1000})
    body = b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + b"x" * 500 + b"\r\n1f4\r\n" + b"x" * 500 + b"\r\n0\r\n\r\n"
    assert exchange(proxy.address, b"POST / HTTP/1.1\r\nHost: a.test\r\n" + body).body == b"1000"


def test_a_service_may_have_its_own_limit(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(
        service(origin.url, name="small", host="small.test", limits={"body_size": 10}),
        service(origin.url, name="large", host="large.test"),
    )
    for host, status in (("small", 413), ("large", 200)):
        request = f"POST / HTTP/1.1\r\nHost: {host}.test\r\nContent-Length: 11\r\n\r\nhello world".encode()
        assert exchange(proxy.address, request).status == status


@pytest.mark.parametrize(
    ("request_octets", "status"),
    [
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X-A: 1\r\n" * 11 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"X-A: 1\r\n" * 9 + b"\r\n", 200),
    ],
)
def test_heads(terraster, backend, request_octets: bytes, status: int) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, limits={"header_size": 1024, "header_count": 10})
    with proxy.connect() as client:
        assert client.send(request_octets).response().status == status
        if status != 200:
            assert client.is_closed()
            assert origin.peers == []


def test_connections(terraster, backend) -> None:
    """Beyond the limit nobody is accepted until somebody leaves; who is there is served."""
    origin = backend(answer=ok())
    proxy = terraster(origin, limits={"connections": 3})
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    there = [proxy.connect() for _ in range(3)]
    for client in there:
        assert client.send(request).response().status == 200
    waiting = proxy.connect(deadline=0.5)
    with pytest.raises((AssertionError, ConnectionResetError)):
        waiting.send(request).response()
    for client in there:
        assert client.send(request).response().status == 200
    waiting.close()
    there[0].close()
    wait_until(lambda: _served(proxy, request), "a free place was not given away")
    for client in [*there, waiting]:
        client.close()


def _served(proxy, request: bytes) -> bool:
    try:
        with proxy.connect(deadline=1) as client:
            return client.send(request).response().status == 200
    except (AssertionError, OSError):
        return False


def test_max_connections_of_a_backend(terraster, backend) -> None:
    """Requests at once, over all workers; another backend with room takes what is left, then it is 503."""
    import threading

    release = threading.Event()

    def script(peer: Peer) -> None:
        while peer.request():
            assert release.wait(20)
            peer.send(ok())

    one, two = backend(script), backend(script)
    proxy = terraster(
        service(
            {"url": one.url, "max_connections": 2}, {"url": two.url, "max_connections": 1}, location={"queue": {"timeout": "300ms"}}
        ),
        workers=2,
    )
    clients = []
    for count in range(1, 4):
        client = proxy.connect(deadline=30)
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        clients.append(client)
        wait_until(lambda count=count: len(one.requests) + len(two.requests) == count)
    assert (len(one.requests), len(two.requests)) == (2, 1)
    answer = exchange(proxy.address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert answer.status == 503
    release.set()
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert exchange(proxy.address, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status == 200
