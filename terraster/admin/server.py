"""The HTTP server under the admin worker's ports: gevent's pywsgi, with bounds.

pywsgi alone waits forever for a request head and reads without limit. Here a head may take `HEAD_SECONDS` and `HEAD_OCTETS`, a body needs
a Content-Length of at most `BODY_OCTETS` and may take `BODY_SECONDS`, a write may take `WRITE_SECONDS`. `HEAD_SECONDS` also bounds how long
an idle connection is kept. A server holds `CONNECTIONS`; for one more, that which has waited longest for its client ends (`Crowd`).
A refusal is a problem (RFC 9457). Requests are not logged. A change is logged by the code that makes it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from gevent import Timeout
from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.ssl import SSLSocket

from .crowd import Crowd
from .door import Door

__all__ = ["FACTS", "LOCAL", "PEER_UID", "RAW_PATH", "Server"]

CONNECTIONS = 128
SPARE = 16  # connections that are accepted while others end for them
HEAD_SECONDS = 30.0
HEAD_OCTETS = 32768
BODY_OCTETS = 65536
BODY_SECONDS = 30.0
WRITE_SECONDS = 60.0

PEER_UID = "terraster.uid"  # in the WSGI environment of a unix socket: the user at the other end, as the kernel knows it
FACTS = "terraster.connection"  # likewise, of TCP: a dict for facts about the connection, which lives as long
LOCAL = "local"  # in these facts: address and port of our end
RAW_PATH = "terraster.path"  # likewise: the path as it was sent, percent-encoded

_DIGITS = re.compile(r"[0-9]{1,18}")


class _Refused(ValueError):
    """A head that is understood, and refused."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason


class _BoundedReader:
    """The reading side of a connection. Request line and fields count against ``left`` octets; ValueError if they exceed it, or if a line of
    them has a CR in its middle, which other programs take for its end. After a body that took too long (TimeoutError) it is at its end."""

    def __init__(self, sock: Any, crowd: Crowd) -> None:
        self._sock = sock
        self._crowd = crowd
        self._stream = sock.makefile("rb", -1)
        self.left = HEAD_OCTETS
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """The body, or what is left of it."""
        if self._ended:
            return b""
        timer = Timeout.start_new(BODY_SECONDS)
        self._crowd.waits(self._sock)
        try:
            octets: bytes = self._stream.read(size)
        except Timeout as timeout:
            if timeout is not timer:
                raise
            self._ended = True
            raise TimeoutError(f"the request body took more than {BODY_SECONDS:g} s") from None
        finally:
            self._crowd.goes_on(self._sock)
            timer.close()
        return octets

    def readline(self, size: int = -1) -> bytes:
        if self._ended:
            return b""
        bound = self.left + 1
        line: bytes = self._stream.readline(bound if size < 0 else min(size, bound))
        self.left -= len(line)
        if self.left < 0:
            raise ValueError("the request head is too large")
        if b"\r" in line[:-2]:
            raise ValueError("a line of the request head has a CR in its middle")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(WSGIHandler):  # type: ignore[misc]
    """One connection."""

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        super().__init__(sock, address, server, rfile=_BoundedReader(sock, server.crowd))
        sock.settimeout(WRITE_SECONDS)
        self._in_clear = not isinstance(sock, SSLSocket)
        self._facts: dict[str, Any] = {}

    def handle_one_request(self) -> Any:
        self.rfile.left = HEAD_OCTETS
        self._head_timer = Timeout.start_new(HEAD_SECONDS)
        self._sock = self.socket
        self.server.crowd.waits(self._sock)
        try:
            result = super().handle_one_request()
        except Timeout as timeout:
            if timeout is not self._head_timer:
                raise
            return None
        except ValueError as error:  # from the request line; errors of the fields go through _handle_client_error
            return _refusal(400, "Bad Request", str(error))
        finally:
            self.server.crowd.goes_on(self._sock)
            self._head_timer.close()
        if isinstance(result, tuple) and result[0] == "414":
            return _refusal(414, "URI Too Long", "the request line is too long")
        return result

    def read_request(self, raw_requestline: str) -> bool:
        read: bool = super().read_request(raw_requestline)
        self.server.crowd.goes_on(self._sock)
        self._head_timer.close()
        if self._in_clear and self.server.speaks_tls:  # a connection from before a reload
            raise ValueError("this port speaks TLS now: use https://")
        if "transfer-encoding" in self.headers:
            raise _Refused(411, "Length Required", f"a request body needs a Content-Length of at most {BODY_OCTETS}")
        lengths = self.headers.get_all("content-length", [])
        if len(lengths) > 1 or any(_DIGITS.fullmatch(one.strip(" \t")) is None for one in lengths):  # int() takes +5 and 1_0 too
            raise _Refused(400, "Bad Request", "Content-Length must be one number")
        if (self.content_length or 0) > BODY_OCTETS:
            raise _Refused(413, "Content Too Large", f"a request body may have at most {BODY_OCTETS} octets")
        return read

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        if isinstance(ex, _Refused):
            return _refusal(ex.status, ex.reason, str(ex))
        return _refusal(400, "Bad Request", str(ex) if type(ex) is ValueError else "this is not a valid HTTP request")

    def handle_one_response(self) -> None:
        self.server.busy += 1
        try:
            super().handle_one_response()
        finally:
            self.server.busy -= 1

    def handle_error(self, kind: Any, error: Any, trace: Any) -> None:
        """Log a defect. A client that left, or that took an answer too slowly, is none."""
        if isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)) or getattr(error, "errno", 0) == errno.EBADF:
            self.close_connection = True
            return
        super().handle_error(kind, error, trace)

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[RAW_PATH] = self.path.partition("?")[0]
        if self.socket.family == socket.AF_UNIX:
            credentials = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            environ[PEER_UID] = struct.unpack("3i", credentials)[1]
        else:
            if not self._facts:
                self._facts[LOCAL] = self.socket.getsockname()[:2]
            environ[FACTS] = self._facts
        return environ


class Server(WSGIServer):  # type: ignore[misc]
    """Serves a WSGI application on an inherited, plain listening socket. ``busy``: number of requests being answered.
    ``crowd``: its connections.

    door: TLS of the socket, if it can have some
    """

    max_accept = SPARE

    def __init__(self, listener: socket.socket, application: Callable[..., Any], log: Any, door: Door | None = None) -> None:
        self.busy = 0
        self.crowd = Crowd(CONNECTIONS)
        self._door = door
        own = gevent_socket.socket(listener.family, listener.type, listener.proto, fileno=os.dup(listener.fileno()))
        if own.family != socket.AF_UNIX:
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        super().__init__(
            own,
            application,
            spawn=Pool(CONNECTIONS + SPARE),
            log=None,
            error_log=log,
            handler_class=_Handler,
            environ={"SERVER_NAME": "terraster"},  # otherwise pywsgi resolves the host's name
        )

    @property
    def speaks_tls(self) -> bool:
        """True if new connections are encrypted."""
        return self._door is not None and self._door.tls is not None

    def handle(self, sock: Any, address: Any) -> None:
        """The life of one connection, in its own greenlet."""
        self.crowd.enter()
        try:
            opened = sock if self._door is None else self._door.open(sock, address[0] if isinstance(address, tuple) else "")
            if opened is not None:
                super().handle(opened, address)
        except OSError:
            pass  # the client left before it had its refusal; errors of applications do not come here
        finally:
            self.crowd.leave()


def _refusal(status: int, reason: str, detail: str) -> tuple[str, bytes]:
    problem = {"type": "about:blank", "title": reason, "status": status, "detail": detail, "error": detail}
    body = json.dumps(problem).encode() + b"\n"
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    return str(status), head.encode() + body
