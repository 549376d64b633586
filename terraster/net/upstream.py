"""Connections to backends, and the pool that keeps idle ones."""

from __future__ import annotations

import errno
import socket
from math import inf
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from terraster.config.snapshot import ConnectionPool
from terraster.errors import ConnectFailed, ConnectionLost, HttpError, TimedOut
from terraster.policy.keepalive import KeepAlive
from terraster.state.table import SeatBackend
from terraster.state.view import SeatView

from .reactor import Reactor
from .stream import Stream
from .tls import TlsStream

__all__ = ["NoRoom", "Pool", "Upstream"]

MAX_IDLE = 256
"""Idle connections kept per backend and worker, whatever is configured."""

_LOOK = 0.005
"""Seconds between two looks at whether another worker has let go of a connection."""

_BROKEN = 3
"""Reused connections that may break in a row before connections to this backend are used once only."""

_FRESH = 10.0
"""Seconds for which they are."""

_IDLE = SeatBackend.IDLE
_OPEN = SeatBackend.OPEN
_WANTED = SeatBackend.WANTED
_KEEPALIVE = SeatBackend.KEEPALIVE


class NoRoom(HttpError):
    """The backend has as many connections as it may have: nothing was sent, another one may be tried, and nobody is to blame."""

    status = 503
    retryable = True
    unsent = True
    reason = "connection_limit_reached"


class Upstream:
    """A connection to a backend.

    stream: its octets, plain or TLS; recv, recv_into, send, quick_ack: of the stream. phase: what is being waited for ("connect",
    "response", "read", "write"), for the error. since: monotonic time since when it has been idle.
    """

    __slots__ = ("phase", "pool", "quick_ack", "recv", "recv_into", "send", "since", "stream")

    def __init__(self, stream: Stream, pool: Pool) -> None:
        """``pool`` has admitted it: `Pool.admit`."""
        self.phase = "connect"
        self.pool = pool
        self.since = inf
        stream.owner = self
        self._use(stream)

    def _use(self, stream: Stream | TlsStream) -> None:
        self.stream = stream
        self.recv = stream.recv
        self.recv_into = stream.recv_into
        self.send = stream.send
        self.quick_ack = stream.quick_ack

    def connect(self, stream: Stream, address: Any, timeout: float) -> None:
        """Connect the socket of this, its plain stream, and begin to watch it. Raises `ConnectFailed`."""
        try:
            stream.sock.connect(address)
        except BlockingIOError:
            stream.wait_writable(timeout)
            code = stream.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if code:
                raise _connect_failed(code) from None
        except OSError as error:
            raise _connect_failed(error.errno or 0) from error
        stream.listen()
        self.phase = "response"

    def start_tls(self, stream: TlsStream, timeout: float) -> None:
        """Speak TLS from now on, over the stream that is there already. Raises `ConnectFailed`."""
        self.phase = "connect"
        stream.handshake(timeout)
        self._use(stream)
        self.phase = "response"

    def close(self) -> None:
        """End the connection. Idempotent."""
        if not self.stream.closed:
            self.pool.left()
            self.stream.close()

    def is_quiet(self) -> bool:
        """True if nothing has arrived, the end of the connection included."""
        return self.stream.peek() is None

    def give_back(self, look: bool) -> None:
        """Let the next request have this connection: its response has been read to the end.

        look: make sure that nothing lies behind the response, where the last read may have stopped short of what had arrived. Octets left
        over would be taken for the beginning of the next response.
        """
        if (look or self.stream.buffers) and not self.is_quiet():
            self.close()
        else:
            self.pool.keep(self)

    def unexpected(self) -> None:
        """An idle connection became readable: the backend has closed it, or speaks out of turn; or TLS said something of its own."""
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

    def lost(self) -> HttpError:
        """See `terraster.net.stream.Owner`."""
        return ConnectionLost("the backend closed the connection")


def _connect_failed(code: int) -> ConnectFailed:
    reason = {errno.ECONNREFUSED: "connection_refused", errno.ETIMEDOUT: "connection_timeout"}.get(
        code, "destination_ip_unroutable"
    )
    return ConnectFailed(f"no connection to the backend ({errno.errorcode.get(code, code)})", reason=reason)


class Pool:
    """The connections to one backend: this worker's idle ones, and how many there are in all.

    An idle connection is watched: it leaves the pool the moment the backend closes it, so a dead one is not handed out; the one used
    last is used next. The limits are over all workers, and exact in the way of `terraster.balance.contract`: count in, add up, step back.
    Where there is a `max_open`, idle ones are let go of as soon as another worker waits for one: each looks every few milliseconds.

    limits: as configured. offset: of the backend's row in a seat. keepalive: after how long the backend closes. Where idle connections
    are not limited they are counted only as often as anybody looks (`expire`).
    """

    __slots__ = (
        "idle",
        "reactor",
        "closed",
        "limits",
        "keepalive",
        "_broken",
        "_exact",
        "_fresh_until",
        "_shown",
        "_view",
        "_offset",
        "_looks",
    )

    def __init__(self, reactor: Reactor, limits: ConnectionPool, view: SeatView, offset: int) -> None:
        self.reactor = reactor
        self.limits = limits
        self._exact = limits.max_idle >= 0
        self._shown = 0
        self.keepalive = KeepAlive()
        self._broken = 0  # reused connections in a row that ended without a response, and had taken the request
        self._fresh_until = 0.0
        self.idle: dict[Upstream, None] = {}
        self.closed = False
        self._view = view
        self._offset = offset
        self._looks = reactor.loop.timer(_LOOK, _LOOK)

    def limit(self, limits: ConnectionPool) -> None:
        """Go by other limits from now on."""
        self.limits = limits
        self._exact = limits.max_idle >= 0
        self._publish()

    def take(self, look: bool) -> Upstream | None:
        """An idle connection, or None.

        look: ask the kernel whether it has ended since the loop last turned: one call more, for requests that must not be sent twice.
        """
        if self._fresh_until and self.reactor.clock() < self._fresh_until:
            return None
        while self.idle:
            upstream, _ = self.idle.popitem()
            if self.keepalive.seconds and self.reactor.clock() - upstream.since > self.keepalive.usable:
                self.idle[upstream] = None  # all others are older: they stay, to show when they are closed
                return None
            if self._exact:
                self._view.q[self._view.backends + self._offset + _IDLE] -= 1
            if not look or upstream.is_quiet():
                return upstream
            upstream.close()
        return None

    def reuse_failed(self) -> None:
        """A reused connection took a request and ended without a response. A backend that does this again and again executes requests
        that have to be sent a second time, so its connections are used once only for a while."""
        self._broken += 1
        if self._broken >= _BROKEN:
            self._broken = 0
            self._fresh_until = self.reactor.clock() + _FRESH
            while self.idle:
                self.drop(next(iter(self.idle)))

    def holds(self, upstream: Upstream) -> bool:
        """Whether a connection is idle here."""
        return upstream in self.idle

    def admit(self) -> bool:
        """Count one more open connection. False, and nothing counted, if that would be more than `max_open`."""
        view = self._view
        q, at = view.q, view.backends + self._offset
        q[at + _OPEN] += 1
        if self.limits.max_open and sum([q[row + self._offset + _OPEN] for row in view.all_backends]) > self.limits.max_open:
            q[at + _OPEN] -= 1
            return False
        return True

    def left(self) -> None:
        """Count one open connection less."""
        self._view.q[self._view.backends + self._offset + _OPEN] -= 1

    def wait(self, timeout: float) -> Upstream | None:
        """Wait until one more connection may be opened, which is counted then (None), or until one is idle here (it is taken). The other
        workers are told, so that they let go of idle ones. Seconds, 0 = for ever. Raises `HttpError` 503."""
        if self.idle:  # all too old to be used, and open all the same
            self.drop(next(iter(self.idle)))
            if self.admit():
                return None
        view = self._view
        at = view.backends + self._offset + _WANTED
        reactor = self.reactor
        end = reactor.clock() + timeout if timeout else inf
        view.q[at] += 1
        try:
            while reactor.clock() < end:
                reactor.sleep(_LOOK)
                if self.idle and (upstream := self.take(True)) is not None:
                    return upstream
                if self.admit():
                    return None
        finally:
            view.q[at] -= 1
        raise NoRoom("all connections to the backend are in use")

    def _wanted(self) -> bool:
        view = self._view
        return any(view.q[row + self._offset + _WANTED] for row in view.all_backends)

    def keep(self, upstream: Upstream) -> None:
        """Take back a connection whose response has been read to its end."""
        limits = self.limits
        if self._broken and upstream.since < inf:  # a reused connection served well
            self._broken = 0
        if self.closed or upstream.stream.ready or len(self.idle) >= MAX_IDLE or (limits.max_open and self._wanted()):
            upstream.close()
            return
        if self._exact:
            view = self._view
            q, at = view.q, view.backends + self._offset + _IDLE
            q[at] += 1
            if limits.max_idle < sum([q[row + self._offset + _IDLE] for row in view.all_backends]):
                q[at] -= 1
                upstream.close()
                return
        upstream.phase = "response"
        upstream.since = self.reactor.clock()
        self.idle[upstream] = None
        if limits.max_open and not self._looks.active:
            self._looks.start(self._make_room)

    def _make_room(self) -> None:
        """Let go of an idle connection if another worker waits for one. On the hub."""
        if self.idle and self._wanted():
            self.drop(next(iter(self.idle)))
        if not self.idle:
            self._looks.stop()

    def drop(self, upstream: Upstream) -> None:
        """Close an idle connection."""
        if upstream in self.idle:
            del self.idle[upstream]
            if self._exact:
                self._view.q[self._view.backends + self._offset + _IDLE] -= 1
        upstream.close()

    def ended(self, upstream: Upstream) -> None:
        """An idle connection became readable: the backend has closed it, or speaks out of turn."""
        now = self.reactor.clock()
        self.keepalive.closed(now - upstream.since, now)
        self.drop(upstream)
        self._publish()

    def expire(self, now: float) -> None:
        """Close what has been idle for too long, the oldest come first. Called on every sweep."""
        if not (self.idle or self._shown):
            return
        while self.idle:
            oldest = next(iter(self.idle))
            age = now - oldest.since
            self.keepalive.survived(age)
            if age < self.limits.idle_timeout:
                break
            self.drop(oldest)
        self._publish()

    def _publish(self) -> None:
        q, at = self._view.q, self._view.backends + self._offset
        q[at + _IDLE] = self._shown = len(self.idle)
        q[at + _KEEPALIVE] = int(self.keepalive.seconds * 1000)

    def close(self) -> None:
        """Close all idle connections and keep none from now on."""
        self.closed = True
        self._looks.stop()
        self._looks.close()
        while self.idle:
            self.drop(next(iter(self.idle)))


def make_socket(reactor: Reactor, family: int) -> Any:
    """A non-blocking socket for a new upstream connection. Raises `HttpError` 503 when the process has no descriptors left."""
    try:
        sock = reactor.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise HttpError(f"out of descriptors or memory ({error.strerror})", status=503) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
