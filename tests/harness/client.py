"""A client on a raw socket: what is sent is exactly what stands in the test, what comes back is parsed by h11.

Every wait has a deadline, so a scenario that goes wrong fails instead of hanging.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

import h11

from .waiting import DEADLINE

__all__ = ["DEADLINE", "Connection", "Response", "exchange", "get"]


@dataclass
class Response:
    """An answer. Names of fields are in lower case. ``interim``: the 1xx answers before it, as (status, fields)."""

    status: int
    reason: bytes = b""
    version: bytes = b"1.1"
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[tuple[int, list[tuple[bytes, bytes]]]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value.decode("latin-1") for spelt, value in self.fields if spelt == name.lower().encode()]

    def get(self, name: str) -> str | None:
        """The only value of a field, or None."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Connection:
    """One TCP (or unix) connection. ``address``: (host, port) or a path. ``source``: the address to connect from."""

    def __init__(
        self, address: tuple[str, int] | str, *, deadline: float = DEADLINE, source: str = "", receive_buffer: int = 0
    ) -> None:
        self.deadline = deadline
        self.held = b""
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(deadline)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def secure(self, context: ssl.SSLContext, name: str | None) -> Connection:
        """Speak TLS from now on."""
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        return self

    def send(self, data: bytes) -> Connection:
        """Send all of ``data``; returns the connection, so that a read can follow on the same line."""
        self.sock.sendall(data)
        return self

    def send_slowly(self, data: bytes, size: int, pause: float) -> Connection:
        """Send ``data`` in pieces of ``size`` octets with a pause (seconds) after each."""
        for at in range(0, len(data), size):
            self.sock.sendall(data[at : at + size])
            time.sleep(pause)
        return self

    def receive(self, size: int = 65536) -> bytes:
        """What is there next; b"" at the end."""
        if self.held:
            data, self.held = self.held[:size], self.held[size:]
            return data
        return self.sock.recv(size)

    def receive_exactly(self, size: int) -> bytes:
        """``size`` octets."""
        data = b""
        while len(data) < size:
            more = self.receive(size - len(data))
            assert more, f"connection closed after {len(data)} of {size} octets: {data!r}"
            data += more
        return data

    def receive_until(self, marker: bytes) -> bytes:
        """Everything up to and with ``marker``."""
        data = b""
        while marker not in data:
            more = self.receive()
            assert more, f"connection closed before {marker!r}: {data!r}"
            data += more
        end = data.index(marker) + len(marker)
        self.held = data[end:] + self.held
        return data[:end]

    def response(self, method: str = "GET", *, upgrade: bool = False) -> Response:
        """The next response on the connection, which answers a request of ``method``."""
        parser = h11.Connection(h11.CLIENT)
        fields = [("Host", "x")] + ([("Connection", "upgrade"), ("Upgrade", "x")] if upgrade else [])
        parser.send(h11.Request(method=method, target="/", headers=fields))
        parser.send(h11.EndOfMessage())
        if self.held:
            parser.receive_data(self.held)
            self.held = b""
        answer: Response | None = None
        interim: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                try:
                    data = self.sock.recv(65536)
                except TimeoutError:
                    raise AssertionError(f"no complete response within {self.deadline} s; so far: {answer}") from None
                assert data or answer, "connection closed before a response"
                parser.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self.held = parser.trailing_data[0]
                    return Response(101, event.reason, event.http_version, list(event.headers), interim=interim)
                interim.append((event.status_code, list(event.headers)))
            elif isinstance(event, h11.Response):
                answer = Response(event.status_code, event.reason, event.http_version, list(event.headers), interim=interim)
            elif isinstance(event, h11.Data):
                assert answer is not None
                answer.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert answer is not None
                answer.trailers = list(event.headers)
                self.held = parser.trailing_data[0]
                return answer
            else:
                raise AssertionError(f"unexpected {event!r}")

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        pieces = []
        while True:
            try:
                data = self.receive()
            except TimeoutError:
                raise AssertionError(f"not closed within {self.deadline} s; so far: {b''.join(pieces)!r}") from None
            except ConnectionResetError:
                return b"".join(pieces)
            if not data:
                return b"".join(pieces)
            pieces.append(data)

    def is_closed(self) -> bool:
        """Whether the other side closes within the deadline, without another octet."""
        return self.rest() == b""

    def is_open(self) -> bool:
        """Whether nothing came and nobody closed so far."""
        if self.held:
            return True
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(self.deadline)

    def half_close(self) -> None:
        """Close the sending half."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a reset instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(OSError):
            self.sock.close()


def exchange(address: tuple[str, int] | str, request: bytes, method: str = "", **options: float) -> Response:
    """One request on a connection of its own."""
    with Connection(address, **options) as connection:
        return connection.send(request).response(method or request.split(b" ", 1)[0].decode())


def get(address: tuple[str, int] | str, target: str = "/", host: str = "a.test", fields: str = "", method: str = "GET") -> Response:
    """A GET on a connection of its own. ``fields``: more field lines, each with its CRLF."""
    return exchange(address, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode("latin-1"))
