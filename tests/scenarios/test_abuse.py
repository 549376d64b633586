"""Parties that take more than is theirs: octets behind a response, waits without an end, words in somebody else's name."""

from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from ..harness.backends import Peer, ok
from ..harness.client import exchange, get
from ..harness.terraster_process import service
from ..harness.waiting import wait_until

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"A" * 10,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nAAAAA\r\n",
    ],
)
def test_octets_behind_a_response_are_nobodys(terraster, backend, first: bytes) -> None:
    """They came in one piece with the end of a response; whoever is next on that connection must not get them."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            if request.target == "/extra":
                peer.send(first)
                time.sleep(0.1)  # or both parts would come in one read
                peer.send((b"A" * 10 if b"Length: 20" in first else b"0\r\n\r\n") + EVIL)
            else:
                peer.send(ok(b"good"))

    proxy = terraster(backend(script))
    with proxy.connect() as client:
        for _ in range(5):
            client.send(b"GET /extra HTTP/1.1\r\nHost: a.test\r\n\r\nGET /victim HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert client.response().status == 200
            assert client.response().body == b"good"


def test_a_backend_that_stops_reading_does_not_hold_a_request_for_ever(terraster, backend) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        done.wait(20)

    proxy = terraster(backend(script), timeouts={"read": "500ms", "response": "500ms"})
    try:
        with proxy.connect(deadline=15) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000000\r\n\r\n")
            client.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                for _ in range(5000):  # until the buffers on the way are full
                    client.sock.send(b"x" * 65536)
            client.sock.settimeout(10)
            answer = client.sock.recv(100)
            assert answer.startswith(b"HTTP/1.1 504 ")
        wait_until(
            lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["active"] == 0, "the request was never given back"
        )
    finally:
        done.set()


def test_lingering_ends(terraster, backend) -> None:
    """One octet a second after a refusal must not hold the connection."""
    proxy = terraster(backend(answer=ok()))
    with proxy.connect(deadline=25) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.receive_until(b"}\n").startswith(b"HTTP/1.1 400 ")
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < began + 20:
                client.sock.send(b"x")
                time.sleep(0.5)
        assert time.monotonic() < began + 15


def test_a_client_that_sent_ahead_and_left_is_noticed(terraster, backend) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.rest()
        gone.set()

    proxy = terraster(backend(script))
    client = proxy.connect()
    client.send(GET + b"\r\n")
    wait_until(lambda: proxy.status()["services"][0]["locations"][0]["backends"][0]["active"] == 1, "the request did not arrive")
    client.send(b"\r\n").close()
    assert gone.wait(5), "the backend is still at work for nobody"


def test_a_busy_tunnel_is_not_silent(terraster, backend) -> None:
    """One direction is full and slow, the other one silent: that is no reason to end it."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        try:
            while True:
                peer.send(b"z" * 65536)
        except OSError:
            return

    proxy = terraster(backend(script), timeouts={"tunnel": "1s"})
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").response(upgrade=True)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert client.sock.recv(4096), "ended while octets were flowing"
            time.sleep(0.005)


def test_a_response_begun_before_the_drain_ends_its_connection(fresh, backend) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + b"x" * 5)
        go.wait(10)
        peer.send(b"x" * 5)
        peer.rest()

    proxy = fresh(backend(script))
    with proxy.connect(deadline=5) as client:
        client.send(GET)
        client.receive_until(b"xxxxx")
        proxy.program.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(proxy), "it still accepts")
        go.set()
        assert client.rest() == b"xxxxx"


def _accepts(proxy) -> bool:
    try:
        proxy.connect(deadline=1).close()
    except OSError:
        return False
    return True


def test_a_trusted_peers_real_ip_is_replaced(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(origin, trusted_proxies=["127.0.0.1"])
    get(proxy.address, fields="X-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7\r\n")
    assert origin.requests[0].all("x-real-ip") == ["203.0.113.7"]


def test_an_asterisk_is_not_a_path(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url + "/app"))
    assert exchange(proxy.address, b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").status == 200
    assert origin.requests[0].target == "*"


def test_a_rule_for_host_is_the_only_host(terraster, backend) -> None:
    origin = backend(answer=ok())
    proxy = terraster(service(origin.url, headers={"request_headers": {"Host": "inner"}}))
    assert exchange(proxy.address, b"GET / HTTP/1.0\r\n\r\n").status == 200
    assert origin.requests[0].all("host") == ["inner"]


def test_late_octets_do_not_cut_a_large_last_answer(terraster, backend) -> None:
    """The whole answer is in the kernel's buffers when the worker is done with it; a reset would throw away what has not left yet."""
    body = b"x" * 300_000
    proxy = terraster(backend(answer=ok(body)))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(proxy.address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        proxy.log()
        client.sendall(b"GET /late HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.endswith(b"\r\n\r\n" + body)
