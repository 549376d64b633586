"""Peers that write a message in several small parts with Nagle's algorithm on: the next part must not wait for a delayed acknowledgement.

Linux delays an acknowledgement by 40 ms once a connection has settled into asking and answering, so each case asks again and again
and looks at the median.
"""

from __future__ import annotations

import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..harness.backends import Peer
from ..harness.client import Connection
from ..harness.terraster_process import service

ROUNDS = 31
SOON = 0.010  # seconds; a delayed acknowledgement takes 40 ms

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
LENGTH = b"Content-Length: 100\r\n"
BODY = b"x" * 100


def hold_small_parts_back(sock: socket.socket) -> None:
    """Turn Nagle's algorithm on, the default of the kernel."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)


def answers_in(*parts: bytes) -> Callable[[Peer], None]:
    """A backend's script: each answer is written in these parts."""

    def script(peer: Peer) -> None:
        hold_small_parts_back(peer.sock)
        while peer.request():
            for part in parts:
                peer.send(part)

    return script


def median(client: Connection, *parts: bytes, method: str = "GET") -> float:
    """Seconds until the answer is whole, for requests written in these parts, one after the other on one connection."""
    took = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        for part in parts:
            client.sock.sendall(part)
        assert client.response(method).body == BODY
        took.append(time.monotonic() - began)
    return statistics.median(took)


ANSWERS = {
    "head and body": (b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n", BODY),
    "head in two parts": (b"HTTP/1.1 200 OK\r\n", LENGTH + b"\r\n" + BODY),
    "body in two parts": (b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY[:50], BODY[50:]),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"64\r\n" + BODY + b"\r\n", b"0\r\n\r\n"),
}


@pytest.mark.parametrize("parts", ANSWERS.values(), ids=ANSWERS)
def test_a_backend_that_answers_in_parts(terraster, backend, parts: tuple[bytes, ...]) -> None:
    with terraster(backend(answers_in(*parts))).connect() as client:
        assert median(client, GET) < SOON


def test_a_long_answer_whose_head_comes_apart(terraster, backend) -> None:
    """Longer than what is collected before it goes out."""
    body = b"y" * 100_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with terraster(backend(answers_in(head, body))).connect() as client:
        took = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            assert client.send(GET).response().body == body
            took.append(time.monotonic() - began)
    assert statistics.median(took) < 2 * SOON


POSTS = {
    "head and body": (b"POST / HTTP/1.1\r\nHost: a.test\r\n" + LENGTH + b"\r\n", BODY),
    "head in two parts": (b"POST / HTTP/1.1\r\nHost: a.test\r\n", LENGTH + b"\r\n" + BODY),
    "body in two parts": (b"POST / HTTP/1.1\r\nHost: a.test\r\n" + LENGTH + b"\r\n" + BODY[:50], BODY[50:]),
    "chunks": (
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"64\r\n" + BODY + b"\r\n",
        b"0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("parts", POSTS.values(), ids=POSTS)
def test_a_client_that_asks_in_parts(terraster, backend, parts: tuple[bytes, ...]) -> None:
    origin = backend(answer=b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY)
    with terraster(origin).connect() as client:
        hold_small_parts_back(client.sock)
        assert median(client, *parts, method="POST") < SOON


def test_a_client_on_a_unix_socket(terraster, backend, tmp_path) -> None:
    """There is nothing to acknowledge, and no option to set."""
    path = str(tmp_path / "site.sock")
    origin = backend(answers_in(*ANSWERS["head and body"]))
    proxy = terraster(service(origin.url), listen=[f"unix:{path}"])
    with Connection(path) as client:
        assert median(client, *POSTS["body in two parts"], method="POST") < SOON
    assert [line["status"] for line in proxy.log(ROUNDS)] == [200] * ROUNDS


@pytest.mark.needs("openssl")
def test_a_record_of_tls_in_parts(terraster, backend, tmp_path: Path) -> None:
    """The engine of the backend has it whole, its socket gets it in two parts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def script(peer: Peer) -> None:
        hold_small_parts_back(peer.sock)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)

        def step(function: Callable[[], object]) -> object:
            while True:
                try:
                    return function()
                except ssl.SSLWantReadError:
                    if outgoing.pending:
                        peer.send(outgoing.read())
                    data = peer.sock.recv(65536)
                    if not data:
                        raise ConnectionResetError from None
                    incoming.write(data)

        step(tls.do_handshake)
        while step(lambda: tls.read(65536)):
            tls.write(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY)
            record = outgoing.read()
            peer.send(record[:-50])
            peer.send(record[-50:])

    url = backend(script).url.replace("http:", "https:")
    with terraster(service({"url": url, "skip_tls_verify": True})).connect() as client:
        assert median(client, GET) < SOON
