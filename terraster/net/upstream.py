"""Connections to backends, and the pool that keeps idle ones."""

from __future__ import annotations

import errno
import socket
from math import inf
from socket import MSG_PEEK, SO_ERROR, SOL_SOCKET
from typing import Any

from gevent.monkey import get_original

from terraster.errors import ConnectFailed, ConnectionLost, HttpError, TimedOut

from .stream import Reactor, Stream

__all__ = ["Pool", "Upstream"]

_plain_socket = get_original("socket", "socket")

MAX_IDLE = 256
"""Idle connections kept per backend and worker."""

IDLE_TIMEOUT = 55.0
"""Seconds an idle connection is kept: below the 60 and 75 that backends usually wait, so that we close first."""


class Upstream(Stream):
    """A connection to a backend. phase: what is being waited for ("connect", "response", "read", "write"), for the error.

    since: monotonic time since when it has been idle.
    """

    __slots__ = ("phase", "pool", "since")

    def __init__(self, reactor: Reactor, sock: Any, pool: Pool | None) -> None:
        super().__init__(reactor, sock)
        self.phase = "connect"
        self.pool = pool
        self.since = inf

    def connect(self, address: Any, timeout: float) -> None:
        """Connect the socket and begin to watch it. Raises `ConnectFailed`."""
        try:
            self.sock.connect(address)
        except BlockingIOError:
            self.wait_writable(timeout)
            code = self.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if code:
                raise _connect_failed(code) from None
        except OSError as error:
            raise _connect_failed(error.errno or 0) from error
        self.phase = "response"
        self.listen()

    def is_quiet(self) -> bool:
        """Whether nothing has arrived, the end of the connection included."""
        try:
            self.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def give_back(self, look: bool) -> None:
        """Let the next request have this connection: its response has been read to the end.

        look: make sure that nothing lies behind the response, where the last read may have stopped short of what had arrived. Octets left
        over would be taken for the beginning of somebody else's response.
        """
        if self.pool is None or (look and not self.is_quiet()):
            self.close()
        else:
            self.pool.keep(self)

    def wait_no_longer_than(self, timeout: float) -> None:
        """Bound the wait of whoever reads here now, counted from now. Seconds, 0 = for ever."""
        if self.reader is not None and timeout:
            self.read_deadline = self.reactor.horizon + timeout

    def unexpected(self) -> None:
        if self.pool is not None and self.pool.holds(self):  # readable while idle: it has ended, or it speaks out of turn
            self.pool.drop(self)

    def timed_out(self, writing: bool) -> HttpError:
        if self.phase == "connect":
            error: HttpError = ConnectFailed("no connection to the backend in time", status=504, reason="connection_timeout")
        elif writing:
            error = TimedOut("the backend stopped reading", reason="connection_write_timeout")
        else:
            error = TimedOut("the backend did not answer in time")
        return error

    def lost(self) -> HttpError:
        return ConnectionLost("the backend closed the connection")


def _connect_failed(code: int) -> ConnectFailed:
    reason = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "connection_timeout"}.get(
        code, "destination_ip_unroutable"
    )
    return ConnectFailed(f"no connection to the backend ({errno.errorcode.get(code, code)})", reason=reason)


class Pool:
    """The idle connections to one backend in this worker; the one used last is used next.

    An idle connection is watched: it leaves the pool the moment the backend closes it, so a dead one is not handed out.
    """

    __slots__ = ("idle", "reactor", "closed")

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.idle: dict[Upstream, None] = {}
        self.closed = False

    def take(self, look: bool) -> Upstream | None:
        """An idle connection, or None.

        look: ask the kernel whether it has ended since the loop last turned: one call more, for requests that must not be sent twice.
        """
        while self.idle:
            upstream, _ = self.idle.popitem()
            if not look or upstream.is_quiet():
                return upstream
            upstream.close()
        return None

    def holds(self, upstream: Upstream) -> bool:
        """Whether a connection is idle here."""
        return upstream in self.idle

    def keep(self, upstream: Upstream) -> None:
        """Take back a connection whose response has been read to its end."""
        if self.closed or upstream.ready or len(self.idle) >= MAX_IDLE:
            upstream.close()
            return
        upstream.phase = "response"
        upstream.since = self.reactor.horizon
        self.idle[upstream] = None

    def drop(self, upstream: Upstream) -> None:
        """Close an idle connection."""
        self.idle.pop(upstream, None)
        upstream.close()

    def expire(self, now: float) -> None:
        """Close what has been idle for too long; the oldest come first."""
        while self.idle:
            oldest = next(iter(self.idle))
            if now - oldest.since < IDLE_TIMEOUT:
                break
            self.drop(oldest)

    def close(self) -> None:
        """Close all idle connections and keep none from now on."""
        self.closed = True
        while self.idle:
            self.drop(next(iter(self.idle)))


def make_socket(family: int) -> Any:
    """A non-blocking socket for a new upstream connection. Raises `HttpError` 503 when the process has no descriptors left."""
    try:
        sock = _plain_socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise HttpError(f"out of descriptors or memory ({error.strerror})", status=503) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
