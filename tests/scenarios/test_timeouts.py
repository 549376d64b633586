"""Every wait ends: with 408 where the client was waited for, 504 where a backend was, and silence where nobody asked anything."""

from __future__ import annotations

import socket
import time

import pytest

from ..harness.backends import Peer, always, ok
from ..harness.fault import hangs
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def limits(**seconds: float) -> dict[str, dict[str, str]]:
    return {"timeouts": {name: f"{round(value * 1000)}ms" for name, value in seconds.items()}}


def test_a_head_that_never_ends(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), **limits(client_header=0.4))
    with proxy.connect() as client:
        answer = client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n").response()
        assert answer.status == 408
        assert client.is_closed()
    assert proxy.log()[0]["status"] == 408


def test_a_head_octet_by_octet_is_bounded_in_total(terraster, backend) -> None:
    """The one timeout that counts in total: an octet a second for ever is an attack."""
    proxy = terraster(backend(answer=ok()), **limits(client_header=0.5))
    with proxy.connect() as client:
        began = time.monotonic()
        client.sock.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() < began + 5:
            client.sock.sendall(b"X")
            try:
                answer = client.sock.recv(65536)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.4 < time.monotonic() - began < 3


def test_a_connection_without_a_request_is_closed_in_silence(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), **limits(client_header=0.4, keepalive=0.4))
    with proxy.connect() as client:
        assert client.is_closed()
    assert not proxy.access_file.exists() or proxy.access_file.read_text() == ""


def test_keepalive(terraster, backend) -> None:
    proxy = terraster(backend(answer=ok()), **limits(keepalive=0.4))
    with proxy.connect() as client:
        client.send(GET).response()
        began = time.monotonic()
        assert client.is_closed()
        assert 0.2 < time.monotonic() - began < 3


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf"])
def test_a_body_that_stops(terraster, backend, framing: bytes) -> None:
    def script(peer: Peer) -> None:
        assert peer.request() is None

    proxy = terraster(backend(script), **limits(client_body=0.4))
    with proxy.connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\n" + framing).response("POST")
        assert answer.status == 408
        assert client.is_closed()
    line = proxy.log()[0]
    assert line["status"] == 408


def test_a_slow_body_goes_on_as_long_as_it_goes_on(terraster, backend) -> None:
    """Idle time counts, not total time."""
    origin = backend(answer=lambda request: ok(request.body))
    proxy = terraster(origin, **limits(client_body=0.5, response=0.5, read=0.5))
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n").send_slowly(b"0123456789", 1, 0.12)
        assert client.response("POST").body == b"0123456789"


def test_connect(terraster) -> None:
    """A listener whose backlog is full drops what comes: nothing answers the SYN."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            crowd.append(sock)
        wait_until(crowd[0].getpeername, "the place is not taken", tolerate=(OSError,))
        proxy = terraster(service(f"http://127.0.0.1:{full.getsockname()[1]}"), **limits(connect=0.4))
        with proxy.connect() as client:
            began = time.monotonic()
            answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n").response("POST")
            assert answer.status == 504
            assert "connection_timeout" in (answer.get("proxy-status") or "")
            assert 0.2 < time.monotonic() - began < 3
        for sock in crowd:
            sock.close()


def test_response(terraster, backend) -> None:
    proxy = terraster(backend(hangs), **limits(response=0.4))
    with proxy.connect() as client:
        began = time.monotonic()
        answer = client.send(GET).response()
        assert answer.status == 504
        assert "timeout" in (answer.get("proxy-status") or "")
        assert 0.2 < time.monotonic() - began < 3
        assert client.is_open(), "the client did nothing wrong"


def test_a_post_that_timed_out_is_not_sent_again(terraster, backend) -> None:
    one, two = backend(hangs), backend(hangs)
    with terraster(one, two, **limits(response=0.4)).connect() as client:
        answer = client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").response("POST")
        assert answer.status == 504
    assert len(one.requests) + len(two.requests) == 1


def test_read(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        peer.rest()

    proxy = terraster(backend(script), **limits(read=0.4))
    with proxy.connect() as client:
        answer = client.send(GET).rest()
    assert answer.endswith(b"half")
    line = proxy.log()[0]
    assert (line["status"], line["upstream"] != "") == (200, True)
    assert line["error"] != ""


def test_a_slow_answer_goes_on_as_long_as_it_goes_on(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for octet in b"0123456789":
            time.sleep(0.12)
            peer.send(bytes([octet]))

    proxy = terraster(backend(script), **limits(read=0.5, response=0.5))
    with proxy.connect() as client:
        assert client.send(GET).response().body == b"0123456789"


def test_a_client_that_does_not_read_is_given_up(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            peer.send(b"x" * 65536)

    origin = backend(script)
    proxy = terraster(origin, **limits(read=0.4))
    with proxy.connect(receive_buffer=4096) as client:
        client.send(GET)
        assert origin.wait_peer().ended.wait(15), "the upstream connection was kept"
        assert proxy.log()[0]["status"] in (200, 499)


def test_tunnel(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        while data := peer._receive():
            peer.send(data)

    origin = backend(script)
    proxy = terraster(origin, **limits(tunnel=0.5, read=0.2, response=0.2, keepalive=0.2))
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").response(upgrade=True)
        for _ in range(8):
            assert client.send(b"ping").receive_exactly(4) == b"ping"
            time.sleep(0.1)
        assert client.rest() == b""
    assert origin.wait_peer().ended.wait(10)


def test_timeouts_of_a_service_hold_for_it_alone(terraster, backend) -> None:
    slow = backend(hangs)
    good = backend(always(ok()))
    proxy = terraster(
        service(slow.url, name="slow", host="slow.test", timeouts={"response": "300ms"}),
        service(good.url, name="good", host="good.test"),
    )
    with proxy.connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").response().status == 504
        assert client.send(b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n").response().status == 200


@pytest.mark.parametrize("key", ["response", "read", "client_header", "client_body", "keepalive", "tunnel", "total"])
def test_a_timeout_below_a_second_is_kept(terraster, backend, key: str) -> None:
    """Never early. How late is judged by the better ones of a few: what a busy machine adds is not meant."""

    answers = {
        "keepalive": ok(),
        "read": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "tunnel": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    }

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(answers.get(key, b""))

    proxy = terraster(backend(script), **limits(**{key: 0.3}), retry={"attempts": 1})
    sends = {
        "client_header": b"GET / HTTP/1.1\r\n",
        "client_body": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf",
        "tunnel": b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    }
    late = []
    for _ in range(7):
        with proxy.connect() as client:
            client.send(sends.get(key, GET))
            if key in answers:
                assert client.receive()
            began = time.monotonic()
            if key in answers:
                client.rest()
            else:
                assert client.response().status in (408, 504)
            late.append(time.monotonic() - began - 0.3)
    assert min(late) > -0.02, "counted from when the client has read what came before"
    assert sorted(late)[2] < 0.03
