"""Real backends, small ones: a scripted server on raw sockets that remembers every octet, WSGI, and a WebSocket echo.

A `Backend` runs a script for each connection it accepts, in a thread of its own. What a script asserts is raised again where the
scenario ends, and every wait has a deadline.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import h11

from .acceptor import Acceptor
from .ports import free_port
from .waiting import DEADLINE

__all__ = ["Backend", "Peer", "Request", "WsgiBackend", "always", "ok", "websocket_echo"]


@dataclass
class Request:
    """A request as a backend got it: ``raw`` octet for octet. Names of fields are in lower case."""

    method: str
    target: str
    version: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value.decode("latin-1") for spelt, value in self.fields if spelt == name.lower().encode()]

    def get(self, name: str) -> str | None:
        """The only value of a field, or None."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Peer:
    """A connection that a backend accepted. ``received``: every octet so far."""

    def __init__(self, backend: Backend, sock: socket.socket, number: int) -> None:
        self.backend = backend
        self.sock = sock
        self.number = number
        self.received = b""
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._held = b""
        self._parser: h11.Connection | None = None
        self._began = 0

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        self.received += data
        return data

    def head(self) -> Request | None:
        """The next request's head; None when the connection ended before it."""
        self._parser = parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._began = len(self.received) - len(self._held)
        if self._held:
            parser.receive_data(self._held)
            self._held = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = self._receive()
                if not data:
                    return None
                parser.receive_data(data)
                continue
            if isinstance(event, h11.ConnectionClosed):
                return None
            assert isinstance(event, h11.Request), event
            raw = self.received[self._began :]
            request = Request(event.method.decode(), event.target.decode("latin-1"), event.http_version, list(event.headers))
            request.raw = raw[: raw.index(b"\r\n\r\n") + 4]
            return request

    def body(self, request: Request) -> Request | None:
        """Read the body behind ``head()``; None when the connection ended within it."""
        assert self._parser is not None
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                data = self._receive()
                if not data:
                    return None
                self._parser.receive_data(data)
            elif isinstance(event, h11.Data):
                request.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                request.trailers = list(event.headers)
                self._held = self._parser.trailing_data[0]
                request.raw = self.received[self._began : len(self.received) - len(self._held)]
                self.requests.append(request)
                with self.backend.changed:
                    self.backend.requests.append(request)
                    self.backend.changed.notify_all()
                return request

    def pieces(self) -> Iterator[bytes]:
        """The body behind ``head()`` as it comes, remembering none of it; fails when the connection ends within it."""
        assert self._parser is not None
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                data = self.sock.recv(1 << 18)
                assert data, "the connection ended within a body"
                self._parser.receive_data(data)
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                self._held = self._parser.trailing_data[0]
                return

    def request(self) -> Request | None:
        """The next whole request; None when the connection ended before its end."""
        request = self.head()
        return request and self.body(request)

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)

    def rest(self) -> bytes:
        """Everything until the other side closes (a reset counts as closing)."""
        data = self._held
        self._held = b""
        with contextlib.suppress(ConnectionResetError):
            while more := self._receive():
                data += more
        return data

    def reset(self) -> None:
        """End the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Backend(Acceptor):
    """A server on loopback, or on a unix socket, that runs ``script(peer)`` for every connection.

    requests: every whole request that came, over all connections. peers: the connections. `url` goes into a configuration.
    """

    def __init__(self, script: Callable[[Peer], None], *, host: str = "127.0.0.1", port: int = 0, path: str = "") -> None:
        """path: of a unix socket; it is removed at the end"""
        self.script = script
        self.requests: list[Request] = []
        self.address: tuple[str, int] | str
        if path:
            self.port, self.address, self.url = 0, path, f"unix:{path}"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(512)
        else:
            self.port = port or free_port(host)
            listener = socket.create_server((host, self.port), backlog=512)
            self.url = f"http://{host}:{self.port}"
            self.address = (host, self.port)
        super().__init__(listener)

    def _accepted(self, sock: socket.socket) -> None:
        sock.settimeout(60)
        peer = Peer(self, sock, len(self.peers))
        self._add(peer)
        threading.Thread(target=self._run, args=(peer,), daemon=True).start()

    def _run(self, peer: Peer) -> None:
        try:
            self.script(peer)
        except (OSError, ValueError) as error:  # ValueError: a closed socket's -1
            if not self._closing and isinstance(error, TimeoutError):
                self.failures.append(error)
        except BaseException as error:
            self.failures.append(error)
        finally:
            peer.close()
            peer.ended.set()

    def wait(self, count: int = 1, deadline: float = DEADLINE) -> list[Request]:
        """The requests, as soon as there are ``count``."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, deadline), (
                f"{len(self.requests)} of {count} requests came"
            )
            return list(self.requests)

    def wait_peer(self, number: int = 0, deadline: float = DEADLINE) -> Peer:
        """The connection of this number, as soon as it is accepted."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.peers) > number, deadline), "no connection came"
            peer: Peer = self.peers[number]
            return peer

    def close(self) -> None:
        """Stop listening and end every connection."""
        super().close()
        if isinstance(self.address, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)


def ok(body: bytes = b"hello", fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    """An answer with a length. ``fields``: more field lines, each with its CRLF."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body)


def always(answer: bytes | Callable[[Request], bytes | None]) -> Callable[[Peer], None]:
    """A script that answers every request on a connection alike; an answer of None ends the connection."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            octets = answer(request) if callable(answer) else answer
            if octets is None:
                return
            peer.send(octets)

    return script


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class WsgiBackend:
    """A WSGI application behind wsgiref's server (HTTP/1.0 answers that end with the connection)."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.server = make_server("127.0.0.1", free_port(), application, _ThreadingServer, _QuietHandler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> WsgiBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def websocket_echo(peer: Peer) -> None:
    """A script that shakes hands and echoes WebSocket messages until it is told to close. RFC 6455; no extensions, no fragments."""
    request = peer.request()
    if request is None:
        return
    key = request.get("sec-websocket-key")
    assert key is not None, request.raw
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
        % accept
    )
    stream = peer.sock.makefile("rb")
    while True:
        start = stream.read(2)
        if len(start) < 2:
            return
        length = start[1] & 127
        if length == 126:
            (length,) = struct.unpack("!H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", stream.read(8))
        mask = stream.read(4)
        payload = bytes(octet ^ mask[at % 4] for at, octet in enumerate(stream.read(length)))
        opcode = start[0] & 15
        head = bytes([0x80 | (10 if opcode == 9 else opcode)])
        size = (
            bytes([length])
            if length < 126
            else struct.pack("!BH", 126, length)
            if length < 65536
            else struct.pack("!BQ", 127, length)
        )
        peer.send(head + size + payload)
        if opcode == 8:
            return
