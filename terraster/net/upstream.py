"""A connection to a backend. `terraster.net.pool` keeps the idle ones."""

from __future__ import annotations

import errno
import socket
from math import inf
from socket import SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from terraster.errors import ConnectFailed, ConnectionLost, HttpError, TimedOut

from .pool import Pool
from .reactor import Reactor
from .stream import Stream
from .tcp_keepalive import Options
from .tls import TlsStream

if TYPE_CHECKING:
    from .body import RequestBody

__all__ = ["Upstream", "make_socket"]

_LOOK = 0.005
"""Seconds between two checks whether a unix socket has room for a connection."""

_REASONS = {
    errno.ECONNREFUSED: "connection_refused",
    errno.ETIMEDOUT: "connection_timeout",
    errno.ENOENT: "destination_unavailable",  # this and the next three are of unix sockets
    errno.EACCES: "destination_unavailable",
    errno.ENOTDIR: "destination_unavailable",
    errno.EPROTOTYPE: "destination_unavailable",
}


class _Ended:
    """The owner of a stream that is closed. So a connection that is over refers to nothing in a circle, and its memory is free at once."""

    __slots__ = ()

    def unexpected(self) -> None:
        """See `terraster.net.stream.Owner`."""

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return self.lost()

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ConnectionLost("the backend closed the connection")

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return False


_ENDED = _Ended()


class Upstream(_Ended):
    """A connection to a backend.

    stream: its octets, plain or TLS; recv, recv_into, send and quick_ack are the stream's
    plain:  the stream of its socket
    phase:  the current wait ("connect", "response", "read", "write"), for the error
    since:  monotonic time at which it became idle
    framed: True if the connection frames bodies itself (HTTP/2)
    client, header: the client connection that alone uses it, and the PROXY header that it began with; None and b"" if any client may
    """

    __slots__ = (
        "client",
        "doubtful",
        "framed",
        "header",
        "phase",
        "plain",
        "pool",
        "quick_ack",
        "recv",
        "recv_into",
        "send",
        "since",
        "stream",
    )

    def __init__(self, stream: Stream, pool: Pool) -> None:
        """pool: has admitted this connection (`Pool.admit`)"""
        self.phase = "connect"
        self.client: Any
        self.header: bytes
        self.doubtful = self.framed = False
        self.pool = pool
        self.since = inf
        self.plain = stream
        stream.owner = self
        self._use(stream)

    def _use(self, stream: Stream | TlsStream) -> None:
        self.stream = stream
        self.recv = stream.recv
        self.recv_into = stream.recv_into
        self.send = stream.send
        self.quick_ack = stream.quick_ack

    def connect(self, stream: Stream, address: Any, timeout: float) -> None:
        """Connect the socket of its plain stream, and begin to watch it. Raises `ConnectFailed`."""
        try:
            stream.sock.connect(address)
        except BlockingIOError as error:
            if error.errno == errno.EAGAIN:
                self._wait_in_line(stream, address, timeout)
            else:
                stream.wait_writable(timeout)
                code = stream.sock.getsockopt(SOL_SOCKET, SO_ERROR)
                if code:
                    raise _connect_failed(code) from None
        except OSError as error:
            raise _connect_failed(error.errno or 0) from error
        stream.listen()
        self.phase = "response"

    def _wait_in_line(self, stream: Stream, address: str, timeout: float) -> None:
        """Connect to a unix socket whose queue of connections is full, as soon as there is room. The kernel tells nobody when that is: for
        TCP it repeats the SYN itself, for a unix socket it refuses (EAGAIN, connect(2)). Raises `ConnectFailed`."""
        reactor = stream.reactor
        end = reactor.clock() + timeout if timeout else inf
        while reactor.clock() < end:
            reactor.sleep(_LOOK)
            try:
                stream.sock.connect(address)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _connect_failed(error.errno or 0) from error
            return
        raise self.timed_out(False)

    def start_tls(self, stream: TlsStream, timeout: float) -> None:
        """Use TLS from now on, over the existing stream. Raises `ConnectFailed`."""
        self.phase = "connect"
        stream.handshake(timeout)
        self._use(stream)
        self.phase = "response"

    def send_body(self, body: RequestBody, payload: bytes, timeout: float) -> None:
        """Send the next payload of a request body, and its end if it is ``done``. Raises `HttpError`."""
        octets = body.framed(payload)
        if octets:
            self.send(octets, timeout)

    def close(self) -> None:
        """End the connection. Idempotent."""
        if not self.stream.closed:
            self.pool.left()
            self.stream.close()
            self.plain.owner = _ENDED

    def is_quiet(self) -> bool:
        """True if no octet and no end of the connection has arrived."""
        return self.stream.peek() is None

    def give_back(self, look: bool) -> None:
        """Return the connection to the pool after its response has been read completely.

        look: True: check that no octet follows the response, because the last read may not have taken all that had arrived. Remaining
        octets would be taken for the beginning of the next response.
        """
        stream = self.stream
        if (look or stream.buffers) and not self.is_quiet():
            self.close()
        else:
            self.pool.keep(self)

    def unexpected(self) -> None:
        """Handle an idle connection that became readable: the backend closed it, sent octets unasked, or sent a TLS message without data."""
        if not self.pool.holds(self):
            return
        if self.stream.buffers and self.is_quiet():
            self.stream.rearm()
        else:
            self.pool.ended(self)

    def timed_out(self, writing: bool) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        if self.phase == "connect":
            error: HttpError = ConnectFailed("no connection to the backend in time", status=504, reason="connection_timeout")
        elif writing:
            error = TimedOut("the backend stopped reading", reason="connection_write_timeout")
        else:
            error = TimedOut("the backend did not answer in time")
        return error

    def waits_for_head(self) -> bool:
        """See `terraster.net.stream.Owner`."""
        return self.phase == "response"


def _connect_failed(code: int) -> ConnectFailed:
    reason = _REASONS.get(code, "destination_ip_unroutable")
    return ConnectFailed(f"no connection to the backend ({errno.errorcode.get(code, code)})", reason=reason)


def make_socket(reactor: Reactor, family: int, keepalive: Options) -> Any:
    """A non-blocking socket for a new upstream connection. Raises `HttpError` 503 when the process has no descriptors left."""
    try:
        sock = reactor.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise HttpError(f"out of descriptors or memory ({error.strerror})", status=503) from error
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in keepalive:
            sock.setsockopt(level, option, value)
    return sock
