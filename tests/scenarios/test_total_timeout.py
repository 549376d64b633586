"""One timeout for the whole exchange: whatever it is that takes so long, it ends, once, and is logged once."""

from __future__ import annotations

import time

import pytest

from ..harness.backends import Peer, ok, websocket_echo
from ..harness.client import get
from ..harness.fault import drips, hangs, resets_before_head
from ..harness.readings import quiet, total
from ..harness.terraster_process import service
from .test_upgrade import HANDSHAKE, frame, read_frame

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
TOTAL = {"timeouts": {"total": "600ms"}}
LATEST = 1.6  # seconds: nothing that is to end after 0.6 s may take longer


def only_line(proxy):
    """The one line that was logged; a moment later it is still the only one."""
    (line,) = proxy.log()
    time.sleep(0.7)
    assert len(proxy.log()) == 1
    return line


def test_a_backend_that_hangs(terraster, backend) -> None:
    hung = backend(hangs)
    proxy = terraster(hung, **TOTAL)
    began = time.monotonic()
    with proxy.connect() as client:
        answer = client.send(GET).response()
        assert answer.status == 504
        assert "http_response_timeout" in (answer.get("proxy-status") or "")
        assert 0.6 <= time.monotonic() - began < LATEST
        assert hung.wait_peer().ended.wait(5), "the upstream connection was kept"
        line = only_line(proxy)
        assert (line["status"], line["tries"]) == (504, 1)
        client.close()
    assert len(hung.requests) == 1
    assert total(proxy, "terraster_backend_failures_total") == 1
    quiet(proxy)


def test_several_attempts_together(terraster, backend) -> None:
    """Each is within its own timeouts."""
    hung = [backend(hangs) for _ in range(3)]
    retry = {"attempts": 10, "per_try_timeout": "250ms", "min_per_second": 100}
    proxy = terraster(*hung, retry=retry, timeouts={"total": "1500ms"})
    began = time.monotonic()
    assert get(proxy.address).status == 504
    assert 1.5 <= time.monotonic() - began < 2.5
    assert only_line(proxy)["status"] == 504
    assert 2 <= sum(len(one.requests) for one in hung) <= 6
    quiet(proxy)


def test_a_pause_between_attempts(terraster, backend) -> None:
    bad = backend(resets_before_head)
    proxy = terraster(bad, retry={"attempts": 10, "backoff": "5s", "min_per_second": 100}, **TOTAL)
    began = time.monotonic()
    assert get(proxy.address).status == 504
    assert time.monotonic() - began < LATEST
    assert only_line(proxy)["status"] == 504
    assert len(bad.requests) == 1
    quiet(proxy)


def test_a_head_that_drips(terraster, backend) -> None:
    dripping = backend(drips(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100, 0.05))
    proxy = terraster(dripping, **TOTAL)
    began = time.monotonic()
    assert get(proxy.address).status == 504
    assert time.monotonic() - began < LATEST
    assert only_line(proxy)["status"] == 504
    assert dripping.wait_peer().ended.wait(5)


def test_a_body_that_drips(terraster, backend) -> None:
    """The answer is under way: it is broken off, and the line says why."""
    dripping = backend(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"a" * 100, 0.01))
    proxy = terraster(dripping, **TOTAL)
    began = time.monotonic()
    with proxy.connect() as client:
        answer = client.send(GET).rest()
    assert answer.startswith(b"HTTP/1.1 200 ") and 0 < len(answer.partition(b"\r\n\r\n")[2]) < 100
    assert time.monotonic() - began < LATEST
    line = only_line(proxy)
    assert (line["status"], line["error"]) == (200, "http_response_timeout")
    assert dripping.wait_peer().ended.wait(5)
    assert total(proxy, "terraster_backend_failures_total") <= 1
    quiet(proxy)


def test_a_client_that_reads_slowly(terraster, backend) -> None:
    """Its own fault: nothing is held against the backend."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    origin = backend(script)
    proxy = terraster(origin, **TOTAL)
    with proxy.connect(receive_buffer=4096) as client:
        client.send(GET)
        assert origin.wait_peer().ended.wait(5), "the upstream connection was kept"
        line = only_line(proxy)
        assert (line["status"], line["error"]) == (200, "http_response_timeout")
    assert total(proxy, "terraster_backend_failures_total") == 0
    quiet(proxy)


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\nh", b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n"])
def test_a_client_that_sends_slowly(terraster, backend, framing: bytes) -> None:
    """Its own fault, too: or any client could have a backend ejected."""

    def script(peer: Peer) -> None:
        assert peer.request() is None

    origin = backend(script)
    proxy = terraster(origin, **TOTAL)
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing)
        assert client.response("POST").status in (408, 504)
        assert client.is_closed()
    assert only_line(proxy)["status"] in (408, 504)
    assert total(proxy, "terraster_backend_failures_total") == 0
    quiet(proxy)


def test_a_backend_that_got_little_of_the_time(terraster, backend) -> None:
    """The queue had the most of it. Whoever is full is not ejected for it."""

    def script(peer: Peer) -> None:
        while peer.request():
            time.sleep(0.45)
            peer.send(ok())

    origin = backend(script)
    proxy = terraster(service({"url": origin.url, "max_connections": 1}), queue={"timeout": "5s"}, **TOTAL)
    with proxy.connect() as first, proxy.connect() as second:
        first.send(GET)
        origin.wait()
        second.send(GET)
        assert first.response().status == 200
        assert second.response().status in (200, 504)
    assert total(proxy, "terraster_backend_failures_total") == 0


def test_quick_ones_never_notice(terraster, backend) -> None:
    """Many on one connection, for longer than one may take."""
    proxy = terraster(backend(answer=ok()), **TOTAL)
    with proxy.connect() as client:
        end = time.monotonic() + 2
        count = 0
        while time.monotonic() < end:
            assert client.send(GET).response().status == 200
            count += 1
            if count % 50 == 0:
                time.sleep(0.3)
    assert {line["status"] for line in proxy.log(count)} == {200}


def test_a_silence_between_two_requests_is_no_exchange(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), **TOTAL)
    with proxy.connect() as client:
        for _ in range(2):
            assert client.send(GET).response().status == 200
            time.sleep(1.5)
        assert client.is_open()


def test_a_connection_goes_on_after_a_504(terraster, backend) -> None:
    """The client did nothing wrong, and the next request has its own time."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/hangs":
                peer.rest()
                return
            time.sleep(0.3)
            peer.send(ok())

    proxy = terraster(backend(script), **TOTAL)
    with proxy.connect() as client:
        for _ in range(3):
            assert client.send(GET.replace(b"/ ", b"/hangs ")).response().status == 504
            assert client.send(GET).response().status == 200


def test_upgraded_connections_last(terraster, backend) -> None:
    proxy = terraster(backend(websocket_echo), **TOTAL)
    with proxy.connect() as socket:
        socket.send(HANDSHAKE).response(upgrade=True)
        for number in range(4):
            time.sleep(0.5)
            assert read_frame(socket.send(frame(b"%d" % number))) == b"%d" % number


def test_of_a_service_alone(terraster, backend) -> None:
    def slow(peer: Peer) -> None:
        while peer.request():
            time.sleep(1.2)
            peer.send(ok())

    proxy = terraster(
        service(backend(slow).url, name="short", host="short.test", **TOTAL),
        service(backend(slow).url, name="long", host="long.test"),
    )
    assert get(proxy.address, host="short.test").status == 504
    assert get(proxy.address, host="long.test").status == 200
