"""TLS towards a backend, against the standard library's own server in a thread."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from terraster.config.snapshot import Backend, ConnectionPool
from terraster.errors import ConnectFailed, HttpError
from terraster.net.origin import Origin
from terraster.net.reactor import Reactor
from terraster.state.table import SeatBackend, Table
from terraster.state.view import SeatView

from .harness.waiting import wait_until

pytestmark = pytest.mark.needs("openssl")


class Peer:
    """A TLS server: each connection is handed to ``serve``, then closed."""

    def __init__(self, folder: Path, serve: Callable[[ssl.SSLSocket], None]) -> None:
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with self._context.wrap_socket(connection, server_side=True) as secure:
                self._serve(secure)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class House:
    """One worker's origins."""

    def __init__(self) -> None:
        self.table = Table(4, 4, 2)
        self.view = SeatView(self.table)
        self.view.sit(1)
        self.reactor = Reactor()
        self.reactor.start()

    def origin(self, port: int, sni: str = "localhost") -> Origin:
        url = f"https://127.0.0.1:{port}"
        backend = Backend("b", url, "https", "127.0.0.1", port, address="127.0.0.1", sni=sni, skip_tls_verify=True, slot=0)
        return Origin(self.reactor, backend, 0, ConnectionPool(), self.view)

    def cell(self, which: int) -> int:
        return int(self.table.q[self.view.backends + which])


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(serve: Callable[[ssl.SSLSocket], None]) -> Peer:
        peers.append(Peer(tmp_path, serve))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


def run(job: Callable[[], Any]) -> Any:
    """Run a job as a worker runs a connection."""
    return gevent.spawn(job).get(timeout=10)


def test_a_name_that_tls_refuses_costs_nothing() -> None:
    house = House()
    for name in (".example.com", "a..b", "a\0b", "x" * 70):
        origin = house.origin(1, name)
        run(lambda origin=origin: pytest.raises(ConnectFailed, origin.connect, 1.0))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            run(lambda origin=origin: pytest.raises(ConnectFailed, origin.connect, 1.0))
        assert len(os.listdir("/proc/self/fd")) == before
        origin.close()
    assert house.cell(SeatBackend.OPEN) == 0 and not house.reactor.streams


def test_what_fails_while_a_response_is_awaited_was_sent(peer: Callable[..., Peer]) -> None:
    """TLS may want to say something of its own there (a key update), and the socket may be gone: the request was not lost with it."""
    heard: list[bytes] = []
    gone = threading.Event()

    def serve(connection: ssl.SSLSocket) -> None:
        heard.append(connection.recv(65536))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        gone.set()

    house = House()
    origin = house.origin(peer(serve).port)

    def job() -> HttpError:
        upstream = origin.connect(5.0)
        upstream.send(b"POST /pay HTTP/1.1\r\n\r\n", 5.0)
        wait_until(gone.is_set, pause=gevent.sleep)
        upstream.stream._outgoing.write(b"\x17\x03\x03\x00\x01x")  # type: ignore[union-attr]  # what the engine would have to say
        with pytest.raises(HttpError) as caught:
            upstream.recv(5.0)
        upstream.close()
        return caught.value

    assert not run(job).unsent
    assert heard == [b"POST /pay HTTP/1.1\r\n\r\n"]


def test_how_long_an_https_backend_keeps_connections_is_learnt(peer: Callable[..., Peer]) -> None:
    def serve(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        connection.sendall(b"hi")
        time.sleep(0.4)  # its keep-alive timeout

    house = House()
    origin = house.origin(peer(serve).port)

    def job() -> None:
        upstream = origin.connect(5.0)
        upstream.send(b"GET / HTTP/1.1\r\n\r\n", 5.0)
        assert upstream.recv(5.0) == b"hi"
        upstream.give_back(True)
        assert origin.pool.idle
        wait_until(lambda: not origin.pool.idle, pause=gevent.sleep)

    for _ in range(3):
        run(job)
    assert origin.pool.keepalive.seconds == pytest.approx(0.4, abs=0.2)
    assert house.cell(SeatBackend.OPEN) == house.cell(SeatBackend.IDLE) == 0
