"""Upgrades: the connection becomes a tunnel, or stays HTTP because the backend says so."""

from __future__ import annotations

import os
import struct

import pytest

from ..harness.backends import Peer, ok, websocket_echo
from ..harness.client import Connection

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(payload: bytes, opcode: int = 2) -> bytes:
    """A masked frame."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + mask + bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))


def read_frame(client: Connection) -> bytes:
    """The payload of the next (unmasked) frame."""
    size = client.receive_exactly(2)[1]
    if size == 126:
        (size,) = struct.unpack("!H", client.receive_exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", client.receive_exactly(8))
    return client.receive_exactly(size)


def test_websocket_echo(terraster, backend) -> None:
    origin = backend(websocket_echo)
    with terraster(origin).connect() as client:
        answer = client.send(HANDSHAKE).response(upgrade=True)
        assert answer.status == 101
        assert answer.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (answer.get("upgrade"), answer.get("connection")) == ("websocket", "Upgrade")
        for size in (0, 1, 125, 126, 1000, 65535, 65536, 300_000):
            payload = os.urandom(size)
            assert read_frame(client.send(frame(payload))) == payload
        client.send(frame(b"\x03\xe8", 8))
        assert read_frame(client) == b"\x03\xe8"
        assert client.is_closed()
    request = origin.requests[0]
    assert (request.get("upgrade"), request.get("connection")) == ("websocket", "Upgrade")


def test_a_backend_that_declines_answers_as_always(terraster, backend) -> None:
    origin = backend(answer=ok(b"no tunnel"))
    with terraster(origin).connect() as client:
        for _ in range(2):
            answer = client.send(HANDSHAKE).response(upgrade=True)
            assert (answer.status, answer.body) == (200, b"no tunnel")


def test_other_protocols_are_tunnelled_too(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chess/1\r\n\r\ne4\n")
        assert peer.rest() == b"e5\n"

    with terraster(backend(script)).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: chess/1\r\n\r\n")
        assert client.response(upgrade=True).get("upgrade") == "chess/1"
        assert client.receive_exactly(3) == b"e4\n"
        client.send(b"e5\n").half_close()
        assert client.rest() == b""


def test_octets_sent_along_with_the_handshake(terraster, backend) -> None:
    origin = backend(websocket_echo)
    with terraster(origin).connect() as client:
        client.send(HANDSHAKE + frame(b"early")).response(upgrade=True)
        assert read_frame(client) == b"early"


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_reset_on_one_side_ends_the_other(terraster, backend, who: str) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        if who == "backend":
            peer._receive()
            peer.reset()
        else:
            peer.rest()

    origin = backend(script)
    with terraster(origin).connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").response(upgrade=True)
        client.send(b"x")
        if who == "client":
            client.reset()
            assert origin.peers[0].ended.wait(10)
        else:
            client.rest()


def test_switching_unasked_is_refused(terraster, backend) -> None:
    origin = backend(answer=b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    with terraster(origin).connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").response().status == 502


def test_http2_in_clear_is_not_tunnelled(terraster, backend) -> None:
    origin = backend(answer=ok())
    with terraster(origin).connect() as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
        )
        assert client.response().status == 200
    request = origin.requests[0]
    assert request.all("upgrade") == request.all("http2-settings") == request.all("connection") == []
