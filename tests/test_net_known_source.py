"""Bodies of a known length: each octet once, what follows a body is noticed, and a backend that breaks off is told in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import gevent
import pytest

from terraster.errors import ConnectionLost, HttpError
from terraster.net.body import BUFFER, Buffer
from terraster.net.known_source import FullSource, KnownSource
from terraster.net.reactor import Reactor
from terraster.net.stream import Stream

HEAD = b"HTTP/1.1 200 OK\r\n\r\nthe first octets;"


class Backend:
    """A stream, the socket at its other end, and the connection that a source uses."""

    def __init__(self) -> None:
        here, self.far = socket.socketpair()
        here.setblocking(False)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        self.stream = Stream(Reactor(), here)
        self.stream.owner = self  # type: ignore[assignment]
        self.stream.listen()
        self.acknowledged = 0
        self.upstream = SimpleNamespace(recv_into=self.stream.recv_into, quick_ack=self.count)

    def count(self) -> None:
        self.acknowledged += 1

    def lost(self) -> HttpError:
        return ConnectionLost("lost")

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`."""

    def full(self, left: int, head: bytes = HEAD) -> FullSource:
        return FullSource(self.upstream, self.stream, head, left, 5.0, Buffer())  # type: ignore[arg-type]

    def known(self, left: int) -> KnownSource:
        return KnownSource(self.upstream, HEAD, left, 5.0, Buffer())  # type: ignore[arg-type]


@pytest.fixture
def backend() -> Iterator[Backend]:
    one = Backend()
    yield one
    one.stream.close()
    one.far.close()


@pytest.mark.parametrize("arrived", [1, 999, 1000])
def test_what_has_arrived_goes_with_the_head(backend: Backend, arrived: int) -> None:
    body = bytes(range(250)) * 4
    backend.far.send(body[:arrived])
    source = backend.full(1000)
    said = bytes(source.here())
    assert said == HEAD + body[:arrived]
    assert source.done is (arrived == 1000)
    if not source.done:
        assert backend.acknowledged == 1
        backend.far.send(body[arrived:])
        said += bytes(gevent.spawn(source.read, BUFFER).get(timeout=5))
    assert said == HEAD + body
    assert source.done and source.reusable and source.quiet


def test_nothing_has_arrived_yet(backend: Backend) -> None:
    source = backend.full(4)
    assert bytes(source.here()) == HEAD and not source.done
    assert backend.acknowledged == 1
    backend.far.send(b"body")
    assert bytes(gevent.spawn(source.read, BUFFER).get(timeout=5)) == b"body"
    assert source.done and source.reusable


@pytest.mark.parametrize("kind", ["full", "known"])
def test_octets_behind_a_body_are_noticed_and_are_no_part_of_it(backend: Backend, kind: str) -> None:
    backend.far.send(b"body!")
    source = backend.full(4) if kind == "full" else backend.known(4)
    said = bytes(source.here())
    if kind == "known":
        said += bytes(gevent.spawn(source.read, BUFFER).get(timeout=5))
    assert said == HEAD + b"body"
    assert source.done and not source.reusable


@pytest.mark.parametrize("kind", ["full", "known"])
def test_a_backend_that_leaves_early(backend: Backend, kind: str) -> None:
    backend.far.close()
    source = backend.full(4) if kind == "full" else backend.known(4)
    with pytest.raises(ConnectionLost):
        source.here()
        gevent.spawn(source.read, BUFFER).get(timeout=5)


def test_a_reset_is_an_error_of_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        here = listening.accept()[0]
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    here.setblocking(False)
    one = Backend()
    one.stream.close()
    one.stream = Stream(Reactor(), here)
    one.stream.owner = one  # type: ignore[assignment]
    with pytest.raises(ConnectionLost, match="lost"):
        one.full(4).here()
    one.stream.close()
    one.far.close()


def test_a_read_that_fills_the_room_does_not_tell_what_follows(backend: Backend) -> None:
    backend.far.send(b"bodybody")
    source = backend.known(8)
    source.here()
    assert bytes(gevent.spawn(source.read, 4).get(timeout=5)) == b"body" and not source.done
    assert bytes(gevent.spawn(source.read, 4).get(timeout=5)) == b"body"
    assert source.done and source.reusable and not source.quiet


def test_a_body_larger_than_the_buffer_comes_in_pieces(backend: Backend) -> None:
    body = b"x" * (BUFFER + 10)
    sending = gevent.get_hub().threadpool.spawn(backend.far.sendall, body)
    gevent.sleep(0.01)
    source = backend.full(len(body))
    said = len(source.here()) - len(HEAD)
    while not source.done:
        piece = gevent.spawn(source.read, BUFFER).get(timeout=5)
        assert len(piece) <= BUFFER
        said += len(piece)
    sending.get()
    assert said == len(body) and source.reusable


def test_a_head_that_fills_the_buffer_goes_alone(backend: Backend) -> None:
    backend.far.send(b"body")
    head = b"h" * BUFFER
    assert bytes(backend.full(4, head).here()) == head
